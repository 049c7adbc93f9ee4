"""People's hands on a real daemon, by command line: silences, windows, changes, verbs, dead letters."""

import json
from typing import Any

import pytest

from tests.integration.conftest import StartSamband
from tests.integration.estate import alert
from tests.integration.samband import Samband, Sinks, until

pytestmark = pytest.mark.integration


async def cli(samband: Samband, *words: str) -> str:
    """A command that must work; what it says."""
    code, said = await samband.cli(*words)
    assert code == 0, f"{words}: {said}"
    return said


async def as_json(samband: Samband, *words: str) -> Any:
    return json.loads(await cli(samband, *words, "--json"))


async def test_a_silence_is_previewed_made_survives_a_kill_and_is_expired(
    start_samband: StartSamband, sinks: Sinks
) -> None:
    samband = await start_samband()
    assert await samband.send([alert("DiskFull", "critical", service="batch-01")])
    await until(lambda: sinks.pager.pages, "a page")

    preview = await as_json(samband, "silence", "add", "DiskFull", "--for", "2h", "--dry-run")
    assert (preview["matching"], preview["silence"]) == (1, None)
    said = await cli(samband, "silence", "add", "DiskFull", "service=~batch-.*", "--for", "2h", "-c", "patching")
    assert 'alertname="DiskFull", service=~"batch-.*"' in said
    assert "holds 1 alerts now" in said
    assert "To end it before: samband silence expire " in said
    refused, why = await samband.cli("silence", "add", "DiskFull", "--for", "8d")
    assert (refused, "7 days at most" in why) == (1, True)

    await samband.kill()
    await samband.start()
    (one,) = (await as_json(samband, "silence", "list"))["items"]
    assert (one["state"], one["holding"], one["comment"]) == ("active", 1, "patching")
    assert "held: silence" in await cli(samband, "incidents", "show", "INC-1")
    assert await samband.send([alert("DiskFull", "critical", service="batch-02")])
    assert one["id"] in await cli(samband, "silence", "expire", one["id"])
    assert (await samband.cli("silence", "expire", one["id"]))[0] == 1
    assert [item["alerts"]["held"] for item in await samband.incidents()] == [0, 0]


async def test_a_window_and_a_change(start_samband: StartSamband) -> None:
    samband = await start_samband()
    window = await as_json(
        samband, "maintenance", "add", "service=wiki", "--start", "2098-01-01T00:00:00Z", "--for", "3h", "-c", "CHG-1"
    )
    assert window["silence"]["state"] == "pending"
    assert "CHG-1" in await cli(samband, "maintenance", "list")
    await cli(samband, "maintenance", "end", window["silence"]["id"])
    assert (await as_json(samband, "maintenance", "list"))["items"] == []

    await cli(samband, "changes", "add", "proxy 2.4", "--service", "orders-db", "--id", "CHG-8812")
    assert await samband.send([alert("Down", "critical", service="orders-db")])
    assert "CHG-8812" in await cli(samband, "incidents", "show", "INC-1")
    assert (await as_json(samband, "changes", "list", "--service", "orders-db"))["items"][0]["summary"] == "proxy 2.4"
    assert (await samband.cli("changes", "add", "x", "--service", "a", "--at", "soon"))[0] == 1


async def test_the_responders_verbs(start_samband: StartSamband) -> None:
    samband = await start_samband()
    told = await as_json(samband, "incidents", "create", "No log-in", "--service", "portal", "--severity", "critical")
    ref = told["incident"]["ref"]
    for words in (
        ("ack", ref, "--note", "on it"),
        ("unack", ref),
        ("snooze", ref, "--for", "1h"),
        ("hold", ref, "--reason", "the vendor"),
        ("resume", ref),
        ("assign", ref, "databases"),
        ("priority", ref, "P3", "--reason", "a test"),
        ("note", ref, "failed over"),
        ("resolve", ref),
        ("reopen", ref),
        ("resolve", ref),
        ("close", ref),
    ):
        await cli(samband, "incidents", *words)
    shown = await as_json(samband, "incidents", "show", ref)
    assert (shown["state"], shown["owner"], shown["priority"]) == ("closed", "databases", "P3")
    assert {"on it", "failed over", "the vendor"} <= {one["text"] for one in shown["timeline"]}

    parts = [alert("Down", "critical", service="batch-03"), alert("Slow", "critical", service="batch-03", pod="p2")]
    assert await samband.send(parts)
    (whole,) = await samband.incidents("open")
    assert "1 of the alerts" in await cli(samband, "incidents", "split", whole["ref"], "Slow")
    assert (await samband.cli("incidents", "split", whole["ref"], "Slow"))[0] == 1
    other = next(one for one in await samband.incidents("open") if one["ref"] != whole["ref"])
    await cli(samband, "incidents", "merge", other["ref"], "--into", whole["ref"])
    assert [one["ref"] for one in await samband.incidents("open")] == [whole["ref"]]


async def test_unreadable_input_is_shown_and_dropped(start_samband: StartSamband) -> None:
    samband = await start_samband()
    assert (await samband.ask("POST", "/api/v1/alerts", {"service": "wiki"}))[0] == 422
    (letter,) = (await as_json(samband, "dead-letters", "list", "--kind", "input"))["items"]
    assert letter["id"] in await cli(samband, "dead-letters", "list")
    assert "wiki" in await cli(samband, "dead-letters", "show", letter["id"])
    code, said = await samband.cli("dead-letters", "retry", letter["id"])
    assert (code, "name is required" in said) == (1, True)
    await cli(samband, "dead-letters", "drop", letter["id"], "--reason", "a test")
    assert (await as_json(samband, "dead-letters", "list"))["items"] == []


async def test_a_page_that_was_refused_is_sent_again_by_a_person(start_samband: StartSamband, sinks: Sinks) -> None:
    samband = await start_samband()
    sinks.pager.misbehave("status", status=400, method="POST", times=1)
    assert await samband.send([alert("Down", "critical", service="batch-01")])

    async def dead() -> Any:
        return (await samband.get("/api/v1/dead-letters?kind=send"))["items"]

    (letter,) = await until(dead, "a dead letter")
    assert (letter["origin"], letter["action"], letter["reason"]) == ("pager", "create", "refused")
    assert "create at pager is being tried again" in await cli(samband, "dead-letters", "retry", letter["id"])
    key = await until(lambda: [page.key for page in sinks.pager.pages if "Down" in page.summary], "the page")
    assert (await dead()) == []
    assert (await samband.cli("dead-letters", "retry", letter["id"]))[0] == 1
    await cli(samband, "incidents", "resolve", "INC-1")
    await until(lambda: not sinks.pager.open_objects(key[0]), "its end")
    timeline = (await as_json(samband, "incidents", "show", "INC-1"))["timeline"]
    assert "create of page at pager: tried again" in {one["text"] for one in timeline}
