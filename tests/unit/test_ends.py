"""Ends that the simulation found to be none: what a person ends is over, at every sink, and nothing late reopens it."""

import msgspec

from daemon.core.policy import Rule, SinkInfo
from daemon.core.records import Delivered, Refresh, Refreshed
from daemon.outbox_orders import components
from tests.unit.kit import ALL, T0, Play, alert, policy, services

PAGE = SinkInfo("page", "status_page")


def test_what_went_stale_ends_with_the_incident_that_a_person_resolves() -> None:
    run = Play(policy())
    run.see(0, alert(start=0, end=240))
    run.say(600, "resolve", run.only())
    run.wait(3 * 3600)
    assert run.only().state == "resolved", "its server is gone: nobody says that it still fires"
    assert [one.end for one in run.engine.state.alerts.rows.values()] == ["closed"]


def test_events_end_with_the_incident_that_a_person_resolves_and_the_next_one_is_news() -> None:
    run = Play(policy())
    run.see(0, alert(event=True))
    run.say(600, "resolve", run.only())
    run.wait(3 * 3600)
    assert run.only().state == "resolved"
    run.see(3 * 3600 + 1, alert(event=True))
    assert [one.state for one in run.incidents()] == ["resolved", "open"]


def test_what_still_fires_reopens_an_incident_that_a_person_resolved() -> None:
    run = Play(policy())
    run.see(0, alert())
    run.say(600, "resolve", run.only())
    run.wait(3 * 3600)
    assert run.only().state == "reopened"


def test_an_incident_that_a_person_closes_stays_until_every_sink_has_been_told() -> None:
    run = Play(policy())
    run.see(0, alert(severity="error"))
    run.wait(400)
    run.deliver = False
    incident = run.only()
    run.see(500, alert(severity="error", firing=False))
    run.say(510, "resolve", incident)
    run.say(520, "close", incident)
    assert run.only().state == "closed"
    run.wait(4_000)
    ends = [send for send in run.sent if send.action == "resolve"]
    assert {send.delivery for send in ends} <= set(run.engine.state.deliveries.rows), "nothing to render it from"
    run.fold([Delivered(T0 + 4_000_000, send.id, "") for send in ends], 4_000)
    run.wait(6_000)
    assert not run.incidents()


def test_an_entry_turns_green_although_its_incident_was_closed_before() -> None:
    run = Play(policy(sinks={"page": PAGE}, rules=(Rule(ALL, ("page",)),)))
    run.see(0, alert())
    run.see(60, alert(firing=False))
    run.wait(661)
    run.say(700, "close", run.only())
    run.wait(4_000)
    assert run.acts("page")[-1] == "resolve resolve@960"
    run.wait(5_000)
    assert not run.incidents()


def test_a_late_copy_opens_nothing_after_its_incident_was_closed() -> None:
    run = Play(policy())
    run.see(0, alert(start=0))
    run.see(10, alert(start=0, end=10, firing=False))
    incident = run.only()
    run.say(20, "resolve", incident)
    run.say(30, "close", incident)
    run.wait(3_000)
    assert not run.incidents()
    run.see(3_001, alert(start=0))
    assert not run.incidents()
    run.see(3_002, alert(start=3_002))
    assert run.only().state == "open"


def test_a_start_in_the_future_stays_the_same_start_when_it_is_clamped_later() -> None:
    run = Play(policy())
    run.see(0, alert(start=600))
    run.see(10, alert(start=600, end=610, firing=False))
    (one,) = run.see(60, alert(start=600))
    assert one.end == "resolved"
    assert one.generation == 1


def test_a_refresh_that_waited_does_not_take_back_what_a_newer_message_said() -> None:
    run = Play(policy())
    (one,) = run.see(0, alert(start=0, end=240))
    newer = msgspec.structs.replace(alert(start=0, end=480), annotations=b'{"summary":"newer"}')
    run.see(8, newer)
    run.refresh(Refreshed(T0 + 10_000, [Refresh(one.id, T0 + 5_000, T0 + 245_000, b'{"summary":"older"}')], []))
    assert run.engine.state.annotations[one.id] == b'{"summary":"newer"}'


def test_an_entry_that_was_never_made_colours_no_component() -> None:
    catalogue = services(shop=1, payments=1)
    catalogue = {name: msgspec.structs.replace(one, component="Checkout") for name, one in catalogue.items()}
    run = Play(policy(catalogue, sinks={"page": PAGE}, rules=(Rule(ALL, ("page",)),)))
    run.see(0, alert())
    run.deliver = False
    run.see(7_200, alert(service="payments"))
    state = run.engine.state
    made, asked = sorted(state.deliveries.rows.values(), key=lambda one: one.id)
    state.deliveries.edit(made.id).state = "closed"
    shown = components(state, run.policy, made, state.incidents.rows[made.incident])
    assert shown == {"Checkout": "operational"}
    assert components(state, run.policy, asked, state.incidents.rows[asked.incident]) == {"Checkout": "major_outage"}
