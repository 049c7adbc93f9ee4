"""The fold: records and deadlines, merged by time, through the steps in their fixed order.

This file owns the order of the steps and nothing else; each rule lives in the file of its step.
"""

from collections.abc import Sequence
from hashlib import blake2b
from typing import assert_never

import msgspec

from daemon.core import changes, dedup, delivery, lapse, membership, silencing, streams, suppress
from daemon.core.acts import act
from daemon.core.context import Context
from daemon.core.correlate import SELF_SOURCE, find_home
from daemon.core.effects import Changes, Quarantined, Reply
from daemon.core.model.alert import Alert, ParsedAlert, alert_key
from daemon.core.model.ids import first_id
from daemon.core.once import once
from daemon.core.outcome import (
    acknowledgement_lapses,
    close_incident,
    remember_touched,
    resolve_by_clear,
    settle,
    still_firing,
)
from daemon.core.policy import Policy
from daemon.core.priority import go_down
from daemon.core.records import (
    AlertSeen,
    AnyRecord,
    ChangeSeen,
    ClockStepped,
    CommandGiven,
    Delivered,
    DeliveryFailed,
    Overdue,
    PolicyChanged,
    Refresh,
    Refreshed,
    Resumed,
    SelfNoticed,
    SilenceExpired,
    SilencePut,
    StreamMoved,
)
from daemon.core.state import State
from daemon.core.stepped import clock_stepped, policy_changed, resumed

_encode = msgspec.msgpack.Encoder().encode


