"""Step 7: what the world is to be told of an incident, and when. One `Delivery` is one object at one sink.

An object once opened is served to its end, whatever the policies say later. Nothing is rendered
here: a Send says that something is due, and what it says is made from the newest committed state.
"""

from daemon.core.context import Context
from daemon.core.effects import Send
from daemon.core.enrich import service_entry
from daemon.core.model.ids import public_id
from daemon.core.model.incident import Action, Delivery, Incident, Kind
from daemon.core.policy import Hours, PerPriority, SinkInfo
from daemon.core.priority import rank_of, voice
from daemon.core.routing import sinks_for

PURPOSES: dict[Kind, str] = {"pager": "page", "ticket": "ticket", "status_page": "entry", "message": "message"}
SUMMARY = "summary"
"""The purpose of the one message that tells of all open incidents. It stands for no object of its incident."""


def serve(ctx: Context, incident: Incident) -> bool:
    """Brings the deliveries in line with a live incident; False if that was done before.

    The incident must have been opened with `edit`.
    """
    served = (
        incident.priority,
        voice(incident),
        incident.owner,
        incident.state,
        incident.generation,
        incident.cleared,
        incident.notifiable,
        incident.shape,
    )
    if ctx.state.served.get(incident.id) == served:
        return False
    if incident.notifiable:
        _open_missing(ctx, incident)
    for delivery in ctx.state.incident_deliveries(incident.id):
        if delivery.state == "open" and delivery.generation == incident.generation:
            _schedule_update(ctx, incident, delivery)
    if not any(_wants_members(delivery) for delivery in ctx.state.incident_deliveries(incident.id)):
        ctx.state.served[incident.id] = served
    return True


def _wants_members(delivery: Delivery) -> bool:
    """Whether the next member would have to be told of, with no update scheduled yet."""
    return delivery.state == "open" and delivery.kind in ("ticket", "message") and not delivery.due_update


def _open_missing(ctx: Context, incident: Incident) -> None:
    present = {
        delivery.sink
        for delivery in ctx.state.incident_deliveries(incident.id)
        if delivery.generation == incident.generation and delivery.state != "dropped" and delivery.purpose != SUMMARY
    }
    for sink, hours in sinks_for(ctx, incident):
        if sink.name not in present:
            plan(ctx, incident, sink, hours, PURPOSES[sink.kind])
        elif sink.kind in ("pager", "ticket"):
            _hasten(ctx, incident, sink, hours)


def plan(ctx: Context, incident: Incident, sink: SinkInfo, hours: Hours | None, purpose: str) -> None:
    """A new object: held back so that related alerts join, or sent at once."""
    state = ctx.state
    delivery = Delivery(
        id=state.new_id(),
        incident=incident.id,
        generation=incident.generation,
        sink=sink.name,
        kind=sink.kind,
        purpose=purpose,
        key=object_key(incident, purpose),
        state="draft" if sink.approve else "waiting",
        team=incident.owner,
        previous=_previous(ctx, incident, sink) if purpose == PURPOSES[sink.kind] else 0,
        shadow=ctx.policy.mode == "shadow",
    )
    state.deliveries.add(delivery)
    state.link(state.delivery_ids, incident.id, delivery.id)
    if delivery.state == "draft":
        ctx.note(incident.id, "draft", f"entry for {sink.name} waits to be published")
        return
    due, delivery.calendar = _release(ctx, incident, sink, hours)
    if due <= ctx.now:
        create(ctx, incident, delivery)
    else:
        state.arm(delivery, "due_send", due)


def object_key(incident: Incident, purpose: str) -> str:
    """What the sink knows the object by: of one incident's generation there is one, but for raises and summaries."""
    base = f"samband-{public_id(incident.id)}-{incident.generation}"
    return base if purpose in PURPOSES.values() else f"{base}#{purpose}"


def _previous(ctx: Context, incident: Incident, sink: SinkInfo) -> int:
    """The closed object of an earlier generation, at sinks that can open it again, if it was ever made."""
    if not sink.reopens or incident.generation == 1:
        return 0
    closed = [
        delivery.id
        for delivery in ctx.state.incident_deliveries(incident.id)
        if delivery.sink == sink.name
        and delivery.state == "closed"
        and delivery.confirmed
        and delivery.purpose == PURPOSES[sink.kind]
    ]
    return closed[-1] if closed else 0


def _release(ctx: Context, incident: Incident, sink: SinkInfo, hours: Hours | None) -> tuple[int, bool]:
    """When the object may be made, and whether that is a calendar time."""
    due = ctx.now + _hold(ctx, incident, sink.kind)
    if sink.kind == "pager" and hours is not None and not hours.at(due):
        start = hours.next_start(due)
        return (start, True) if start else (due, False)
    return due, False


def _hold(ctx: Context, incident: Incident, kind: Kind) -> int:
    waits: PerPriority | None = {"pager": ctx.policy.timing.first_page, "ticket": ctx.policy.timing.ticket}.get(kind)
    return waits[rank_of(voice(incident)) - 1] if waits is not None else 0


