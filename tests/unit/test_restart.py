"""Determinism: folding again gives the same digests, and a restored engine gives the same remainder."""

import random
from typing import NamedTuple

import msgspec
import pytest

from daemon.core.acts import VERBS
from daemon.core.context import Context
from daemon.core.effects import Changes, Row
from daemon.core.engine import Engine
from daemon.core.model.alert import Alert
from daemon.core.model.ids import first_id, parse_id, public_id
from daemon.core.model.silence import Term
from daemon.core.policy import Hours, Policy, Rule
from daemon.core.records import (
    AlertSeen,
    AnyRecord,
    ClockStepped,
    CommandGiven,
    Contact,
    Delivered,
    Refreshed,
    Resumed,
    SelfNoticed,
    SilenceExpired,
    SilencePut,
    StreamMoved,
    decode_records,
    encode_records,
)
from daemon.core.state import State
from tests.unit.kit import ALL, T0, Play, alert, policy, services

SECONDS = 1000


def matches(text: str, one: Alert) -> bool:
    """The independent answer: one equality on the name or the service."""
    name, value = text.replace('"', "").split("=")
    return {"alertname": one.name, "service": one.service}[name] == value


class Stored(NamedTuple):
    """A row of `live`."""

    kind: int
    id: int
    image: bytes
    extra: bytes


def stored(row: Row) -> Stored:
    assert row.image is not None
    return Stored(row.kind, row.id, row.image, row.extra)


class Live:
    """What the store would hold: the newest image of every entity."""

    def __init__(self) -> None:
        self.rows: dict[int, Row] = {}
        self.next = (1, 1)

    def take(self, changes: Changes, engine: Engine) -> None:
        for row in changes.changed:
            if row.image is None:
                self.rows.pop(row.id, None)
            else:
                self.rows[row.id] = row
        self.next = (engine.state.next_id, engine.state.next_number)

    def engine(self, rules: Policy, now_ms: int) -> Engine:
        return Engine(
            rules, State.load([stored(self.rows[number]) for number in sorted(self.rows)], *self.next), now_ms
        )


def rules() -> Policy:
    entries = {
        name: msgspec.structs.replace(one, component=name.upper()) for name, one in services(a=1, b=2, c=3).items()
    }
    return policy(entries, rules=(Rule(ALL, ("pager", "desk", "page", "hook")),), green_after=60_000)


def batches(seed: int) -> list[tuple[list[AnyRecord], int]]:
    """A random day in short: alerts, repeats, resolves, acts, waits."""
    luck, at, result = random.Random(seed), T0, []
    for _ in range(120):
        at += luck.choice((0, 500, 5_000, 60_000, 600_000, 3_000_000))
        records: list[AnyRecord] = []
        for _ in range(luck.randrange(4)):
            name, service = luck.choice("UVW"), luck.choice(("a", "b", "c", "", "d"))
            start = (at - T0) / SECONDS - luck.choice((0, 0, 30, 400))
            end = luck.choice((None, (at - T0) / SECONDS + 240))
            severity = luck.choice(("critical", "error", "warning", "info", "none"))
            event, firing = luck.random() < 0.1, luck.random() < 0.65
            emitter = luck.choice(("p1", "p2"))
            records.append(
                AlertSeen(
                    at,
                    alert(
                        name,
                        service,
                        severity,
                        firing=firing,
                        start=start,
                        end=end if firing else None,
                        event=event,
                        emitter=emitter,
                    ),
                )
            )
        result.append((records, at))
    return result


def commands(engine: Engine, at: int, luck: random.Random) -> list[AnyRecord]:
    """What people and sinks answer, chosen from what there is."""
    found: list[AnyRecord] = []
    state = engine.state
    for number in sorted(state.incidents.rows):
        if luck.random() < 0.15:
            verb = luck.choice(VERBS)
            found.append(CommandGiven(at, f"{at}{number}", "bo", verb, number, arguments(state, number, luck)))
    if luck.random() < 0.15:
        name, service = luck.choice("UVW"), luck.choice(("a", "b", "c"))
        term = Term(*luck.choice((("alertname", name), ("service", service))), False, True)
        text = f'{term.name}="{term.value}"'
        start = at + luck.choice((-60_000, 0, 60_000))
        length = luck.choice((60_000, 3_600_000))
        old = luck.choice((0, *sorted(state.silences.rows)))
        found.append(SilencePut(at, f"s{at}", "bo", old, "silence", text, (term,), start, start + length, "known"))
    for number in sorted(state.silences.rows):
        if luck.random() < 0.1:
            found.append(SilenceExpired(at, f"x{at}{number}", "bo", number))
    if luck.random() < 0.2:
        stream = luck.choice(("topic/0", "topic/1"))
        found.append(StreamMoved(at, "scripts", stream, luck.choice(("behind", "level", "level", "gone"))))
    found += [Delivered(at, send, "r") for send in sorted(engine.state.by_send) if luck.random() < 0.5]
    return found


