"""Step 6: impact x urgency -> priority. ITIL's matrix, with the nine cells of ServiceNow's default table."""

from collections.abc import Sequence

from daemon.core.context import Context
from daemon.core.enrich import tier_of
from daemon.core.model.alert import RANK, Alert
from daemon.core.model.incident import PRIORITIES, Incident

LEVELS = ("high", "medium", "low")
MATRIX = (1, 2, 3, 2, 3, 4, 3, 4, 5)
"""Priority of the cell impact * 3 + urgency (0 high, 1 medium, 2 low): HH=1, HM=MH=2, HL=MM=LH=3, ML=LM=4, LL=5."""

WORST_FIRST = tuple(sorted(range(9), key=lambda cell: (MATRIX[cell], cell)))
_URGENCY = {"critical": 0, "error": 1, "warning": 2, "info": 2, "none": 2}


def cell_of(ctx: Context, alert: Alert) -> int:
    """The cell of one member.

    Impact: tier 1 high, 2 medium, 3 low; without a tier medium; `info` low; outside production low.
    Urgency: critical high, error medium, warning and info low.
    """
    tier = tier_of(ctx.policy, alert.service)
    impact = tier - 1 if tier else 1
    if alert.severity == "info" or alert.environment != "production":
        impact = 2
    return impact * 3 + _URGENCY[alert.severity]


def worst(cells: Sequence[int]) -> int | None:
    """The cell of the highest priority in which a member stands; None when none does."""
    return next((cell for cell in WORST_FIRST if cells[cell]), None)


def rank_of(priority: str) -> int:
    """1 for P1 to 5 for P5."""
    return int(priority[1])


def voice(incident: Incident) -> str:
    """The priority with which it may notify: held members count in the incident's, but speak to nobody."""
    if not incident.held or incident.forced:
        return incident.priority
    cell = worst(incident.loud)
    own = PRIORITIES[MATRIX[cell] - 1] if cell is not None else "P5"
    return _capped(incident, own)


def reckon(ctx: Context, incident: Incident, newest: Alert | None) -> bool:
    """Brings the priority up at once, or starts the wait before it goes down; True if it rose.

    The priority is that of the worst firing member (held ones count). A person's choice stands.
    `newest` is the member that has just changed. The incident must have been opened with `edit`.
    """
    cell = worst(incident.cells)
    if cell is None:
        ctx.state.arm(incident, "due_priority", 0)
        return False
    priority = _capped(incident, PRIORITIES[MATRIX[cell] - 1])
    first = not incident.lead
    if first or (not incident.forced and rank_of(priority) < rank_of(incident.priority)):
        _set(ctx, incident, cell, priority, newest)
        return not first
    if not incident.forced and rank_of(priority) > rank_of(incident.priority):
        if not incident.due_priority:
            wait = ctx.policy.timing.priority_down_after[rank_of(incident.priority) - 1]
            if wait:
                ctx.state.arm(incident, "due_priority", ctx.now + wait)
            else:
                _set(ctx, incident, cell, priority, None)
    else:
        ctx.state.arm(incident, "due_priority", 0)
    return False


def go_down(ctx: Context, incident: Incident) -> None:
    """The quiet time before a lower priority is over."""
    ctx.state.arm(incident, "due_priority", 0)
    cell = worst(incident.cells)
    if cell is not None and not incident.forced:
        _set(ctx, incident, cell, _capped(incident, PRIORITIES[MATRIX[cell] - 1]), None)


def set_by_person(ctx: Context, incident: Incident, priority: str, reason: str) -> None:
    """A person's choice: it stands until a person releases it, whatever the members say."""
    incident.forced = incident.priority = priority
    incident.derivation = f"{priority} by a person: {reason}"
    ctx.state.arm(incident, "due_priority", 0)


def release(ctx: Context, incident: Incident) -> None:
    """The priority follows from the members again, at once."""
    incident.forced = ""
    go_down(ctx, incident)


def _capped(incident: Incident, priority: str) -> str:
    """An incident about samband itself is at most P2."""
    return "P2" if incident.self_cause and priority == "P1" else priority


def _set(ctx: Context, incident: Incident, cell: int, priority: str, newest: Alert | None) -> None:
    if newest is None or newest.cell != cell:
        newest = next((m for m in ctx.state.members(incident.id) if m.cell == cell and not m.end), newest)
    impact, urgency = LEVELS[cell // 3], LEVELS[cell % 3]
    priority = incident.forced or priority
    before = incident.priority
    if incident.lead and before != priority:
        ctx.note(incident.id, "priority", f"{before} to {priority}: impact {impact}, urgency {urgency}")
    incident.priority, incident.impact, incident.urgency = priority, impact, urgency
    incident.version += 1
    ctx.state.arm(incident, "due_priority", 0)
    if newest is not None:
        incident.lead = newest.id
    if newest is not None and not incident.forced:
        incident.derivation = _derivation(ctx, newest, impact, urgency, priority)


def _derivation(ctx: Context, alert: Alert, impact: str, urgency: str, priority: str) -> str:
    tier = tier_of(ctx.policy, alert.service)
    about = alert.service or "no service"
    if alert.environment != "production":
        why = f"{about} is outside production ({alert.environment})"
    elif alert.severity == "info":
        why = "severity info"
    elif tier:
        why = f"{about} is tier {tier}"
    else:
        why = f"{about} has no tier"
    rank = RANK[alert.severity]
    word = alert.severity if rank else "none"
    return f"impact {impact} ({why}) x urgency {urgency} ({word}) = {priority}, by {alert.name}"
