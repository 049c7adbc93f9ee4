"""Silence is not recovery: when an alert that is no longer mentioned may be taken to have ended.

Once its lease has run out an alert is stale: open, and said to be so. It lapses only when its own
emitter goes on talking without it, and longer so when that was silent itself, or was restarted. A
stale alert, or an event, of P3 to P5 expires hours after its last sign; P1 and P2 wait for a person.
"""

from daemon.core.context import Context
from daemon.core.dedup import finish, forget
from daemon.core.model.alert import Alert, Emitter
from daemon.core.model.incident import Incident
from daemon.core.policy import MINUTE

TALKING = 5 * MINUTE
"""An emitter heard less than this ago talks, however short its lead seems (clocks differ)."""
UNREAD = MINUTE
"""While a log of its source has not been read to its end, an alert is looked at again after so long."""


def look_again(ctx: Context, alert: Alert) -> str:
    """The deadline `due_end` of an alert has come: "forgotten", "lapsed", "expired", or "" and a new deadline."""
    now, timing = ctx.now, ctx.policy.timing
    if alert.end:
        forget(ctx, alert)
        return "forgotten"
    if not alert.event and alert.ends_at > now:
        ctx.state.arm(ctx.state.alerts.touch(alert.id), "due_end", alert.ends_at + timing.lapse_after)
        return ""
    if alert.source in ctx.state.behind:
        ctx.state.arm(ctx.state.alerts.touch(alert.id), "due_end", now + UNREAD)
        return ""
    emitter = ctx.state.emitters.rows.get(ctx.state.by_emitter.get(alert.emitter, 0))
    since = alert.ends_at
    if not alert.event and emitter is not None:
        gone_on, since = _talked_on(alert, emitter, now, timing.lapse_after, timing.lapse_after_gap)
        if gone_on:
            finish(ctx, ctx.state.alerts.edit(alert.id), "lapsed", alert.ends_at)
            return "lapsed"
    if now >= alert.last_sign + timing.event_expires and _may_expire(ctx.state.incident_of(alert)):
        finish(ctx, ctx.state.alerts.edit(alert.id), "expired", now)
        return "expired"
    again = _next_look(alert, since, now, timing.lapse_after, timing.event_expires)
    ctx.state.arm(ctx.state.alerts.touch(alert.id), "due_end", again)
    return ""


def _talked_on(alert: Alert, emitter: Emitter, now: int, after: int, after_gap: int) -> tuple[bool, int]:
    """Whether the emitter has talked on without the alert for long enough; and when it would have."""
    interrupted = max(emitter.talking_since, emitter.restarted_at)
    if interrupted > alert.last_sign:
        base, wait = max(alert.ends_at, interrupted), after_gap
    else:
        base, wait = alert.ends_at, after
    talks = emitter.last_contact > base and now - emitter.last_contact <= max(emitter.lead, TALKING)
    return talks and now >= base + wait, base + wait


def _next_look(alert: Alert, lapse_due: int, now: int, lapse_after: int, expires: int) -> int:
    expiry = alert.last_sign + expires
    if alert.event:
        return expiry if expiry > now else now + expires
    if lapse_due > now:
        return lapse_due
    poll = now + max(lapse_after // 3, 1_000)
    return min(poll, expiry) if expiry > now else poll


def _may_expire(incident: Incident | None) -> bool:
    """P1 and P2 wait for a person."""
    return incident is None or incident.priority not in ("P1", "P2")
