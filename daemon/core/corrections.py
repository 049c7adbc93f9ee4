"""A person knows better: merging and splitting by hand, and remembering what is not one thing."""

from daemon.core import membership
from daemon.core.context import Context
from daemon.core.correlate import merge
from daemon.core.correlation import CERTAIN, Evidence
from daemon.core.dedup import finish
from daemon.core.lifecycle import Forbidden
from daemon.core.model.alert import Alert
from daemon.core.model.ids import parse_id
from daemon.core.model.incident import Incident
from daemon.core.model.memory import Apart

APARTS_MAX = 1_000
"""How many corrections are remembered: the newest."""
REPORT_SOURCE = "person"
"""The source of alerts that stand for what people reported."""


def merge_into(ctx: Context, incident: Incident, target: str, actor: str) -> str:
    """Merges the incident into another, given by id or reference. Raises Forbidden."""
    other = _find(ctx, target)
    if other is None:
        raise Forbidden(f"there is no open incident {target!r} to merge into")
    if other.id == incident.id:
        raise Forbidden("an incident cannot be merged into itself")
    if not incident.live or not other.live:
        raise Forbidden("only incidents that are not over can be merged")
    evidence = Evidence(other.id, CERTAIN, f"merged by {actor}", "")
    survivor = merge(ctx, other, incident, evidence, chosen=other.id)
    return f"{incident.ref} is part of {survivor.ref}"


def _find(ctx: Context, text: str) -> Incident | None:
    number = parse_id(text)
    if not number and text.upper().startswith("INC-") and text[4:].isdigit():
        wanted = int(text[4:])
        number = next((one.id for one in ctx.state.incidents.rows.values() if one.number == wanted), 0)
    return ctx.state.incidents.rows.get(ctx.state.root(number))


def split_off(ctx: Context, incident: Incident, keys: list[str], actor: str) -> str:
    """Moves the alerts with these keys into a new incident, and remembers that they are apart. Raises Forbidden."""
    members = list(ctx.state.members(incident.id))
    going = [member for member in members if member.key.hex() in keys]
    staying = [member for member in members if member.key.hex() not in keys]
    if not incident.live:
        raise Forbidden(f"an incident that is {incident.state} cannot be split")
    if not going or not staying:
        raise Forbidden("a split needs at least one alert that goes and one that stays")
    new = membership.open_incident(ctx, going[0])
    for member in going:
        membership.move(ctx, member, new, f"split off {incident.ref} by {actor}")
    _remember(ctx, incident, new, going, staying)
    ctx.touched[incident.id] = None
    ctx.touched[new.id] = None
    ctx.note(incident.id, "split", f"{len(going)} alerts went to {new.ref}", actor)
    ctx.note(new.id, "split", f"from {incident.ref}", actor)
    return f"{new.ref} has {len(going)} of the alerts of {incident.ref}"


def _remember(ctx: Context, incident: Incident, new: Incident, going: list[Alert], staying: list[Alert]) -> None:
    lead = next((member for member in staying if member.id == incident.lead), staying[0])
    incident.lead = lead.id
    state = ctx.state
    for member in going:
        apart = state.aparts.add(Apart(state.new_id(), member.key, lead.key, incident.id, new.id))
        state.keep_apart(apart)
    while len(state.aparts.rows) > APARTS_MAX:
        state.forget_apart(next(iter(state.aparts.rows)))


def end_with_incident(ctx: Context, incident: Incident) -> None:
    """A person ended the incident: so ends what nobody else will say to be over.

    That is what people reported, events, and what went stale. Anything else that still fires reopens it in time.
    """
    for member in list(ctx.state.members(incident.id)):
        alone = member.source == REPORT_SOURCE or member.event or member.status(ctx.now) == "stale"
        if alone and not member.end:
            alert = ctx.state.alerts.edit(member.id)
            finish(ctx, alert, "closed", ctx.now)
            membership.end_member(ctx, alert)
