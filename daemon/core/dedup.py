"""Step 2: which episode of which alert a message is about, and what it changes there.

Late, repeated and reordered deliveries change nothing. Each episode has a generation, so that a
late resolve never closes a newer one. Silence is not recovery: a lease (`ends_at`) that has run
out makes an alert stale; it lapses only when its emitter has gone on talking without it.
"""

from typing import Literal

from msgspec.structs import replace

from daemon.core.context import Context
from daemon.core.enrich import severity_of, subject_of
from daemon.core.model.alert import RANK, REPLICAS_MAX, Alert, Emitter, ParsedAlert
from daemon.core.policy import DAY, MINUTE, SECOND, Policy
from daemon.core.state import State

FUTURE_MAX = 5 * MINUTE
"""A sender's start further ahead than this is taken for a wrong clock, and clamped."""
SILENT_MIN = 10 * SECOND
"""A pause shorter than this is no silence, however short the emitter's lead seems."""
EMITTERS_MAX = 10_000
"""How many emitters are remembered; senders name them (generatorURL), so that there must be a bound."""
REMEMBERED = DAY
"""An ended alert that is in no incident is forgotten after this."""

NO_REPLICAS: dict[str, int] = {}
"""Shared by all alerts without: a dict is replaced, never changed in place, and an empty one takes 64 bytes."""

Outcome = Literal["opened", "continued", "changed", "repeated", "ended", "late", "orphan"]


class Seen:
    """What a message did: its outcome, the alert it concerns, and the episode before a new one.

    recount: the member counts for something else now. risen: its severity is higher than before.
    """

    __slots__ = ("alert", "before", "outcome", "recount", "risen")

    def __init__(self, outcome: Outcome, alert: Alert | None, before: Alert | None = None) -> None:
        self.outcome: Outcome = outcome
        self.alert = alert
        self.before = before
        self.risen = False
        self.recount = False


def newest(state: State, key: bytes) -> Alert | None:
    """The newest episode of a key, open or ended; None when there is none that is remembered."""
    number = state.by_key.get(key)
    return state.alerts.rows[number] if number is not None else None


def first(ctx: Context, parsed: ParsedAlert) -> Alert:
    """`see` for a firing of a key that nothing is remembered of: its first episode."""
    hear(ctx, parsed, None)
    return _open(ctx, parsed, _start(ctx, parsed), None)


def see(ctx: Context, parsed: ParsedAlert, current: Alert | None) -> Seen:
    """Applies the message to the newest episode of its key. `ctx.heard` is when it was received."""
    hear(ctx, parsed, current)
    if parsed.firing:
        return _firing(ctx, parsed, current)
    return _resolved(ctx, parsed, current)


def unchanged(state: State, policy: Policy, parsed: ParsedAlert) -> Alert | None:
    """The open alert of which `parsed` is an unchanged repeat, bringing nothing but refresh data; else None."""
    alert = newest(state, parsed.key)
    if (
        alert is None
        or alert.end
        or not parsed.firing
        or alert.event
        or alert.labels != parsed.labels
        or alert.emitter != parsed.emitter
        or (parsed.starts_at or 0) != alert.heard_start
        or parsed.resource != alert.resource
        or parsed.invented_end != alert.invented_end
    ):
        return None
    if severity_of(parsed.severity, policy)[0] != alert.severity:
        return None
    if parsed.replica and alert.replicas.get(parsed.replica, 1):
        return None
    return alert


def lead_changed(old: int, new: int) -> bool:
    """A lead that moves by more than a tenth is a change, not a refresh."""
    return abs(new - old) * 10 > old


def refresh(alert: Alert, at: int, ends_at: int) -> None:
    """Applies what an unchanged repeat brings. Doing it again changes nothing, so it need not be taken back."""
    alert.last_sign = max(alert.last_sign, at)
    alert.ends_at = max(alert.ends_at, ends_at)


