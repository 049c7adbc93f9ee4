"""A reload, of the real process: what is wrong changes nothing, what is right moves no timer and tells nobody again."""

import asyncio
import json
import os
import resource
import signal
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from tests.fakes.pagerduty import FakePagerDuty
from tests.fakes.webhook import FakeWebhook
from tests.integration.conftest import StartSamband
from tests.integration.estate import DELIVERY, LONELY, TIMING, alert, outage
from tests.integration.samband import Samband, Sinks, until

pytestmark = pytest.mark.integration

TOKEN, OTHER = "a-token-of-the-source", "another-token-of-it"
QUIET_S = 2.0
"""Long enough for anything that would be sent at once."""


@pytest.fixture
async def hooks() -> AsyncIterator[tuple[FakeWebhook, FakeWebhook]]:
    """Two receivers of messages."""
    async with AsyncExitStack() as running:
        both = [await running.enter_async_context(FakeWebhook()) for _ in range(2)]
        yield both[0], both[1]
        assert [one.violations for one in both] == [[], []]


def write(samband: Samband, **changes: Any) -> None:
    """Other keys in the daemon's configuration file."""
    samband.config.write_text(json.dumps({**json.loads(samband.config.read_text()), **changes}))


async def reload(samband: Samband, **changes: Any) -> None:
    """Puts these keys in force."""
    write(samband, **changes)
    assert await samband.ask("POST", "/-/reload") == (200, {"reloaded": True})


async def signalled(samband: Samband, event: str) -> dict[str, Any]:
    """Sends SIGHUP, and waits for a line of the log that was not there before."""
    before = len(samband.events)
    os.kill(samband.pid, signal.SIGHUP)

    def line() -> Any:
        return next((one for one in samband.events[before:] if one["event"] == event), None)

    found: dict[str, Any] = await until(line, f"{event} in the log")
    return found


def hook(fake: FakeWebhook) -> dict[str, Any]:
    """A sink that posts to it."""
    return {"type": "webhook", "url": f"{fake.url}/in"}


# ---- wrong ---------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"timing": {"first_page": "soon"}}, "timing.first_page"),
        ({"sinks": {"pager": {"type": "pagerduty"}}}, "sinks.pager"),
        ({"policies": [{"to": ["nobody"]}]}, "nobody"),
        ({"services": "services.yaml"}, "services"),
    ],
)
async def test_what_is_wrong_is_named_with_its_place_and_changes_nothing(
    start_samband: StartSamband, sinks: Sinks, changes: dict[str, Any], says: str
) -> None:
    samband = await start_samband()
    good = samband.config.read_text()
    write(samband, **changes)

    status, answer = await samband.ask("POST", "/-/reload")
    line = await signalled(samband, "reload_failed")

    assert status == 422
    for text in (answer["error"], line["text"]):
        assert f"{samband.config}:1:" in text, "file and line (JSON has one)"
        assert says in text
    assert "samband_config_last_reload_successful 0.0" in await samband.get("/metrics")
    assert await samband.send(outage(["checkout"], 1))
    await until(lambda: len(sinks.pager.pages) == len(sinks.desk.issues) == 1, "told as the old configuration says")
    samband.config.write_text(good)
    await signalled(samband, "reloaded")
    assert "samband_config_last_reload_successful 1.0" in await samband.get("/metrics")


async def test_a_file_that_is_no_yaml_or_gone_changes_nothing(start_samband: StartSamband) -> None:
    samband = await start_samband()
    good = samband.config.read_text()
    samband.config.write_text("sources:\n  a: {type: native\n")
    status, answer = await samband.ask("POST", "/-/reload")
    assert (status, f"{samband.config}:3" in answer["error"]) == (422, True), answer
    samband.config.unlink()
    status, answer = await samband.ask("POST", "/-/reload")
    assert (status, str(samband.config) in answer["error"]) == (422, True), answer
    samband.config.write_text(good)
    assert await samband.ask("POST", "/-/reload") == (200, {"reloaded": True})


# ---- right ---------------------------------------------------------------------------------------
async def test_no_timer_moves_and_nobody_is_told_again(start_samband: StartSamband, sinks: Sinks) -> None:
    samband = await start_samband(timing={**TIMING, "first_page": "4s"})
    assert await samband.send(outage(["checkout"], 3))
    await until(lambda: len(sinks.pager.pages) == len(sinks.desk.issues) == len(sinks.page.entries) == 1, "all told")
    began = time.monotonic()
    assert await samband.send(outage(["batch-00"], 3))
    await until(lambda: len(sinks.desk.issues) == 2, "the second one's ticket; its page is held back")
    before = sinks.requests()

    for wait in ("10m", "0s", "10m"):
        await reload(samband, timing={**TIMING, "first_page": wait})
    await signalled(samband, "reloaded")
    await asyncio.sleep(1)

    assert sinks.requests() == before, "neither told again nor paged early"
    await until(lambda: len(sinks.pager.pages) == 2, "the second page at its time")
    assert 3.5 < time.monotonic() - began < 15
    await asyncio.sleep(QUIET_S)
    assert len(sinks.pager.pages) == 2


