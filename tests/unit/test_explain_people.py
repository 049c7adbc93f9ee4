"""Explaining an incident: who has it and who is told, what is held and why, and what happens next."""

from typing import Any

import msgspec
import pytest

from daemon.core.model.catalogue import Service
from daemon.core.policy import Hours, Rule
from daemon.core.records import SelfNoticed
from daemon.settings.matchers import Matchers
from tests.unit.kit import ALL, AT_ONCE, SINKS, T0, Play, alert, policy, services
from tests.unit.test_explain import SHOP, command, silence, told, words


# ---- why these people --------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("one", "by", "sentence"),
    [
        (alert("Down", "db"), "catalogue", "databases owns it: the team of db in the catalogue."),
        (alert("Down", "db", team="infra"), "label team", "infra owns it: the label team of Down says so."),
        (alert("Down", "x"), "fallback", "platform owns it: the fallback"),
    ],
)
def test_owner(one: Any, by: str, sentence: str) -> None:
    run = Play(policy(SHOP))
    run.see(0, one)
    people = told(run).people
    assert people.owner_by == by
    assert people.text[0].startswith(sentence)


def test_owner_by_a_person_and_by_an_earlier_configuration() -> None:
    run = Play(policy(SHOP))
    run.see(0, alert("Down", "db"))
    run.engine.set_policy(policy({**SHOP, "db": Service("db", team="storage", tier=1)}))
    assert "by now it would be storage" in told(run).people.text[0]
    command(run, 1, "assign", run.only(), team="web")
    assert told(run).people.text[0] == "web owns it: a person assigned it."


def test_which_policy_acts_and_what_waits() -> None:
    rules = (Rule(Matchers('owner="nobody"'), ("hook",)), Rule(Matchers('owner="databases"'), ("pager", "desk")))
    run = Play(policy(SHOP, rules=rules))
    run.see(0, alert("Down", "db"))
    people = told(run).people
    assert [(one.number, one.when, one.to) for one in people.policies] == [(2, 'owner="databases"', ["pager", "desk"])]
    assert 'Policy 2, the first that matches (owner="databases"), names pager and desk.' in people.text
    page, ticket = people.deliveries
    assert (page.state, page.until, ticket.state, ticket.confirmed) == ("waiting", "2026-05-28T20:26:55Z", "open", True)
    assert page.text == "Page at pager: held back until 20:26:55 UTC (in 15 s), so that related alerts join it."
    assert ticket.text.startswith("Ticket at desk: made, as ref-")


def test_default_policies_and_none() -> None:
    run = Play(policy(SHOP, default_rules=True))
    run.see(0, alert("Down", "db"))
    assert told(run).people.policies[0].number == 0
    assert "The default policy (" in words(told(run).people)
    run = Play(policy(SHOP, rules=()))
    run.see(0, alert("Down", "db"))
    assert "No policy that names a sink matches it: nobody is told." in told(run).people.text


def test_a_page_that_waits_for_its_hours() -> None:
    hours = Hours((T0 + 3_600_000,), (T0 + 7_200_000,))
    run = Play(policy(SHOP, rules=(Rule(ALL, ("pager",), hours),)))
    run.see(0, alert("Slow", "shop", "error"))
    people = told(run).people
    assert "a pager may ring in its hours only, again from 21:26:40 UTC (in 1 h)." in words(people)
    assert "Page at pager: waits for its hours, until 21:26:40 UTC (in 1 h)." in people.text
    run.wait(3700)
    assert "a pager may ring in its hours, which is now." in words(told(run).people)


def test_shadow() -> None:
    run = Play(policy(SHOP, mode="shadow"))
    run.see(0, alert("Down", "db"))
    people = told(run).people
    assert "mode: shadow: everything is decided and recorded, and nothing is sent." in people.text
    assert "Ticket at desk (shadow: not sent): would have been made." in people.text


def test_states_of_objects() -> None:
    sinks = {**SINKS, "page": msgspec.structs.replace(SINKS["page"], approve=True)}
    run = Play(policy(SHOP, sinks=sinks, rules=(Rule(ALL, ("pager", "desk", "page")),)), deliver=False)
    run.see(0, alert("Slow", "shop", "error"))
    run.wait(60)
    assert "Status page entry at page: a draft, which waits for a person: samband incidents publish INC-1." in (
        told(run).people.text
    )
    page = told(run).people.deliveries[0]
    assert "and dropped if all is clear or held by then" in page.text
    run.wait(300)
    assert "Page at pager: asked for, not confirmed yet." in told(run).people.text
    command(run, 310, "acknowledge", run.only())
    assert "bo acknowledged it, " in words(told(run).people)
    command(run, 320, "resolve", run.only())
    assert [one.state for one in told(run).people.deliveries] == ["closed", "closed", "dropped"]
    assert "Page at pager: ended." in told(run).people.text
    assert "Status page entry at page: dropped before it was sent." in told(run).people.text


