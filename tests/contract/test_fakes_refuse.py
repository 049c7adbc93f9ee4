"""The fakes refuse what the services refuse; otherwise the suite over the sinks proves nothing."""

import asyncio
import json
import sys
from typing import Any

import pytest

from daemon.http_client import HttpClient
from sinks.base import Request
from tests.contract.sinks_kit import CASES, bench, make, order
from tests.fakes.base import Fake
from tests.fakes.jira import FakeJira
from tests.fakes.pagerduty import FakePagerDuty
from tests.fakes.statuspage import FakeStatuspage
from tests.fakes.webhook import FakeWebhook

BASIC = {"Authorization": "Basic Ym90QGV4YW1wbGUub3JnOnQ="}
OAUTH = {"Authorization": "OAuth t"}


async def answer(fake: Fake, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, str]:
    """Status and body of one request."""
    async with fake, HttpClient(2) as http:
        data = b"" if body is None else json.dumps(body).encode()
        response = await http.request(Request(method, fake.url + path, headers, data))
        return response.status, response.body.decode()


def event(**changes: Any) -> dict[str, Any]:
    """A trigger that PagerDuty takes."""
    payload = {"summary": "s", "source": "s", "severity": "critical"} | changes.pop("payload", {})
    key = "0123456789abcdef0123456789abcdef"
    return {"routing_key": key, "event_action": "trigger", "dedup_key": "k", "payload": payload} | changes


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({}, 202),
        ({"routing_key": "f" * 32}, 400),
        ({"event_action": "open"}, 400),
        ({"dedup_key": "k" * 256}, 400),
        ({"payload": {"summary": "s" * 1025}}, 400),
        ({"payload": {"summary": ""}}, 400),
        ({"payload": {"source": ""}}, 400),
        ({"payload": {"severity": "P1"}}, 400),
        ({"payload": {"custom_details": {"x": "y" * 600_000}}}, 413),
    ],
)
async def test_pagerduty(changes: dict[str, Any], status: int) -> None:
    assert (await answer(FakePagerDuty(), "POST", "/v2/enqueue", event(**changes)))[0] == status


def issue(**fields: Any) -> dict[str, Any]:
    """An issue that Jira takes."""
    return {"fields": {"project": {"key": "OPS"}, "issuetype": {"name": "Task"}, "summary": "s"} | fields}


def entry(**changes: Any) -> dict[str, Any]:
    """An incident that Statuspage takes."""
    return {"incident": {"name": "n", "status": "investigating"} | changes}


def doc(*nodes: Any) -> dict[str, Any]:
    """A document of one paragraph."""
    return {"type": "doc", "version": 1, "content": [{"type": "paragraph", "content": list(nodes)}]}


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({}, ""),
        ({"summary": "two\nlines"}, "newline"),
        ({"summary": "s" * 256}, "less than 255"),
        ({"summary": " "}, "specify a summary"),
        ({"labels": ["two words"]}, "contains spaces"),
        ({"project": {"key": "NOPE"}}, "valid project"),
        ({"issuetype": {"name": "Nope"}}, "valid issue type"),
        ({"customfield_1": 1}, "cannot be set"),
        ({"priority": {"name": "P1"}}, "priority selected is invalid"),
        ({"description": "plain"}, "Atlassian Document"),
        ({"description": doc({"type": "text", "text": ""})}, "INVALID_INPUT"),
        ({"description": doc({"type": "text", "text": "a\u0007"})}, "INVALID_INPUT"),
        ({"description": doc({"type": "script", "text": "a"})}, "INVALID_INPUT"),
        ({"description": doc({"type": "text", "text": "a" * 32_768})}, "too long"),
    ],
)
async def test_jira(fields: dict[str, Any], word: str) -> None:
    status, body = await answer(FakeJira(), "POST", "/rest/api/3/issue", issue(**fields), **BASIC)
    assert status == (400 if word else 201)
    assert word in body


@pytest.mark.parametrize(
    ("jql", "status"),
    [
        ('labels = "x" ORDER BY created ASC', 200),
        ('project = "OPS" AND created >= "-5m" ORDER BY created DESC', 200),
        ('project = "NOPE"', 400),
        ("labels = x", 400),
        ('summary ~ "x"', 400),
    ],
)
async def test_jiras_search(jql: str, status: int) -> None:
    assert (await answer(FakeJira(), "POST", "/rest/api/3/search/jql", {"jql": jql}, **BASIC))[0] == status