async def test_sources_tokens_and_limits_follow(start_samband: StartSamband, sinks: Sinks) -> None:
    samband = await start_samband(sources={"scripts": {"type": "native", "token": TOKEN}})
    one = {"name": "Down", "service": "checkout", "severity": "info"}

    async def answered(body: object, token: str, path: str = "/api/v1/alerts") -> int:
        return (await samband.ask("POST", path, body, token=token))[0]

    assert [await answered(one, TOKEN), await answered(one, OTHER)] == [200, 401]
    await reload(
        samband,
        sources={"scripts": {"type": "native", "token": OTHER}, "prometheus": {"type": "alertmanager"}},
        limits={"batch_alerts_max": 2, "body_bytes_max": 4096},
    )
    assert [await answered(one, TOKEN), await answered(one, OTHER)] == [401, 200]
    assert await answered([one] * 3, OTHER) == 413
    assert await answered({**one, "summary": "x" * 5000}, OTHER) == 413
    assert await samband.send([alert("Slow", "info", service="checkout")])
    listed = await samband.alerts()
    assert {item["source"] for item in listed} == {"scripts", "prometheus"}
    await reload(samband, sources={"prometheus": {"type": "alertmanager"}})
    assert await answered(one, OTHER) in (401, 404)
    assert len(await samband.alerts()) == len(listed), "what a source has sent outlives it"


async def test_the_time_out_of_deliveries_follows(start_samband: StartSamband, sinks: Sinks) -> None:
    samband = await start_samband(delivery={**DELIVERY, "timeout": "5m"})
    await reload(samband, delivery={**DELIVERY, "timeout": "300ms"})
    sinks.pager.misbehave("hang", times=1)
    assert await samband.send(outage(["checkout"], 1))
    await until(lambda: len(sinks.pager.pages) == 1, "the second attempt, after the first was given up", 20)
    assert len(sinks.pager.requests) == 2


async def test_a_sink_that_comes_with_the_policy_that_names_it_is_there_when_it_is_needed(
    start_samband: StartSamband, sinks: Sinks, hooks: tuple[FakeWebhook, FakeWebhook]
) -> None:
    samband = await start_samband(mode="shadow", policies=[{"to": ["desk"]}])
    assert await samband.send(outage(["checkout"], 1))
    await until(lambda: _in_shadow(samband, "desk"), "decided in shadow")
    await reload(samband, mode="live", sinks={**sinks.config(), "hook": hook(hooks[0])}, policies=[{"to": ["hook"]}])
    await until(lambda: len(hooks[0].messages) == 2, "the summary and the message")
    assert await samband.get("/api/v1/dead-letters") == {"items": [], "next": None}


async def test_what_waits_for_a_sink_goes_to_it_as_it_is_now(
    start_samband: StartSamband, sinks: Sinks, hooks: tuple[FakeWebhook, FakeWebhook]
) -> None:
    """Eight conversations hang at the old address; what comes after them must not begin there."""
    old, new = hooks
    to_hook = [{"to": ["hook"]}]
    samband = await start_samband(
        sinks={"hook": hook(old)}, policies=to_hook, services={}, delivery={**DELIVERY, "timeout": "4s"}
    )
    old.misbehave("hang", times=8)
    assert await samband.send([alert("Down", "critical", service=f"s{number}") for number in range(12)])
    await until(lambda: len(old.requests) == 8, "as many conversations as a sink may have")
    await reload(samband, sinks={"hook": hook(new)})
    await until(lambda: len(new.messages) == 4, "the rest")
    await asyncio.sleep(5)
    assert len(old.requests) == 8


