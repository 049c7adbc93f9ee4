"""What people do with incidents over HTTP: every verb, its body, its refusals, and that a key acts once."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from daemon.api import models, models_acts
from daemon.api.verbs import VERBS
from daemon.clock import SystemClock
from daemon.core.records import AlertSeen, encode_records
from daemon.runtime import Runtime
from daemon.store.base import DeadLetter
from daemon.store.sqlite import SqliteStore
from tests.unit.kit import AT_ONCE, T0, alert, policy
from tests.unit.served import Served, served

SHOP = {"name": "Errors", "severity": "critical", "service": "shop"}
PAY = {"name": "Slow", "severity": "error", "service": "pay"}


@pytest.fixture(name="it")
async def served_with_two_incidents(tmp_path: Path) -> AsyncIterator[Served]:
    async with served(tmp_path, policy=policy(timing=AT_ONCE)) as it:
        status, body, _ = await it.ask("POST", "/api/v1/alerts", json.dumps([SHOP, PAY]).encode())
        assert (status, body["accepted"]) == (200, 2)
        yield it


async def act(it: Served, verb: str, incident: str = "INC-1", key: str = "", **body: Any) -> tuple[int, Any]:
    headers = {"idempotency_key": key} if key else {}
    raw = json.dumps({"actor": "bo", **body}).encode()
    status, answer, _ = await it.ask("POST", f"/api/v1/incidents/{incident}/{verb}", raw, **headers)
    if status == 200:
        models.ActAnswer.model_validate(answer)
    return status, answer


async def shown(it: Served, incident: str = "INC-1") -> Any:
    status, body, _ = await it.ask("GET", f"/api/v1/incidents/{incident}")
    assert status == 200, body
    models.IncidentDetail.model_validate(body)
    return body


async def test_every_verb_stands_in_the_timeline_with_who(it: Served) -> None:
    steps: list[tuple[str, dict[str, Any], str, str]] = [
        ("ack", {}, "acknowledged", "acknowledged"),
        ("unack", {}, "open", "unacknowledged"),
        ("snooze", {"for": "30m"}, "acknowledged", "for 30 min"),
        ("hold", {"reason": "the vendor"}, "on_hold", "the vendor"),
        ("resume", {}, "acknowledged", "taken off hold"),
        ("assign", {"team": "databases"}, "acknowledged", "platform to databases"),
        ("priority", {"priority": "P3", "reason": "only a test"}, "acknowledged", "P3: only a test"),
        ("note", {"text": "failed over"}, "acknowledged", "failed over"),
        ("resolve", {"note": "it was the proxy"}, "resolved", "it was the proxy"),
        ("reopen", {}, "reopened", "by a person"),
    ]
    for verb, body, state, line in steps:
        status, answer = await act(it, verb, **body)
        assert (status, answer["incident"]["state"]) == (200, state), verb
        lines = [one["text"] for one in (await shown(it))["timeline"] if one["actor"] == "bo"]
        assert line in lines, verb
    found = await shown(it)
    assert (found["owner"], found["priority"]) == ("databases", "P3")


async def test_an_incident_is_reported_resolved_and_closed_by_people(it: Served) -> None:
    said = {"title": "Customers cannot log in", "service": "portal", "priority": "P2", "actor": "eva"}
    status, answer, _ = await it.ask("POST", "/api/v1/incidents", json.dumps(said).encode())
    assert (status, answer["incident"]["priority"], answer["incident"]["services"]) == (200, "P2", ["portal"])
    ref = answer["incident"]["ref"]
    assert {one["actor"] for one in (await shown(it, ref))["timeline"]} >= {"eva"}
    assert (await act(it, "resolve", ref))[0] == 200
    status, answer = await act(it, "close", ref)
    assert (status, answer["incident"]["state"]) == (200, "closed")
    assert await act(it, "note", ref, text="x") == (409, {"error": f"{ref} is closed"})


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({}, "title"),
        ({"title": ""}, "title"),
        ({"title": "x", "severity": "bad"}, "severity"),
        ({"title": "x", "a": 1}, "a"),
    ],
)
async def test_a_report_that_says_too_little_is_refused(it: Served, body: dict[str, Any], says: str) -> None:
    status, answer, _ = await it.ask("POST", "/api/v1/incidents", json.dumps(body).encode())
    assert (status, says in answer["error"]) == (422, True)


async def test_merge_and_split_are_remembered(it: Served) -> None:
    status, answer = await act(it, "merge", "INC-2", into="INC-1")
    assert (status, answer["text"]) == (200, "INC-2 is part of INC-1")
    assert (await act(it, "ack", "INC-2")) == (409, {"error": "it was merged into INC-1"})
    members = {one["name"]: one["key"] for one in (await shown(it))["members"]}
    status, answer = await act(it, "split", alerts=[members["Slow"]])
    assert (status, answer["text"]) == (200, "INC-3 has 1 of the alerts of INC-1")
    assert [one["name"] for one in (await shown(it, "INC-3"))["members"]] == ["Slow"]
    assert (await act(it, "split", alerts=[members["Slow"]]))[0] == 409


@pytest.mark.parametrize(
    ("verb", "body", "status", "says"),
    [
        ("snooze", {}, 422, "snooze needs 'for'"),
        ("snooze", {"for": "soon"}, 422, "for: is no duration"),
        ("snooze", {"for": "60d"}, 422, "at most 30 days"),
        ("hold", {}, 422, "hold needs 'reason'"),
        ("assign", {}, 422, "assign needs 'team'"),
        ("assign", {"team": "x", "priority": "P1"}, 422, "assign takes no 'priority'"),
        ("priority", {"priority": "P2"}, 422, "priority needs 'reason'"),
        ("priority", {"priority": "P9", "reason": "x"}, 422, "there is no priority 'P9'"),
        ("note", {}, 422, "note needs 'text'"),
        ("merge", {"into": "INC-1"}, 409, "cannot be merged into itself"),
        ("merge", {"into": "INC-77"}, 409, "no open incident 'INC-77'"),
        ("split", {"alerts": ["x"]}, 409, "at least one alert that goes"),
        ("unack", {}, 409, "cannot be unacknowledged"),
        ("resume", {}, 409, "cannot be taken off hold"),
        ("reopen", {}, 409, "cannot be reopened"),
        ("close", {}, 409, "cannot be closed"),
        ("publish", {}, 409, "no draft"),
        ("ack", {"nonsense": 1}, 422, "nonsense"),
        ("explode", {}, 404, "there is no verb 'explode'"),
    ],
)
async def test_what_is_refused_says_why_and_changes_nothing(
    it: Served, verb: str, body: dict[str, Any], status: int, says: str
) -> None:
    before = await shown(it)
    answered, answer = await act(it, verb, **body)
    assert (answered, says in answer["error"]) == (status, True), answer
    assert await shown(it) == before


def test_every_verb_of_the_core_has_a_path() -> None:
    from daemon.core import acts

    assert {name for name, _ in VERBS.values()} | {"create"} == set(acts.VERBS)


async def test_a_key_acts_once_for_each_verb_and_incident(it: Served) -> None:
    first = await act(it, "ack", key="k")
    assert (await act(it, "ack", key="k"))[1]["text"] == first[1]["text"]
    assert (await act(it, "note", key="k", text="once"))[0] == 200
    assert (await act(it, "note", key="k", text="once"))[0] == 200
    assert (await act(it, "ack", "INC-2", key="k"))[1]["incident"]["ref"] == "INC-2", "another incident, another act"
    assert [one["text"] for one in (await shown(it))["timeline"]].count("once") == 1


async def test_a_report_with_a_key_is_made_once_even_over_a_restart(tmp_path: Path) -> None:
    body = json.dumps({"title": "Down"}).encode()
    async with served(tmp_path) as it:
        first = await it.ask("POST", "/api/v1/incidents", body, idempotency_key="r")
    async with served(tmp_path) as it:
        again = await it.ask("POST", "/api/v1/incidents", body, idempotency_key="r")
        assert (again[0], again[1]["text"]) == (200, first[1]["text"])
        assert len((await it.ask("GET", "/api/v1/incidents"))[1]["items"]) == 1
    runtime = await Runtime.open(policy(), SqliteStore(tmp_path / "samband.db", build="test"), SystemClock())
    await runtime.start()
    assert len(runtime.engine.state.incidents.rows) == 1
    await runtime.stop()


# ---- changes -------------------------------------------------------------------------------------
async def changes(it: Served, raw: bytes, **headers: str) -> tuple[int, Any]:
    status, answer, _ = await it.ask("POST", "/api/v1/changes", raw, **headers)
    return status, answer


async def test_a_change_is_listed_and_shown_where_it_is_near(it: Served) -> None:
    near = {
        "id": "CHG-1",
        "service": "shop",
        "summary": "proxy 2.4",
        "url": "https://ci.example/7",
        "labels": {"a": "b"},
    }
    status, answer = await changes(it, json.dumps([near, {"service": "wiki", "summary": "theme"}]).encode())
    assert (status, answer) == (200, {"accepted": 2, "rejected": []})
    listed = (await it.ask("GET", "/api/v1/changes"))[1]
    models_acts.ChangeList.model_validate(listed)
    assert [one["service"] for one in listed["items"]] == ["wiki", "shop"]
    assert (await it.ask("GET", "/api/v1/changes?service=shop"))[1]["items"][0]["labels"] == {"a": "b"}
    (shown_one,) = (await shown(it))["changes"]
    assert (shown_one["id"], shown_one["summary"], shown_one["url"]) == ("CHG-1", "proxy 2.4", "https://ci.example/7")
    assert (await shown(it, "INC-2"))["changes"] == []
    await changes(it, json.dumps({**near, "summary": "proxy 2.5"}).encode())
    assert [one["summary"] for one in (await shown(it))["changes"]] == ["proxy 2.5"], "the same id again replaces it"


async def test_bad_changes_cost_no_good_one(it: Served) -> None:
    raw = (
        b'{"service":"shop","summary":"a"}\n{"service":"shop"}\nnonsense\n[]\n{"service":"shop","summary":"b","at":"x"}'
    )
    status, answer = await changes(it, raw, content_type="application/x-ndjson")
    assert (status, answer["accepted"]) == (200, 1)
    assert [one["index"] for one in answer["rejected"]] == [1, 2, 3, 4]
    assert answer["rejected"][0]["reason"] == "summary is required"
    assert await changes(it, b'[{"summary":"x"}]') == (
        422, {"accepted": 0, "rejected": [{"index": 0, "reason": "service is required"}]},
    )  # fmt: skip
    for raw in (b"", b"{", b"nonsense"):
        assert (await changes(it, raw))[0] == 400
    status, answer = await changes(it, b'{"service":"a","summary":"b","url":"javascript:alert(1)"}')
    assert (status, answer["rejected"][0]["reason"]) == (422, "url must begin with https:// or http://")


# ---- dead letters --------------------------------------------------------------------------------
async def letters(it: Served) -> list[Any]:
    body = (await it.ask("GET", "/api/v1/dead-letters"))[1]
    models_acts.DeadLetterList.model_validate(body)
    return list(body["items"])


async def test_what_could_not_be_read_is_kept_shown_and_dropped(it: Served) -> None:
    await it.ask("POST", "/api/v1/alerts", b'{"name": "Cut')
    (letter,) = await letters(it)
    assert (letter["kind"], letter["origin"], letter["bytes"]) == ("input", "scripts", 13)
    one = (await it.ask("GET", f"/api/v1/dead-letters/{letter['id']}"))[1]
    models_acts.DeadLetterDetail.model_validate(one)
    assert one["text"] == '{"name": "Cut'
    status, answer, _ = await it.ask("POST", f"/api/v1/dead-letters/{letter['id']}/retry")
    assert (status, "it cannot be read: not JSON" in answer["error"]) == (409, True)
    assert len(await letters(it)) == 1
    assert (await it.ask("POST", f"/api/v1/dead-letters/{letter['id']}/drop", b'{"reason":"a test"}'))[0] == 200
    assert await letters(it) == []
    for path in ("in-1", "in-x", "out-0000000000000001", "x"):
        assert (await it.ask("POST", f"/api/v1/dead-letters/{path}/drop"))[0] == 404


@pytest.mark.parametrize(
    ("source", "reason", "raw"),
    [
        ("scripts", "2 of 3 items rejected", b'{"name": "Late",\n "service": "wiki"}\n{"name": "Two"}'),
        ("scripts", "not JSON", b'[{"name": "Late"}, {"name": "Two"}]'),
        ("prometheus", "2 of 2 items rejected", b'{"labels": {"alertname": "Late"}}\n{"labels": {"alertname": "Two"}}'),
        ("prometheus", "x", b'{"alerts": [{"labels": {"alertname": "Late"}}, {"labels": {"alertname": "Two"}}], '
                            b'"status": "firing"}'),
        ("scripts", "quarantined: KeyError", encode_records([AlertSeen(T0, alert(name)) for name in ("Late", "Two")])),
    ],
)  # fmt: skip
async def test_what_can_be_read_by_now_is_taken_in(it: Served, source: str, reason: str, raw: bytes) -> None:
    """As it is after an upgrade, or another configuration."""
    await it.runtime.dead_letter(DeadLetter(it.runtime.now_ms(), source, reason, raw))
    (letter,) = await letters(it)
    status, answer, _ = await it.ask("POST", f"/api/v1/dead-letters/{letter['id']}/retry")
    assert (status, answer["accepted"], answer["rejected"]) == (200, 2, []), answer
    assert await letters(it) == []
    names = {one["name"] for one in (await it.ask("GET", "/api/v1/alerts"))[1]["items"]}
    assert names >= {"Late", "Two"}


async def test_what_can_be_read_in_part_stays(it: Served) -> None:
    raw = b'{"name": "Late"}\n{"severity": "error"}'
    await it.runtime.dead_letter(DeadLetter(it.runtime.now_ms(), "scripts", "x", raw))
    await it.runtime.dead_letter(DeadLetter(it.runtime.now_ms(), "gone", "x", raw))
    first, second = await letters(it)
    status, answer, _ = await it.ask("POST", f"/api/v1/dead-letters/{first['id']}/retry")
    assert (status, answer["accepted"], len(answer["rejected"])) == (200, 1, 1)
    status, answer, _ = await it.ask("POST", f"/api/v1/dead-letters/{second['id']}/retry")
    assert (status, "source is not in the configuration any more" in answer["error"]) == (409, True)
    assert len(await letters(it)) == 2
    page = (await it.ask("GET", "/api/v1/dead-letters?limit=1"))[1]
    assert page["next"] == first["id"]
    assert [one["id"] for one in (await it.ask("GET", f"/api/v1/dead-letters?cursor={first['id']}"))[1]["items"]] == [
        second["id"]
    ]
