"""What becomes of an incident when its members change: priority, all clear, resolved, reopened, closed."""

from daemon.core import delivery
from daemon.core.context import Context
from daemon.core.correlation import severe
from daemon.core.dedup import remember
from daemon.core.enrich import team_of
from daemon.core.lifecycle import after
from daemon.core.membership import index_services
from daemon.core.model.alert import Alert
from daemon.core.model.incident import Incident
from daemon.core.policy import HOUR, MINUTE
from daemon.core.priority import rank_of, reckon
from daemon.core.raises import raise_if_worse, ring_again

TWINS = 15 * MINUTE
"""So long after an unclear attempt what it made may turn up at a sink, and has to be ended."""


def remember_touched(ctx: Context) -> None:
    """What a record touched is settled after all records of the same instant.

    So the order inside one request decides nothing: a first page tells of all that came with it,
    and a member that ends beside one that begins is no all clear.
    """
    for number in ctx.touched:
        if number in ctx.state.incidents.rows:
            ctx.state.arm(ctx.state.incidents.edit(number), "due_settle", ctx.now)
    ctx.touched.clear()


def settle(ctx: Context, incident: Incident) -> None:
    """Brings priority, owner, all clear and deliveries in line with the members. Opened with `edit`."""
    ctx.state.arm(incident, "due_settle", 0)
    if not incident.live:
        return
    newest = _newest(ctx, incident)
    before = severe(incident)
    risen = reckon(ctx, incident, newest)
    if severe(incident) and not before:
        index_services(ctx, incident)
    lead = ctx.state.alerts.rows.get(incident.lead)
    if lead is not None and (
        not incident.owner or (risen and incident.state != "acknowledged" and not incident.assigned)
    ):
        incident.owner = team_of(ctx.policy, lead.service, lead.labels, lead.source)
    _clear(ctx, incident)
    over = incident.resolved_at > 0
    if not over and delivery.serve(ctx, incident) and incident.notifiable:
        raise_if_worse(ctx, incident)


def _newest(ctx: Context, incident: Incident) -> Alert | None:
    lead = ctx.state.alerts.rows.get(incident.lead)
    return lead if lead is not None and not lead.end else None


def _clear(ctx: Context, incident: Incident) -> None:
    """All members have ended: the wait before the incident is resolved begins; or one fires again."""
    if incident.firing:
        incident.cleared_at = 0
        incident.cleared = False
        ctx.state.arm(incident, "due_resolve", 0)
        return
    if not incident.ended or incident.cleared_at:
        return
    incident.cleared_at = ctx.now
    wait = ctx.policy.timing.resolve_after[rank_of(incident.priority) - 1]
    ctx.note(incident.id, "clear", "all alerts have ended")
    if wait:
        ctx.state.arm(incident, "due_resolve", ctx.now + wait)
    else:
        resolve_by_clear(ctx, incident)


def resolve_by_clear(ctx: Context, incident: Incident) -> None:
    """All clear, and the wait is over. A P1 that certainly nobody saw stays open, marked cleared."""
    ctx.state.arm(incident, "due_resolve", 0)
    if not incident.live or incident.firing:
        return
    if incident.priority == "P1" and not incident.acknowledged_at and _unseen(ctx, incident):
        incident.cleared = True
        incident.version += 1
        ctx.note(incident.id, "cleared", "all clear, but nobody has seen it: it stays open")
        delivery.serve(ctx, incident)
        return
    resolve(ctx, incident, "clear", "")


def _unseen(ctx: Context, incident: Incident) -> bool:
    """Whether an acknowledgement would have been seen, had there been one: every pager it rang reports them."""
    pagers = [row for row in ctx.state.incident_deliveries(incident.id) if row.kind == "pager" and row.state == "open"]
    sinks = ctx.policy.sinks
    return bool(pagers) and all(row.sink in sinks and sinks[row.sink].reports for row in pagers)