def _hasten(ctx: Context, incident: Incident, sink: SinkInfo, hours: Hours | None) -> None:
    """A priority that has risen shortens a wait that still runs."""
    for delivery in ctx.state.incident_deliveries(incident.id):
        if delivery.sink == sink.name and delivery.state == "waiting" and delivery.due_send:
            due, calendar = _release(ctx, incident, sink, hours)
            if due < delivery.due_send:
                row = ctx.state.deliveries.edit(delivery.id)
                row.calendar = calendar
                ctx.state.arm(row, "due_send", due)


# ---- sending -----------------------------------------------------------------------------------
def create(ctx: Context, incident: Incident, delivery: Delivery, *, after: int = 0) -> None:
    """Asks for the object. Incident and delivery must have been opened with `edit`."""
    state = ctx.state
    action: Action = "create"
    if delivery.previous:
        earlier = state.deliveries.rows.get(delivery.previous)
        if earlier is not None:
            delivery.ref, delivery.key, action = earlier.ref, earlier.key, "reopen"
    state.arm(delivery, "due_send", 0)
    delivery.state = "open"
    delivery.shadow = ctx.policy.mode == "shadow"
    delivery.create = send(ctx, incident, delivery, action, delivery.purpose, after=after)
    _mark_told(ctx, incident, delivery)
    if delivery.kind == "pager":
        _now_told(ctx, incident)


def concerned(ctx: Context, incident: Incident) -> list[str]:
    """The owner, and the tier-1 services that fire."""
    rows = ctx.state.incident_services(incident.id)
    names = [row.service for row in rows if row.tier == 1 and row.loud]
    return list(dict.fromkeys([f"team {incident.owner}", *names]))


def _now_told(ctx: Context, incident: Incident) -> None:
    speaks = voice(incident)
    if not incident.told_priority or rank_of(speaks) < rank_of(incident.told_priority):
        incident.told_priority = speaks
    incident.told = tuple(dict.fromkeys((*incident.told, *concerned(ctx, incident))))


def send(ctx: Context, incident: Incident, delivery: Delivery, action: Action, purpose: str, *, after: int = 0) -> int:
    """Emits one Send and returns its id. The delivery must have been opened with `edit`."""
    state = ctx.state
    number = state.new_id()
    state.served.pop(incident.id, None)
    ctx.effects.append(
        Send(
            id=number,
            at=ctx.now,
            delivery=delivery.id,
            incident=incident.id,
            generation=delivery.generation,
            sink=delivery.sink,
            kind=delivery.kind,
            action=action,
            purpose=purpose,
            key=delivery.key,
            rank=rank_of(incident.priority),
            after=after,
            shadow=delivery.shadow,
        )
    )
    ctx.count("sends", delivery.kind)
    if not delivery.shadow:
        delivery.sends = (*delivery.sends, number)
        state.put(state.by_send, number, delivery.id)
    else:
        ctx.note(incident.id, "shadow", f"{action} {purpose} at {delivery.sink} (not sent)")
    return number


def due_send(ctx: Context, delivery: Delivery) -> None:
    """The wait before the first word is over."""
    state = ctx.state
    row = state.deliveries.edit(delivery.id)
    state.served.pop(row.incident, None)
    state.arm(row, "due_send", 0)
    incident = state.incidents.edit(row.incident)
    if row.state != "waiting":
        return
    if incident.notifiable or (incident.live and must_page(row, incident)):
        create(ctx, incident, row)
    else:
        drop(ctx, row)


def must_page(delivery: Delivery, incident: Incident) -> bool:
    """A first page still waiting when all is clear is dropped, but for P1."""
    return delivery.kind == "pager" and incident.priority == "P1" and not incident.held


def drop(ctx: Context, delivery: Delivery) -> None:
    """What was never sent will not be."""
    row = ctx.state.deliveries.edit(delivery.id)
    row.state = "dropped"
    ctx.state.arm(row, "due_send", 0)
    ctx.count("dropped", row.kind)


# ---- updates -----------------------------------------------------------------------------------
def _schedule_update(ctx: Context, incident: Incident, delivery: Delivery) -> None:
    """Something changed: an update is due at once, or when the spacing of comments allows."""
    shown = _shown(ctx, incident, delivery)
    members = delivery.kind in ("ticket", "message") and delivery.members_told != incident.version
    if shown == delivery.told and not members:
        return
    spacing = 0
    if delivery.kind == "ticket" or shown == delivery.told:
        spacing = ctx.policy.timing.comment_every
    due = max(ctx.now, delivery.last_update + spacing)
    if not delivery.due_update or due < delivery.due_update:
        ctx.state.arm(ctx.state.deliveries.edit(delivery.id), "due_update", due)


def _shown(ctx: Context, incident: Incident, delivery: Delivery) -> str:
    """What of the incident matters to a sink of this kind: when it is the same, there is nothing to say."""
    if delivery.kind == "pager":
        return "acknowledged" if incident.state == "acknowledged" else "open"
    if delivery.kind == "status_page":
        rows = ctx.state.incident_services(incident.id)
        components = sorted({service_entry(ctx.policy, row.service).component for row in rows if any(row.firing)})
        return f"{incident.priority} {' '.join(components)}"
    return f"{incident.priority} {incident.owner} {incident.state} {incident.cleared}"


