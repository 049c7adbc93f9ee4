"""Why an incident is as it is: its members, what else was considered, priority, people, what is held, what comes.

Reads only, and repeats no rule: it asks the functions that the engine decides by, and says their
answers in words. Each section has the facts for programs and `text` for people, sentence by sentence.
"""

from collections.abc import Sequence

import msgspec

from daemon.core.communication import MEMBERS_LOOKED_AT, clean, picture, worst_members
from daemon.core.considering import Considered, considered
from daemon.core.context import Context
from daemon.core.explaining_people import People, people
from daemon.core.explaining_waits import HeldBy, Next, held, waits
from daemon.core.model.alert import Alert
from daemon.core.model.incident import PRIORITIES, Incident
from daemon.core.policy import Policy
from daemon.core.priority import LEVELS, MATRIX, WORST_FIRST, voice, worst
from daemon.core.state import State
from daemon.core.view_json import rfc3339, rfc3339_or_none
from daemon.core.wording import counted, listed, when

GROUPS_MAX = 12
EXAMPLES = 3
SUBJECTS_MAX = 20


class About(msgspec.Struct, frozen=True):
    """The incident in short."""

    id: str
    ref: str
    title: str
    state: str
    priority: str


class Group(msgspec.Struct, frozen=True):
    """Members that are in for the same reason. strength: of the strongest, 0 to 1000 (0: it opened the incident)."""

    reason: str
    alerts: int
    firing: int
    strength: int
    services: list[str]
    examples: list[str]


class Together(msgspec.Struct, frozen=True):
    """Why the members are one thing. absorbed: references of incidents merged into it."""

    text: list[str]
    groups: list[Group]
    absorbed: list[str]


class Others(msgspec.Struct, frozen=True):
    """What else was considered."""

    text: list[str]
    items: list[Considered]


class Cell(msgspec.Struct, frozen=True):
    """One cell of the matrix in which members fire. loud: how many of them may notify."""

    impact: str
    urgency: str
    priority: str
    firing: int
    loud: int


class Prioritised(msgspec.Struct, frozen=True):
    """Why this priority. forced: by a person. told_with: by which people are told, held alerts apart."""

    text: list[str]
    priority: str
    impact: str
    urgency: str
    derivation: str
    forced: bool
    told_with: str
    falls_at: str | None
    cells: list[Cell]


class Explanation(msgspec.Struct, frozen=True):
    """The whole, as of `at`."""

    at: str
    incident: About
    together: Together
    considered: Others
    prioritised: Prioritised
    people: People
    held: HeldBy
    next: Next


def explain(state: State, policy: Policy, incident_id: int, now_ms: int) -> Explanation:
    """Explains the incident, or the one into which it was merged. Raises KeyError when there is none."""
    incident = state.incidents.rows[state.root(incident_id)]
    ctx = Context(state, policy, now_ms)
    members = worst_members(state, incident)
    return Explanation(
        at=rfc3339(now_ms),
        incident=about(ctx, incident),
        together=_together(ctx, incident, members),
        considered=_others(ctx, incident, members),
        prioritised=prioritised(ctx, incident),
        people=people(ctx, incident),
        held=held(ctx, [one for one in members if not one.end]),
        next=waits(ctx, incident, members),
    )


def about(ctx: Context, incident: Incident) -> About:
    """What the incident is."""
    view = picture(ctx.state, ctx.policy, incident.id, ctx.now)
    return About(view.id, view.ref, view.title, view.state, view.priority)


# ---- why one thing -----------------------------------------------------------------------------
def _together(ctx: Context, incident: Incident, members: Sequence[Alert]) -> Together:
    groups: dict[str, list[Alert]] = {}
    for member in members:
        groups.setdefault(_reason(ctx, incident, member), []).append(member)
    told = [_group(reason, ones) for reason, ones in groups.items()]
    told.sort(key=lambda one: (one.strength > 0, -one.strength, -one.alerts, one.reason))
    absorbed = [ctx.state.incidents.rows[one].ref for one in ctx.state.family(incident.id) if one != incident.id]
    total = incident.firing + incident.ended
    services = dict.fromkeys(row.service for row in ctx.state.incident_services(incident.id) if row.service)
    text = [f"{incident.ref} has {counted(total, 'alert')} of {counted(len(services), 'service')}."]
    if total > len(members) >= MEMBERS_LOOKED_AT:
        text.append(f"{len(members)} of them were looked at for this.")
    text += [_group_words(one) for one in told[:GROUPS_MAX]]
    if rest := told[GROUPS_MAX:]:
        text.append(f"{counted(sum(one.alerts for one in rest), 'alert')} more are in for {len(rest)} other reasons.")
    if absorbed:
        text.append(f"Merged into it: {listed(absorbed)}.")
    return Together(text, told[:GROUPS_MAX], absorbed)


