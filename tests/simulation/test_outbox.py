"""The outbox with everything around it that is real, in scenes on virtual time."""

import asyncio
import json
from collections.abc import Callable, Coroutine
from random import Random
from typing import Any

import pytest

from daemon.sources.formats.base import Context
from daemon.sources.formats.native import Native
from daemon.store.base import OutboxRow
from tests.fakes.jira import TWIN_LABEL
from tests.simulation.life import Dead, Life
from tests.simulation.loop import VirtualLoop, run_virtual
from tests.simulation.services import LATE_S, Spell
from tests.simulation.world import World

Scene = Callable[[World], Coroutine[Any, Any, None]]


def play(scene: Scene) -> None:
    """A calm world with a running daemon."""

    async def main(loop: VirtualLoop) -> None:
        world = World(loop, 0, calm=True)
        try:
            await world.start(Life(loop))
            await scene(world)
            assert not world.wrongs
        finally:
            world.disk.close()

    run_virtual(main)


class Fixed(Random):
    """No luck: what comes late comes 90 s late, and Retry-After is 77 s."""

    def uniform(self, a: float, b: float) -> float:
        """See Random."""
        return 90.0 if b == LATE_S else a

    def randint(self, a: int, b: int) -> int:
        """See Random."""
        return 77


async def alert(world: World, name: str = "Down", *, severity: str = "critical", over: bool = False) -> None:
    """One alert, acknowledged."""
    item = {"name": name, "service": "shop", "severity": severity, "status": "resolved" if over else "firing"}
    parsed = Native().parse(json.dumps(item).encode(), Context("scripts", world.clock.wall_ms()))
    assert await world.intake(parsed.alerts)


def weather(world: World, service: str, trouble: str, seconds: float) -> None:
    """From now on, and for so long, every request to that service meets that trouble."""
    now = world.loop.time()
    world.services.spells.append(Spell(service, now, now + seconds, (trouble,), 1.0))


def rows(world: World, sink: str) -> list[tuple[str, str]]:
    """(action, state) of the rows for a sink, oldest first."""
    return [
        (action, state)
        for action, state in world.disk.read("SELECT action, state FROM outbox WHERE sink = ? ORDER BY id", sink)
    ]


def own_incidents(world: World) -> list[tuple[str, str, bool]]:
    """Cause, sink and whether it is live, of the incidents about samband itself."""
    assert world.runtime is not None
    found = world.runtime.engine.state.incidents.rows.values()
    return [(one.self_cause, one.self_sink, one.live) for one in found if one.self_cause]


def test_a_page_leaves_in_time_while_the_other_sinks_hang() -> None:
    async def scene(world: World) -> None:
        for service in ("jira", "statuspage", "webhook"):
            weather(world, service, "hang", 600)
        await alert(world)
        await asyncio.sleep(30)
        assert [page.status for page in world.services.pagerduty.pages] == ["triggered"]
        assert not world.services.jira.issues

    play(scene)


def test_an_incident_is_opened_and_ended_once_at_every_sink() -> None:
    async def scene(world: World) -> None:
        await alert(world, severity="error")
        await asyncio.sleep(60)
        await alert(world, severity="error", over=True)
        await asyncio.sleep(3600)
        services = world.services
        assert [page.status for page in services.pagerduty.pages] == ["resolved"]
        assert [issue.status for issue in services.jira.issues.values()] == ["Done"]
        assert [entry.status for entry in services.statuspage.entries] == ["resolved"]
        assert set(services.statuspage.shown.values()) == {"operational"}
        types = [message.type for message in services.webhook.messages]
        assert (types[0], types[-1]) == ("incident.opened", "incident.resolved")

    play(scene)


def test_what_was_never_sent_is_dropped_with_its_end() -> None:
    async def scene(world: World) -> None:
        weather(world, "pagerduty", "refused", 3600)
        await alert(world, severity="error")
        await asyncio.sleep(120)
        await alert(world, severity="error", over=True)
        await asyncio.sleep(4 * 3600)
        assert rows(world, "pager") == [("create", "superseded"), ("resolve", "superseded")]
        assert not world.services.pagerduty.pages
        assert not world.services.pagerduty.dropped

    play(scene)


def test_a_sink_that_fails_is_an_incident_of_its_own_that_goes_over_another_sink_and_ends() -> None:
    async def scene(world: World) -> None:
        weather(world, "pagerduty", "error", 1200)
        await alert(world)
        await asyncio.sleep(900)
        assert own_incidents(world) == [("sink-failing", "pager", True)]
        assert len(world.services.jira.issues) == 2
        await asyncio.sleep(3600)
        assert own_incidents(world) == [("sink-failing", "pager", False)]
        assert len(world.services.pagerduty.pages) == 1, "nothing about the pager goes over the pager"

    play(scene)


def test_a_dead_letter_is_told_of_over_other_sinks_and_keeps_back_its_object() -> None:
    async def scene(world: World) -> None:
        weather(world, "jira", "rejected", 100)
        await alert(world)
        await asyncio.sleep(200)
        assert rows(world, "desk")[0] == ("create", "dead")
        assert own_incidents(world) == [("dead-letter", "desk", True)]
        await alert(world, "Slow", severity="warning")
        await asyncio.sleep(3600)
        assert not [issue for issue in world.services.jira.issues.values() if "Slow" in str(issue.fields)]
        assert [state for action, state in rows(world, "desk") if action == "update"] == ["waiting"]

    play(scene)