def resolve(ctx: Context, incident: Incident, how: str, actor: str) -> None:
    """Resolves a live incident: by "clear", or by a person. It must have been opened with `edit`."""
    incident.state = after(incident.state, "resolve" if actor else "clear")
    incident.resolved_at, incident.resolved_by = ctx.now, actor or how
    incident.version += 1
    for due in ("due_resolve", "due_priority", "due_ack_lapse"):
        ctx.state.arm(incident, due, 0)
    index_services(ctx, incident)
    timing = ctx.policy.timing
    if incident.firing:
        ctx.state.arm(incident, "due_reopen", ctx.now + timing.reopen_window)
    if incident.priority != "P1" or actor:
        ctx.state.arm(incident, "due_close", ctx.now + timing.close_after)
    ctx.note(incident.id, "resolved", "all clear" if how == "clear" else "resolved", actor)
    ctx.count("incidents_resolved", "clear" if how == "clear" else "person")
    delivery.close_all(ctx, incident, by_person=bool(actor))


def reopen(ctx: Context, incident: Incident, why: str, actor: str = "") -> None:
    """A resolved incident goes on as a new generation. It must have been opened with `edit`."""
    incident.state = after(incident.state, "fire")
    incident.generation += 1
    incident.resolved_at, incident.resolved_by = 0, ""
    incident.acknowledged_at, incident.acknowledged_by = 0, ""
    incident.cleared_at, incident.cleared = 0, False
    incident.told_priority, incident.told = "", ()
    incident.version += 1
    for due in ("due_reopen", "due_close"):
        ctx.state.arm(incident, due, 0)
    index_services(ctx, incident)
    ctx.note(incident.id, "reopened", why, actor)
    ctx.count("incidents_reopened")
    delivery.reopen_all(ctx, incident)
    ctx.touched[incident.id] = None


def still_firing(ctx: Context, alert: Alert, why: str) -> None:
    """A member of an incident that a person resolved is worse than it was, or still fires: it is opened again."""
    incident = ctx.state.incident_of(alert)
    if incident is not None and incident.state == "resolved":
        reopen(ctx, ctx.state.incidents.edit(incident.id), f"{alert.name}: {why}")


def acknowledgement_lapses(ctx: Context, incident: Incident) -> None:
    """Acknowledged, and nothing has happened since for too long: it is open again, and rings again."""
    ctx.state.arm(incident, "due_ack_lapse", 0)
    if incident.state != "acknowledged" or not incident.firing:
        return
    incident.state = after(incident.state, "lapse")
    incident.acknowledged_at, incident.acknowledged_by = 0, ""
    incident.version += 1
    ctx.note(incident.id, "acknowledgement-lapsed", "no activity since it was acknowledged")
    if incident.notifiable:
        ring_again(ctx, incident, "acknowledgement lapsed")
    ctx.touched[incident.id] = None


def close_incident(ctx: Context, incident: Incident, actor: str) -> None:
    """The end: the incident, what was merged into it, its rows and members leave for history.

    While a sink has still to be told of it, or a late twin of its objects may turn up, it stays: what was
    never said could not be said then. A person's word closes it at once all the same.
    """
    deliveries = ctx.state.incident_deliveries(incident.id)
    untold = any(one.sends or (one.state == "open" and one.due_update) for one in deliveries)
    untold = untold or (ctx.now - incident.closed_at < TWINS if incident.closed_at else bool(actor and deliveries))
    if incident.state != "closed" and (actor or not untold):
        incident.state = after(incident.state, "close")
        incident.closed_at = ctx.now
        incident.version += 1
        ctx.note(incident.id, "closed", "closed", actor)
    ctx.state.arm(incident, "due_close", ctx.now + (MINUTE if incident.closed_at else HOUR) if untold else 0)
    if untold:
        return
    state = ctx.state
    for member in list(state.members(incident.id)):
        remember(ctx, member)
    for number in list(state.family(incident.id)):
        for row in state.incident_services(number):
            state.disown_row(row)
            state.unlink(state.of_service, (row.service, row.environment), row.id)
            state.services.remove(row.id)
        for one in state.incident_deliveries(number):
            for send in one.sends:
                state.drop(state.by_send, send)
            state.unlink(state.delivery_ids, number, one.id)
            state.deliveries.remove(one.id)
    for number in reversed(list(state.family(incident.id))):
        parent = state.incidents.rows[number].merged_into
        if parent:
            state.unlink(state.absorbed, parent, number)
        state.served.pop(number, None)
        state.incidents.remove(number)