# ---- emitters ----------------------------------------------------------------------------------
def hear(ctx: Context, parsed: ParsedAlert, current: Alert | None) -> None:
    """Notes that the emitter of this message has talked. Only those that give leases are kept, the newest of them.

    One that had to go and is heard again counts as having begun to talk: lapses come later, never earlier.
    """
    state, now = ctx.state, ctx.now
    number = state.by_emitter.get(parsed.emitter)
    lead = parsed.ends_at - ctx.heard if parsed.ends_at and parsed.firing and not parsed.invented_end else 0
    if number is None:
        if not parsed.firing or not parsed.ends_at:
            return
        if len(state.emitters.rows) >= EMITTERS_MAX:
            oldest = next(iter(state.emitters.rows.values()))
            state.drop(state.by_emitter, oldest.name)
            state.emitters.remove(oldest.id)
        emitter = state.emitters.add(Emitter(state.new_id(), parsed.emitter, now, max(lead, 0), now))
        state.put(state.by_emitter, parsed.emitter, emitter.id)
        return
    emitter = state.emitters.rows[number]
    if emitter.last_contact < now:
        emitter = state.emitters.touch(number)
        contact(emitter, now, now)
    if lead > 0 and abs(lead - emitter.lead) * 10 > emitter.lead:
        emitter = state.emitters.edit(number)
        emitter.lead = lead
    if current is not None and _start_moved(parsed, current):
        emitter = state.emitters.edit(number)
        emitter.restarted_at = now


def contact(emitter: Emitter, first_at: int, at: int) -> None:
    """The emitter was heard from `first_at` to `at`; a pause longer than its lead starts a new run of talking."""
    if first_at - emitter.last_contact > max(emitter.lead or MINUTE, SILENT_MIN):
        emitter.talking_since = first_at
    emitter.last_contact = max(emitter.last_contact, at)


def _start_moved(parsed: ParsedAlert, current: Alert) -> bool:
    return (
        parsed.firing
        and not current.end
        and not current.event
        and current.emitter == parsed.emitter
        and parsed.starts_at is not None
        and parsed.starts_at > current.heard_start > 0
    )


# ---- firing ------------------------------------------------------------------------------------
def _firing(ctx: Context, parsed: ParsedAlert, current: Alert | None) -> Seen:
    start = _start(ctx, parsed)
    if current is None:
        return Seen("opened", _open(ctx, parsed, start, None))
    if not current.end:
        lease = parsed.ends_at or 0
        if current.previous_end and start <= current.previous_end < current.decides_at and lease < ctx.now:
            return Seen("late", current)
        return _mention(ctx, parsed, current, start)
    if current.end == "lapsed" or (current.end == "expired" and not current.event):
        return _continue(ctx, parsed, current, start)
    # A start in the future was clamped when it was first heard, and is clamped later by now: it is the same start.
    again = not current.event and parsed.starts_at is not None and parsed.starts_at == current.heard_start
    if (start > current.ends_at and not again) or (current.event and current.end in ("expired", "closed")):
        return Seen("opened", _open(ctx, parsed, start, current), current)
    if parsed.starts_at is None and start == current.ends_at and current.generation:
        # It came after the end, within the same millisecond.
        return Seen("opened", _open(ctx, parsed, start, current), current)
    if parsed.ends_at is not None and not parsed.invented_end and parsed.ends_at > current.ends_at:
        return _continue(ctx, parsed, current, start)
    return Seen("late", current)


def _start(ctx: Context, parsed: ParsedAlert) -> int:
    return ctx.heard if parsed.starts_at is None else min(parsed.starts_at, ctx.heard + FUTURE_MAX)


