"""Explaining an incident: each reason in words, and nothing changed by asking."""

from typing import Any

import msgspec

from correlators.labels import Labels
from daemon.core.considering import Considered
from daemon.core.correlation import Evidence
from daemon.core.explaining import Explanation, explain
from daemon.core.model.catalogue import Service
from daemon.core.model.incident import Incident
from daemon.core.model.silence import Term
from daemon.core.policy import HOUR
from daemon.core.records import CommandGiven, SelfNoticed, SilencePut
from tests.unit.kit import T0, Play, alert, policy

SHOP = {
    "db": Service("db", team="databases", tier=1),
    "shop": Service("shop", team="web", tier=2, depends_on=("db",)),
    "wiki": Service("wiki", team="docs", tier=3),
}


def told(run: Play, incident: Incident | None = None) -> Explanation:
    return explain(run.engine.state, run.engine.policy, (incident or run.only()).id, run.engine.now_ms)


def words(section: Any) -> str:
    return "\n".join(section.text)


def silence(run: Play, at: float, name: str, value: str, comment: str = "patching") -> str:
    now = T0 + int(at * 1000)
    terms = (Term(name, value, False, True),)
    record = SilencePut(now, f"s{at}", "bo", 0, "silence", f'{name}="{value}"', terms, now, now + HOUR, comment)
    return run.fold([record], at).replies[0].text


def command(run: Play, at: float, verb: str, incident: Incident, **arguments: str) -> None:
    record = CommandGiven(T0 + int(at * 1000), f"{verb}{at}", "bo", verb, incident.id, arguments)
    reply = run.fold([record], at).replies[0]
    assert reply.status == "ok", reply.text


def everything(run: Play) -> bytes:
    """The whole state, indexes and memories included."""
    state = run.engine.state
    parts = {name: value for name, value in vars(state).items() if name not in ("timed", "log", "saved")}
    parts |= {name: table.rows for name, table in parts.items() if hasattr(table, "rows")}
    parts |= {"log": len(state.log), "saved": sorted(state.saved), "now": run.engine.now_ms}
    return repr(sorted(parts.items())).encode()


# ---- why one thing -----------------------------------------------------------------------------
def test_members_are_grouped_by_their_evidence_and_who_opened_it_comes_first() -> None:
    run = Play(policy(SHOP))
    run.see(0, alert("Down", "db"))
    run.see(5, alert("Slow", "shop"), alert("Errors", "shop"), alert("Locks", "db"))

    together = told(run).together
    assert [(one.reason, one.alerts, one.strength) for one in together.groups] == [
        ("opened it", 1, 0),
        ("db is next to shop", 2, 1000),
        ("same service db", 1, 1000),
    ]
    assert together.text[:2] == ["INC-1 has 4 alerts of 2 services.", "Down on db opened it."]
    assert "2 alerts joined, db is next to shop (strength 1000 of 1000): Slow on shop, 5 s apart;" in words(together)


def test_a_big_incident_is_summarised() -> None:
    run = Play(policy(SHOP))
    run.see(0, *(alert(f"A{number}", "db", resource=f"r{number}") for number in range(1200)))

    together = told(run).together
    assert "INC-1 has 1200 alerts of 1 service." in together.text
    assert "1000 of them were looked at for this." in together.text
    assert len(together.text) == 4
    assert "and 996 more" in together.text[-1]
    assert len(together.groups[-1].examples) == 3


def test_many_reasons_are_summed_up() -> None:
    leaves = {f"s{n}": Service(f"s{n}", depends_on=("db",)) for n in range(15)}
    run = Play(policy({"db": Service("db"), **leaves}))
    run.see(0, alert("Down", "db"))
    run.see(1, *(alert("Slow", name) for name in leaves))

    together = told(run).together
    assert len(together.groups) == 12
    assert "4 alerts more are in for 4 other reasons." in together.text


def test_what_was_merged_in_is_named_and_the_merged_one_is_explained_by_the_survivor() -> None:
    run = Play(policy(SHOP))
    run.see(0, alert("Down", "db"), alert("Full", "wiki"))
    db, wiki = run.incidents()
    command(run, 5, "merge", wiki, into=db.ref)

    explained = told(run, run.engine.state.incidents[wiki.id])
    assert explained.incident.ref == db.ref
    assert explained.together.absorbed == [wiki.ref]
    assert f"Merged into it: {wiki.ref}." in explained.together.text
    assert f"Full on wiki opened {wiki.ref}, which was merged into it." in explained.together.text


