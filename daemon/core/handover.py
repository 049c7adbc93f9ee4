"""A merge at the sinks: what the loser had there is ended, or goes on under the survivor."""

from daemon.core.context import Context
from daemon.core.delivery import close, drop
from daemon.core.model.incident import Delivery, Incident
from daemon.core.priority import rank_of


def hand_over(ctx: Context, survivor: Incident, loser: Incident) -> None:
    """A merge: pages do not repeat, tickets are closed as duplicates, the public entry changes hands.

    The loser's page ends once the survivor's is confirmed; where the survivor has told nobody yet,
    it takes the loser's object over instead.
    """
    state = ctx.state
    for delivery in state.incident_deliveries(loser.id):
        row = state.deliveries.edit(delivery.id)
        if row.state in ("waiting", "draft"):
            drop(ctx, row)
            continue
        own = _own(ctx, survivor, row)
        if row.state == "open" and own is not None and own.state == "open":
            close(ctx, loser, row, purpose="duplicate", after=0 if own.confirmed else own.create)
        elif row.state == "open":
            if own is not None:
                drop(ctx, own)
            _adopt(ctx, survivor, loser, row)
    if loser.told_priority:
        best = min(filter(None, (survivor.told_priority, loser.told_priority)), key=rank_of)
        survivor.told_priority = best
        survivor.told = tuple(dict.fromkeys((*survivor.told, *loser.told)))


def _own(ctx: Context, survivor: Incident, other: Delivery) -> Delivery | None:
    """The survivor's object for the same sink: the open one, else the one that waits.

    What only seemed to be made (shadow mode) stands for nothing that people have.
    """
    same = [
        delivery
        for delivery in ctx.state.incident_deliveries(survivor.id)
        if delivery.sink == other.sink
        and delivery.state in ("open", "waiting", "draft")
        and (other.shadow or not delivery.shadow)
    ]
    return min(same, key=lambda delivery: (delivery.state != "open", delivery.id)) if same else None


def _adopt(ctx: Context, survivor: Incident, loser: Incident, delivery: Delivery) -> None:
    state = ctx.state
    state.unlink(state.delivery_ids, loser.id, delivery.id)
    delivery.incident = survivor.id
    delivery.generation = survivor.generation
    state.link(state.delivery_ids, survivor.id, delivery.id)
