"""Step 5 in the engine: what a silence holds, what passes it, and what goes on at its end."""

import msgspec
import pytest

from daemon.core.communication import page
from daemon.core.effects import Reply
from daemon.core.engine import Engine
from daemon.core.model.silence import SilenceKind, Term, silence_id
from daemon.core.policy import Rule
from daemon.core.records import SilenceExpired, SilencePut
from daemon.core.state import ALERT, GIVEN, INCIDENT, SERVICE, SILENCE, State
from daemon.store.base import LiveRow
from tests.unit.kit import AT_ONCE, T0, Play, Priorities, alert, policy, services

HELD = policy(services(shop=1, pay=1, wiki=3), timing=AT_ONCE)


def put(
    play: Play,
    at: float,
    matchers: str = 'service="shop"',
    *,
    end: float = 3600,
    start: float | None = None,
    kind: SilenceKind = "silence",
    comment: str = "patching",
    key: str = "",
) -> Reply:
    """Somebody silences."""
    name, _, value = matchers.partition("=")
    terms = (Term(name, value.strip('"'), False, True),)
    starts = T0 + int((at if start is None else start) * 1000)
    record = SilencePut(T0 + int(at * 1000), key, "bo", 0, kind, matchers, terms, starts, T0 + int(end * 1000), comment)
    return play.fold([record], at).replies[0]


def expire(play: Play, at: float, uuid: str) -> Reply:
    return play.fold([SilenceExpired(T0 + int(at * 1000), "", "eva", silence_id(uuid))], at).replies[0]


def test_what_is_held_before_its_page_pages_nobody_and_counts() -> None:
    play = Play(HELD)
    put(play, 0)
    play.see(1, alert())
    play.wait(600)
    incident = play.only()
    assert play.sent == []
    assert (incident.priority, incident.firing, incident.held) == ("P1", 1, 1)


def test_a_silence_during_the_hold_back_stops_the_first_page() -> None:
    play = Play(policy(services(shop=1)))
    play.see(0, alert())
    put(play, 5)
    play.wait(600)
    assert play.acts("pager") == []


@pytest.mark.parametrize("by_person", [False, True])
def test_when_the_silence_ends_what_still_fires_pages_by_itself(by_person: bool) -> None:
    play = Play(HELD)
    reply = put(play, 0, end=3600 if by_person else 1800)
    play.see(1, alert())
    if by_person:
        assert expire(play, 1800, reply.text).status == "ok"
    play.wait(1801)
    assert play.acts("pager") == ["create page@1800"]
    assert (play.only().held, play.only().firing) == (0, 1)


def test_what_ended_meanwhile_pages_nobody() -> None:
    play = Play(HELD)
    put(play, 0, end=1800)
    play.see(1, alert())
    play.see(900, alert(firing=False))
    play.wait(3600)
    assert play.acts("pager") == []


def test_a_resolve_passes_a_silence() -> None:
    play = Play(HELD)
    play.see(0, alert())
    put(play, 10)
    play.see(20, alert(firing=False))
    assert play.acts("pager") == ["create page@0", "resolve resolve@20"]


def test_a_held_p1_does_not_ring_while_an_unheld_p4_only_tickets() -> None:
    rules = (Rule(Priorities("P1", "P2"), ("pager",)), Rule(Priorities("P1", "P2", "P3", "P4"), ("desk",)))
    play = Play(policy(services(shop=1), timing=AT_ONCE, rules=rules, default_rules=True))
    put(play, 0, 'severity="critical"')
    play.see(1, alert("Down"))
    play.see(2, alert("Slow", severity="warning"))
    incident = play.only()
    assert (incident.priority, incident.held, incident.firing) == ("P1", 1, 2)
    assert play.acts("pager") == [], "the loud one is P3 by itself: it does not ring"
    assert play.acts("desk") == ["create ticket@2"]
    play.wait(3601)
    assert play.acts("pager") == ["create page@3600"], "the silence ends, and the P1 rings"


def test_a_pending_silence_holds_from_its_start() -> None:
    play = Play(HELD)
    put(play, 0, start=100, end=200)
    (one,) = play.see(1, alert())
    assert one.held == ()
    play.wait(100)
    assert one.id in play.engine.state.alerts.rows
    assert play.engine.state.alerts.rows[one.id].held[0].startswith("silence ")
    play.wait(200)
    assert play.engine.state.alerts.rows[one.id].held == ()


def test_two_reasons_hold_until_the_last_ends() -> None:
    play = Play(HELD)
    put(play, 0, end=100)
    put(play, 0, end=200, kind="maintenance")
    (one,) = play.see(1, alert())
    assert [reason.split()[0] for reason in one.held] == ["silence", "maintenance"]
    play.wait(150)
    assert play.acts("pager") == []
    play.wait(201)
    assert play.acts("pager") == ["create page@200"]


def test_an_ended_silence_is_forgotten_after_five_days() -> None:
    play = Play(HELD)
    put(play, 0, end=100)
    play.wait(5 * 86_400)
    assert len(play.engine.state.silences.rows) == 1
    play.wait(5 * 86_400 + 101)
    assert not play.engine.state.silences.rows


def test_its_end_is_announced_to_those_it_still_holds() -> None:
    play = Play(HELD)
    put(play, 0, end=3600)
    play.see(1, alert())
    play.wait(3600)
    reminders = [(note.at - T0, note.text) for note in play.notes if note.kind == "silence-ends"]
    assert reminders == [(2_700_000, "silence by bo ends in 15 min")]


def test_a_silence_survives_a_restart() -> None:
    play = Play(HELD)
    put(play, 0, end=1800, key="k")
    (one,) = play.see(1, alert())
    state = play.engine.state
    kinds = {ALERT: state.alerts, INCIDENT: state.incidents, SERVICE: state.services, SILENCE: state.silences}
    rows = [
        LiveRow(kind, number, *(state.image(kind, number) or (b"", b"")))
        for kind, table in (*kinds.items(), (GIVEN, state.given))
        for number in table.rows  # type: ignore[attr-defined]
    ]
    again = Play(HELD)
    again.engine = Engine(HELD, State.load(rows, state.next_id, state.next_number), play.engine.now_ms)
    again.see(10, alert("Other"))
    assert again.sent == [], "it still holds"
    assert put(again, 11, key="k").text == next(iter(state.silences.rows.values())).uuid, "the key is remembered too"
    again.wait(1801)
    assert again.engine.state.alerts.rows[one.id].held == ()
    assert again.acts("pager") == ["create page@1800"]


def test_the_page_names_why_alerts_are_held() -> None:
    play = Play(HELD)
    put(play, 0)
    play.see(1, alert())
    play.see(2, alert("Slow", severity="warning", resource="r2", zone="b"))
    shown = play.shown(play.only())
    assert 'HELD    2 of the 2 (silence "patching")' in page(shown, T0 + 3000)


def test_a_silence_on_the_senders_own_word_for_the_severity_holds() -> None:
    run = Play(policy())
    term = Term("severity", "page", False, True)
    run.fold([SilencePut(T0, "s", "bo", 0, "silence", 'severity="page"', (term,), T0, T0 + 3_600_000, "known")], 0)
    (one,) = run.see(1, msgspec.structs.replace(alert(severity="page"), labels=b'{"severity":"page"}'))
    assert one.severity == "critical"
    assert one.held