# ---- what else ---------------------------------------------------------------------------------
def other(run: Play, number: int = 0) -> Considered:
    """The only other incident that was considered for the newest one."""
    (one,) = told(run, run.incidents()[-1]).considered.items
    assert one.ref == run.incidents()[number].ref
    assert one.text.startswith(f"{one.ref} ({one.priority}): ")
    return one


def test_nothing_else() -> None:
    run = Play(policy(SHOP))
    run.see(0, alert("Down", "db"), alert("Full", "wiki"))
    assert words(told(run, run.incidents()[0]).considered).startswith("No other open incident")


class Weak:
    """Evidence of any wanted strength for everything about one service."""

    name, version = "weak", 1

    def propose(self, one: Any, view: Any, now_ms: int) -> Any:
        """See `Correlator`."""
        for row in view.services(one.service, one.environment):
            yield Evidence(row.incident, 300, "a hunch", "once before")


def test_below_strength() -> None:
    run = Play(policy(SHOP, correlators=(Weak(),)))
    run.see(0, alert("Down", "db"))
    run.see(1, alert("Slow", "db"))
    one = other(run)
    assert (one.verdict, one.correlator, one.strength, one.facts) == ("weak", "weak", 300, "once before")
    assert "a hunch (once before): strength 300 of 1000, and 500 is needed" in one.text


def test_below_strength_because_it_is_quiet() -> None:
    run = Play(policy(SHOP, correlators=(Weak(),)))
    run.see(0, alert("Down", "db"))
    run.see(200, alert("Slow", "db"))
    assert "; INC-1 had been quiet for 3 min 20 s, longer than its rhythm allows" in other(run).text


def test_never_across() -> None:
    run = Play(policy(SHOP, never_across=("country",)))
    run.see(0, alert("Down", "db", country="se"))
    run.see(1, alert("Slow", "db", country="no"))
    one = other(run)
    assert one.verdict == "never_across"
    assert "a label of never_across (country) differs" in one.text
    assert one.strength == 1000


def test_a_person_said_that_they_are_apart() -> None:
    run = Play(policy(SHOP))
    first, second = run.see(0, alert("Down", "db"), alert("Slow", "db"))
    command(run, 1, "split", run.only(), alerts=second.key.hex())
    assert first.incident != second.incident
    for incident, ref in zip(run.incidents(), ("INC-2", "INC-1"), strict=True):
        (one,) = told(run, incident).considered.items
        assert (one.verdict, one.ref) == ("apart", ref)
        assert "a person has said" in one.text


def test_older_than_a_day() -> None:
    run = Play(policy(SHOP))
    run.see(0, alert("Down", "db"))
    run.see(25 * 3600, alert("Slow", "db"))
    one = other(run)
    assert one.verdict == "old"
    assert "older than a day" in one.text


def test_not_fresh() -> None:
    run = Play(policy(SHOP))
    run.see(0, alert("Down", "wiki"))
    run.see(3600, alert("Slow", "wiki"))
    one = other(run)
    assert one.verdict == "not_fresh"
    assert "nothing fresh: wiki began there 1 h apart, and is evidence for 30 min" in one.text


def test_events_that_are_too_long_ago() -> None:
    run = Play(policy(SHOP))
    run.see(0, alert("Down", "wiki", event=True))
    run.see(90, alert("Slow", "wiki"))
    assert "its events of wiki are 1 min 30 s away, and are evidence for 1 min" in other(run).text


def test_quiet() -> None:
    run = Play(policy({**SHOP, "db": Service("db", tier=3), "shop": Service("shop", tier=3, depends_on=("db",))}))
    run.see(0, alert("Down", "db", event=True))
    run.see(50, alert("Slow", "shop", event=True))
    one = other(run)
    assert one.verdict == "quiet"
    assert "quiet for 50 s" in one.text


def test_another_environment_and_another_cluster() -> None:
    run = Play(policy(SHOP))
    run.see(0, alert("Down", "db", cluster="a"))
    run.see(1, alert("Down", "db", environment="staging"))
    assert other(run).verdict == "environment"
    run = Play(policy(SHOP))
    run.see(0, alert("Down", "db", cluster="a"))
    run.see(1, alert("Down", "db", cluster="b"))
    one = other(run)
    assert one.verdict == "labels"
    assert "cluster differs" in one.text


def test_a_start_of_long_ago_is_no_evidence() -> None:
    run = Play(policy(SHOP))
    run.see(0, alert("Down", "db"))
    run.see(1, alert("Slow", "db", start=-90_000))
    one = other(run)
    assert one.verdict == "old_start"
    assert "more than a day ago" in one.text


