"""Lifecycle, priority and deliveries: the rules of the product's section 6, one test each."""

import msgspec
import pytest

from daemon.core.lifecycle import TRANSITIONS, Event, Forbidden, after
from daemon.core.model.catalogue import Service
from daemon.core.model.incident import IncidentState
from daemon.core.policy import MINUTE, Hours, Rule, SinkInfo, Timing
from daemon.core.priority import MATRIX
from tests.unit.kit import ALL, AT_ONCE, SINKS, T0, Play, Priorities, alert, policy, services

DEFAULT = Timing()


def test_priority_matrix_is_itils() -> None:
    high, medium, low = 0, 1, 2
    expected = {(high, high): 1, (high, medium): 2, (medium, high): 2, (high, low): 3, (medium, medium): 3}
    expected |= {(low, high): 3, (medium, low): 4, (low, medium): 4, (low, low): 5}
    assert {cell: MATRIX[cell[0] * 3 + cell[1]] for cell in expected} == expected


@pytest.mark.parametrize(
    ("severity", "priority"), [("critical", "P2"), ("error", "P3"), ("warning", "P4"), ("info", "P5"), ("odd", "P4")]
)
def test_without_a_catalogue(severity: str, priority: str) -> None:
    run = Play(policy())
    run.see(0, alert(severity=severity))
    assert run.only().priority == priority


@pytest.mark.parametrize(("tier", "priority"), [(1, "P1"), (2, "P2"), (3, "P3")])
def test_tier_is_impact(tier: int, priority: str) -> None:
    run = Play(policy(services(shop=tier)))
    run.see(0, alert())
    assert run.only().priority == priority
    assert f"tier {tier}" in run.only().derivation


def test_outside_production_impact_is_low() -> None:
    run = Play(policy(services(shop=1)))
    run.see(0, alert(environment="staging"))
    assert run.only().priority == "P3"


def test_priority_rises_at_once_and_falls_after_quiet_minutes() -> None:
    run = Play(policy())
    run.see(0, alert("A", severity="warning"))
    run.see(1, alert("B", severity="critical"))
    assert run.only().priority == "P2"
    run.see(60, alert("B", firing=False, severity="critical"))
    run.wait(60 + 14 * 60)
    assert run.only().priority == "P2"
    run.wait(60 + 15 * 60)
    assert run.only().priority == "P4"


def test_first_page_is_held_and_related_alerts_join_it() -> None:
    run = Play(policy())
    run.see(0, alert("A"))
    run.see(20, alert("B"))
    run.wait(44)
    assert run.acts("pager") == []
    run.wait(45)
    assert run.acts("pager") == ["create page@45"]
    assert run.acts("desk")[0] == "create ticket@0"


def test_a_page_still_waiting_when_all_is_clear_is_dropped() -> None:
    run = Play(policy())
    run.see(0, alert(severity="error"))
    run.see(45, alert(severity="error", firing=False))
    run.wait(3600)
    assert run.acts("pager") == []
    assert run.only().state == "resolved"


def test_at_the_same_instant_the_record_comes_before_the_deadline() -> None:
    run = Play(policy())
    run.see(0, alert())
    run.see(45, alert(firing=False))
    run.wait(3600)
    assert run.acts("pager") == []


def test_but_not_for_p1() -> None:
    run = Play(policy(services(shop=1)))
    run.see(0, alert())
    run.see(5, alert(firing=False))
    run.wait(3600)
    assert run.acts("pager") == ["create page@15", "resolve resolve@605"]


def test_a_p1_that_rises_while_waiting_pages_within_its_own_wait() -> None:
    run = Play(policy(services(shop=1)))
    run.see(0, alert("A", severity="warning"))
    run.see(100, alert("B", severity="critical"))
    run.wait(1000)
    assert run.acts("pager")[0] == "create page@115"


def test_raise_rings_again_even_after_acknowledgement() -> None:
    run = Play(policy(services(shop=1)))
    run.see(0, alert("A", severity="error"))
    run.wait(60)
    assert run.say(61, "acknowledge", run.only()).status == "ok"
    run.see(70, alert("B", severity="critical"))
    run.wait(100)
    assert run.acts("pager") == ["create page@45", "update update@61", "create raise-1@85"]
    keys = [one.key for one in run.sent if one.sink == "pager"]
    assert keys[2] == keys[0] + "#raise-1"


def test_another_alert_of_the_same_kind_rings_nobody() -> None:
    run = Play(policy())
    run.see(0, alert("A"))
    run.wait(50)
    run.see(60, *[alert("A", resource=f"r{n}") for n in range(200)])
    run.wait(1000)
    assert run.acts("pager") == ["create page@45"]


