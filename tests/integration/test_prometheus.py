"""A real Prometheus, pointed at samband unchanged: from a firing rule to pager, desk and public page, and back."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.counterparts.fixtures import StartPrometheus
from tests.counterparts.listener import Gauges
from tests.counterparts.prometheus import Prometheus, Rule
from tests.fakes.jira_rules import plain
from tests.integration.conftest import StartSamband
from tests.integration.estate import TIMING
from tests.integration.samband import Samband, Sinks, until

pytestmark = pytest.mark.integration

DOWN = Rule("Down", "down == 1", {"severity": "critical"}, {"summary": "{{ $labels.service }} is down"}, wait="1s")
# Prometheus needs some 8 s from its start to its first word, and says its word again every 4 s.
DOWN_SLOWLY = replace(DOWN, wait="18s")
GONE = Rule("Gone", 'down{service="batch-01"} == 1', {"severity": "critical"})
WATCHDOG = Rule("Watchdog", "vector(1)", {"severity": "none"})
P1, P2 = 'down{service="checkout"}', 'down{service="batch-00"}'

# While the alert is pending again after a restart, Watchdog alone talks for longer than `lapse_after`.
WAITS = {**TIMING, "first_page": "1s", "lapse_after": "2s", "lapse_after_gap": "60s"}


async def test_from_a_firing_rule_to_green_with_a_killed_prometheus_between(
    start_samband: StartSamband, start_prometheus: StartPrometheus, gauges: Gauges, sinks: Sinks
) -> None:
    samband = await start_samband(timing=WAITS)
    gauges.set(P1, 1)
    gauges.set(P2, 1)
    prometheus = await start_prometheus([samband.url], [DOWN, WATCHDOG], [gauges.address])
    await _everybody_is_told(samband, sinks)

    await _killed_and_back(prometheus, samband)
    assert [one["state"] for one in await samband.incidents()] == ["open", "open"]

    gauges.set(P1, 0)
    gauges.set(P2, 0)
    await until(lambda: _all_are(samband, "resolved"), "both incidents resolved")
    await until(lambda: sinks.page.shown["gcvfrw2r8w36"] == "operational", "the component is green")
    await until(lambda: all(entry.status == "resolved" for entry in sinks.page.entries), "the entries have ended")

    await _the_first_ticket_waits_for_a_person(samband, sinks)
    for incident in await samband.incidents():
        await _nothing_healed_before_the_rule_stopped(samband, incident)
    assert [page.status for page in sinks.pager.pages] == ["resolved"] * 2
    assert [page.log for page in sinks.pager.pages] == [[], []], "nobody was paged twice"
    assert len(sinks.desk.issues) == len(sinks.page.entries) == 2


async def test_a_rule_that_was_deleted_heals_once_its_prometheus_has_talked_on_without_it(
    start_samband: StartSamband, start_prometheus: StartPrometheus, gauges: Gauges, sinks: Sinks
) -> None:
    samband = await start_samband(timing=WAITS)
    gauges.set('down{service="batch-01"}', 1)
    prometheus = await start_prometheus([samband.url], [GONE, WATCHDOG], [gauges.address])
    await until(lambda: len(sinks.pager.pages) == 1, "the page")

    await prometheus.load([WATCHDOG])
    await until(lambda: _all_are(samband, "resolved"), "the incident resolved")

    [gone] = [one for one in await samband.alerts() if one["name"] == "Gone"]
    incident = await samband.get(f"/api/v1/incidents/{gone['incident']}")
    assert gone["status"] == "expired", "nobody has said that it is well again"
    assert _at(_of_kind(incident, "clear")["at"]) - _at(gone["ends_at"]) >= timedelta(seconds=2)
    await until(lambda: sinks.pager.pages[0].status == "resolved", "the page resolved")


async def _everybody_is_told(samband: Samband, sinks: Sinks) -> None:
    """One page, one ticket and one entry for each of the two; a P1's component is red."""
    await until(lambda: len(sinks.pager.pages) == 2, "two pages")
    await until(lambda: len(sinks.desk.issues) == 2, "two tickets")
    await until(lambda: len(sinks.page.entries) == 2, "two entries on the public page")
    await until(lambda: _watchdog(samband), "Watchdog: by its start, too, a restart is seen")
    found = {one["services"][0]: one for one in await samband.incidents("open")}
    assert {name: one["priority"] for name, one in found.items()} == {"checkout": "P1", "batch-00": "P2"}
    assert "checkout is tier 1" in found["checkout"]["derivation"]
    assert {page.severity for page in sinks.pager.pages} == {"critical", "error"}
    assert sinks.page.shown["gcvfrw2r8w36"] == "major_outage"
    assert any("checkout is down" in page.details["page"] for page in sinks.pager.pages)


async def _killed_and_back(prometheus: Prometheus, samband: Samband) -> None:
    """Kills it until all that it said has run out; starts it, and waits until what has a `for` fires again."""
    await prometheus.load([DOWN_SLOWLY, WATCHDOG])
    await prometheus.kill()
    await until(lambda: _statuses(samband, "stale"), "what nobody vouches for any more is said to be stale")
    await prometheus.start()
    await until(lambda: _watchdog(samband), "Prometheus talks again")
    assert await _statuses(samband, "stale"), "and says nothing of what is pending"
    await until(lambda: _statuses(samband, "firing"), "the alerts fire again")


async def _the_first_ticket_waits_for_a_person(samband: Samband, sinks: Sinks) -> None:
    """All is well; a P2's ticket is closed, a P1's says so and stays, until a person resolves its incident."""
    tickets = {"checkout" in ticket.fields["summary"]: ticket for ticket in sinks.desk.issues.values()}
    first, second = tickets[True], tickets[False]
    await until(lambda: second.status == "Done", "the P2's ticket is done")
    await until(lambda: first.comments, "the P1's ticket has a comment")
    assert "resolved" in plain(first.comments[-1])
    assert first.status == "To Do"

    [ref] = [one["ref"] for one in await samband.incidents() if one["priority"] == "P1"]
    code, said = await samband.cli("incidents", "resolve", ref)
    assert code == 0, said
    await until(lambda: first.status == "Done", "the P1's ticket is done")


async def _nothing_healed_before_the_rule_stopped(samband: Samband, incident: dict[str, Any]) -> None:
    """There was one all clear, and the public page turned green so long after it."""
    shown = await samband.get(f"/api/v1/incidents/{incident['id']}")
    kinds = [line["kind"] for line in shown["timeline"]]
    assert kinds.count("clear") == 1, kinds
    assert "reopened" not in kinds
    assert "raise" not in kinds
    [green] = [one for one in shown["deliveries"] if one["sink"] == "page" and one["action"] == "resolve"]
    assert _at(green["at"]) - _at(_of_kind(shown, "clear")["at"]) >= timedelta(seconds=3)


async def _watchdog(samband: Samband) -> bool:
    return any(one["name"] == "Watchdog" and one["status"] == "firing" for one in await samband.alerts())


async def _down(samband: Samband) -> list[dict[str, Any]]:
    return [one for one in await samband.alerts() if one["name"] == "Down"]


async def _statuses(samband: Samband, status: str) -> bool:
    return [one["status"] for one in await _down(samband)] == [status, status]


async def _all_are(samband: Samband, state: str) -> bool:
    return {one["state"] for one in await samband.incidents()} == {state}


def _of_kind(incident: dict[str, Any], kind: str) -> dict[str, Any]:
    found: dict[str, Any] = next(line for line in incident["timeline"] if line["kind"] == kind)
    return found


def _at(text: str) -> datetime:
    return datetime.fromisoformat(text)