class Engine:
    """Folds records into state. No clock, no I/O, no luck: the same records give the same decisions.

    trace: set it to a list, and (line, alert id) is appended for every AlertSeen with a line.
    """

    def __init__(self, policy: Policy, state: State | None = None, now_ms: int = 0) -> None:
        self.state = state or State()
        self.policy = policy
        self.now_ms = now_ms
        self.trace: list[tuple[int, int]] | None = None
        self._began = now_ms

    def set_policy(self, policy: Policy) -> None:
        """Another policy from the next fold on, whose first record says so (PolicyChanged)."""
        self.policy = policy

    def next_due(self) -> int:
        """When the next deadline is due, ms; 0 for none."""
        found = self.state.next_deadline()
        return found[0] if found else 0

    def repeat(self, parsed: ParsedAlert, at: int, received: int = 0) -> Refresh | None:
        """What `parsed` brings if it is an unchanged repeat, which may wait in the refresh buffer; else None.

        received: as in `AlertSeen`.
        """
        alert = dedup.unchanged(self.state, self.policy, parsed)
        if alert is None:
            return None
        ends_at = parsed.ends_at or 0
        heard = min(received or at, at)
        if alert.ends_at and (alert.ends_at <= heard or not ends_at):
            return None
        if ends_at and dedup.lead_changed(alert.lead, ends_at - heard):
            return None
        same = self.state.annotations.get(alert.id) == parsed.annotations
        return Refresh(alert.id, at, ends_at, b"" if same else parsed.annotations)

    def contact_of(self, parsed: ParsedAlert) -> int:
        """The id of the emitter that sent this, 0 if none is kept."""
        return self.state.by_emitter.get(parsed.emitter, 0)

    def fold(self, records: Sequence[AnyRecord], now_ms: int) -> Changes:
        """Folds the records and every deadline up to `now_ms`, and returns what came of it.

        At the same instant the record comes first, deadlines among themselves by (due, id). An
        exception takes back its record or disarms its deadline; the rest goes on.
        """
        self._began = self.now_ms
        try:
            run = self._run(records, now_ms, careful=False)
        except Exception:  # noqa: BLE001 - the careful run finds the culprit and tells
            run = self._run(records, now_ms, careful=True)
        rows = self.state.take_changes()
        digest = blake2b(digest_size=16)
        for row in rows:
            digest.update(row.image if row.image is not None else b"-%d" % row.id)
        digest.update(_encode(run.ctx.effects))
        ctx = run.ctx
        return Changes(ctx.effects, rows, run.replies, run.quarantined, ctx.counts, digest.digest(), self.next_due())

    def take_back(self) -> None:
        """The last fold has not been: the store refused what came of it. Only before the next one."""
        self.state.take_back()
        self.state.rebuild_deadlines()
        self.now_ms = self._began

    def _run(self, records: Sequence[AnyRecord], now_ms: int, *, careful: bool) -> "_Run":
        """One run over the batch. Without care an exception takes back the whole of it, and is raised.

        Marking before every record would copy the same incident a thousand times in a storm; so it
        is done only in the second run of a batch in which something raised. Both give the same.
        """
        state, began, traced = self.state, self.now_ms, len(self.trace or ())
        run = _Run(Context(state, self.policy, self.now_ms), careful)
        state.begin()
        try:
            for index, record in enumerate(records):
                if record.at > self.now_ms and not isinstance(record, Resumed | ClockStepped):
                    self._deadlines(run, record.at - 1)
                    self.now_ms = max(self.now_ms, record.at)
                run.ctx.now = self.now_ms
                if careful:
                    self._one(run, record, index)
                else:
                    self._record(run.ctx, record, index, run.replies)
            self._deadlines(run, now_ms)
        except Exception:
            state.take_back()
            state.rebuild_deadlines()
            self.now_ms = began
            if self.trace is not None:
                del self.trace[traced:]
            raise
        self.now_ms = max(self.now_ms, now_ms)
        return run

    # ---- one record --------------------------------------------------------------------------
    def _one(self, run: "_Run", record: AnyRecord, index: int) -> None:
        ctx = run.ctx
        self.state.mark()
        effects, answers = len(ctx.effects), len(run.replies)
        try:
            self._record(ctx, record, index, run.replies)
            membership.count_followers(ctx)
            remember_touched(ctx)
        except Exception as error:  # noqa: BLE001 - one bad record must not cost the others
            self.state.undo()
            ctx.touched.clear()
            ctx.homes.clear()
            ctx.crowded.clear()
            del ctx.effects[effects:], run.replies[answers:]
            run.quarantined.append(Quarantined(index, f"{type(error).__name__}: {error}"))
            ctx.count("quarantined", type(record).__name__)
            if isinstance(record, CommandGiven):
                run.replies.append(Reply(index, "invalid", "samband could not carry this out; it is set aside", 0))

    def _record(  # noqa: PLR0912 - one arm per record
        self, ctx: Context, record: AnyRecord, index: int, replies: list[Reply]
    ) -> None:
        if isinstance(record, AlertSeen):  # Almost all of them are.
            alert = self._alert(ctx, record.alert, record.received)
            if self.trace is not None and record.line and alert is not None:
                self.trace.append((record.line, alert.id))
            return
        membership.leave_homes(ctx)
        match record:
            case Refreshed():
                self._refresh(ctx, record)
            case CommandGiven():
                replies.append(once(ctx, record.id, index, lambda: act(ctx, record, index)))
            case ChangeSeen():
                changes.remember(ctx, record.change)
            case SilencePut():
                replies.append(once(ctx, record.id, index, lambda: silencing.put(ctx, record, index)))
            case SilenceExpired():
                replies.append(once(ctx, record.id, index, lambda: silencing.expire(ctx, record, index)))
            case Delivered():
                delivery.delivered(ctx, record.send, record.ref)
            case DeliveryFailed():
                delivery.failed(ctx, record.send, record.reason, record.detail)
            case Overdue():
                delivery.overdue(ctx, record.send, record.reason)
            case SelfNoticed():
                self._alert(ctx, self_alert(record))
            case StreamMoved():
                streams.moved(ctx, record)
            case Resumed():
                self.state.next_id = max(self.state.next_id, first_id(record.epoch))
                self.now_ms = ctx.now = max(self.now_ms, record.at)
                resumed(ctx, record)
            case ClockStepped():
                self.now_ms = ctx.now = max(self.now_ms, record.at)
                clock_stepped(ctx, record)
                if record.by > 0:
                    self._alert(ctx, self_alert(SelfNoticed(ctx.now, "clock-step", "", _STEPPED, True)))
            case PolicyChanged():
                policy_changed(ctx, record)
            case _:
                assert_never(record)

    def _alert(self, ctx: Context, parsed: ParsedAlert, received: int = 0) -> Alert | None:
        """An alert through the steps: deduplicate (and enrich), correlate, suppress, count."""
        ctx.heard = received if 0 < received < ctx.now else ctx.now
        if parsed.key not in self.state.by_key and parsed.firing:
            alert = dedup.first(ctx, parsed)
            ctx.count("alerts", "opened")
            if self.state.active_silences:
                alert.held = suppress.reasons_for(ctx, alert)
            find_home(ctx, alert, None)
            return alert
        return self._again(ctx, parsed)

    def _again(self, ctx: Context, parsed: ParsedAlert) -> Alert | None:
        """The same for an alert of which something is remembered, or that only ends."""
        known = dedup.newest(self.state, parsed.key)
        counted = (known.severity, membership.service_key(known)) if known is not None else None
        seen = dedup.see(ctx, parsed, known)
        alert = seen.alert
        ctx.count("alerts", seen.outcome)
        if alert is None:
            return None
        if seen.outcome in ("continued", "changed", "ended"):
            membership.leave_homes(ctx)
        if seen.outcome in ("opened", "continued"):
            if self.state.active_silences or alert.held:
                alert.held = suppress.reasons_for(ctx, alert)
            find_home(ctx, alert, seen.before)
        elif seen.outcome == "changed" and alert.incident and seen.recount and counted:
            alert = self.state.alerts.edit(alert.id)
            membership.count_out(ctx, alert, *counted)
            alert.held = suppress.reasons_for(ctx, alert)
            membership.count_in(ctx, alert)
            if seen.risen:
                still_firing(ctx, alert, "a higher severity")
        elif seen.outcome == "changed" and not alert.incident:
            find_home(ctx, alert, None)
        elif seen.outcome == "ended" and alert.incident:
            membership.end_member(ctx, alert)
        return alert

    def _refresh(self, ctx: Context, record: Refreshed) -> None:
        for contact in record.contacts:
            if contact.emitter in self.state.emitters.rows:
                dedup.contact(self.state.emitters.touch(contact.emitter), contact.first_at, contact.at)
        alerts, annotations = self.state.alerts.rows, self.state.annotations
        for refresh in record.refreshes:
            alert = alerts.get(refresh.alert)
            if alert is not None:
                # It may have waited in the buffer while a newer message of the alert did not.
                newest = refresh.at >= alert.last_sign
                if not alert.end:
                    dedup.refresh(alert, refresh.at, refresh.ends_at)
                if refresh.annotations and newest:
                    annotations[refresh.alert] = refresh.annotations

    # ---- deadlines ---------------------------------------------------------------------------
    def _deadlines(self, run: "_Run", until: int) -> None:
        state, ctx = self.state, run.ctx
        membership.leave_homes(ctx)
        remember_touched(ctx)
        while (found := state.next_deadline()) is not None and found[0] <= until:
            due, number, field = found
            state.take_deadline()
            self.now_ms = ctx.now = max(self.now_ms, due)
            if not run.careful:
                self._deadline(ctx, number, field)
                remember_touched(ctx)
                continue
            state.mark()
            effects = len(ctx.effects)
            try:
                self._deadline(ctx, number, field)
                remember_touched(ctx)
            except Exception as error:  # noqa: BLE001 - a deadline that raises must not stop every batch after it
                state.undo()
                ctx.touched.clear()
                del ctx.effects[effects:]
                run.quarantined.append(Quarantined(-1, f"{field} of {number}: {type(error).__name__}: {error}"))
                self._disarm(ctx, number, field, error)

    def _deadline(self, ctx: Context, number: int, field: str) -> None:  # noqa: PLR0912 - one arm per deadline
        state = self.state
        match field:
            case "due_end":
                alert = state.alerts.rows[number]
                if lapse.look_again(ctx, alert) in ("lapsed", "expired") and alert.incident:
                    membership.end_member(ctx, state.alerts.edit(number))
            case "due_settle":
                settle(ctx, state.incidents.edit(number))
            case "due_send":
                delivery.due_send(ctx, state.deliveries.rows[number])
            case "due_update":
                delivery.due_update(ctx, state.deliveries.rows[number])
            case "due_priority":
                go_down(ctx, state.incidents.edit(number))
                ctx.touched[number] = None
            case "due_resolve":
                resolve_by_clear(ctx, state.incidents.edit(number))
            case "due_ack_lapse":
                acknowledgement_lapses(ctx, state.incidents.edit(number))
            case "due_change":
                suppress.look_again(ctx, number)
            case "due_remind":
                suppress.remind(ctx, number)
            case "due_forget":
                changes.forget(ctx, number)
            case "due_reopen":
                incident = state.incidents.edit(number)
                state.arm(incident, "due_reopen", 0)
                lead = next((member for member in state.members(number) if not member.end), None)
                if lead is not None:
                    still_firing(ctx, state.alerts.edit(lead.id), "it still fires")
            case "due_close":
                close_incident(ctx, state.incidents.edit(number), "")
            case _:
                raise ValueError(f"no deadline is called {field}")

    def _disarm(self, ctx: Context, number: int, field: str, error: Exception) -> None:
        """The deadline is taken off its entity, and samband says that it could not do its job."""
        state = self.state
        for table in state.timed:
            if number in table.rows:
                state.arm(table.edit(number), field, 0)
        record = SelfNoticed(ctx.now, "deadline-failed", "", f"{field}: {type(error).__name__}: {error}", True)
        self._alert(ctx, self_alert(record))
        remember_touched(ctx)
        ctx.count("quarantined", field)


