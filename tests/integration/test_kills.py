"""`kill -9` in the middle of everything: nothing that was answered is lost, nothing is doubled at the three sinks."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.integration.conftest import StartSamband
from tests.integration.estate import LONELY, SHOP, again, batches, outage, over
from tests.integration.samband import Samband, Sinks, until

pytestmark = pytest.mark.integration

INCIDENTS = 1 + len(LONELY)
KILLS, KILLS_AT_THE_END = 6, 2
SLOW_S = 0.2
"""A sink takes so long: a kill while it is at it leaves an answer that nobody hears."""
LAG_S = 2.8
"""So long desk and public page do not find what they have just been told; less than `delivery.settle`."""
MOMENTS = ("any", "sending", "starting")


class Monitoring:
    """Somebody who says all that fires again and again, and notes which alerts were answered with a 2xx.

    An outage of the shop comes at once, the lonely services fail one after the other.
    """

    def __init__(self, samband: Samband) -> None:
        self.accepted: set[str] = set()
        self._samband = samband
        self._firing = outage(list(SHOP), 184)
        self._to_come = [outage([name], 3) for name in LONELY]
        self._ended: list[dict[str, Any]] = []

    async def run(self) -> None:
        """Goes on until it is cancelled."""
        while True:
            for batch in batches([*again(self._firing), *self._ended]):
                if await self._samband.send(batch):
                    self.accepted.update(name_of(alert["labels"]) for alert in batch)
            if self._to_come:
                self._firing += self._to_come.pop()
            await asyncio.sleep(0.3)

    def all_is_well(self) -> None:
        """From now on it says that everything is over."""
        self._ended, self._firing = over(self._firing), []

    @property
    def done(self) -> bool:
        """Whether all that will happen has been said, and answered."""
        return not self._to_come and len(self.accepted) == 184 + 3 * len(LONELY)


@pytest.mark.parametrize("store", ["sqlite", "postgresql"])
@pytest.mark.parametrize("seed", [1, *(pytest.param(seed, marks=pytest.mark.soak) for seed in range(2, 6))])
async def test_kills_at_random_moments(
    request: pytest.FixtureRequest, start_samband: StartSamband, sinks: Sinks, seed: int, store: str
) -> None:
    luck = random.Random(seed)
    where: dict[str, Any] = {}
    if store == "postgresql":
        where = {"store": {"type": "postgresql", "dsn": request.getfixturevalue("postgresql")}}
    samband = await start_samband(**where)
    monitoring = Monitoring(samband)
    for sink in sinks.all:
        sink.misbehave("slow", seconds=SLOW_S, times=10_000)
    sinks.desk.lag_s = sinks.page.lag_s = LAG_S

    async with _running(monitoring):
        for turn in range(KILLS):
            await _kill(samband, sinks, luck, MOMENTS[turn % 3])
        await until(lambda: monitoring.done, "every alert answered")
        await until(lambda: _told(sinks) == [INCIDENTS] * 3, "a page, a ticket and an entry for every incident")
        await _nothing_is_lost(samband, monitoring)
        monitoring.all_is_well()
        for turn in range(KILLS_AT_THE_END):
            await _kill(samband, sinks, luck, MOMENTS[(turn + 1) % 3])
        await _all_is_over(samband, sinks)

    sinks.in_order()
    assert _told(sinks) == [INCIDENTS] * 3
    code, said = await samband.cli("db", "check")
    assert code == 0, said


@contextlib.asynccontextmanager
async def _running(monitoring: Monitoring) -> AsyncIterator[None]:
    task = asyncio.create_task(monitoring.run())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def _kill(samband: Samband, sinks: Sinks, luck: random.Random, moment: str) -> None:
    """At any moment; while a sink is at work on what it was sent; or again, while it takes up where it was."""
    if moment == "sending":
        before = sinks.requests()
        with contextlib.suppress(AssertionError):  # nothing to be sent just now: then at this moment
            await until(lambda: sinks.requests() > before, "a request to a sink", within_s=3)
    await asyncio.sleep(luck.uniform(0, SLOW_S if moment == "sending" else 1.5))
    await samband.kill()
    if moment == "starting":
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(samband.start(), luck.uniform(0.3, 2))
        await samband.kill()
    await samband.start()


async def _nothing_is_lost(samband: Samband, monitoring: Monitoring) -> None:
    listed = {name_of(one["labels"]): one for one in await samband.alerts()}
    assert monitoring.accepted <= listed.keys()
    assert {one["status"] for one in listed.values()} == {"firing"}
    found = await samband.incidents()
    assert sorted(len(one["services"]) for one in found) == [1] * len(LONELY) + [len(SHOP)]
    assert sum(one["alerts"]["firing"] for one in found) == len(listed)


async def _all_is_over(samband: Samband, sinks: Sinks) -> None:
    """Every page, ticket and entry ends; the P1's ticket when a person says so."""
    await until(lambda: _resolved(samband), "every incident resolved")
    await until(lambda: not _open(sinks.pager.pages, "resolved"), "no page open")
    await until(lambda: not _open(sinks.page.entries, "resolved"), "no entry open")
    await until(lambda: len(_open(list(sinks.desk.issues.values()), "Done")) == 1, "one ticket open, the P1's")
    [first] = [one for one in await samband.incidents() if one["priority"] == "P1"]
    assert (await samband.cli("incidents", "resolve", first["ref"]))[0] == 0
    await until(lambda: not _open(list(sinks.desk.issues.values()), "Done"), "no ticket open")
    assert {one["generation"] for one in await samband.alerts()} == {1}


async def _resolved(samband: Samband) -> bool:
    found = await samband.incidents()
    return len(found) == INCIDENTS and {one["state"] for one in found} == {"resolved"}


def _told(sinks: Sinks) -> list[int]:
    """How many objects pager, desk and public page have, ended ones included."""
    return [len(sinks.pager.pages), len(sinks.desk.issues), len(sinks.page.entries)]


def _open(objects: list[Any], end: str) -> list[Any]:
    return [one for one in objects if one.status != end]


def name_of(labels: dict[str, str]) -> str:
    """What tells one alert of these tests from the others."""
    return f"{labels['alertname']} {labels['instance']}"