def test_a_hub_says_nothing() -> None:
    many = {f"s{n}": Service(f"s{n}", depends_on=("lan",)) for n in range(40)}
    run = Play(policy({"lan": Service("lan"), **many}))
    run.see(0, alert("Down", "lan"))
    run.see(1, alert("Slow", "s1"))
    one = other(run)
    assert one.verdict == "far"
    assert "hubs" in one.text


def test_an_incident_about_samband_takes_nothing() -> None:
    run = Play(policy())
    run.fold([SelfNoticed(T0, "sink-failing", "desk", "it fails", True)], 0)
    run.see(1, alert("Down", "samband"))
    assert other(run).verdict == "itself"


def test_enough_by_now_though_it_was_not_when_it_joined() -> None:
    run = Play(policy(SHOP, correlators=(Labels(),)))
    run.see(0, alert("Down", "db"))
    run.see(1, alert("Slow", "shop"))
    run.engine.set_policy(policy(SHOP))
    one = other(run)
    assert (one.verdict, one.correlator, one.strength) == ("", "topology", 1000)
    assert "which is enough" in one.text


# ---- why this priority -------------------------------------------------------------------------
def test_derivation_and_the_counts_of_the_cells() -> None:
    run = Play(policy(SHOP))
    run.see(0, alert("Down", "db"), alert("Slow", "shop", "error"), alert("Errors", "shop", "error"))
    why = told(run).prioritised
    assert why.text == [
        "P1: impact high (db is tier 1) x urgency high (critical) = P1, by Down.",
        "1 alert fires at impact high x urgency high = P1.",
        "2 alerts fire at impact medium x urgency medium = P3.",
    ]
    assert [(one.priority, one.firing, one.loud) for one in why.cells] == [("P1", 1, 1), ("P3", 2, 2)]


def test_a_persons_choice() -> None:
    run = Play(policy(SHOP))
    run.see(0, alert("Down", "db"))
    command(run, 1, "priority", run.only(), priority="P4", reason="only the test shop")
    why = told(run).prioritised
    assert why.forced
    assert why.text[0] == "P4: P4 by a person: only the test shop (bo)."
    assert why.text[1] == "It stands until a person releases it; the alerts alone would make it P1."


def test_held_alerts_count_but_people_are_told_of_the_others() -> None:
    run = Play(policy(SHOP))
    silence(run, 0, "alertname", "Down")
    run.see(1, alert("Down", "db"), alert("Slow", "shop", "error"))
    why = told(run).prioritised
    assert (why.priority, why.told_with) == ("P1", "P3")
    assert "1 alert fires at impact high x urgency high = P1, 1 of them held." in why.text
    assert why.text[-1] == "People are told of P3 only: the worse alerts are held."


def test_it_falls_later() -> None:
    run = Play(policy(SHOP))
    run.see(0, alert("Down", "db"), alert("Slow", "shop", "error"))
    run.see(60, alert("Down", "db", firing=False))
    why = told(run).prioritised
    assert why.falls_at is not None
    assert "it falls at" in why.text[-1]
    assert "(in 15 min)" in why.text[-1]
    assert "its priority falls to that of the worst alert" in words(told(run).next)


def test_over_and_about_samband_itself() -> None:
    run = Play(policy())
    run.fold([SelfNoticed(T0, "clock-step", "", "it stepped", True)], 0)
    assert "An incident about samband itself is at most P2." in told(run).prioritised.text
    run.fold([SelfNoticed(T0 + 1000, "clock-step", "", "it stepped", False)], 1)
    assert "Nothing fires any more; it keeps its priority to its end." in told(run).prioritised.text


# ---- and nothing changes -----------------------------------------------------------------------
def test_asking_changes_nothing() -> None:
    run = Play(policy(SHOP))
    silence(run, 0, "alertname", "Slow")
    run.see(1, alert("Down", "db"), alert("Slow", "shop"), alert("Full", "wiki"))
    run.wait(4000)  # the rows of wiki are stale: correlating would take them out of the index
    run.see(4001, alert("New", "db"))
    before = everything(run)
    for incident in list(run.engine.state.incidents.rows.values()):
        told(run, incident)
    assert everything(run) == before
    run.see(4002, alert("Full", "wiki", resource="r2"))
    assert everything(run) != before


def test_hostile_text_leaves_clean() -> None:
    run = Play(policy())
    run.see(0, alert("\x1b[31mred\u202e\r\nnext", "a\x00b\x9b"))
    shown = str(msgspec.to_builtins(told(run)))
    assert not any(bad in shown for bad in ("\x1b", "\u202e", "\x9b", "\x00"))
