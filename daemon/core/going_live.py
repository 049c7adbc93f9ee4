"""From `mode: shadow` to `live`: what was decided while nothing was sent becomes what people are told.

Open incidents are told once, in one message to every sink of messages; each acts from its next change,
and a P1 or P2 that nobody has acknowledged acts now. What still waits goes on waiting as it did.
"""

from collections.abc import Sequence

from daemon.core.communication import picture, shorten, title
from daemon.core.context import Context
from daemon.core.delivery import SUMMARY, object_key, send
from daemon.core.model.incident import Delivery, Incident
from daemon.core.policy import Policy
from daemon.core.priority import rank_of
from daemon.core.state import State
from daemon.core.view import IncidentView

SHOWN = 50
"""So many open incidents are listed, the worst first; the rest are counted."""


def go_live(ctx: Context) -> None:
    """Takes back what only seemed told, and tells of what is open."""
    state = ctx.state
    for delivery in list(state.deliveries.rows.values()):
        if delivery.shadow and delivery.state == "open":
            _take_back(ctx, state.deliveries.edit(delivery.id))
    for incident in list(state.incidents.rows.values()):
        if incident.state in ("open", "reopened") and incident.priority in ("P1", "P2"):
            ctx.touched[incident.id] = None
    _tell(ctx)


def _take_back(ctx: Context, delivery: Delivery) -> None:
    """The object does not exist. Whoever has acknowledged knows, and is paged only when it gets worse."""
    ctx.state.arm(delivery, "due_update", 0)
    incident = ctx.state.incidents.edit(delivery.incident)
    known = incident.state in ("acknowledged", "on_hold")
    if known and delivery.kind == "pager":
        delivery.state = "closed"
        return
    delivery.state = "dropped"
    if not known:
        incident.told_priority, incident.told = "", ()


def _tell(ctx: Context) -> None:
    """One message to each sink of messages; it is no object that is served, and is kept with the worst incident."""
    state = ctx.state
    found = open_incidents(state)
    if not found:
        return
    worst = state.incidents.edit(found[0].id)
    for sink in ctx.policy.sinks.values():
        if sink.kind != "message" or sink.virtual:
            continue
        delivery = state.deliveries.add(
            Delivery(
                id=state.new_id(),
                incident=worst.id,
                generation=worst.generation,
                sink=sink.name,
                kind=sink.kind,
                purpose=SUMMARY,
                key=object_key(worst, SUMMARY),
                state="closed",
            )
        )
        state.link(state.delivery_ids, worst.id, delivery.id)
        delivery.create = send(ctx, worst, delivery, "create", SUMMARY)


def open_incidents(state: State) -> list[Incident]:
    """The live incidents, the worst first, then the oldest."""
    live = (one for one in state.incidents.rows.values() if one.live)
    return sorted(live, key=lambda one: (rank_of(one.priority), one.id))


def pictures(state: State, policy: Policy, now_ms: int, link_base: str = "") -> tuple[list[IncidentView], int]:
    """The worst open incidents as they stand, and how many are open in all."""
    found = open_incidents(state)
    return [picture(state, policy, one.id, now_ms, link_base) for one in found[:SHOWN]], len(found)


def summary(views: Sequence[IncidentView], total: int) -> tuple[str, str]:
    """Title and text of the message."""
    first = f"samband is live: {total} open incident{'' if total == 1 else 's'}"
    lines = [first, *(_line(view) for view in views)]
    if total > len(views):
        lines.append(f"and {total - len(views)} more")
    return first, "\n".join(lines)


def _line(view: IncidentView) -> str:
    words = [title(view), view.owner, view.state.replace("_", " ")]
    if view.acknowledged_by:
        words[-1] += f" by {shorten(view.acknowledged_by, 40)}"
    return ", ".join([*filter(None, words), *filter(None, (view.link,))])