def _reason(ctx: Context, incident: Incident, member: Alert) -> str:
    if member.reason != "opened it" or member.incident == incident.id:
        return clean(member.reason)
    merged = ctx.state.incidents.get(member.incident)
    return f"opened {merged.ref}, which was merged into it" if merged is not None else member.reason


def _group(reason: str, members: list[Alert]) -> Group:
    best = sorted(members, key=lambda one: (-one.strength, one.id))
    return Group(
        reason=reason,
        alerts=len(members),
        firing=sum(not one.end for one in members),
        strength=best[0].strength,
        services=list(dict.fromkeys(clean(one.service, 60) for one in best if one.service))[:SUBJECTS_MAX],
        examples=[_example(one) for one in best[:EXAMPLES]],
    )


def _example(alert: Alert) -> str:
    what = clean(alert.name, 60)
    where = alert.service or alert.resource
    what += f" on {clean(where, 60)}" if where else ""
    return f"{what}, {clean(alert.facts, 80)}" if alert.facts else what


def _group_words(group: Group) -> str:
    more = f" and {group.alerts - len(group.examples)} more" if group.alerts > len(group.examples) else ""
    names = "; ".join(group.examples) + more
    if not group.strength:
        return f"{names} {group.reason}."
    return f"{counted(group.alerts, 'alert')} joined, {group.reason} (strength {group.strength} of 1000): {names}."


# ---- what else ---------------------------------------------------------------------------------
def _others(ctx: Context, incident: Incident, members: Sequence[Alert]) -> Others:
    """For the youngest firing alert of each service: the other live incidents, as things stand now."""
    youngest: dict[str, Alert] = {}
    for member in members:
        known = youngest.get(member.service)
        if not member.end and (known is None or member.decides_at > known.decides_at):
            youngest[member.service] = member
    own = list(ctx.state.family(incident.id))
    items = considered(ctx, list(youngest.values())[:SUBJECTS_MAX], own) if incident.live else []
    items = [_apart(ctx, incident, one) for one in items]
    if not items:
        return Others(["No other open incident is about these services or their neighbours."], [])
    return Others([one.text for one in items], items)


def _apart(ctx: Context, incident: Incident, one: Considered) -> Considered:
    """A split by a person stands between the two incidents, whatever evidence there is."""
    if not ctx.state.said_apart(incident.id, int(one.incident, 16)):
        return one
    text = f"{one.ref} ({one.priority}): a person has said that it is not the same thing as {incident.ref}."
    return msgspec.structs.replace(one, verdict="apart", text=text)


# ---- why this priority -------------------------------------------------------------------------
def prioritised(ctx: Context, incident: Incident) -> Prioritised:
    """Why the priority is what it is."""
    cells = [_cell(incident, cell) for cell in WORST_FIRST if incident.cells[cell]]
    text = [f"{incident.priority}: {clean(incident.derivation)}." if incident.derivation else f"{incident.priority}."]
    cell = worst(incident.cells)
    if incident.forced:
        own = f"the alerts alone would make it {PRIORITIES[MATRIX[cell] - 1]}" if cell is not None else ""
        text.append(f"It stands until a person releases it{'; ' + own if own else ''}.")
    if incident.self_cause:
        text.append("An incident about samband itself is at most P2.")
    text += [_cell_words(one) for one in cells]
    if not cells:
        text.append("Nothing fires any more; it keeps its priority to its end.")
    spoken = voice(incident)
    if incident.notifiable and incident.held and spoken != incident.priority and not incident.due_priority:
        text.append(f"People are told of {spoken} only: the worse alerts are held.")
    if incident.due_priority:
        text.append(f"No alert of that priority fires now; it falls at {when(incident.due_priority, ctx.now)}.")
    return Prioritised(
        text=text,
        priority=incident.priority,
        impact=incident.impact,
        urgency=incident.urgency,
        derivation=clean(incident.derivation),
        forced=bool(incident.forced),
        told_with=spoken,
        falls_at=rfc3339_or_none(incident.due_priority),
        cells=cells,
    )


def _cell(incident: Incident, cell: int) -> Cell:
    priority = PRIORITIES[MATRIX[cell] - 1]
    return Cell(LEVELS[cell // 3], LEVELS[cell % 3], priority, incident.cells[cell], incident.loud[cell])


def _cell_words(cell: Cell) -> str:
    silent = cell.firing - cell.loud
    held_ones = f", {silent} of them held" if silent else ""
    fire = f"{counted(cell.firing, 'alert')} {'fires' if cell.firing == 1 else 'fire'}"
    return f"{fire} at impact {cell.impact} x urgency {cell.urgency} = {cell.priority}{held_ones}."
