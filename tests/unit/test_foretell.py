"""What would happen to an alert: the answer is what the engine then does, and asking changes nothing."""

from typing import Any

import msgspec
import pytest

from correlators.labels import Labels
from daemon.core.foretelling import Foretold, foretell
from daemon.core.model.alert import ParsedAlert
from daemon.core.model.catalogue import Service
from daemon.core.policy import Hours, Rule
from tests.unit.kit import ALL, AT_ONCE, SINKS, T0, Play, alert, policy
from tests.unit.test_explain import SHOP, command, everything, silence, words


def ask(run: Play, parsed: ParsedAlert, **more: Any) -> Foretold:
    """Asks, and sees to it that nothing has changed."""
    before = everything(run)
    told = foretell(run.engine.state, run.engine.policy, parsed, run.engine.now_ms, **more)
    assert everything(run) == before
    return told


def busy(**changes: Any) -> Play:
    """An incident of db, another of wiki, at second 40."""
    run = Play(policy(SHOP, **changes))
    run.see(0, alert("Full", "wiki", "warning"))
    run.see(10, alert("Down", "db"))
    run.wait(40)
    return run


# ---- what it is --------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("critical", "Severity critical."),
        ("page", "Severity critical: 'page' is mapped to it."),
        ("odd", "Severity warning: 'odd' is not known, which counts as warning."),
        ("", "Severity warning: none is given, which counts as warning."),
    ],
)
def test_severity(word: str, sentence: str) -> None:
    assert ask(busy(), alert(severity=word)).alert.text[0] == sentence


@pytest.mark.parametrize(
    ("one", "sentence"),
    [
        (alert(service="db"), "Service db (from its field, tier 1); environment production (the default)."),
        (
            alert(service="", app="db", env="lab"),
            "Service db (from label app, tier 1); environment lab (label env).",
        ),
        (
            alert(service="", job="node-exporter", namespace="n", deployment="d", source="lab"),
            "Service n/d (from label deployment, not in the catalogue); environment staging (the source's own).",
        ),
        (
            alert(service="", instance="h1", environment="test"),
            "Service h1 (from label instance, not in the catalogue); environment test (its field).",
        ),
        (alert(service=""), "No service; environment production (the default)."),
    ],
)
def test_service_and_environment(one: ParsedAlert, sentence: str) -> None:
    assert ask(busy(), one).alert.text[1] == sentence


# ---- whether it is known -----------------------------------------------------------------------
def test_a_new_alert_and_its_like() -> None:
    run = busy()
    state = run.engine.state
    told = ask(run, alert("Down", "db", resource="r9"), alike=list(state.alerts.rows.values())[1:], count=1)
    assert told.known.outcome == "opened"
    assert told.known.text == [
        "No alert with exactly these labels is known: it would be a new one.",
        "1 open alert that matches has other labels beside, and so another key: Down on r1.",
    ]


def test_a_repeat_and_a_change() -> None:
    run = busy()
    told = ask(run, alert("Down", "db", emitter="another"))
    assert told.known.outcome == "repeated"
    assert told.known.text == [
        "It fires already since 20:26:50 UTC (30 s ago): this would be a repeat, which changes nothing."
    ]
    assert (told.home.how, told.home.text) == ("stays", ["It is in INC-2, and stays there."])
    assert told.considered.text == ["No evidence is looked at."]
    told = ask(run, alert("Full", "wiki", "critical"))
    assert told.known.outcome == "changed"
    assert "would change its severity from warning to critical" in words(told.known)
    assert told.prioritised is not None
    assert told.prioritised.priority == "P3"


def test_an_event_again() -> None:
    run = Play(policy(SHOP))
    run.see(0, alert("Tick", "db", event=True))
    run.wait(5)
    assert "another occurrence of the same event" in words(ask(run, alert("Tick", "db", event=True)).known)


def test_a_new_episode_goes_back_and_reopens() -> None:
    run = busy()
    run.see(50, alert("Down", "db", firing=False))
    run.wait(60)
    told = ask(run, alert("Down", "db"))
    assert "the last episode ended at 20:27:30 UTC (10 s ago), so this would begin a new one" in words(told.known)
    assert (told.home.how, told.home.text) == (
        "returns",
        ["It would go back to INC-2, where this alert has been before."],
    )
    command(run, 61, "resolve", run.incidents()[1])
    assert "and reopen it" in words(ask(run, alert("Down", "db")).home)