def _mark_told(ctx: Context, incident: Incident, delivery: Delivery) -> None:
    delivery.told = _shown(ctx, incident, delivery)
    delivery.members_told = incident.version
    delivery.last_update = ctx.now
    ctx.state.arm(delivery, "due_update", 0)


def due_update(ctx: Context, delivery: Delivery) -> None:
    """An update is due; or, at a status page, the all clear has held long enough."""
    state = ctx.state
    row = state.deliveries.edit(delivery.id)
    state.served.pop(row.incident, None)
    state.arm(row, "due_update", 0)
    incident = state.incidents.edit(row.incident)
    if row.state != "open":
        return
    if not incident.live:
        if row.kind == "status_page":
            close(ctx, incident, row)
        elif _shown(ctx, incident, row) != row.told:
            _update(ctx, incident, row)
    elif not any(number != row.create for number in row.sends):
        _update(ctx, incident, row)
    # else: one is under way; `delivered` schedules the next.


def _update(ctx: Context, incident: Incident, delivery: Delivery) -> None:
    if _shown(ctx, incident, delivery) == delivery.told and delivery.members_told == incident.version:
        return
    if delivery.kind == "pager" and incident.state != "acknowledged":
        delivery.told = _shown(ctx, incident, delivery)
        return
    send(ctx, incident, delivery, "update", "update")
    _mark_told(ctx, incident, delivery)


# ---- ends --------------------------------------------------------------------------------------
def close_all(ctx: Context, incident: Incident, *, by_person: bool) -> None:
    """The incident is over: every object is ended, but for a P1's ticket, which waits for a person."""
    state = ctx.state
    for delivery in state.incident_deliveries(incident.id):
        row = state.deliveries.edit(delivery.id)
        if row.state == "waiting" and must_page(row, incident) and not by_person:
            create(ctx, incident, row)
        if row.state in ("waiting", "draft"):
            drop(ctx, row)
        elif row.state == "open":
            _end(ctx, incident, row, by_person=by_person)


def _end(ctx: Context, incident: Incident, delivery: Delivery, *, by_person: bool) -> None:
    if delivery.kind == "ticket" and incident.priority == "P1" and not by_person:
        ctx.state.arm(delivery, "due_update", ctx.now)
        return
    if delivery.kind == "status_page":
        green = (incident.cleared_at or ctx.now) + ctx.policy.green_after
        if green > ctx.now:
            ctx.state.arm(delivery, "due_update", green)
            return
    close(ctx, incident, delivery)


def close(ctx: Context, incident: Incident, delivery: Delivery, *, purpose: str = "resolve", after: int = 0) -> None:
    """Asks for the object's end. The delivery must have been opened with `edit`."""
    ctx.state.arm(delivery, "due_update", 0)
    delivery.state = "closed"
    send(ctx, incident, delivery, "resolve", purpose, after=after)


def reopen_all(ctx: Context, incident: Incident) -> None:
    """A new generation: what is still open at a sink goes on under it; the rest is opened by `serve`."""
    for delivery in ctx.state.incident_deliveries(incident.id):
        if delivery.state == "open":
            row = ctx.state.deliveries.edit(delivery.id)
            row.generation = incident.generation
            ctx.state.arm(row, "due_update", 0)


# ---- what comes back ---------------------------------------------------------------------------
def delivered(ctx: Context, number: int, ref: str) -> None:
    """An outbox row is done."""
    row = _settle(ctx, number)
    if row is None:
        return
    if ref and not row.ref:
        row.ref = ref
    incident = ctx.state.incidents.edit(row.incident)
    if number == row.create:
        row.confirmed = True
        ctx.note(row.incident, "delivered", f"{row.purpose} at {row.sink}" + (f" as {row.ref}" if row.ref else ""))
    if row.state == "open" and incident.live:
        _schedule_update(ctx, incident, row)


def failed(ctx: Context, number: int, reason: str, detail: str) -> None:
    """An outbox row was given up, or (`dropped`) is not wanted any more. A create may still be retried by a person."""
    row = _settle(ctx, number)
    if row is not None and number == row.create and reason != "dropped":
        ctx.state.put(ctx.state.by_send, number, row.id)
    if row is not None and reason != "dropped":
        ctx.note(row.incident, "failed", f"{row.purpose} at {row.sink}: {reason}" + (f" ({detail})" if detail else ""))


def overdue(ctx: Context, number: int, reason: str) -> None:
    """An outbox row was not done within its bound; it is still being tried."""
    delivery = ctx.state.deliveries.rows.get(ctx.state.by_send.get(number, 0))
    if delivery is not None:
        ctx.note(delivery.incident, "overdue", f"{delivery.purpose} at {delivery.sink} is late: {reason}")


def _settle(ctx: Context, number: int) -> Delivery | None:
    state = ctx.state
    delivery = state.deliveries.rows.get(state.by_send.get(number, 0))
    if delivery is None:
        return None
    row = state.deliveries.edit(delivery.id)
    row.sends = tuple(one for one in row.sends if one != number)
    state.drop(state.by_send, number)
    return row
