"""PagerDuty's Events API v2 over a real socket, and the routing keys in the configuration."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon import wiring
from daemon.access import digest
from daemon.assembly import assemble
from daemon.core.model.alert import Alert
from daemon.settings import ConfigError, load
from daemon.settings.sources import PagerDutyEventsSource
from daemon.sources.formats import pagerduty_events as events
from daemon.sources.formats.base import Context
from daemon.sources.formats.pagerduty_events import Route
from daemon.sources.senders import Source
from tests.fakes.schemas import violations_of
from tests.unit.served import Served, served

ORDERS, SHOP = "0123456789abcdef0123456789abcdef", "R0SHOPKEYabcdefghijklmnopqrstuv0"
ENQUEUE, CHANGE = "/v2/enqueue", "/v2/change/enqueue"
NOW = 1_795_600_000_000


def sources(**more: Any) -> dict[str, Source]:
    routes = ((digest(ORDERS), Route("scripts", "orders")), (digest(SHOP), Route("cron", "shop", "staging")))
    tokens = tuple(key for key, _ in routes)
    return {"scripts": Source("scripts", "pagerduty_events", tokens, routes=routes, **more)}


def event(action: str = "trigger", key: str | None = "k1", routing_key: str = ORDERS, **payload: Any) -> bytes:
    whole = {"summary": "disk is full", "source": "host-1", "severity": "critical", **payload}
    body = {"routing_key": routing_key, "event_action": action, "dedup_key": key}
    return json.dumps(body | ({"payload": whole} if action == "trigger" else {})).encode()


async def send(it: Served, body: bytes, path: str = ENQUEUE, **headers: str) -> tuple[int, Any]:
    status, answer, _ = await it.ask("POST", path, body, **headers)
    if path == ENQUEUE:
        kind = "202.response" if status == 202 else "error.response"
        assert violations_of(f"pagerduty-events-v2.{kind}", answer) == ""
    return status, answer


def alerts(it: Served) -> list[Alert]:
    return list(it.runtime.engine.state.alerts.rows.values())


def done(key: str) -> tuple[int, Any]:
    return 202, {"status": "success", "message": "Event processed", "dedup_key": key}


def refused(*errors: str) -> tuple[int, Any]:
    return 400, {"status": "invalid event", "message": "Event object is invalid", "errors": list(errors)}


# ---- alerts ------------------------------------------------------------------------------------
async def test_trigger_repeat_and_resolve(tmp_path: Path) -> None:
    async with served(tmp_path, sources=sources()) as it:
        assert await send(it, event(component="mysql", **{"class": "disk"})) == done("k1")
        (alert,) = alerts(it)
        assert (alert.source, alert.service, alert.resource, alert.severity, alert.name) == (
            "scripts", "orders", "host-1", "critical", "disk",
        )  # fmt: skip
        assert json.loads(alert.labels) == {"component": "mysql", "class": "disk"}
        assert await send(it, event(severity="warning")) == done("k1")
        assert [one.severity for one in alerts(it)] == ["warning"]
        assert await send(it, event("resolve")) == done("k1")
        assert [one.end for one in alerts(it)] == ["resolved"]
        assert await send(it, event()) == done("k1")
        assert [one.generation for one in alerts(it) if one.open] == [2]


async def test_a_trigger_without_a_key_is_an_alert_of_its_own_each_time(tmp_path: Path) -> None:
    async with served(tmp_path, sources=sources()) as it:
        answers = [(await send(it, event(key=key)))[1] for key in (None, "", None)]
        keys = {answer["dedup_key"] for answer in answers}
        assert len(keys) == len(alerts(it)) == 3
        await send(it, event("resolve", key=answers[0]["dedup_key"]))
        assert sorted(one.end for one in alerts(it)) == ["", "", "resolved"]


async def test_a_key_means_something_within_one_service_only(tmp_path: Path) -> None:
    async with served(tmp_path, sources=sources()) as it:
        await send(it, event())
        await send(it, event(routing_key=SHOP))
        assert sorted((one.source, one.service, one.environment) for one in alerts(it)) == [
            ("cron", "shop", "staging"), ("scripts", "orders", "production"),
        ]  # fmt: skip
        await send(it, event("resolve", routing_key=SHOP))
        assert [one.service for one in alerts(it) if one.open] == ["orders"]


async def test_a_resolve_of_what_nobody_knows_is_taken_and_opens_nothing(tmp_path: Path) -> None:
    async with served(tmp_path, sources=sources()) as it:
        assert await send(it, event("resolve", key="never")) == done("never")
        assert not it.runtime.engine.state.incidents.rows
        await send(it, event(key="never"))
        assert [one.open for one in alerts(it)].count(True) == 1


async def test_a_clock_that_is_ahead_does_not_make_the_resolve_too_early(tmp_path: Path) -> None:
    async with served(tmp_path, sources=sources()) as it:
        await send(it, event(timestamp="2099-01-01T00:00:00Z"))
        await send(it, event("resolve"))
        assert [one.end for one in alerts(it)] == ["resolved"]


async def test_a_source_that_never_resolves_sends_events(tmp_path: Path) -> None:
    async with served(tmp_path, sources=sources(resolves=False)) as it:
        await send(it, event())
        assert [one.event for one in alerts(it)] == [True]


async def test_acknowledge(tmp_path: Path) -> None:
    async with served(tmp_path, sources=sources()) as it:
        assert await send(it, event("acknowledge")) == done("k1")
        assert not alerts(it)
        await send(it, event())
        (incident,) = it.runtime.engine.state.incidents.rows.values()
        assert await send(it, event("acknowledge", key="other")) == done("other")
        assert it.runtime.engine.state.incidents.rows[incident.id].state == "open"
        assert await send(it, event("acknowledge")) == done("k1")
        acknowledged = it.runtime.engine.state.incidents.rows[incident.id]
        assert (acknowledged.state, acknowledged.acknowledged_by) == ("acknowledged", "scripts")
        at = acknowledged.acknowledged_at
        assert await send(it, event("acknowledge")) == done("k1")
        assert it.runtime.engine.state.incidents.rows[incident.id].acknowledged_at == at
        status, shown, _ = await it.ask("GET", "/api/v1/incidents")
        assert (status, shown["items"][0]["state"]) == (200, "acknowledged")


async def test_an_acknowledgement_after_the_resolve_is_nothing(tmp_path: Path) -> None:
    async with served(tmp_path, sources=sources()) as it:
        await send(it, event())
        await send(it, event("resolve"))
        assert await send(it, event("acknowledge")) == done("k1")
        (incident,) = it.runtime.engine.state.incidents.rows.values()
        assert incident.state == "open"


# ---- changes -----------------------------------------------------------------------------------
async def test_a_change_is_kept_once(tmp_path: Path) -> None:
    body = {
        "routing_key": SHOP,
        "payload": {"summary": "shop 4.2", "timestamp": "2026-11-01T10:00:00Z", "custom_details": {"by": "bo"}},
        "links": [{"href": "https://ci.example.com/42"}],
    }
    async with served(tmp_path, sources=sources()) as it:
        for _ in range(2):
            answer = await send(it, json.dumps(body).encode(), CHANGE)
            assert answer == (202, {"status": "success", "message": "Change event processed"})
        (change,) = it.runtime.engine.state.changes.rows.values()
        assert (change.source, change.service, change.environment) == ("cron", "shop", "staging")
        assert (change.summary, change.url, change.labels) == ("shop 4.2", "https://ci.example.com/42", b'{"by":"bo"}')
        body["payload"] = {"source": "git"}
        assert await send(it, json.dumps(body).encode(), CHANGE) == refused("'payload.summary' is missing or blank")


# ---- refusals ----------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"event_action": None}, "'event_action' is missing or blank"),
        ({"event_action": "close"}, "'event_action' is invalid (must be one of the following: "
         "'trigger', 'acknowledge' or 'resolve')"),
        ({"event_action": ["trigger"]}, "'event_action' is invalid (must be one of the following: "
         "'trigger', 'acknowledge' or 'resolve')"),
        ({"dedup_key": "x" * 256}, "'dedup_key' is too long (maximum is 255 characters)"),
        ({"dedup_key": 5}, "'dedup_key' must be a string"),
        ({"event_action": "resolve", "dedup_key": ""}, "'dedup_key' is missing or blank"),
        ({"event_action": "acknowledge", "dedup_key": None}, "'dedup_key' is missing or blank"),
        ({"payload": None}, "'payload' is missing or blank"),
        ({"payload": "disk"}, "'payload' is missing or blank"),
        ({"payload": {"source": "h", "severity": "info"}}, "'payload.summary' is missing or blank"),
        ({"payload": {"summary": "s", "severity": "info"}}, "'payload.source' is missing or blank"),
        ({"payload": {"summary": "s", "source": 4, "severity": "info"}}, "'payload.source' must be a string"),
        ({"payload": {"summary": "s", "source": "h"}}, "'payload.severity' is missing or blank"),
        ({"payload": {"summary": "s", "source": "h", "severity": "Critical"}},
         "'payload.severity' is invalid (must be one of the following: 'critical', 'warning', 'error' or 'info')"),
        ({"payload": {"summary": "s" * 1025, "source": "h", "severity": "info"}},
         "'payload.summary' is too long (maximum is 1024 characters)"),
    ],
)  # fmt: skip
async def test_what_pagerduty_refuses(tmp_path: Path, changed: dict[str, Any], error: str) -> None:
    async with served(tmp_path, sources=sources()) as it:
        body = json.dumps(json.loads(event()) | changed).encode()
        assert await send(it, body) == refused(error)
        assert not alerts(it)
        (letter,) = it.queries.dead_letters()
        assert (letter.source, letter.reason) == ("scripts", error)
        assert json.loads(letter.raw) == json.loads(body) | {"routing_key": "***"}


async def test_limits_are_pagerdutys(tmp_path: Path) -> None:
    async with served(tmp_path, sources=sources()) as it:
        good = event(key="x" * 255, summary="s" * 1024)
        assert (await send(it, good))[0] == 202
        padded = event(custom_details={"text": "x" * (512 * 1024)})
        status, answer = await send(it, padded)
        assert (status, answer["status"]) == (413, "invalid event")
        assert (await send(it, gzip.compress(padded), content_encoding="gzip"))[0] == 413
        assert (await send(it, gzip.compress(event()), content_encoding="gzip"))[0] == 202
        assert (await send(it, b"x", content_encoding="gzip"))[0] == 400
        fits = event(key="big", custom_details={"text": "x" * (512 * 1024 - 400)})
        assert (await send(it, fits))[0] == 202
        assert max(len(text) for text in it.runtime.engine.state.annotations.values()) <= 64 * 1024


async def test_who_may_send(tmp_path: Path) -> None:
    wrong = "f" * 32
    async with served(tmp_path, sources=sources()) as it:
        assert await send(it, event(routing_key=wrong)) == refused("Invalid routing key")
        assert await send(it, event(routing_key="short")) == refused(
            "Length of 'routing_key' is incorrect (should be 32 characters)"
        )
        assert await send(it, b'{"routing_key":["x"]}') == refused("'routing_key' is missing or blank")
        assert await send(it, b"[]") == refused("the body must be a JSON object")
        status, answer = await send(it, b'{"routing_key":')
        assert (status, "not JSON" in answer["errors"][0]) == (400, True)
        assert (await send(it, b"[" * 100_000))[0] == 400
        assert (await it.ask("GET", ENQUEUE))[0] == 405
        assert (await it.ask("POST", "/hooks/scripts", event(), authorization=f"Bearer {ORDERS}"))[0] == 404
        assert not it.queries.dead_letters()
        assert not alerts(it)
        it.intake.replace({})
        assert (await it.ask("POST", ENQUEUE, event()))[0] == 404


async def test_the_routing_key_goes_nowhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async with served(tmp_path, sources=sources()) as it:
        hidden = {"echo": ORDERS, ORDERS: "as a name"}
        answers = [
            await send(it, event(custom_details=hidden, summary=f"sent with {ORDERS}", source=ORDERS)),
            await send(it, event(custom_details=hidden, severity="bad")),
            await send(it, event(custom_details=hidden, routing_key="e" * 32)),
        ]
        change = {"routing_key": ORDERS, "payload": {"summary": ORDERS, "custom_details": hidden}}
        answers.append(await send(it, json.dumps(change).encode(), CHANGE))
        _, metrics_page, _ = await it.ask("GET", "/metrics")
        shown = [str(answers), str(it.queries.dead_letters()), str(metrics_page), *capsys.readouterr()]
        state = it.runtime.engine.state
        shown += [str(one) for one in (*state.alerts.rows.values(), *state.changes.rows.values())]
        shown += [str(text) for text in state.annotations.values()]
    assert len(state.alerts.rows) == len(state.changes.rows) == 1
    assert not any(ORDERS in text for text in shown)
    assert not stored(tmp_path, ORDERS)


def stored(folder: Path, text: str) -> list[Path]:
    """The files that hold the text."""
    return [path for path in folder.rglob("*") if path.is_file() and text.encode() in path.read_bytes()]


async def test_nothing_is_answered_2xx_that_is_not_kept(tmp_path: Path) -> None:
    async with served(tmp_path, sources=sources()) as it:
        await it.runtime.stop()
        for body, path in (
            (event(), ENQUEUE),
            (b'{"routing_key":"%s","payload":{"summary":"s"}}' % ORDERS.encode(), CHANGE),
        ):
            status, answer, headers = await it.ask("POST", path, body)
            assert (status, answer["status"], int(headers["retry-after"]) >= 1) == (503, "unavailable", True)


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(max_size=10), below, max_size=3),
    max_leaves=8,
)
_fields = {
    "summary": _json | st.just("s"), "source": _json | st.just("h"), "severity": _json | st.just("info"),
    "timestamp": _json | st.datetimes().map(str), "component": _json, "class": _json, "custom_details": _json,
}  # fmt: skip


@given(
    st.fixed_dictionaries(
        {"routing_key": st.just(ORDERS), "payload": _json | st.fixed_dictionaries({}, optional=_fields)},
        optional={
            "event_action": _json | st.sampled_from(events.ACTIONS), "dedup_key": _json | st.just("k"),
            "links": _json, "images": _json, "client": _json, "client_url": _json,
        },
    )
)  # fmt: skip
def test_any_event_is_read_or_refused(body: dict[str, Any]) -> None:
    read = events.decode(events.without_key(events.decode(json.dumps(body).encode())))
    route = Route("scripts", "orders")
    if not errors_of(events.check, read):
        alert = events.alert_of(read, read.get("dedup_key") or "made up", route, Context("s", NOW))
        assert all(isinstance(text, str) for text in json.loads(alert.annotations).values())
    if not errors_of(events.check_change, read):
        assert events.change_of(read, route, NOW).at <= NOW


@given(st.binary(max_size=200) | _json.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    assert errors_of(events.decode, body) or isinstance(events.decode(body), dict)


def errors_of(read: Callable[[Any], object], given: Any) -> list[str]:
    """What it is refused for."""
    try:
        read(given)
    except events.Invalid as error:
        return error.errors
    return []


# ---- configuration -----------------------------------------------------------------------------
def configured(folder: Path, text: str, *, secrets: bool = True) -> Any:
    (folder / "samband.yaml").write_text(text)
    return load(folder / "samband.yaml", secrets=secrets)


def test_routing_keys_from_a_file(tmp_path: Path) -> None:
    keys = f"{ORDERS}: {{service: orders}}\n{SHOP}: {{service: shop, source: cron, environment: staging}}\n"
    (tmp_path / "keys.yaml").write_text(keys)
    text = (
        "sources:\n  scripts: {type: pagerduty_events, services_file: keys.yaml, environment: lab, resolves: false}\n"
    )
    settings = configured(tmp_path, text)
    assert settings.inactive == []
    assert settings.inline_secrets == []
    source = settings.sources["scripts"]
    assert isinstance(source, PagerDutyEventsSource)
    assert source.tokens == (ORDERS, SHOP)
    assert ORDERS not in repr(settings) + settings.model_dump_json()
    wired = wiring.sources(assemble(settings, from_ms=NOW))["scripts"]
    assert wired.routes == (
        (digest(ORDERS), Route("scripts", "orders", "lab")),
        (digest(SHOP), Route("cron", "shop", "staging")),
    )
    assert (wired.tokens, wired.resolves) == ((digest(ORDERS), digest(SHOP)), False)


def test_a_rehearsal_reads_no_routing_key(tmp_path: Path) -> None:
    text = "sources:\n  scripts: {type: pagerduty_events, services_file: /run/secrets/keys.yaml}\n"
    assert len(configured(tmp_path, text, secrets=False).sources["scripts"].services) == 1


def test_routing_keys_in_the_configuration_itself(tmp_path: Path) -> None:
    text = f"sources:\n  scripts:\n    type: pagerduty_events\n    services: {{{ORDERS}: {{service: orders}}}}\n"
    settings = configured(tmp_path, text)
    assert settings.inline_secrets == [("sources", "scripts", "services")]
    assert settings.sources["scripts"].tokens == (ORDERS,)


@pytest.mark.parametrize(
    "wrong",
    [
        "{}",
        "{service: ''}",
        "orders",
        "{service: orders, team: x}",
        "{service: [a]}",
        "{service: a, key: b}",
        '["\\uD800"]',
    ],
)
def test_no_problem_names_a_routing_key(tmp_path: Path, wrong: str) -> None:
    (tmp_path / "keys.yaml").write_text(f"{SHOP}: {{service: shop}}\n{ORDERS}: {wrong}\n{SHOP}: {{service: again}}\n")
    inline = f"services: {{{SHOP}: {{service: shop}}, {ORDERS}: {wrong}, {SHOP}: {{service: again}}}}"
    for option in ("services_file: keys.yaml", inline):
        with pytest.raises(ConfigError) as caught:
            configured(tmp_path, f"sources:\n  scripts:\n    type: pagerduty_events\n    {option}\n")
        assert len(caught.value.problems) >= 2
        assert all("services" in one.key and one.line for one in caught.value.problems)
        assert ORDERS not in str(caught.value)
        assert SHOP not in str(caught.value)
