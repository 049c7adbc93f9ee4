"""What people may do with an incident: the verbs, each answered with what came of it.

Every act stands in the timeline with who and when. An act that the state forbids changes nothing
and is answered with the reason (`conflict`).
"""

from collections.abc import Callable

from daemon.core import corrections, delivery
from daemon.core.context import Context
from daemon.core.effects import Reply
from daemon.core.lifecycle import Event, Forbidden, after
from daemon.core.model.incident import PRIORITIES, Incident
from daemon.core.outcome import close_incident, reopen, resolve
from daemon.core.priority import rank_of, release, set_by_person
from daemon.core.records import CommandGiven
from daemon.core.reports import report

TEXT_CHARS_MAX = 4_000


class Unclear(Exception):
    """The command lacks something, or it cannot be understood; the text names it."""


def act(ctx: Context, record: CommandGiven, index: int) -> Reply:
    """Carries a command out. `arguments["note"]` goes into the timeline with any verb."""
    if record.verb == "create":
        return report(ctx, record, index)
    verb = _VERBS.get(record.verb)
    if verb is None:
        return Reply(index, "invalid", f"there is no verb {record.verb!r}; there are {', '.join(VERBS)}")
    number = ctx.state.root(record.incident)
    found = ctx.state.incidents.get(number)
    if found is None or found.state == "closed":
        return Reply(index, "missing", "there is no such incident, or it has been closed")
    if number != record.incident:
        survivor = ctx.state.incidents.rows[number]
        return Reply(index, "conflict", f"it was merged into {survivor.ref}", number)
    incident = ctx.state.incidents.edit(number)
    try:
        text = verb(ctx, incident, record)
    except Forbidden as refusal:
        return Reply(index, "conflict", str(refusal), number)
    except Unclear as unclear:
        return Reply(index, "invalid", str(unclear), number)
    note = record.arguments.get("note", "").strip()
    if note and record.verb != "note":
        ctx.note(number, "note", note[:TEXT_CHARS_MAX], record.actor)
    incident.version += 1
    _stay_acknowledged(ctx, incident)
    ctx.touched[number] = None
    return Reply(index, "ok", text, number)


def _stay_acknowledged(ctx: Context, incident: Incident) -> None:
    """Activity: an acknowledgement that would lapse lasts on from here."""
    if incident.state == "acknowledged" and incident.due_ack_lapse:
        lapses = ctx.policy.timing.acknowledge_lapses[rank_of(incident.priority) - 1]
        ctx.state.arm(incident, "due_ack_lapse", max(incident.due_ack_lapse, ctx.now + lapses))


def _move(ctx: Context, incident: Incident, record: CommandGiven, event: Event, kind: str) -> None:
    incident.state = after(incident.state, event)
    ctx.note(incident.id, kind, kind.replace("-", " "), record.actor)


def _text(record: CommandGiven, name: str, example: str) -> str:
    text = record.arguments.get(name, "").strip()
    if not text:
        raise Unclear(f"{record.verb} needs {name!r}, for example {example!r}")
    return text[:TEXT_CHARS_MAX]


# ---- acknowledging, and waiting ------------------------------------------------------------------
def _acknowledge(ctx: Context, incident: Incident, record: CommandGiven) -> str:
    if incident.state == "acknowledged":
        after(incident.state, "acknowledge")
    else:
        _move(ctx, incident, record, "acknowledge", "acknowledged")
        incident.acknowledged_at, incident.acknowledged_by = ctx.now, record.actor
    lapses = ctx.policy.timing.acknowledge_lapses[rank_of(incident.priority) - 1]
    ctx.state.arm(incident, "due_ack_lapse", ctx.now + lapses if lapses else 0)
    return f"{incident.ref} is acknowledged by {incident.acknowledged_by}"


def _unacknowledge(ctx: Context, incident: Incident, record: CommandGiven) -> str:
    _move(ctx, incident, record, "unacknowledge", "unacknowledged")
    incident.acknowledged_at, incident.acknowledged_by = 0, ""
    ctx.state.arm(incident, "due_ack_lapse", 0)
    return f"{incident.ref} is open again"


def _snooze(ctx: Context, incident: Incident, record: CommandGiven) -> str:
    """Acknowledged until a given time; then it is open again, and rings again if it still fires."""
    text = _text(record, "for_ms", "1800000")
    if not text.isdigit() or not 0 < int(text) <= 30 * 86_400_000:
        raise Unclear("snooze needs 'for_ms': how long, in milliseconds, at most 30 days")
    _acknowledge(ctx, incident, record)
    ctx.state.arm(incident, "due_ack_lapse", ctx.now + int(text))
    ctx.note(incident.id, "snoozed", f"for {int(text) // 60_000} min", record.actor)
    return f"{incident.ref} is snoozed for {int(text) // 60_000} min"


def _hold(ctx: Context, incident: Incident, record: CommandGiven) -> str:
    reason = _text(record, "reason", "waiting for the vendor")
    incident.state = after(incident.state, "hold")
    ctx.state.arm(incident, "due_ack_lapse", 0)
    ctx.note(incident.id, "on-hold", reason, record.actor)
    return f"{incident.ref} is on hold: {reason}"