@pytest.mark.parametrize("trouble", ["hang_after", "reset_after", "error_after"])
def test_a_ticket_whose_making_was_unclear_is_looked_for_and_adopted(trouble: str) -> None:
    async def scene(world: World) -> None:
        weather(world, "jira", trouble, 5)
        await alert(world)
        await asyncio.sleep(120)
        assert rows(world, "desk")[0] == ("create", "done")
        assert len(world.services.jira.issues) == 1

    play(scene)


def test_a_late_twin_is_linked_and_closed_within_fifteen_minutes() -> None:
    async def scene(world: World) -> None:
        weather(world, "jira", "late", 2)
        # It comes so late that a settled search has shown nothing and it was made again.
        world.services.luck = Fixed()
        await alert(world)
        await asyncio.sleep(15 * 60)
        issues = world.services.jira.issues.values()
        assert len(issues) == 2
        assert [TWIN_LABEL in issue.labels for issue in issues].count(True) == 1
        assert [issue.status for issue in issues if TWIN_LABEL in issue.labels] == ["Done"]

    play(scene)


def test_the_time_that_a_service_asks_for_is_kept() -> None:
    async def scene(world: World) -> None:
        world.services.luck = Fixed()
        weather(world, "pagerduty", "throttled", 16)
        await alert(world)
        asked: list[float] = []
        world.services.pagerduty.on_event = lambda line: asked.append(world.loop.time())
        await asyncio.sleep(300)
        assert len(asked) == 1
        assert 92 < asked[0] < 100

    play(scene)


@pytest.mark.parametrize("point", ["before-mark", "after-mark", "before-send", "after-send", "before-delivered"])
@pytest.mark.parametrize("passing", [1, 2, 3, 4])
def test_one_object_after_a_death_at_any_point(point: str, passing: int) -> None:
    async def main(loop: VirtualLoop) -> None:
        world = World(loop, 0, calm=True)
        life = Life(loop, (point, passing))
        await world.start(life)
        try:
            await alert(world)
            await asyncio.sleep(200)
        except (AssertionError, Dead):
            assert not life.alive
        life.end("at last")
        await world.start(Life(loop))
        await alert(world)
        await asyncio.sleep(900)
        services = world.services
        try:
            assert len(services.pagerduty.pages) == 1
            assert len(services.jira.issues) == 1
            assert len(services.statuspage.entries) == 1
            assert [message.type for message in services.webhook.messages].count("incident.opened") <= 1
        finally:
            world.disk.close()

    run_virtual(main)


def test_a_stop_finishes_what_is_under_way_and_begins_nothing_more() -> None:
    async def scene(world: World) -> None:
        weather(world, "jira", "slow", 60)
        weather(world, "pagerduty", "refused", 20)
        await alert(world)
        await asyncio.sleep(1)
        assert world.outbox is not None
        assert world.runtime is not None
        await world.outbox.stop(20.0)
        assert rows(world, "desk") == [("create", "done")]
        await world.runtime.stop()
        await asyncio.sleep(600)
        assert not world.services.pagerduty.pages

    play(scene)


async def dead_after_a_restart(world: World) -> OutboxRow:
    """A ticket that the desk refused; the daemon has died since, and lives again."""
    weather(world, "jira", "rejected", 100)
    await alert(world)
    await asyncio.sleep(200)
    assert world.life is not None
    world.life.end("killed")
    await world.start(Life(world.loop))
    assert world.runtime is not None
    (dead,) = [row for row in world.runtime.recovered.outbox if row.state == "dead"]
    return dead


def test_a_dead_letter_that_a_person_tries_again_is_made_once_and_goes_on() -> None:
    async def scene(world: World) -> None:
        dead = await dead_after_a_restart(world)
        assert world.outbox is not None
        assert await world.outbox.retry(dead, "bo") == ""
        assert await world.outbox.retry(dead, "bo") == "it is being tried already"
        assert await world.outbox.drop(dead, "bo", "x") == "it is being tried again"
        await asyncio.sleep(900)
        assert rows(world, "desk")[0] == ("create", "done")
        assert own_incidents(world) == [("dead-letter", "desk", False)]
        await alert(world, over=True)
        await asyncio.sleep(3600)
        (issue,) = [issue for issue in world.services.jira.issues.values() if "Down" in str(issue.fields)]
        assert issue.comments or issue.status == "Done"
        (line,) = world.disk.read("SELECT actor FROM timeline WHERE text = 'create of ticket at desk: tried again'")
        assert line == ("bo",)

    play(scene)


def test_a_dead_letter_that_a_person_drops_keeps_nothing_back() -> None:
    async def scene(world: World) -> None:
        dead = await dead_after_a_restart(world)
        await alert(world, "Slow", severity="warning")
        await asyncio.sleep(1200)
        assert world.outbox is not None
        assert await world.outbox.drop(dead, "bo", "told by phone") == ""
        await asyncio.sleep(900)
        assert rows(world, "desk")[0] == ("create", "superseded")
        assert not [action for action, state in rows(world, "desk") if state in ("waiting", "dead")]
        assert own_incidents(world) == [("dead-letter", "desk", False)]
        assert world.outbox.unfinished() == 0

    play(scene)