def test_all_pages_of_an_incident_are_resolved_together() -> None:
    run = Play(policy(services(shop=1)))
    run.see(0, alert("A", severity="error"))
    run.wait(60)
    run.see(70, alert("B", severity="critical"))
    run.wait(100)
    run.see(200, alert("A", severity="error", firing=False), alert("B", firing=False))
    run.wait(200 + 600)
    resolved = [one.key for one in run.sent if one.sink == "pager" and one.action == "resolve"]
    opened = [one.key for one in run.sent if one.sink == "pager" and one.action == "create"]
    assert sorted(resolved) == sorted(opened)
    assert len(opened) == 2


def test_p1_ticket_waits_for_a_person() -> None:
    run = Play(policy(services(shop=1)))
    run.see(0, alert())
    run.wait(20)
    run.see(30, alert(firing=False))
    run.wait(30 + 3600)
    assert run.only().state == "resolved"
    assert "resolve resolve@630" in run.acts("pager")
    assert not [act for act in run.acts("desk") if act.startswith("resolve")]
    run.wait(3 * 86400)
    assert run.only().state == "resolved"
    run.say(3 * 86400 + 1, "resolve", run.only())
    assert run.acts("desk")[-1].startswith("resolve")


def test_p1_that_certainly_nobody_saw_stays_open_marked_cleared() -> None:
    sinks = SINKS | {"pager": SinkInfo("pager", "pager", reports=True)}
    run = Play(policy(services(shop=1), sinks=sinks))
    run.see(0, alert())
    run.wait(20)
    run.see(30, alert(firing=False))
    run.wait(7200)
    assert run.only().state == "open"
    assert run.only().cleared
    assert not [act for act in run.acts("pager") if act.startswith("resolve")]


def test_resolved_by_a_person_while_it_fires() -> None:
    run = Play(policy(timing=AT_ONCE))
    run.see(0, alert("A", severity="error", start=0), alert("B", severity="error", start=0))
    run.say(10, "resolve", run.only())
    run.see(20, alert("A", severity="error", start=0))
    assert run.only().state == "resolved", "a repeat does not reopen"
    run.see(30, alert("A", severity="critical", start=0))
    assert run.only().state == "reopened", "a higher severity does"


def test_still_firing_after_the_reopen_window_reopens() -> None:
    run = Play(policy(timing=AT_ONCE))
    run.see(0, alert(start=0))
    run.say(10, "resolve", run.only())
    run.wait(10 + 3599)
    assert run.only().state == "resolved"
    run.wait(10 + 3600)
    assert run.only().state == "reopened"
    assert run.only().generation == 2


def test_new_episode_within_the_window_reopens_and_after_it_opens_another() -> None:
    run = Play(policy(timing=AT_ONCE))
    run.see(0, alert(start=0))
    run.see(10, alert(firing=False, start=0, end=10))
    run.see(100, alert(start=100))
    assert run.only().state == "reopened"
    assert run.acts("desk")[-1] == "reopen ticket@100"
    assert run.acts("pager")[-1] == "create page@100"
    run.see(110, alert(firing=False, start=100, end=110))
    run.see(110 + 3700, alert(start=110 + 3700))
    assert len(run.incidents()) == 2


def test_acknowledgement_lapses_and_rings_again() -> None:
    run = Play(policy())
    run.see(0, alert())
    run.wait(50)
    run.say(60, "acknowledge", run.only())
    run.wait(60 + 3599)
    assert run.only().state == "acknowledged"
    run.wait(60 + 3700)
    assert run.only().state == "open"
    assert any("raise-1" in act for act in run.acts("pager"))


def test_publish_sends_the_draft() -> None:
    sinks = SINKS | {"page": SinkInfo("page", "status_page", approve=True)}
    run = Play(policy(sinks=sinks, rules=(Rule(ALL, ("page",)),)))
    run.see(0, alert())
    assert run.acts("page") == []
    assert run.say(5, "publish", run.only()).status == "ok"
    assert run.acts("page") == ["create entry@5"]
    assert run.say(6, "publish", run.only()).status == "conflict"


def test_status_page_turns_green_after_its_hysteresis() -> None:
    run = Play(policy(rules=(Rule(ALL, ("page",)),)))
    run.see(0, alert())
    run.see(60, alert(firing=False))
    run.wait(60 + 899)
    assert run.acts("page") == ["create entry@0"]
    run.wait(60 + 900)
    assert run.acts("page") == ["create entry@0", "resolve resolve@960"]


def test_pages_wait_for_their_hours() -> None:
    opens = T0 + 3_600_000
    hours = Hours((opens,), (opens + 36_000_000,))
    run = Play(policy(rules=(Rule(ALL, ("pager",), hours),)))
    run.see(0, alert(severity="error"))
    run.wait(3599)
    assert run.acts("pager") == []
    run.wait(3601)
    assert run.acts("pager") == ["create page@3600"]


