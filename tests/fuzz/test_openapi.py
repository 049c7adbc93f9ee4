"""The API of a real daemon against its own OpenAPI document: no 5xx, and answers that are as described."""

import asyncio
import http.client
import traceback
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
import schemathesis
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from daemon.core.acts import VERBS
from tests.fuzz.strategies import WORDS, bodies
from tests.integration.estate import alert, services
from tests.integration.samband import Samband

pytestmark = pytest.mark.integration

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
EXAMPLES = 12
KEY = "R0123456789abcdef0123456789abcde"
CONFIG: dict[str, Any] = {
    "mode": "shadow",
    "login": "open",
    "sources": {
        "prometheus": {"type": "alertmanager"},
        "scripts": {"type": "native"},
        "events": {"type": "pagerduty_events", "services_file": "routing_keys.yaml"},
    },
    "services": services(),
}


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Samband]:
    """One daemon for all, with a little in it."""
    folder = tmp_path_factory.mktemp("fuzzed")
    (folder / "routing_keys.yaml").write_text(f"{KEY}: {{service: shop}}\n")
    running = Samband(folder, CONFIG)
    asyncio.run(_begin(running))
    yield running
    assert asyncio.run(running.stop()) == 0, "it has lived through all of it"
    wrong = [one for one in running.events if one["level"] in ("error", "critical")]
    assert wrong == []


async def _begin(running: Samband) -> None:
    await running.start()
    names = list(services())
    assert await running.send([alert("Down", "critical", service=name) for name in names[::9]])


def test_answers_are_as_described(daemon: Samband) -> None:
    """One test over all operations: which there are is read from the daemon itself."""
    document = schemathesis.openapi.from_url(f"{daemon.url}/api/v1/openapi.json")
    wrong: dict[str, str] = {}
    operations: list[Any] = [found.ok() for found in document.get_all_operations() if isinstance(found, Ok)]
    for operation in operations:
        try:
            _try_out(operation)
        except (Exception, BaseExceptionGroup) as error:  # noqa: BLE001 - all of them are shown at the end
            wrong[operation.label] = "".join(traceback.format_exception_only(error))
    assert len(operations) > 20
    assert not wrong, "\n\n".join(f"{label}: {text}" for label, text in wrong.items())


def _try_out(operation: Any) -> None:
    """A number of requests as the document allows them, and as it does not."""
    cases = operation.as_strategy() | operation.as_strategy(generation_mode=GenerationMode.NEGATIVE)

    @seed(20261202)
    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(case=cases, known=st.booleans(), verb=st.sampled_from(sorted(VERBS)))
    def ask(case: "schemathesis.Case[Any]", known: bool, verb: str) -> None:
        if known and "incident" in case.path_parameters:
            case.path_parameters["incident"] = "INC-1"
        if known and "verb" in case.path_parameters and "incident" in case.path_parameters:
            case.path_parameters["verb"] = verb
        case.call_and_validate(checks=CHECKS, timeout=20)

    ask()


SILENCE = {
    "matchers": [{"name": "service", "value": "shop", "isRegex": False, "isEqual": True}],
    "startsAt": "2026-12-02T03:00:00Z", "endsAt": "2099-12-02T05:00:00Z", "createdBy": "anna", "comment": "patching",
}  # fmt: skip
EVENT = {
    "routing_key": KEY, "event_action": "trigger", "dedup_key": "d",
    "payload": {"summary": "Down", "source": "shop", "severity": "critical"},
}  # fmt: skip
POSTED: dict[str, list[Any]] = {
    "/api/v2/alerts": [[alert("Down", "critical", service="shop")]],
    "/api/v2/silences": [SILENCE],
    "/api/v1/alerts": [{"name": "Down", "service": "shop", "labels": {"a": "b"}, "starts_at": "2026-12-02T03:00:00Z"}],
    "/api/v1/changes": [{"summary": "deploy", "service": "shop"}],
    "/hooks/prometheus": [{"version": "4", "status": "firing", "alerts": [alert("Down", "critical", service="shop")]}],
    "/v2/enqueue": [EVENT],
    "/v2/change/enqueue": [{"routing_key": KEY, "payload": {"summary": "deploy", "timestamp": "2026-12-02T03:00:00Z"}}],
}
"""What stands in no OpenAPI document, because it mirrors others' products."""


@pytest.mark.parametrize("path", POSTED)
def test_whatever_is_posted_no_answer_is_a_5xx(daemon: Samband, path: str) -> None:
    @seed(20261202)
    @settings(max_examples=10 * EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(body=bodies(POSTED[path]))
    def ask(body: bytes) -> None:
        status, answer = _post(daemon.url, path, body)
        assert status < 500, answer
        assert answer or status == 200, status

    ask()


ASKED = (
    "/api/v2/alerts?filter=", "/api/v2/alerts/groups?filter=", "/api/v2/silences?filter=", "/api/v2/alerts?receiver=",
    "/api/v2/silence/", "/api/v1/incidents?cursor=", "/login?code=", "/",
)  # fmt: skip


@given(query=st.text(max_size=20) | st.sampled_from(WORDS))
@settings(max_examples=10 * EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), database=None)
def test_whatever_is_asked_no_answer_is_a_5xx(daemon: Samband, query: str) -> None:
    text = quote(query.encode("utf-8", "replace"))
    for path in ASKED:
        status, answer = _post(daemon.url, path + text, b"", "GET")
        assert status < 500, (path, answer)


def _post(url: str, path: str, body: bytes, method: str = "POST") -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=20)
    try:
        connection.request(method, path, body, {"content-type": "application/json"})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()
