"""Step 5: why an alert may not notify. Suppression is a set of reasons; an alert with none is loud.

A held alert is a member like any other: correlated, counted, shown. When the last reason ends and
it still fires it goes on by itself, even if its source stays quiet. A resolve always passes.
"""

from daemon.core.context import Context
from daemon.core.enrich import labels_of
from daemon.core.membership import set_held
from daemon.core.model.alert import Alert
from daemon.core.model.silence import Silence
from daemon.core.policy import DAY, MINUTE

REMEMBERED = 5 * DAY
"""How long an expired silence is kept (Alertmanager's 120 h)."""
REMIND_BEFORE = 15 * MINUTE
"""A silence that still holds something says so this long before its end."""
SILENCES_MAX = 10_000


def values_of(alert: Alert) -> dict[str, list[str]]:
    """What matchers see of an alert: its labels, and the native fields, which win over labels of their name.

    Severity has both values, ours and the sender's own word: the compatible API shows the word,
    and whoever silences `severity="page"` there means it.
    """
    labels = labels_of(alert.labels)
    values = {name: [value] for name, value in labels.items()}
    values["alertname"] = [alert.name]
    for name in ("service", "resource", "environment", "severity", "source"):
        if value := getattr(alert, name):
            values[name] = [value]
    if word := labels.get("severity"):
        values["severity"] = list(dict.fromkeys((alert.severity, word)))
    return values


def reasons_for(ctx: Context, alert: Alert) -> tuple[str, ...]:
    """The reasons for which the alert may not notify now, in a fixed order."""
    if not ctx.state.active_silences:
        return ()
    values = values_of(alert)
    rows = ctx.state.silences.rows
    return tuple(
        rows[number].reason
        for number in sorted(ctx.state.active_silences)
        if ctx.policy.matcher(rows[number].matchers).matches(values)
    )


def start(ctx: Context, silence: Silence) -> int:
    """The silence begins, or its matchers changed: open alerts that match are held. Returns how many."""
    silence.active = True
    ctx.state.put(ctx.state.active_silences, silence.id, None)
    return _look_at_all(ctx)


def stop(ctx: Context, silence: Silence) -> int:
    """The silence ends: what it alone held and still fires is loud again. Returns how many are held still."""
    silence.active = False
    ctx.state.drop(ctx.state.active_silences, silence.id)
    return _look_at_all(ctx, silence.reason)


def _look_at_all(ctx: Context, reason: str = "") -> int:
    held = 0
    for alert in list(ctx.state.alerts.rows.values()):
        if alert.end or (reason and reason not in alert.held):
            continue
        reasons = reasons_for(ctx, alert)
        held += bool(reasons)
        if reasons != alert.held:
            set_held(ctx, alert, reasons)
    return held


# ---- deadlines ---------------------------------------------------------------------------------
def arm(ctx: Context, silence: Silence) -> None:
    """Sets the silence's next deadline: its start, its end, or being forgotten."""
    status = silence.status(ctx.now)
    due = {"pending": silence.starts_at, "active": silence.ends_at, "expired": silence.ends_at + REMEMBERED}[status]
    ctx.state.arm(silence, "due_change", max(due, ctx.now + 1))
    remind = silence.ends_at - REMIND_BEFORE
    ctx.state.arm(silence, "due_remind", remind if status != "expired" and remind > ctx.now else 0)


def look_again(ctx: Context, number: int) -> None:
    """The silence's start or end has come, or it is old enough to be forgotten."""
    silence = ctx.state.silences.edit(number)
    status = silence.status(ctx.now)
    if status == "expired" and not silence.active:
        ctx.state.arm(silence, "due_change", 0)
        ctx.state.silences.remove(number)
        return
    if status == "active" and not silence.active:
        start(ctx, silence)
    elif status == "expired":
        stop(ctx, silence)
    arm(ctx, silence)


def remind(ctx: Context, number: int) -> None:
    """Shortly before its end: the incidents whose alerts it still holds say so in their timelines."""
    silence = ctx.state.silences.edit(number)
    ctx.state.arm(silence, "due_remind", 0)
    told: dict[int, None] = {}
    for alert in ctx.state.alerts.rows.values():
        if not alert.end and silence.reason in alert.held and alert.incident:
            told[ctx.state.root(alert.incident)] = None
    for incident in sorted(told):
        minutes = max(silence.ends_at - ctx.now, 0) // MINUTE
        ctx.note(incident, "silence-ends", f"{silence.kind} by {silence.created_by} ends in {minutes} min")
    if told:
        ctx.count("silence_reminders")
