"""What people may do with an incident: the verbs, each answered with what came of it."""

from daemon.core import delivery
from daemon.core.context import Context
from daemon.core.effects import Reply
from daemon.core.lifecycle import VERBS, Forbidden, after
from daemon.core.model.incident import Incident
from daemon.core.outcome import resolve
from daemon.core.priority import rank_of
from daemon.core.records import CommandGiven


def act(ctx: Context, record: CommandGiven, index: int) -> Reply:
    """Carries a command out. A verb that the state forbids changes nothing and is answered with the reason."""
    if record.verb not in VERBS:
        return Reply(index, "invalid", f"there is no verb {record.verb!r}; there are {', '.join(VERBS)}")
    number = ctx.state.root(record.incident)
    if number not in ctx.state.incidents.rows:
        return Reply(index, "missing", "there is no such incident, or it has been closed")
    if number != record.incident:
        survivor = ctx.state.incidents.rows[number]
        return Reply(index, "conflict", f"it was merged into {survivor.ref}", number)
    incident = ctx.state.incidents.edit(number)
    try:
        text = _verbs[record.verb](ctx, incident, record)
    except Forbidden as refusal:
        return Reply(index, "conflict", str(refusal), number)
    incident.version += 1
    ctx.touched[number] = None
    return Reply(index, "ok", text, number)


def _acknowledge(ctx: Context, incident: Incident, record: CommandGiven) -> str:
    again = incident.state == "acknowledged"
    incident.state = after(incident.state, "acknowledge")
    if not again:
        incident.acknowledged_at, incident.acknowledged_by = ctx.now, record.actor
        ctx.note(incident.id, "acknowledged", "acknowledged", record.actor)
    lapses = ctx.policy.timing.acknowledge_lapses[rank_of(incident.priority) - 1]
    ctx.state.arm(incident, "due_ack_lapse", ctx.now + lapses if lapses else 0)
    return f"{incident.ref} is acknowledged by {incident.acknowledged_by}"


def _resolve(ctx: Context, incident: Incident, record: CommandGiven) -> str:
    if incident.state != "resolved":
        after(incident.state, "resolve")
        resolve(ctx, incident, "person", record.actor)
        return f"{incident.ref} is resolved by {record.actor}"
    # Resolved by itself, its ticket waiting for a person (a P1): this is that person.
    incident.resolved_by = record.actor
    ctx.note(incident.id, "resolved", "confirmed", record.actor)
    ctx.state.arm(incident, "due_close", ctx.now + ctx.policy.timing.close_after)
    delivery.close_all(ctx, incident, by_person=True)
    return f"{incident.ref} was resolved; {record.actor} has confirmed it"


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


_verbs = {"acknowledge": _acknowledge, "resolve": _resolve, "publish": _publish}
