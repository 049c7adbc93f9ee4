"""The journal, read from the disk beside the daemon, and folded again: is it durable, in order, and the same?

Folding again uses the engine, and proves only that it decides the same (promise 4); what is checked of
the decisions themselves (order, timers, rings) is checked against the records that led to them.
"""

from typing import TYPE_CHECKING, NamedTuple

import msgspec
import zstandard

from daemon.batching import INSTANT_MS
from daemon.core.effects import Changes, Noted, Send
from daemon.core.engine import Engine
from daemon.core.model.alert import ParsedAlert
from daemon.core.records import (
    AlertSeen,
    AnyRecord,
    ClockStepped,
    Overdue,
    PolicyChanged,
    Refreshed,
    Resumed,
    decode_records,
)
from daemon.core.state import ALERT, DEADLINES, State
from daemon.store.base import LiveRow
from tests.simulation.decisions import Decisions

if TYPE_CHECKING:
    from tests.simulation.world import World

RESTORE_SHARE = 0.03
"""So often the engine that folds again is stopped and restored from images in between."""


class Entry(NamedTuple):
    """One batch of the journal."""

    seq: int
    epoch: int
    now_ms: int
    policy: str
    digest: bytes
    records: list[AnyRecord]


class Journal:
    """See above. seen: key, status and start of every alert in it. sends: ids of what was decided to be sent."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._unpack = zstandard.ZstdDecompressor()
        self._luck = world.luck("restored")
        self._last: Entry | None = None
        self._unfolded: list[Entry] = []
        self._engine: Engine | None = None
        self._differs = self._stepped = False
        self._ended: dict[tuple[bytes, int, int], None] = {}
        self._decisions = Decisions(world)
        self.seen: dict[tuple[bytes, bool, int | None], None] = {}
        self.sends: dict[int, None] = {}

    # ---- reading -----------------------------------------------------------------------------------------------
    def read(self) -> None:
        """Takes in what is new on the disk."""
        rows = self._world.disk.read(
            "SELECT seq, epoch, now_ms, policy, digest, inputs FROM journal WHERE seq > ? ORDER BY seq",
            self._last.seq if self._last is not None else 0,
        )
        for *head, inputs in rows:
            seq, epoch, now_ms, policy, digest = head
            records = decode_records(self._unpack.decompress(inputs))
            entry = Entry(seq, epoch, now_ms, policy, digest, records)
            self._in_order(entry)
            for record in entry.records:
                if type(record) is AlertSeen:
                    self.seen[record.alert.key, record.alert.firing, record.alert.starts_at] = None
            self._unfolded.append(entry)
            self._last = entry

    def _in_order(self, entry: Entry) -> None:
        """Time and epochs never go back, and what is folded was not received before the last fold."""
        last = self._last
        if last is None:
            return
        if entry.epoch < last.epoch:
            self._world.wrong(f"batch {entry.seq} was written by an epoch that had been replaced")
        if entry.now_ms < last.now_ms:
            self._world.wrong(f"batch {entry.seq} lies {last.now_ms - entry.now_ms} ms before the one before it")
        # An Overdue that could not be told at its time is told later; it is only a line in the timeline.
        # What arrives within an instant counts as received with the first of it.
        since = last.now_ms - INSTANT_MS
        early = [one for one in entry.records if one.at < since and not isinstance(one, Overdue)]
        self._stepped = any(isinstance(one, ClockStepped) for one in last.records) or (self._stepped and bool(early))
        if early and not self._stepped:
            kinds = sorted({type(record).__name__ for record in early})
            text = f"{', '.join(kinds)} of batch {entry.seq} came before deadlines that had already fired"
            self._world.wrong(text)

    def is_durable(self, alerts: list[ParsedAlert]) -> None:
        """At the instant of the answer: all that is answered for is on the disk."""
        self.read()
        for alert in alerts:
            if (alert.key, alert.firing, alert.starts_at) not in self.seen:
                word = "firing" if alert.firing else "resolved"
                text = f"{alert.name} on {alert.resource} ({word}) was acknowledged before it was on the disk"
                self._world.wrong(text, alert.key.hex())

    # ---- folding -----------------------------------------------------------------------------------------------
    def fold(self) -> State | None:
        """Folds what was read; the state then, or None when it came out differently."""
        self.read()
        entries, self._unfolded = self._unfolded, []
        for entry in entries:
            if not self._differs:
                self._fold(entry)
        return self._engine.state if self._engine is not None and not self._differs else None

    def _fold(self, entry: Entry) -> None:
        policy = self._world.policies[entry.policy]
        engine = self._engine
        if engine is None:
            engine = Engine(policy)
        elif self._luck.random() < RESTORE_SHARE:
            engine = restored(engine)
        if engine.policy.digest != policy.digest:
            engine.set_policy(policy)
        self._engine = engine
        timers = _timers(engine.state) if _only_about_itself(entry.records) else None
        changes = engine.fold(entry.records, entry.now_ms)
        if changes.digest != entry.digest:
            self._differs = True
            self._world.wrong(f"batch {entry.seq} folded again gives another digest")
            return
        self.sends.update((effect.id, None) for effect in changes.effects if isinstance(effect, Send))
        if timers is not None:
            self._stand_still(entry, changes, engine.state, timers)
        self._decisions.look(entry, changes, engine.state)
        self._silent_ends(entry, changes, engine.state)

    def _silent_ends(self, entry: Entry, changes: Changes, state: State) -> None:
        at = self._world.landed.get(entry.seq)
        if at is None:
            return
        for row in changes.changed:
            alert = state.alerts.rows.get(row.id) if row.kind == ALERT else None
            if alert is None or alert.end not in ("lapsed", "expired") or alert.source == "samband":
                continue
            episode = (alert.key, alert.generation, alert.last_sign)
            if episode not in self._ended:  # Once: it may be written again, when its incident is closed.
                self._ended[episode] = None
                self._world.ledger.ended_by_silence(alert, at)

    # ---- promise 6 -----------------------------------------------------------------------------------------------
    def _stand_still(self, entry: Entry, changes: Changes, state: State, before: "Timers") -> None:
        """A restart or a reload moves no timer and sends nothing that was not due; a clock step moves waits only."""
        world = self._world
        by = sum(record.by for record in entry.records if isinstance(record, ClockStepped))
        due = {one.id for one in state.alerts.rows.values() if one.began_at > 0 and one.end in ("lapsed", "expired")}
        due |= {one for (one, _), (at, calendar, _) in before.items() if at + (0 if calendar else by) <= entry.now_ms}
        goes_live = any(isinstance(one, PolicyChanged) and one.before == "shadow" for one in entry.records)
        after = _timers(state)
        for (owner, field), (at, calendar, who) in before.items():
            expected = at if calendar else at + by
            found = after.get((owner, field), (0, False, 0))[0]
            incident = state.incidents.rows.get(who)
            itself = incident is not None and bool(incident.self_cause)  # The step itself is an alert of samband's.
            if due or found == expected or expected <= entry.now_ms or goes_live or field == "due_settle" or itself:
                continue
            what = f"{field} of {owner} stood at {expected} and stands at {found} after batch {entry.seq}"
            world.wrong(f"a restart, reload or clock step moved a timer: {what}", f"{who:016x}")
        sends = [effect for effect in changes.effects if isinstance(effect, Send) and not effect.shadow]
        if sends and not due and not goes_live and not by:
            for one in sends:
                text = f"a restart or reload sent {one.action} of {one.purpose} to {one.sink}"
                world.wrong(text, f"{one.incident:016x}")


Timers = dict[tuple[int, str], tuple[int, bool, int]]
"""(entity, field) -> when it is due, whether that is a calendar time, and the incident concerned."""


def _timers(state: State) -> Timers:
    found: Timers = {}
    for table in (state.incidents, state.deliveries, state.silences):
        for row in table.rows.values():
            for field in DEADLINES[table.kind]:
                if due := getattr(row, field):
                    calendar = table is state.silences or (field == "due_send" and getattr(row, "calendar", False))
                    found[row.id, field] = (due, calendar, getattr(row, "incident", row.id))
    return found


def _only_about_itself(records: list[AnyRecord]) -> bool:
    kinds = {type(one) for one in records}
    return bool(kinds - {Refreshed}) and kinds <= {Refreshed, Resumed, PolicyChanged, ClockStepped}


def restored(engine: Engine) -> Engine:
    """The engine as it comes back from images of all that it holds."""
    state = engine.state
    rows = []
    for kind, table in state.tables().items():
        for number in table.rows:
            image = state.image(kind, number)
            assert image is not None
            rows.append(LiveRow(kind, number, *image))
    rows.sort(key=lambda row: row.id)
    stored = msgspec.json.decode(msgspec.json.encode(rows), type=list[LiveRow])
    return Engine(engine.policy, State.load(stored, state.next_id, state.next_number), engine.now_ms)


def differences(one: State, other: State) -> list[str]:
    """Where two states differ, annotations apart."""
    found = []
    for kind, table in one.tables().items():
        others = other.tables()[kind].rows
        for number in sorted({*table.rows, *others}):
            left, right = one.image(kind, number), other.image(kind, number)
            if (left and left[0]) != (right and right[0]):
                found.append(f"entity {number} of kind {kind}: {table.rows.get(number)} is not {others.get(number)}")
    return found


__all__ = ["Entry", "Journal", "Noted", "differences", "restored"]
