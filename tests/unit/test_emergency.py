"""Notices out of band, over real sockets to the fakes of two sinks."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass

import pytest

from daemon.clock import SystemClock
from daemon.emergency import TRIES, Emergency
from daemon.http_client import HttpClient
from sinks.messages.webhook import Webhook
from sinks.pagers.pagerduty import PagerDuty
from sinks.registry import build, config_of
from tests.fakes.faults import Fault
from tests.fakes.pagerduty import FakePagerDuty
from tests.fakes.webhook import FakeWebhook

KEY = "samband-web-1-store"


@dataclass
class Scene:
    """The notices, and who gets them."""

    emergency: Emergency
    pager: FakePagerDuty
    hook: FakeWebhook


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    async with AsyncExitStack() as stack:
        pager = await stack.enter_async_context(FakePagerDuty())
        hook = await stack.enter_async_context(FakeWebhook())
        http = await stack.enter_async_context(HttpClient(2))
        phone = config_of(PagerDuty).model_validate(
            {"type": "pagerduty", "url": pager.url, "routing_key": pager.routing_key}
        )
        own = config_of(Webhook).model_validate({"type": "webhook", "url": f"{hook.url}/in"})
        sinks = [build(PagerDuty, "phone", phone, settle_ms=0), build(Webhook, "hook", own, settle_ms=0)]
        yield Scene(Emergency(sinks, http, "web-1", SystemClock(), pause_s=0.01), pager, hook)
        assert pager.violations == hook.violations == []


async def test_a_notice_reaches_every_sink_under_one_key_and_is_taken_back(scene: Scene) -> None:
    scene.emergency.tell("store", "/data/samband.db: disk full; make room on the disk")
    await scene.emergency.close()
    (page,) = scene.pager.pages
    assert (page.key, page.status, page.severity) == (KEY, "triggered", "critical")
    assert "samband on web-1 cannot do its job: store" in page.summary
    assert "make room on the disk" in str(page.details)
    assert [message.type for message in scene.hook.messages] == ["incident.opened"]
    scene.emergency.relieve("store")
    await scene.emergency.close()
    assert page.status == "resolved"
    assert [message.type for message in scene.hook.messages] == ["incident.opened", "incident.resolved"]


async def test_one_notice_per_cause_however_often_it_is_told(scene: Scene) -> None:
    for _ in range(20):
        scene.emergency.tell("store", "it is down")
    scene.emergency.tell("fenced", "another daemon has it")
    await scene.emergency.close()
    assert sorted(page.key for page in scene.pager.pages) == ["samband-web-1-fenced", KEY]
    assert len(scene.pager.requests) == 2


async def test_after_it_was_over_the_same_cause_is_told_again(scene: Scene) -> None:
    for _ in range(2):
        scene.emergency.tell("store", "it is down")
        scene.emergency.relieve("store")
    await scene.emergency.close()
    assert [page.status for page in scene.pager.pages] == ["resolved", "resolved"]


async def test_a_resolve_never_overtakes_a_notice_that_has_trouble(scene: Scene) -> None:
    scene.pager.faults.append(Fault("status", status=503, times=2))
    scene.emergency.tell("store", "it is down")
    await asyncio.sleep(0)
    scene.emergency.relieve("store")
    await scene.emergency.close()
    (page,) = scene.pager.pages
    assert page.status == "resolved"
    assert scene.pager.dropped == []


async def test_a_sink_that_is_dead_is_given_up_and_costs_the_others_nothing(scene: Scene) -> None:
    scene.pager.faults.append(Fault("status", status=500, times=100))
    scene.emergency.tell("store", "it is down")
    await scene.emergency.close()
    assert len(scene.pager.requests) == TRIES
    assert len(scene.hook.messages) == 1


async def test_what_was_never_told_is_not_taken_back(scene: Scene) -> None:
    scene.emergency.relieve("store")
    await scene.emergency.close()
    assert scene.pager.requests == scene.hook.requests == []


async def test_after_a_reload_notices_go_elsewhere_and_earlier_ones_are_taken_back_where_they_are(scene: Scene) -> None:
    async with FakePagerDuty() as other:
        night = config_of(PagerDuty).model_validate(
            {"type": "pagerduty", "url": other.url, "routing_key": other.routing_key}
        )
        scene.emergency.tell("store", "it is down")
        scene.emergency.set_sinks([build(PagerDuty, "night", night, settle_ms=0)])
        scene.emergency.tell("fenced", "another daemon has it")
        scene.emergency.relieve("store")
        await scene.emergency.close()
        assert [(page.key, page.status) for page in scene.pager.pages] == [(KEY, "resolved")]
        assert [page.key for page in other.pages] == ["samband-web-1-fenced"]
        assert (other.violations, other.dropped) == ([], [])


async def test_a_notice_is_taken_back_with_the_new_key_when_the_old_one_is_refused(scene: Scene) -> None:
    scene.emergency.tell("store", "it is down")
    await scene.emergency.close()
    scene.pager.routing_key = "f" * 32
    fresh = config_of(PagerDuty).model_validate(
        {"type": "pagerduty", "url": scene.pager.url, "routing_key": scene.pager.routing_key}
    )
    scene.emergency.set_sinks([build(PagerDuty, "phone", fresh, settle_ms=0)])
    scene.emergency.relieve("store")
    await scene.emergency.close()
    assert [page.status for page in scene.pager.pages] == ["resolved"]
    scene.pager.violations.clear()  # The old key was tried first.


async def test_a_notice_is_taken_back_however_long_the_sink_is_away(scene: Scene) -> None:
    told, taken_back = asyncio.Event(), asyncio.Event()
    scene.pager.on_event = lambda line: (taken_back if "resolve" in line else told).set()
    scene.emergency.tell("store", "it is down")
    await told.wait()
    scene.pager.faults.append(Fault("status", status=503, times=3 * TRIES))
    scene.emergency.relieve("store")
    await taken_back.wait()
    assert len(scene.pager.requests) > 3 * TRIES
    await scene.emergency.close()
    assert [page.status for page in scene.pager.pages] == ["resolved"]