# ---- out of band -----------------------------------------------------------------------------------
async def test_emergency_sinks_follow_and_what_was_told_before_is_still_taken_back(
    start_samband: StartSamband, sinks: Sinks
) -> None:
    async with FakePagerDuty() as night:
        both = {**sinks.config(), "night": {"type": "pagerduty", "url": night.url, "routing_key": night.routing_key}}
        samband = await start_samband(sinks=both, emergency=["pager"])
        unlimited = await _full_disk(samband)
        await until(lambda: _notice(sinks.pager, "triggered"), "a notice at the pager")

        write(samband, emergency=["night"])
        os.kill(samband.pid, signal.SIGHUP)
        await asyncio.sleep(1)
        resource.prlimit(samband.pid, resource.RLIMIT_FSIZE, unlimited)
        await until(lambda: samband.send(outage(list(LONELY), 8)), "taken again, once there is room")
        await until(lambda: _notice(sinks.pager, "resolved"), "the notice taken back where it was told")
        assert night.requests == []

        unlimited = await _full_disk(samband)
        await until(lambda: _notice(night, "triggered"), "the next one at the other pager")
        resource.prlimit(samband.pid, resource.RLIMIT_FSIZE, unlimited)
        await until(lambda: _notice(night, "resolved"), "and taken back")
        assert [page.status for page in sinks.pager.pages if page.key.endswith("-store")] == ["resolved"]
        assert (night.violations, night.doubles()) == ([], [])


async def _full_disk(samband: Samband) -> tuple[int, int]:
    """Its files can grow no further; what the limit was before."""
    unlimited = resource.prlimit(samband.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(samband.pid, resource.RLIMIT_FSIZE, (64 * 1024, unlimited[1]))

    async def refused() -> bool:
        batch = [alert(f"Filler{number}", "info", service=name) for name in LONELY for number in range(5)]
        return (await samband.ask("POST", "/api/v2/alerts", batch))[0] == 503

    await until(refused, "an answer that it cannot be made durable")
    return unlimited


def _notice(pager: FakePagerDuty, status: str) -> bool:
    return any(page.key.endswith("-store") and page.status == status for page in pager.pages)


# ---- from shadow to live -----------------------------------------------------------------------------
@pytest.mark.parametrize("how", ["reload", "restart"])
async def test_from_shadow_to_live(
    start_samband: StartSamband, sinks: Sinks, hooks: tuple[FakeWebhook, FakeWebhook], how: str
) -> None:
    own = hooks[0]
    samband = await start_samband(
        mode="shadow",
        timing={**TIMING, "first_page": "1s"},
        sinks={**sinks.config(), "hook": hook(own)},
        policies=[
            {"when": 'priority=~"P1|P2"', "to": ["pager", "desk", "hook"]},
            {"when": 'priority=~"P3|P4"', "to": ["desk", "hook"]},
        ],
    )
    assert await samband.send(outage(["checkout"], 3))
    assert await samband.send(outage(["portal"], 2))
    assert await samband.send([alert("Slow", "warning", service="batch-00")])
    loud, seen, quiet = await samband.incidents("open")
    assert [loud["priority"], seen["priority"], quiet["priority"]] == ["P1", "P1", "P4"]
    assert (await samband.ask("POST", f"/api/v1/incidents/{seen['id']}/ack", {}))[0] == 200
    await until(lambda: _in_shadow(samband, "pager", 2), "both would have been paged")
    assert sinks.requests() == len(own.requests) == 0

    if how == "reload":
        await reload(samband, mode="live")
    else:
        assert await samband.stop() == 0
        write(samband, mode="live")
        await samband.start()
    await until(lambda: len(sinks.pager.pages) == len(sinks.desk.issues) == 1, "the one that nobody acknowledged")
    await asyncio.sleep(QUIET_S)

    assert loud["ref"] in str(sinks.pager.pages[0].details) + sinks.pager.pages[0].summary
    assert [message.type for message in own.messages] == ["incident.summary", "incident.opened"]
    summary = own.messages[0]
    assert [one["ref"] for one in summary.incidents] == [loud["ref"], seen["ref"], quiet["ref"]]
    assert summary.text.splitlines()[0] == "samband is live: 3 open incidents"
    assert "acknowledged by" in summary.text
    assert len(sinks.pager.pages) == len(sinks.desk.issues) == 1

    assert await samband.send([alert("Slower", "warning", service="batch-00")])
    await until(lambda: len(sinks.desk.issues) == 2, "the quiet one acts from its next change")
    assert await samband.send(outage(["portal"], 4))
    await until(lambda: len(sinks.desk.issues) == 3, "the acknowledged one too")
    await reload(samband, external_url="https://samband.example")
    await asyncio.sleep(QUIET_S)
    assert len(sinks.pager.pages) == 1, "who has acknowledged is not paged"
    assert [message.type for message in own.messages].count("incident.summary") == 1


async def _in_shadow(samband: Samband, sink: str, number: int = 1) -> bool:
    found = [await samband.get(f"/api/v1/incidents/{one['id']}") for one in await samband.incidents()]
    lines = [line["text"] for one in found for line in one["timeline"] if line["kind"] == "shadow"]
    return sum(f"at {sink} " in line for line in lines) == number