def test_a_raise_and_who_has_been_told() -> None:
    run = Play(policy(SHOP, timing=AT_ONCE))
    run.see(0, alert("Slow", "shop", "error"))
    run.see(1, alert("Down", "db"))
    people = told(run).people
    assert "Page again (raise 1) at pager: made, as " in words(people)
    assert "People have been told of P1, and of team web, team databases and db." in people.text


def test_an_incident_about_a_sink_does_not_go_there() -> None:
    run = Play(policy())
    run.fold([SelfNoticed(T0, "sink-failing", "desk", "it fails", True)], 0)
    people = told(run).people
    assert "It is about desk, and so never goes there." in people.text
    assert {one.sink for one in people.deliveries} == {"pager", "hook"}


# ---- what is held ------------------------------------------------------------------------------
def test_a_silence_is_named_with_its_end() -> None:
    run = Play(policy(SHOP))
    uuid = silence(run, 0, "service", "db")
    run.see(1, alert("Down", "db"), *(alert(f"A{n}", "db") for n in range(5)))
    explained = told(run)
    (one,) = explained.held.items
    assert (one.reason, one.alerts, one.comment, one.created_by) == (f"silence {uuid}", 6, "patching", "bo")
    assert one.ends_at == "2026-05-28T21:26:40Z"
    assert explained.held.text == [
        f"6 alerts (Down, A0 and A1 and 3 more) are held by silence {uuid} "
        f'("patching", by bo, service="db") until 21:26:40 UTC (in 59 min); what still fires then goes on by itself.'
    ]
    assert "All its firing alerts are held: nobody is told of anything new." in explained.people.text
    assert f"silence {uuid} ends; what it alone holds and still fires goes on." in words(explained.next)


def test_nothing_is_held() -> None:
    run = Play(policy(SHOP))
    run.see(0, alert("Down", "db"))
    assert told(run).held.text == ["Nothing is held."]


# ---- what happens next -------------------------------------------------------------------------
def test_next_of_an_open_incident() -> None:
    run = Play(policy(SHOP))
    run.see(0, alert("Slow", "shop", "error"))
    run.see(5, alert("More", "shop", "error"))
    assert told(run).next.text == [
        "20:29:40 UTC (in 2 min 55 s): the page leaves for pager, if something that may notify still fires.",
        "20:29:40 UTC (in 2 min 55 s): the ticket leaves for desk, if something that may notify still fires.",
        "20:41:40 UTC (in 14 min): the message at hook is updated, if there is news.",
    ]
    assert told(run).next.items[0].at == "2026-05-28T20:29:40Z"


def test_next_after_acknowledging_clearing_resolving() -> None:
    run = Play(policy(services(db=1), rules=()))
    run.see(0, alert("Down", "db"))
    assert told(run).next.text == ["No wait runs: it goes on when an alert fires or ends, or when a person acts."]
    command(run, 1, "acknowledge", run.only())
    assert "(in 30 min): the acknowledgement ends unless there is activity" in words(told(run).next)
    run.see(2, alert("Down", "db", firing=False))
    assert "(in 10 min): it is resolved, if nothing fires again; a P1 that certainly" in words(told(run).next)
    run.wait(700)
    assert "until a person closes it" in words(told(run).next)
    command(run, 710, "resolve", run.only())
    assert "(in 1 d): it is closed, and leaves for history." in words(told(run).next)


def test_next_when_a_person_resolved_what_still_fires() -> None:
    run = Play(policy(SHOP, rules=()))
    run.see(0, alert("Down", "db"))
    command(run, 1, "resolve", run.only())
    assert "(in 1 h): it is opened again if alerts still fire." in words(told(run).next)


def test_next_of_stale_alerts_and_events() -> None:
    run = Play(policy(SHOP, rules=()))
    run.see(0, alert("Down", "db", end=240), alert("Tick", "db", event=True))
    run.wait(300)
    shown = words(told(run).next)
    assert "samband looks whether 1 stale alert, not mentioned since, is over." in shown
    assert "samband looks whether 1 event, not mentioned since, is over." in shown


def test_a_cleared_p1_that_nobody_saw() -> None:
    sinks = {**SINKS, "pager": msgspec.structs.replace(SINKS["pager"], reports=True)}
    run = Play(policy(services(db=1), timing=AT_ONCE, sinks=sinks, rules=(Rule(ALL, ("pager",)),)))
    run.see(0, alert("Down", "db"))
    run.see(1, alert("Down", "db", firing=False))
    assert "nobody has seen this P1, so it stays open" in words(told(run).next)