def test_a_lapsed_episode_is_continued() -> None:
    run = Play(policy(SHOP))
    run.see(0, alert("Down", "db", end=240), alert("Watchdog", "", "none", end=240))
    for at in range(60, 1400, 60):
        run.see(at, alert("Watchdog", "", "none", end=at + 240))
    assert run.only().firing == 0
    assert "its episode only lapsed, so it would be continued" in words(ask(run, alert("Down", "db", end=1600)).known)


# ---- where it goes -----------------------------------------------------------------------------
def test_it_joins_by_the_strongest_evidence() -> None:
    told = ask(busy(), alert("Slow", "shop"))
    assert told.home.how == "joins"
    assert told.home.text == ["It would join INC-2: db is next to shop (strength 1000, 30 s apart)."]
    assert [(one.ref, one.correlator, one.verdict) for one in told.considered.items] == [("INC-2", "topology", "")]


def test_each_correlator_is_heard() -> None:
    run = busy()
    run.see(45, alert("Slow", "shop"))
    told = ask(run, alert("Errors", "shop"))
    assert [one.correlator for one in told.considered.items] == ["labels", "topology"]


def test_a_new_incident_and_why_the_others_do_not_take_it() -> None:
    run = busy()
    run.wait(2400)
    told = ask(run, alert("Slow", "wiki"))
    assert (told.home.how, told.home.text) == ("new", ["No evidence is enough: it would open a new incident."])
    assert told.home.incident is not None
    assert (told.home.incident.ref, told.home.incident.priority) == ("", "P3")
    assert [(one.ref, one.verdict) for one in told.considered.items] == [("INC-1", "not_fresh")]


def test_nothing_near() -> None:
    told = ask(busy(), alert("Odd", "elsewhere"))
    assert told.considered.text == ["No open incident is about its service or a neighbour of it."]
    assert told.home.how == "new"


def test_said_apart() -> None:
    run = Play(policy(SHOP))
    _, second = run.see(0, alert("Down", "db"), alert("Slow", "db"))
    command(run, 1, "split", run.only(), alerts=second.key.hex())
    run.see(2, alert("Slow", "db", firing=False))
    apart = run.incidents()[1]
    command(run, 3, "resolve", apart)
    command(run, 4, "close", apart)
    told = ask(run, alert("Slow", "db"))
    assert ("INC-1", "apart") in [(one.ref, one.verdict) for one in told.considered.items]
    assert told.home.incident is not None
    assert told.home.incident.ref != "INC-1"


def test_it_connects_incidents() -> None:
    catalogue = {"a": Service("a", depends_on=("b",)), "c": Service("c", depends_on=("b",)), "b": Service("b")}
    run = Play(policy(catalogue, correlators=(Labels(),)))
    run.see(0, alert(service="a", start=0), alert(service="c", start=0))
    run.engine.set_policy(policy(catalogue))
    told = ask(run, alert(service="b"))
    assert told.home.merges == ["INC-2"]
    assert told.home.text[1] == "It would connect incidents: INC-2 would be merged into INC-1."
    assert "Page at pager would be dropped." in told.told.text
    assert "Ticket at desk would be closed." in told.told.text


def test_severity_none_opens_nothing() -> None:
    told = ask(busy(), alert("Watchdog", "db", "none"))
    assert (told.home.how, told.home.text) == ("none", ["Severity none is recorded, and opens nothing."])
    assert (told.told.text, told.prioritised, told.people, told.next) == (["Nobody would be told."], None, None, None)


# ---- held --------------------------------------------------------------------------------------
def test_held_and_not() -> None:
    run = busy()
    assert ask(run, alert("Odd", "x")).held.text == ["No silence or window holds it."]
    uuid = silence(run, 41, "alertname", "Odd")
    told = ask(run, alert("Odd", "x"))
    assert [one.reason for one in told.held.items] == [f"silence {uuid}"]
    assert told.told.text == ["Nobody would be told anything new: it is held."]
    assert told.people is not None
    assert "All its firing alerts are held: nobody is told of anything new." in told.people.text
    assert told.next is not None
    assert told.next.text[0].endswith(f"silence {uuid} ends; what it alone holds and still fires goes on.")


# ---- who is told -------------------------------------------------------------------------------
def test_sinks_and_when() -> None:
    told = ask(busy(), alert("Odd", "x"))
    assert told.told.text == [
        "Page at pager: held back until 20:28:05 UTC (in 45 s).",
        "Ticket at desk: at once.",
        "Message at hook: at once.",
    ]
    assert told.people is not None
    assert [(one.sink, one.state) for one in told.people.deliveries] == [
        ("pager", "waiting"),
        ("desk", "open"),
        ("hook", "open"),
    ]
    assert told.people.owner_by == "fallback"