class _Run:
    """One run over a batch, and what it has gathered."""

    def __init__(self, ctx: Context, careful: bool) -> None:
        self.ctx, self.careful = ctx, careful
        self.replies: list[Reply] = []
        self.quarantined: list[Quarantined] = []


def self_alert(record: SelfNoticed) -> ParsedAlert:
    """An incident about samband itself starts as an alert like any other, one key per cause, sink and subject."""
    subject = [record.about] if record.about else []
    identity = msgspec.json.encode([record.cause, record.sink, *subject])
    name = "Samband" + "".join(word.capitalize() for word in record.cause.split("-"))
    return ParsedAlert(
        source=SELF_SOURCE,
        key=alert_key(SELF_SOURCE, identity),
        name=name,
        firing=record.firing,
        severity="critical" if record.cause in _CRITICAL else "error",
        service=SELF_SOURCE,
        resource=record.about or record.sink,
        environment="production",
        labels=msgspec.json.encode({"cause": record.cause, "sink": record.sink}),
        annotations=msgspec.json.encode({"summary": record.text}),
        starts_at=None,
        ends_at=None,
        replica="",
        emitter=SELF_SOURCE,
        invented_end=False,
        event=record.cause in _OCCURRENCES,
    )


_CRITICAL = frozenset({"deadline-failed"})
_OCCURRENCES = frozenset({"clock-step", "deadline-failed", "kafka-lost"})
"""Causes that are over when they have happened: nothing ends them but time, or a person."""
_STEPPED = "the clock stepped forward: waits were moved along, and no alert lapses by it"
