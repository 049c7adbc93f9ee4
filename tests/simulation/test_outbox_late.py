"""What comes late at a sink, and what a restart or a clock must not make of it: scenes on virtual time."""

import asyncio

from tests.fakes.jira import TWIN_LABEL
from tests.simulation.life import Life
from tests.simulation.test_outbox import Fixed, alert, own_incidents, play, weather
from tests.simulation.world import World


async def restarted(world: World) -> None:
    """Killed, and started again."""
    assert world.life is not None
    world.life.end("killed")
    await world.start(Life(world.loop))


def test_a_late_twin_is_found_although_the_daemon_was_restarted_before_it_came() -> None:
    async def scene(world: World) -> None:
        weather(world, "jira", "late", 2)
        world.services.luck = Fixed()
        await alert(world)
        await asyncio.sleep(95)
        assert len(world.services.jira.issues) == 1
        await restarted(world)
        await asyncio.sleep(15 * 60)
        issues = world.services.jira.issues.values()
        assert len(issues) == 2
        assert [issue.status for issue in issues if TWIN_LABEL in issue.labels] == ["Done"]

    play(scene)


def test_a_twin_that_came_while_there_was_no_daemon_is_found() -> None:
    async def scene(world: World) -> None:
        weather(world, "jira", "late", 2)
        world.services.luck = Fixed()
        await alert(world)
        await asyncio.sleep(95)
        assert world.life is not None
        world.life.end("killed")
        await asyncio.sleep(3600)
        await world.start(Life(world.loop))
        await asyncio.sleep(15 * 60)
        assert [TWIN_LABEL in issue.labels for issue in world.services.jira.issues.values()].count(True) == 1

    play(scene)


def test_a_clock_that_is_set_settles_no_absence() -> None:
    async def scene(world: World) -> None:
        weather(world, "jira", "hang_after", 5)
        world.services.jira.lag_s = 45.0
        await alert(world)
        await asyncio.sleep(12)
        world.clock.set_by_ms += 1_800_000
        await asyncio.sleep(600)
        tickets = [one for one in world.services.jira.issues.values() if "Down" in str(one.fields)]
        assert len(tickets) == 1, "it was there, and the search only lagged behind"

    play(scene)


def test_a_page_that_a_late_request_opened_anew_is_ended() -> None:
    async def scene(world: World) -> None:
        world.services.luck = Fixed()
        await alert(world, severity="error")
        await asyncio.sleep(44)
        weather(world, "pagerduty", "late", 5)
        await asyncio.sleep(20)
        assert world.runtime is not None
        (incident,) = world.runtime.engine.state.incidents.rows
        await world.people.say("resolve", incident, "bo")
        await asyncio.sleep(20 * 60)
        pages = world.services.pagerduty.pages
        assert len(pages) == 2, "the late one rang once more"
        assert {page.status for page in pages} == {"resolved"}

    play(scene)


def test_a_condition_that_outlasts_a_restart_ends_although_a_person_had_resolved_its_incident() -> None:
    async def scene(world: World) -> None:
        weather(world, "pagerduty", "error", 3600)
        await alert(world)
        await asyncio.sleep(900)
        assert own_incidents(world) == [("sink-failing", "pager", True)]
        assert world.runtime is not None
        rows = world.runtime.engine.state.incidents.rows
        await world.people.say("resolve", next(number for number, one in rows.items() if one.self_cause), "bo")
        await restarted(world)
        await asyncio.sleep(4 * 3600)
        assert own_incidents(world) == [("sink-failing", "pager", False)]

    play(scene)