def test_shadow_decides_and_sends_nothing() -> None:
    run = Play(policy(mode="shadow"))
    run.see(0, alert())
    run.wait(60)
    assert {one.shadow for one in run.sent} == {True}
    assert {one.sink for one in run.sent} == {"pager", "desk", "hook"}


def test_first_policy_that_matches_acts() -> None:
    rules = (Rule(Priorities("P2"), ("desk",)), Rule(ALL, ("pager",)))
    run = Play(policy(rules=rules, timing=AT_ONCE))
    run.see(0, alert())
    assert run.acts("pager") == []
    assert run.acts("desk") == ["create ticket@0"]


def test_members_are_told_in_one_update_per_spacing() -> None:
    run = Play(policy())
    run.see(0, alert("A"))
    for at in range(10, 800, 10):
        run.see(at, alert(f"A{at}"))
    run.wait(905)
    assert run.acts("desk") == ["create ticket@0", "update update@900"]


def test_owner_is_the_team_of_the_worst_member_and_the_fallback_takes_the_rest() -> None:
    run = Play(policy(services(shop=1)))
    run.see(0, alert(), alert(service="unknown"))
    assert [one.owner for one in run.incidents()] == ["shop-team", "platform"]


# ---- merging -------------------------------------------------------------------------------------
def test_an_alert_that_connects_two_incidents_merges_them_and_pages_do_not_repeat() -> None:
    run = Play(
        policy(
            {"a": Service("a", depends_on=("b",)), "c": Service("c", depends_on=("b",)), "b": Service("b")},
            timing=msgspec.structs.replace(AT_ONCE, comment_every=MINUTE),
            correlators=policy().correlators[:1],
        )
    )
    run.see(0, alert(service="a", start=0), alert(service="c", start=0))
    assert len(run.incidents()) == 2
    run.engine.set_policy(msgspec.structs.replace(run.policy, correlators=policy().correlators))
    run.see(10, alert(service="b", start=10))
    incident = run.only()
    assert incident.firing == 3
    creates = [act for act in run.acts("pager") if act.startswith("create")]
    resolves = [one for one in run.sent if one.sink == "pager" and one.action == "resolve"]
    assert len(creates) == 2
    assert len(resolves) == 1
    merged = [one for one in run.engine.state.incidents.rows.values() if one.merged_into]
    assert resolves[0].incident == merged[0].id
    assert merged[0].id > incident.id


# ---- the table -----------------------------------------------------------------------------------
EVENTS = sorted({event for row in TRANSITIONS.values() for event in row})


@pytest.mark.parametrize("state", TRANSITIONS)
@pytest.mark.parametrize("event", EVENTS)
def test_every_state_with_every_event(state: IncidentState, event: Event) -> None:
    expected = TRANSITIONS[state].get(event)
    if expected is None:
        with pytest.raises(Forbidden, match=r"cannot|may not"):
            after(state, event)
    else:
        assert after(state, event) == expected
        assert expected in TRANSITIONS


def test_a_forbidden_act_changes_nothing_and_says_why() -> None:
    run = Play(policy(timing=AT_ONCE))
    run.see(0, alert())
    run.say(1, "resolve", run.only())
    before = msgspec.msgpack.encode(run.only())
    reply = run.say(2, "acknowledge", run.only())
    assert reply.status == "conflict"
    assert "resolved" in reply.text
    assert msgspec.msgpack.encode(run.only()) == before


def test_a_severity_that_rises_makes_the_evidence_fresh_again() -> None:
    run = Play(policy())
    run.see(0, alert("A", severity="info", start=0))
    run.see(3000, alert("A", severity="warning", start=0))
    run.see(3600, alert("B", severity="warning", start=3600))
    assert run.only().firing == 2
    run.see(3600 + 3600, alert("C", severity="warning", start=7200))
    assert len(run.incidents()) == 2


def test_a_crowd_that_comes_at_one_instant_is_counted_to_the_last_alert() -> None:
    run = Play(policy())
    run.see(0, alert("First", start=0), alert("Second", start=0, severity="error"))
    severities = ("warning", "error")
    run.see(1, *(alert(f"Down{n}", resource=f"r{n}", severity=severities[n % 2], start=0) for n in range(20)))
    incident = run.only()
    (row,) = run.engine.state.incident_services(incident.id)
    members = list(run.engine.state.members(incident.id))
    assert len(members) == incident.firing == row.loud == sum(incident.cells) == sum(incident.loud) == 22
    assert row.firing == [0, 0, 10, 11, 1]
    assert incident.heard == 22
    assert all(member.cell >= 0 and member.reason for member in members)
    assert run.engine.state.by_key.keys() == {member.key for member in members}