async def test_jira_refuses_a_transition_that_is_not_there() -> None:
    fake = FakeJira()
    key = fake.person_makes("s").key
    path = f"/rest/api/3/issue/{key}/transitions"
    assert (await answer(fake, "POST", path, {"transition": {"id": "41"}}, **BASIC))[0] == 400
    assert (await answer(fake, "POST", path, {"transition": {"id": "31"}}, **BASIC))[0] == 204


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({}, 201),
        ({"name": ""}, 422),
        ({"name": "n" * 256}, 422),
        ({"status": "broken"}, 422),
        ({"metadata": {"samband": "text"}}, 422),
        ({"components": {"nowhere": "operational"}}, 422),
        ({"components": {"gcvfrw2r8w36": "red"}}, 422),
    ],
)
async def test_statuspage(changes: dict[str, Any], status: int) -> None:
    status_and_body = await answer(FakeStatuspage(), "POST", "/v1/pages/abc123/incidents", entry(**changes), **OAUTH)
    assert status_and_body[0] == status


@pytest.mark.parametrize("fake", [FakeJira, FakeStatuspage, FakePagerDuty])
async def test_nobody_reads_without_credentials(fake: type[Fake]) -> None:
    paths = {"jira": "/rest/api/3/myself", "statuspage": "/v1/pages/abc123/components", "pagerduty": "/incidents"}
    assert (await answer(fake(), "GET", paths[fake.name]))[0] == 401


async def test_the_webhook_wants_its_key_and_every_field() -> None:
    fake = FakeWebhook()
    assert (await answer(fake, "POST", "/in", {"type": "incident.opened"}, **{"Idempotency-Key": "k"}))[0] == 422
    assert "Idempotency-Key is missing" in (await answer(fake, "POST", "/in", {}))[1]
    assert len(fake.violations) == 2


@pytest.mark.shared_data
@pytest.mark.parametrize(
    ("fake", "path", "headers", "body"),
    [
        (FakePagerDuty, "/v2/enqueue", {}, event(links=[{"text": "no href"}])),
        (FakeStatuspage, "/v1/pages/abc123/incidents", OAUTH, entry(deliver_notifications="no")),
        (FakeJira, "/rest/api/3/issue", BASIC, issue() | {"update": {"labels": 7}}),
    ],
)  # fmt: skip
async def test_the_vendors_schema_is_looked_at(fake: Any, path: str, headers: dict[str, str], body: Any) -> None:
    service = fake()
    assert (await answer(service, "POST", path, body, **headers))[0] in (400, 422)
    assert len(service.violations) == 1


async def test_doubles_are_counted() -> None:
    for name in ("jira", "statuspage"):
        async with bench(name) as one:
            for _ in range(2):
                await one.sink.deliver(order(), one.http)
            assert len(one.fake.doubles()) == 1


async def test_a_process_of_its_own_takes_orders() -> None:
    """`python -m tests.fakes`: says what arrives, shows what it holds, misbehaves when told to."""
    ports = [word for name in CASES for word in (f"--{name}-port", "0")]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.fakes", *ports, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        said = [(await process.stdout.readline()).decode().split(": ") for _ in CASES]
        urls = {name: url.strip() for name, url in said}
        async with HttpClient(2) as http:
            base = urls["pagerduty"]
            fault = json.dumps({"kind": "status", "status": 429}).encode()
            assert (await http.request(Request("POST", f"{base}/_fake/faults", {}, fault))).status == 201
            assert (await http.request(Request("POST", f"{base}/_fake/faults", {}, b'{"kind": "x"}'))).status == 400
            sink = make(CASES["pagerduty"], base)
            assert type(await sink.deliver(order(), http)).__name__ == "Retry"
            assert type(await sink.deliver(order(), http)).__name__ == "Done"
            shown = (await http.request(Request("GET", f"{base}/_fake"))).json()
            assert list(shown["objects"]) == [order().key]
            assert "RINGS P1" in (await process.stdout.readline()).decode()
    finally:
        process.terminate()
        await process.wait()
