"""What the world is shown of an incident: one read-only picture for sinks, API, console and replay.

Built from committed state by `communication.picture`; field names are those of the outer contract.
Times are ms since 1970 (0: not yet).
"""

import msgspec


class MemberView(msgspec.Struct, frozen=True):
    """One member: what it is, and why it is in."""

    key: str
    name: str
    status: str
    severity: str
    service: str
    resource: str
    environment: str
    summary: str
    starts_at: int
    held: tuple[str, ...]
    reason: str
    facts: str
    strength: int
    url: str = ""
    runbook_url: str = ""


class ServiceView(msgspec.Struct, frozen=True):
    """One service concerned: its firing and ended members, tier (0: none given), owner."""

    name: str
    environment: str
    firing: int
    ended: int
    tier: int
    team: str
    component: str
    runbook: str


class ChangeView(msgspec.Struct, frozen=True):
    """A change that the incident may come from. id: its sender's name for it, "" when it gave none."""

    id: str
    at: int
    service: str
    environment: str
    summary: str
    url: str
    source: str


class IncidentView(msgspec.Struct, frozen=True):
    """The incident as it stands. `members` are at most `MEMBERS_SHOWN`, worst first; counts are exact.

    impact, urgency: high, medium, low. cause: the likely one in words, "" when none stands out.
    changes: the likeliest first. holds: why members are held, in words.
    drill, itself: a rehearsal; an incident about samband. link: where people read on, "" if the
    daemon does not know its own address.
    """

    id: str
    ref: str
    title: str
    state: str
    generation: int
    priority: str
    impact: str
    urgency: str
    derivation: str
    owner: str
    environment: str
    cause: str
    opened_at: int
    acknowledged_at: int
    acknowledged_by: str
    resolved_at: int
    resolved_by: str
    closed_at: int
    merged_into: str
    cleared: bool
    itself: bool
    firing: int
    ended: int
    held: int
    services: tuple[ServiceView, ...]
    members: tuple[MemberView, ...]
    summary: str
    link: str
    told: tuple[str, ...]
    version: int
    changes: tuple[ChangeView, ...] = ()
    holds: tuple[str, ...] = ()


MEMBERS_SHOWN = 20
