"""`/api/v1/incidents`: the list, and the single one."""

import asyncio
from typing import Any

from daemon.api.history import Filters, held_back, reference_number
from daemon.api.surface import Pace, Surface, newest_first
from daemon.core.communication import changes_shown, picture
from daemon.core.model.ids import parse_id
from daemon.core.model.incident import Incident
from daemon.core.state import State
from daemon.core.view import IncidentView
from daemon.core.view_json import as_json, change_as_json
from daemon.sources.formats.common import parse_time

PAST_STATES = frozenset({"closed", "merged"})
"""States in which an incident may have left memory."""


async def list_incidents(surface: Surface, filters: Filters, limit: int, cursor: str) -> dict[str, Any]:
    """A page, newest first, of those in memory and those in the store. The cursor is the id of the page's last."""
    state, pace = surface.runtime.engine.state, Pace()
    before = parse_id(cursor)
    past: list[dict[str, Any]] = []
    if filters.get("state", PAST_STATES) & PAST_STATES:
        past = await surface.history.past(filters, before, limit + 1)
    items: list[dict[str, Any]] = []
    for number in newest_first(state.incidents.rows, before):
        if pace.tired:
            await asyncio.sleep(0)
        incident = state.incidents.rows.get(number)
        if incident is not None and wanted(state, incident, filters):
            items.append(incident_json(surface, number))
            if len(items) > limit:
                break
    # What left memory while this was put together stands in both; ids have a fixed width, so that they sort as text.
    merged = {item["id"]: item for item in (*past, *items)}
    page = [merged[number] for number in sorted(merged, reverse=True)][: limit + 1]
    more = len(page) > limit
    return {"items": page[:limit], "next": page[limit - 1]["id"] if more else None}


def wanted(state: State, incident: Incident, filters: Filters) -> bool:
    """Whether the incident passes the filters."""
    for name, values in filters.items():
        match name:
            case "service":
                if not any(row.service in values for row in state.incident_services(incident.id)):
                    return False
            case _:
                if getattr(incident, name) not in values:
                    return False
    return True


def incident_json(surface: Surface, number: int) -> dict[str, Any]:
    """The incident as it stands. Raises KeyError when there is none."""
    return as_json(_view(surface, number))


def _view(surface: Surface, number: int) -> IncidentView:
    engine = surface.runtime.engine
    return picture(engine.state, engine.policy, number, surface.runtime.now_ms(), surface.link_base)


def find(state: State, name: str) -> int:
    """The id of the incident with this id or reference (INC-4211); 0 for none."""
    number = parse_id(name)
    if number:
        return number if number in state.incidents.rows else 0
    reference = reference_number(name)
    return next((row.id for row in state.incidents.rows.values() if row.number == reference), 0)


async def show(surface: Surface, name: str) -> dict[str, Any] | None:
    """The incident with members, timeline and deliveries; None when there is none. Raises HistoryError."""
    state = surface.runtime.engine.state
    number = find(state, name)
    if not number:
        return await _past(surface, name, parse_id(name))
    family = list(state.family(number))
    timeline = await surface.history.timeline(family)
    deliveries = await surface.history.deliveries(family)
    if number not in state.incidents.rows:
        return await _past(surface, name, number)
    view = _view(surface, number)
    return {
        **as_json(view, members=True),
        "changes": [change_as_json(one) for one in view.changes],
        "timeline": timeline,
        "deliveries": deliveries + held_back(state, number),
    }


async def _past(surface: Surface, name: str, number: int) -> dict[str, Any] | None:
    """One that has left memory. What it may have come from is remembered for some days."""
    found = await surface.history.one(name, number)
    if found is None:
        return None
    engine = surface.runtime.engine
    opened_at = parse_time(found["opened_at"] or "") or 0
    changes = changes_shown(engine.state, engine.policy, found["services"], opened_at)
    return {**found, "changes": [change_as_json(one) for one in changes]}