def _resume(ctx: Context, incident: Incident, record: CommandGiven) -> str:
    _move(ctx, incident, record, "resume", "taken-off-hold")
    incident.acknowledged_at, incident.acknowledged_by = ctx.now, record.actor
    return f"{incident.ref} is acknowledged by {record.actor}"


# ---- what it is, and whose -----------------------------------------------------------------------
def _assign(ctx: Context, incident: Incident, record: CommandGiven) -> str:
    team = _text(record, "team", "databases")
    _must_live(incident, "be assigned")
    if team == incident.owner:
        return f"{incident.ref} is owned by {team} already"
    ctx.note(incident.id, "assigned", f"{incident.owner} to {team}", record.actor)
    incident.owner, incident.assigned = team, True
    return f"{incident.ref} is owned by {team}"


def _note(ctx: Context, incident: Incident, record: CommandGiven) -> str:
    text = record.arguments.get("text", "") or record.arguments.get("note", "")
    if not text.strip():
        raise Unclear("note needs 'text': what is to stand in the timeline")
    ctx.note(incident.id, "note", text.strip()[:TEXT_CHARS_MAX], record.actor)
    return f"noted on {incident.ref}"


def _priority(ctx: Context, incident: Incident, record: CommandGiven) -> str:
    _must_live(incident, "have its priority changed")
    wanted = _text(record, "priority", "P2")
    reason = _text(record, "reason", "only the test shop is affected")
    if wanted == "auto":
        release(ctx, incident)
    elif wanted in PRIORITIES:
        set_by_person(ctx, incident, wanted, f"{reason} ({record.actor})")
    else:
        raise Unclear(f"there is no priority {wanted!r}; there are {', '.join(PRIORITIES)}, and auto")
    ctx.note(incident.id, "priority", f"{wanted}: {reason}", record.actor)
    return f"{incident.ref} is {incident.priority}"


def _must_live(incident: Incident, what: str) -> None:
    if not incident.live:
        raise Forbidden(f"an incident that is {incident.state} cannot {what}")


# ---- ends ----------------------------------------------------------------------------------------
def _resolve(ctx: Context, incident: Incident, record: CommandGiven) -> str:
    if incident.state != "resolved":
        after(incident.state, "resolve")
        resolve(ctx, incident, "person", record.actor)
        corrections.end_with_incident(ctx, incident)
        return f"{incident.ref} is resolved by {record.actor}"
    # Resolved by itself, its ticket waiting for a person (a P1): this is that person.
    incident.resolved_by = record.actor
    ctx.note(incident.id, "resolved", "confirmed", record.actor)
    ctx.state.arm(incident, "due_close", ctx.now + ctx.policy.timing.close_after)
    delivery.close_all(ctx, incident, by_person=True)
    return f"{incident.ref} was resolved; {record.actor} has confirmed it"


def _reopen(ctx: Context, incident: Incident, record: CommandGiven) -> str:
    after(incident.state, "reopen")
    reopen(ctx, incident, "by a person", record.actor)
    return f"{incident.ref} is open again"


def _close(ctx: Context, incident: Incident, record: CommandGiven) -> str:
    after(incident.state, "close")
    if incident.firing:
        raise Forbidden(f"{incident.ref} cannot be closed: {incident.firing} of its alerts still fire")
    delivery.close_all(ctx, incident, by_person=True)
    close_incident(ctx, incident, record.actor)
    return f"{incident.ref} is closed"


def _publish(ctx: Context, incident: Incident, record: CommandGiven) -> str:
    drafts = [one for one in ctx.state.incident_deliveries(incident.id) if one.state == "draft"]
    if not incident.live:
        raise Forbidden(f"{incident.ref} is {incident.state}: there is nothing to publish any more")
    if not drafts:
        raise Forbidden(f"{incident.ref} has no draft for a status page")
    for one in drafts:
        delivery.create(ctx, incident, ctx.state.deliveries.edit(one.id))
    ctx.note(incident.id, "published", "published", record.actor)
    return f"{incident.ref} is on its way to {', '.join(one.sink for one in drafts)}"


# ---- corrections ---------------------------------------------------------------------------------
def _merge(ctx: Context, incident: Incident, record: CommandGiven) -> str:
    return corrections.merge_into(ctx, incident, _text(record, "into", "INC-12"), record.actor)


def _split(ctx: Context, incident: Incident, record: CommandGiven) -> str:
    keys = _text(record, "alerts", "the keys of alerts, separated by commas").split(",")
    return corrections.split_off(ctx, incident, [key.strip() for key in keys], record.actor)


_VERBS: dict[str, Callable[[Context, Incident, CommandGiven], str]] = {
    "acknowledge": _acknowledge,
    "unacknowledge": _unacknowledge,
    "snooze": _snooze,
    "hold": _hold,
    "resume": _resume,
    "assign": _assign,
    "note": _note,
    "priority": _priority,
    "resolve": _resolve,
    "reopen": _reopen,
    "close": _close,
    "publish": _publish,
    "merge": _merge,
    "split": _split,
}
VERBS = ("create", *_VERBS)
"""What a command's `verb` may be."""
