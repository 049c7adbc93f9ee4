"""`GET /api/v1/alerts`: what fires, and what has ended while its incident is open or 24 h."""

import asyncio
from collections.abc import Mapping
from typing import Any

from daemon.api.surface import Pace, Surface, newest_first
from daemon.core.enrich import labels_of
from daemon.core.matching import Matcher
from daemon.core.model.alert import Alert
from daemon.core.model.ids import parse_id, public_id
from daemon.core.policy import DAY
from daemon.core.state import State
from daemon.core.view_json import rfc3339_or_none

DEDUP_KEY = "dedup_key"


async def list_alerts(
    surface: Surface, *, source: str, statuses: frozenset[str], matcher: Matcher | None, limit: int, cursor: str
) -> dict[str, Any]:
    """A page, newest first. The cursor is the id of the last item of the page before."""
    state, pace = surface.runtime.engine.state, Pace()
    items: list[dict[str, Any]] = []
    last = 0
    for number in newest_first(state.alerts.rows, parse_id(cursor)):
        if pace.tired:
            await asyncio.sleep(0)
        alert = state.alerts.rows.get(number)
        now = surface.runtime.now_ms()
        if alert is None or (source and alert.source != source) or not listed(state, alert, now):
            continue
        if statuses and alert.status(now) not in statuses:
            continue
        if matcher is not None and not matcher.matches(values_of(alert)):
            continue
        if len(items) == limit:
            return {"items": items, "next": public_id(last)}
        items.append(alert_json(state, alert, now))
        last = number
    return {"items": items, "next": None}


def listed(state: State, alert: Alert, now_ms: int) -> bool:
    """Whether it is shown: open, or ended within 24 h or in an incident that lives. Orphaned resolves are not."""
    if alert.open:
        return True
    incident = state.incident_of(alert)
    return incident is not None and (incident.live or alert.ends_at > now_ms - DAY)


def values_of(alert: Alert) -> dict[str, tuple[str, ...]]:
    """The alert as conditions see it: its labels, and its native fields as labels, which win."""
    values: dict[str, tuple[str, ...]] = {name: (value,) for name, value in labels_of(alert.labels).items()}
    for name, value in native_fields(alert).items():
        values[name] = (value,)
    return values


def native_fields(alert: Alert) -> Mapping[str, str]:
    """The native fields under the names that they have in conditions, those that say something."""
    fields = {
        "alertname": alert.name,
        "service": alert.service,
        "resource": alert.resource,
        "environment": alert.environment,
        "severity": alert.severity,
        "source": alert.source,
    }
    return {name: value for name, value in fields.items() if value}


def alert_json(state: State, alert: Alert, now_ms: int) -> dict[str, Any]:
    """The item of the listing."""
    annotations = labels_of(state.annotations.get(alert.id) or b"{}")
    key = alert.key.hex()
    return {
        "key": key,
        "name": alert.name,
        "status": alert.status(now_ms),
        "severity": alert.severity,
        "service": alert.service,
        "resource": alert.resource,
        "environment": alert.environment,
        "labels": labels_of(alert.labels),
        "dedup_key": annotations.pop(DEDUP_KEY, key),
        "annotations": annotations,
        "generation": alert.generation,
        "source": alert.source,
        "starts_at": rfc3339_or_none(alert.starts_at),
        "ends_at": rfc3339_or_none(alert.ends_at),
        "last_seen_at": rfc3339_or_none(alert.last_sign),
        "incident": public_id(state.root(alert.incident)) or None,
        "held": list(alert.held),
    }
