"""The JSON form of an incident: section 3 of the outer contract, for the API, the webhook and replay.

Times leave as RFC 3339 in UTC, ids as text, "not yet" and "none" as null.
"""

from typing import Any

from daemon.core.view import ChangeView, IncidentView, MemberView

_DAYS_TO_MARCH_OF_0 = 719_468
_ERA_DAYS = 146_097


def rfc3339(ms: int) -> str:
    """A time in ms since 1970 as RFC 3339 in UTC; the milliseconds are left out when they are zero."""
    days, in_day = divmod(ms, 86_400_000)
    year, month, day = _date(days)
    seconds, milliseconds = divmod(in_day, 1000)
    clock = f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
    return f"{year:04d}-{month:02d}-{day:02d}T{clock}" + (f".{milliseconds:03d}Z" if milliseconds else "Z")


def _date(days: int) -> tuple[int, int, int]:
    """Days since 1970 as year, month, day. By hand, because core imports no clock, and datetime is one.

    Counted in eras of 400 years that begin in March, so that the leap day is the last of its year.
    """
    era, day = divmod(days + _DAYS_TO_MARCH_OF_0, _ERA_DAYS)
    years = (day - day // 1460 + day // 36_524 - day // 146_096) // 365
    day -= 365 * years + years // 4 - years // 100
    month = (5 * day + 2) // 153
    day -= (153 * month + 2) // 5
    return era * 400 + years + (month >= 10), (month + 2) % 12 + 1, day + 1


def rfc3339_or_none(ms: int) -> str | None:
    """Like `rfc3339`; None for 0, which means "not yet"."""
    return rfc3339(ms) if ms else None


def as_json(view: IncidentView, *, members: bool = False) -> dict[str, Any]:
    """The incident with the field names of the contract; `members` only when asked for."""
    shown: dict[str, Any] = {
        "id": view.id,
        "ref": view.ref,
        "title": view.title,
        "state": view.state,
        "priority": view.priority,
        "impact": view.impact,
        "urgency": view.urgency,
        "derivation": view.derivation,
        "owner": view.owner,
        "services": list(dict.fromkeys(service.name for service in view.services if service.name)),
        "cause": view.cause or None,
        "opened_at": rfc3339_or_none(view.opened_at),
        "acknowledged_at": rfc3339_or_none(view.acknowledged_at),
        "resolved_at": rfc3339_or_none(view.resolved_at),
        "closed_at": rfc3339_or_none(view.closed_at),
        "merged_into": view.merged_into or None,
        "alerts": {"firing": view.firing, "resolved": view.ended, "held": view.held},
    }
    if members:
        shown["members"] = [member_as_json(member) for member in view.members]
    return shown


def change_as_json(change: ChangeView) -> dict[str, Any]:
    """One change that the incident may come from."""
    return {
        "id": change.id or None,
        "at": rfc3339_or_none(change.at),
        "source": change.source,
        "service": change.service,
        "environment": change.environment,
        "summary": change.summary,
        "url": change.url or None,
    }


def member_as_json(member: MemberView) -> dict[str, Any]:
    """One member: what it is, why it is in (`reason`), and the evidence for that."""
    return {
        "key": member.key,
        "name": member.name,
        "status": member.status,
        "severity": member.severity,
        "service": member.service,
        "resource": member.resource,
        "environment": member.environment,
        "summary": member.summary,
        "starts_at": rfc3339_or_none(member.starts_at),
        "held": list(member.held),
        "reason": member.reason,
        "evidence": {"facts": member.facts, "strength": member.strength},
        "url": member.url or None,
        "runbook_url": member.runbook_url or None,
    }