def _open(ctx: Context, parsed: ParsedAlert, start: int, before: Alert | None) -> Alert:
    """A new episode, an entity of its own. The one before stays in its incident, or is forgotten if it is in none."""
    state, now = ctx.state, ctx.now
    severity, known = severity_of(parsed.severity, ctx.policy)
    if not known:
        ctx.count("severity_unknown", parsed.source)
    service, environment, extra = subject_of(parsed, ctx.policy)
    ends_at = parsed.ends_at or 0
    if parsed.event:
        due = now + ctx.policy.timing.event_expires
    else:
        due = ends_at + ctx.policy.timing.lapse_after if ends_at else 0
    alert = Alert(  # The hottest line of the fold: arguments by place cost half of those by name.
        state.new_id(),
        parsed.key,
        parsed.source,
        parsed.name,
        severity,
        service,
        parsed.resource,
        environment,
        extra,
        parsed.labels,
        before.generation + 1 if before else 1,
        start,  # starts_at
        start,  # decides_at
        now,  # began_at
        now,  # raised_at
        ends_at,
        max(ends_at - ctx.heard, 0),  # lead
        now,  # last_sign
        parsed.emitter,
        parsed.event,
        parsed.invented_end,
        previous_end=before.ends_at if before else 0,
        replicas={parsed.replica: 0} if parsed.replica else NO_REPLICAS,
        due_end=due,
        heard_start=parsed.starts_at or 0,
    )
    state.open_episode(alert, parsed.annotations)
    if before is not None and before.incident:
        state.alerts.edit(before.id).superseded = True
    elif before is not None:
        forget(ctx, before)
    return alert


def _continue(ctx: Context, parsed: ParsedAlert, current: Alert, start: int) -> Seen:
    alert = ctx.state.alerts.edit(current.id)
    alert.end = ""
    alert.ends_at = 0
    seen = _mention(ctx, parsed, alert, start)
    seen.outcome = "continued"
    return seen


def _mention(ctx: Context, parsed: ParsedAlert, current: Alert, start: int) -> Seen:
    """A further firing of an open episode."""
    seen = Seen("repeated", current)
    severity, _ = severity_of(parsed.severity, ctx.policy)
    changed = (
        severity != current.severity
        or parsed.labels != current.labels
        or parsed.emitter != current.emitter
        or parsed.resource != current.resource
        or start < current.starts_at
        or (parsed.starts_at or 0) != current.heard_start
        or bool(parsed.replica and current.replicas.get(parsed.replica, 1))
        or current.event
        or current.status(ctx.now) == "stale"
    )
    alert = ctx.state.alerts.edit(current.id) if changed else ctx.state.alerts.touch(current.id)
    seen.alert = alert
    if changed:
        seen.outcome = "changed"
        _apply(ctx, parsed, alert, severity, start, seen)
    _lease(ctx, parsed, alert)
    ctx.state.put(ctx.state.annotations, alert.id, parsed.annotations)
    arm_end(ctx, alert)
    return seen


def _apply(ctx: Context, parsed: ParsedAlert, alert: Alert, severity: str, start: int, seen: Seen) -> None:
    if RANK[severity] > RANK[alert.severity]:
        alert.raised_at = ctx.now
        seen.risen = True
    if parsed.labels != alert.labels or severity != alert.severity or parsed.resource != alert.resource:
        alert.labels, alert.resource, alert.severity = parsed.labels, parsed.resource, severity
        alert.service, alert.environment, alert.extra = subject_of(parsed, ctx.policy)
        seen.recount = True
    seen.recount = seen.recount or alert.event
    alert.starts_at = min(alert.starts_at, start)
    alert.heard_start = parsed.starts_at or (start if alert.event else 0)
    alert.emitter = parsed.emitter
    if parsed.replica and alert.replicas.get(parsed.replica, 1):
        alert.replicas = _with_replica(alert.replicas, parsed.replica, 0)


def _lease(ctx: Context, parsed: ParsedAlert, alert: Alert) -> None:
    """A real later end beats; an invented one loses against a real one; none at all keeps the old lead."""
    alert.last_sign = max(alert.last_sign, ctx.now)
    if parsed.ends_at is None:
        if alert.ends_at:
            alert.ends_at = max(alert.ends_at, ctx.now + alert.lead)
        return
    if parsed.invented_end and alert.ends_at and not alert.invented_end:
        alert.ends_at = max(alert.ends_at, ctx.now + alert.lead)
        return
    lead = max(parsed.ends_at - ctx.heard, 0)
    if lead_changed(alert.lead, lead) or alert.invented_end != parsed.invented_end:
        alert = ctx.state.alerts.edit(alert.id)
        alert.lead = lead
        alert.invented_end = parsed.invented_end
    alert.ends_at = max(alert.ends_at, parsed.ends_at)


