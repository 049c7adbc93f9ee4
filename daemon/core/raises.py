"""Ringing again: a higher priority, another tier-1 service or another owner tells people once more.

Each raise is an object of its own at the pager, with a key of its own: a service like PagerDuty
tells nobody a second time under one key.
"""

from daemon.core.context import Context
from daemon.core.delivery import concerned, plan
from daemon.core.model.incident import Incident
from daemon.core.priority import rank_of, voice
from daemon.core.routing import sinks_for


def raise_if_worse(ctx: Context, incident: Incident) -> None:
    """A higher priority, another tier-1 service or another owner rings again; what is waiting covers it."""
    if not incident.told_priority:
        return
    reasons = _untold(ctx, incident)
    if reasons:
        ring_again(ctx, incident, ", ".join(reasons))


def ring_again(ctx: Context, incident: Incident, reason: str) -> None:
    """Pages once more, as an object of its own, at every pager that the policies name; unless one waits anyway."""
    pagers = [(sink, hours) for sink, hours in sinks_for(ctx, incident) if sink.kind == "pager"]
    waiting = {
        delivery.sink
        for delivery in ctx.state.incident_deliveries(incident.id)
        if delivery.kind == "pager" and delivery.state == "waiting"
    }
    pagers = [(sink, hours) for sink, hours in pagers if sink.name not in waiting]
    if not pagers:
        return
    incident.raises += 1
    ctx.note(incident.id, "raise", reason)
    for sink, hours in pagers:
        plan(ctx, incident, sink, hours, f"raise-{incident.raises}")


def _untold(ctx: Context, incident: Incident) -> list[str]:
    reasons = []
    if rank_of(voice(incident)) < rank_of(incident.told_priority):
        reasons.append(f"now {voice(incident)}")
    reasons += [f"also {name}" for name in concerned(ctx, incident) if name not in incident.told]
    return reasons