def test_hours_drafts_shadow() -> None:
    sinks = {**SINKS, "page": msgspec.structs.replace(SINKS["page"], approve=True)}
    hours = Hours((T0 + 3_600_000,), (T0 + 7_200_000,))
    run = busy(rules=(Rule(ALL, ("pager", "page"), hours),), sinks=sinks)
    told = ask(run, alert("Odd", "x")).told
    assert told.text == [
        "Page at pager: waits for its hours until 21:26:40 UTC (in 59 min).",
        "Status page entry at page: a draft, which a person publishes.",
    ]
    assert ask(busy(mode="shadow"), alert("Odd", "x")).told.text[-1] == "mode: shadow: nothing of it would be sent."


def test_a_wait_gets_shorter_and_a_raise_rings_again() -> None:
    run = Play(policy(SHOP, rules=(Rule(ALL, ("pager",)),)))
    run.see(0, alert("Full", "wiki", "warning"))
    told = ask(run, alert("Worse", "wiki", "critical"))
    assert told.told.text == [
        "Page at pager leaves anyway, and would tell of it: 20:29:40 UTC (in 3 min).",
    ]
    run = Play(policy(SHOP, rules=(Rule(ALL, ("pager",)),)))
    run.see(0, alert("Slow", "shop", "error"))
    assert ask(run, alert("Down", "db")).told.text == ["Page at pager would leave sooner: 20:26:55 UTC (in 15 s)."]
    run.wait(200)
    assert ask(run, alert("Down", "db")).told.text == [
        "Page again (raise 1) at pager: held back until 20:30:15 UTC (in 15 s)."
    ]


def test_other_incidents_that_were_considered_tell_of_nothing() -> None:
    run = Play(policy(SHOP, rules=(Rule(ALL, ("pager",)),), strength=1001))
    run.see(0, alert("Full", "wiki", "warning"))
    told = ask(run, alert("More", "wiki", "critical"))
    assert [one.verdict for one in told.considered.items] == ["weak"]
    assert told.told.text == ["Page at pager: held back until 20:29:40 UTC (in 3 min)."]


def test_an_open_object_is_updated() -> None:
    run = Play(policy(SHOP, timing=AT_ONCE, rules=(Rule(ALL, ("desk",)),)))
    run.see(0, alert("Slow", "shop", "error"))
    run.wait(10)
    assert ask(run, alert("Down", "db")).told.text == ["Ticket at desk would be told now."]
    run = Play(policy(SHOP, rules=(Rule(ALL, ("hook",)),)))
    run.see(0, alert("Slow", "shop", "error"))
    assert ask(run, alert("More", "shop", "error")).told.text == [
        "Message at hook would be updated: 20:41:40 UTC (in 15 min)."
    ]


# ---- and it is true ----------------------------------------------------------------------------
@pytest.mark.parametrize("service", ["db", "shop", "wiki", "elsewhere", ""])
@pytest.mark.parametrize("severity", ["critical", "warning", "none", "page"])
@pytest.mark.parametrize("at", [41.0, 120.0, 2500.0, 90_000.0])
def test_what_was_foretold_is_what_happens(service: str, severity: str, at: float) -> None:
    run = busy()
    silence(run, 40, "service", "wiki")
    run.see(40, alert("Full", "wiki", "error", resource="r3"))
    run.wait(at)
    parsed = alert("Coming", service, severity)
    told = ask(run, parsed)
    (real,) = run.see(at, parsed)
    state = run.engine.state
    incident = state.incident_of(real)
    assert (incident is None) == (told.home.incident is None)
    assert told.held.items == [] or real.held == tuple(one.reason for one in told.held.items)
    if incident is None or told.home.incident is None or told.people is None or told.prioritised is None:
        assert severity == "none"
        return
    assert told.home.incident.ref in ("", incident.ref)
    assert (told.home.how == "new") == (real.reason == "opened it")
    assert told.home.how == "new" or (told.home.reason, told.home.strength) == (real.reason, real.strength)
    assert told.prioritised.priority == incident.priority
    assert told.people.owner == incident.owner
    assert [(one.sink, one.purpose, one.state) for one in told.people.deliveries] == [
        (one.sink, one.purpose, one.state) for one in state.incident_deliveries(incident.id)
    ]