def arguments(state: State, number: int, luck: random.Random) -> dict[str, str]:
    """Something for whatever verb asks for it."""
    members = [member.key.hex() for member in state.members(number)]
    return {
        "team": luck.choice(("a-team", "b-team")),
        "text": "looking",
        "reason": "waiting",
        "priority": luck.choice(("P1", "P4", "auto")),
        "for_ms": "600000",
        "into": public_id(luck.choice(sorted(state.incidents.rows))),
        "alerts": ",".join(luck.sample(members, len(members) // 2)),
        "title": "somebody saw something",
    }


@pytest.mark.parametrize("seed", range(20))
def test_folding_again_and_restoring_anywhere_give_the_same(seed: int) -> None:
    luck, scene = random.Random(seed), batches(seed)
    cut = luck.randrange(len(scene))
    engine, live = Engine(rules()), Live()
    journal: list[tuple[bytes, int, bytes]] = []
    restored: Engine | None = None
    before: list[tuple[list[AnyRecord], int]] = [([Resumed(T0, epoch=T0 // 1000, gap=0)], T0), *scene]
    for index, (scripted, at) in enumerate(before):
        records = scripted + (commands(engine, at, luck) if index else [])
        if index == cut:
            restored = live.engine(rules(), engine.now_ms)
            records = [Resumed(at, epoch=at // 1000 + 10**6, gap=5), *records]
        changes = engine.fold(records, at)
        assert not changes.quarantined
        live.take(changes, engine)
        journal.append((encode_records(records), at, changes.digest))
        if restored is not None:
            again = restored.fold(records, at)
            assert again.digest == changes.digest, f"batch {index} after the cut at {cut}"
            assert again.changed == changes.changed
    fresh = Engine(rules())
    for data, at, digest in journal:
        assert fresh.fold(decode_records(data), at).digest == digest


@pytest.mark.parametrize("seed", range(12))
def test_counts_are_what_the_members_say(seed: int) -> None:
    """No sequence leaves an alert hidden without a live reason, or an incident open past its waits."""
    engine, luck = Engine(rules()), random.Random(seed)
    engine.fold([Resumed(T0, epoch=T0 // 1000, gap=0)], T0)
    for records, at in batches(seed):
        changes = engine.fold(records + commands(engine, at, luck), at)
        assert not changes.quarantined
        state = engine.state
        silences = [one for one in state.silences.rows.values() if one.status(engine.now_ms) == "active"]
        for one in state.alerts.rows.values():
            live = {silence.reason for silence in silences if matches(silence.matchers, one)}
            assert one.end or set(one.held) == live, "held without a live reason, or loud in spite of one"
        for incident in state.incidents.rows.values():
            if incident.merged_into:
                continue
            assert incident.held == sum(bool(m.held) for m in state.members(incident.id) if not m.end)
            members = list(state.members(incident.id))
            firing = [member for member in members if not member.end]
            assert incident.firing == len(firing) == sum(incident.cells)
            assert incident.ended == len(members) - len(firing)
            rows = state.incident_services(incident.id)
            assert sum(sum(row.firing) for row in rows) == len(firing)
            assert sum(row.ended for row in rows) == incident.ended
            assert sum(row.loud for row in rows) == incident.firing - incident.held == sum(incident.loud)
            if incident.live and not incident.firing and not incident.cleared:
                assert incident.due_resolve


def test_an_exception_takes_back_its_record_only(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Play(rules())
    run.see(0, alert("U", "a"))
    before = dict(run.engine.state.by_key.items())
    poison = alert("V", "a")
    import daemon.core.engine as steps
    from daemon.core.correlate import find_home

    def broken(ctx: Context, one: Alert, past: Alert | None) -> None:
        find_home(ctx, one, past)
        if one.name == "V":
            raise RuntimeError("planted")

    monkeypatch.setattr(steps, "find_home", broken)
    at = T0 + 1000
    changes = run.engine.fold(
        [AlertSeen(at, alert("W", "a")), AlertSeen(at, poison), AlertSeen(at, alert("X", "a"))], at
    )
    assert [one.index for one in changes.quarantined] == [1]
    assert "planted" in changes.quarantined[0].reason
    names = sorted(one.name for one in run.engine.state.alerts.rows.values())
    assert names == ["U", "W", "X"]
    assert run.only().firing == 3
    assert before.items() <= run.engine.state.by_key.items()


def test_a_deadline_that_raises_is_disarmed_and_samband_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    import daemon.core.delivery as delivery

    run = Play(rules())
    run.see(0, alert("U", "a"))

    def broken(*_: object) -> None:
        raise RuntimeError("planted")

    monkeypatch.setattr(delivery, "due_send", broken)
    changes = run.engine.fold([], T0 + 60_000)
    assert "planted" in changes.quarantined[0].reason
    monkeypatch.undo()
    assert not any(0 < one.due_send <= T0 + 60_000 for one in run.engine.state.deliveries.rows.values())
    own = [one for one in run.incidents() if one.self_cause]
    assert [one.self_cause for one in own] == ["deadline-failed"]
    assert own[0].priority == "P2"
    run.wait(3600)


def test_an_incident_about_samband_is_one_per_cause_and_sink_and_avoids_that_sink() -> None:
    run = Play(rules())
    run.see(0, alert("U", "a"))
    for at, sink in ((10, "pager"), (11, "desk"), (12, "pager")):
        run.fold([SelfNoticed(T0 + at * SECONDS, "sink-failing", sink, "it fails", True)], at)
    run.wait(300)
    own = [one for one in run.incidents() if one.self_cause]
    assert [(one.self_sink, one.priority) for one in own] == [("pager", "P3"), ("desk", "P3")]
    for one in own:
        assert one.self_sink not in {send.sink for send in run.sent if send.incident == one.id}
        assert {send.sink for send in run.sent if send.incident == one.id}
    run.fold([SelfNoticed(T0 + 400 * SECONDS, "sink-failing", "pager", "", False)], 400)
    run.wait(1000)
    assert [one.state for one in run.incidents() if one.self_cause] == ["resolved", "open"]


def test_downtime_heals_nothing_and_pages_nobody_twice() -> None:
    run = Play(rules())
    run.see(0, alert("U", "a", start=0, end=240))
    run.wait(60)
    pages = len(run.acts("pager"))
    back = 20_000
    run.fold([Resumed(T0 + back * SECONDS, epoch=T0 // 1000 + 9, gap=back * SECONDS)], back)
    (now,) = run.see(back + 10, alert("U", "a", start=0, end=back + 250))
    assert now.open
    assert run.only().state == "open"
    assert len(run.acts("pager")) == pages


def test_downtime_ends_no_alert() -> None:
    """Longer than any wait: nobody could resend, so nothing expires and nothing lapses while others are heard."""
    run = Play(rules())
    (one,) = run.see(0, alert("U", "d", "error", start=0, end=240))
    back = 6 * 3600
    run.fold([Resumed(T0 + back * SECONDS, epoch=T0 // 1000 + 9, gap=back * SECONDS)], back)
    for at in range(back + 10, back + 18 * 60, 60):
        run.see(at, alert("Other", "c", "error", start=0, end=at + 240))
    assert run.engine.state.alerts.rows[one.id].open
    run.wait(back + 20 * 60)
    assert run.engine.state.alerts.rows[one.id].end == "lapsed", "from then on silence counts again"


def test_a_clock_step_leaves_calendar_times_alone() -> None:
    opens = T0 + 7200 * SECONDS
    hours = Hours((opens,), (opens + 36_000 * SECONDS,))
    run = Play(policy(rules=(Rule(ALL, ("pager",), hours),)))
    run.see(0, alert(severity="error"))
    run.fold([ClockStepped(T0 + 3605 * SECONDS, by=3600 * SECONDS)], 3605)
    run.wait(7300)
    first, own = run.incidents()
    assert own.self_cause == "clock-step"
    pages = [(one.incident, one.at) for one in run.sent if one.sink == "pager"]
    assert pages == [(first.id, opens), (own.id, opens)]


def test_a_clock_step_moves_running_waits_along() -> None:
    run = Play(rules())
    run.see(0, alert("U", "a"))
    run.fold([ClockStepped(T0 + 3605 * SECONDS, by=3600 * SECONDS)], 3605)
    run.wait(3614)
    assert run.acts("pager") == []
    run.wait(3616)
    assert run.acts("pager") == ["create page@3615"]


def test_refresh_moves_the_lease_and_writes_nothing() -> None:
    run = Play(rules())
    (one,) = run.see(0, alert("U", "a", start=0, end=240))
    for at in range(60, 3000, 60):
        parsed = alert("U", "a", start=0, end=at + 240)
        refresh = run.engine.repeat(parsed, T0 + at * SECONDS)
        assert refresh is not None
        emitter = run.engine.contact_of(parsed)
        when = T0 + at * SECONDS
        changes = run.fold([Refreshed(when, [refresh], [Contact(emitter, when, when)])], at)
        assert all(row.kind != 1 for row in changes.changed)
    assert one.open
    assert one.ends_at == T0 + (2940 + 240) * SECONDS


def test_ids_grow_over_epochs_and_have_one_public_form() -> None:
    assert first_id(5) > first_id(4) + 2**30
    assert parse_id(public_id(first_id(1_800_000_000) + 7)) == first_id(1_800_000_000) + 7
    assert parse_id("x") == 0
    assert parse_id("zzzzzzzzzzzzzzzz") == 0
    assert msgspec.json.encode(public_id(1)) == b'"0000000000000001"'