def _with_replica(replicas: dict[str, int], replica: str, end: int) -> dict[str, int]:
    """The replicas with one set; past the bound, the one that ended first gives way, else the oldest."""
    result = {**replicas, replica: end}
    while len(result) > REPLICAS_MAX:
        others = [name for name in result if name != replica]
        ended = [name for name in others if result[name]]
        del result[min(ended, key=lambda name: result[name]) if ended else others[0]]
    return result


# ---- resolved ----------------------------------------------------------------------------------
def _resolved(ctx: Context, parsed: ParsedAlert, current: Alert | None) -> Seen:
    end = min(parsed.ends_at or ctx.heard, ctx.now)
    if current is not None and parsed.ends_at is None and not current.heard_start:
        end = max(end, current.decides_at)  # Neither names a time: the order in which they came decides.
    if current is None:
        return Seen("orphan", _remember_orphan(ctx, parsed, end))
    if current.end:
        if end > current.ends_at:
            ctx.state.alerts.edit(current.id).ends_at = end
        return Seen("late", current)
    same_start = parsed.starts_at is not None and parsed.starts_at in (current.decides_at, current.heard_start)
    if not same_start:
        before_it = end < current.decides_at
        of_the_last = parsed.starts_at is not None and 0 < parsed.starts_at <= current.previous_end
        if before_it or (parsed.ends_at is None and of_the_last):
            return Seen("late", current)
    alert = ctx.state.alerts.edit(current.id)
    if parsed.replica:
        alert.replicas = _with_replica(alert.replicas, parsed.replica, max(end, 1))
        if not all(alert.replicas.values()):
            return Seen("changed", alert)
    finish(ctx, alert, "resolved", max(end, alert.decides_at))
    return Seen("ended", alert)


def _remember_orphan(ctx: Context, parsed: ParsedAlert, end: int) -> Alert:
    """A resolve of something never seen opens nothing; its end is kept, so that its late firing opens nothing."""
    alert = _open(ctx, parsed, min(parsed.starts_at or end, end), None)
    alert.generation = 0
    finish(ctx, alert, "resolved", end)
    return alert


# ---- ends --------------------------------------------------------------------------------------
def finish(ctx: Context, alert: Alert, how: str, end: int) -> None:
    """Ends the episode. The alert must have been opened with `edit`."""
    alert.end = how  # type: ignore[assignment]  # one of End, by every caller
    alert.ends_at = end
    arm_end(ctx, alert)
    ctx.count("episodes_ended", how)


def arm_end(ctx: Context, alert: Alert) -> None:
    """When the engine has to look at this alert again: lapse, expiry, or being forgotten.

    A lease that is prolonged leaves the deadline where it is: it only fires early, and looks again.
    """
    if alert.end:
        due = alert.ends_at + REMEMBERED if not alert.incident else 0
        ctx.state.arm(alert, "due_end", max(due, ctx.now + 1) if due else 0)
        return
    timing = ctx.policy.timing
    if alert.event:
        due = alert.last_sign + timing.event_expires
    elif alert.ends_at:
        due = alert.ends_at + timing.lapse_after
    else:
        due = 0
    if not due or not 0 < alert.due_end <= due:
        ctx.state.arm(alert, "due_end", due)


def forget(ctx: Context, alert: Alert) -> None:
    """The alert leaves: to history, and out of every index."""
    state = ctx.state
    if state.by_key.get(alert.key) == alert.id:
        state.drop(state.by_key, alert.key)
    if alert.incident:
        state.unlink(state.member_ids, alert.incident, alert.id)
    state.alerts.remove(alert.id)


def remember(ctx: Context, alert: Alert) -> None:
    """The alert leaves with its incident. That it has ended is known for a day: what comes late must open nothing."""
    state = ctx.state
    newest = state.by_key.get(alert.key) == alert.id
    forget(ctx, alert)
    if not newest or not alert.end or alert.ends_at + REMEMBERED <= ctx.now:
        return
    kept = state.alerts.add(
        replace(alert, id=state.new_id(), incident=0, cell=-1, held=(), reason="", facts="", strength=0, due_end=0)
    )
    state.annotations[kept.id] = b"{}"
    state.put(state.by_key, kept.key, kept.id)
    arm_end(ctx, kept)
