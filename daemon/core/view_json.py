"""The JSON form of an incident: section 3 of the outer contract, for the API, the webhook and replay.

Times leave as RFC 3339 in UTC, ids as text, "not yet" and "none" as null.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

from daemon.core.view import IncidentView, MemberView

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def rfc3339(ms: int) -> str:
    """A time in ms since 1970 as RFC 3339 in UTC; the milliseconds are left out when they are zero."""
    precision = "milliseconds" if ms % 1000 else "seconds"
    return (_EPOCH + timedelta(milliseconds=ms)).isoformat(timespec=precision).replace("+00:00", "Z")


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
