"""What the API reads from the store: timelines, deliveries, and incidents that have left memory.

Reads run in a thread over connections that cannot write; the event loop goes on meanwhile.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from sqlalchemy import RowMapping
from sqlalchemy.exc import SQLAlchemyError

from daemon.core.communication import clean
from daemon.core.enrich import labels_of
from daemon.core.model.ids import public_id
from daemon.core.state import State
from daemon.core.view_json import rfc3339_or_none
from daemon.store.base import OutboxRow, StoreError
from daemon.store.queries import DeadLetterRow, Queries

T = TypeVar("T")

TIMELINE_MAX, MEMBERS_MAX, DELIVERIES_MAX = 1000, 100, 1000
PAGES_LOOKED_AT = 10

Filters = Mapping[str, frozenset[str]]
"""state, priority, service, owner -> the values that are wanted; a name that is absent filters nothing."""


class HistoryError(Exception):
    """The store could not be read; the text says why."""


class History:
    """Cold reads for the API. All raise HistoryError."""

    def __init__(self, queries: Queries) -> None:
        self._queries = queries

    async def timeline(self, incidents: Sequence[int]) -> list[dict[str, Any]]:
        """What was done about these incidents (one, and those merged into it), oldest first."""
        rows = await self._read(lambda: self._queries.timeline(incidents, limit=TIMELINE_MAX))
        return [
            {"at": rfc3339_or_none(row["at"]), "kind": row["kind"], "text": row["text"], "actor": row["actor"]}
            for row in rows
        ]

    async def deliveries(self, incidents: Sequence[int]) -> list[dict[str, Any]]:
        """What sinks were told of them, by incident, oldest first."""

        def read() -> list[OutboxRow]:
            found: list[OutboxRow] = []
            for incident in incidents[:DELIVERIES_MAX]:
                found += self._queries.outbox(incident=incident, limit=DELIVERIES_MAX)
            return found

        return [sent_json(row) for row in await self._read(read)]

    async def past(self, filters: Filters, before: int, limit: int) -> list[dict[str, Any]]:
        """Incidents that have left memory, newest first, those with an id below `before` (0: all)."""
        return await self._read(lambda: list(self._past(filters, before, limit)))

    async def one(self, name: str, number: int) -> dict[str, Any] | None:
        """One such incident by its id (or, when that is 0, its reference), with everything about it."""
        row = await self._read(lambda: self._find(name, number))
        if row is None:
            return None
        incident = int(row["id"])
        family = [incident, *await self._read(lambda: self._queries.absorbed(incident))]
        services = await self._read(lambda: self._queries.services(family))
        members = await self._read(lambda: self._queries.members(family, limit=MEMBERS_MAX))
        lead = next((one for one in members if one["id"] == row["lead"]), members[0] if members else None)
        named = {**row, "lead_name": lead["name"] if lead else "", "lead_service": lead["service"] if lead else ""}
        return {
            **past_json(named, [one["service"] for one in services]),
            "members": [member_json(dict(one)) for one in members],
            "timeline": await self.timeline(family),
            "deliveries": await self.deliveries(family),
        }

    async def state_of(self, name: str, number: int) -> tuple[str, str]:
        """Reference and state of such an incident, named as in `one`; empty when there is none."""
        row = await self._read(lambda: self._find(name, number))
        return ("", "") if row is None else (f"INC-{row['number']}", row["state"])

    async def dead_letters(self, after: int, limit: int) -> list[DeadLetterRow]:
        """What could not be read, oldest first."""
        return await self._read(lambda: self._queries.dead_letters(after=after, limit=limit))

    async def dead_letter(self, number: int) -> DeadLetterRow | None:
        """One of them; None when it is gone."""
        return await self._read(lambda: self._queries.dead_letter(number))

    async def dead_sends(self, after: int, limit: int) -> list[OutboxRow]:
        """What sinks were to be told and was given up, oldest first."""
        return await self._read(lambda: self._queries.outbox(states=("dead",), after=after, limit=limit))

    async def dead_send(self, number: int) -> OutboxRow | None:
        """One of them; None when it is gone."""
        return await self._read(lambda: self._queries.dead_send(number))

    def _find(self, name: str, number: int) -> RowMapping | None:
        if number:
            return self._queries.incident(number)
        reference = reference_number(name)
        return self._queries.incident_numbered(reference) if reference else None

    def _past(self, filters: Filters, before: int, limit: int) -> Iterator[dict[str, Any]]:
        where = {name: min(values) for name, values in filters.items() if len(values) == 1}
        several = {name: values for name, values in filters.items() if len(values) > 1}
        left = limit
        for _ in range(PAGES_LOOKED_AT):
            rows = self._queries.incidents(where=where, before=before, limit=limit, past=True)
            for row in rows:
                services = [one["service"] for one in self._queries.services([row["id"]])]
                if all(_has(row, services, name, values) for name, values in several.items()):
                    yield past_json(dict(row), services)
                    left -= 1
                    if not left:
                        return
            if len(rows) < limit:
                return
            before = rows[-1]["id"]

    @staticmethod
    async def _read(work: Callable[[], T]) -> T:
        try:
            return await asyncio.to_thread(work)
        except (SQLAlchemyError, StoreError, OSError) as error:
            raise HistoryError(str(error).partition("\n")[0]) from error


def reference_number(name: str) -> int:
    """4211 for INC-4211, 0 for what is no reference."""
    prefix, _, digits = name.upper().partition("-")
    return int(digits) if prefix == "INC" and digits.isascii() and digits.isdigit() and len(digits) <= 18 else 0


def _has(row: RowMapping, services: Sequence[str], name: str, values: frozenset[str]) -> bool:
    return any(one in values for one in services) if name == "service" else row[name] in values


def past_json(row: Mapping[str, Any], services: Sequence[str]) -> dict[str, Any]:
    """An incident of the past with the field names of the contract."""
    where = f" on {clean(row['lead_service'], 40)}" if row["lead_service"] else ""
    return {
        "id": public_id(row["id"]),
        "ref": f"INC-{row['number']}",
        "title": clean(row["lead_name"] or "No alert", 60) + where,
        "state": row["state"],
        "priority": row["priority"],
        "impact": row["impact"],
        "urgency": row["urgency"],
        "derivation": clean(row["derivation"]),
        "owner": clean(row["owner"]),
        "services": list(dict.fromkeys(clean(one) for one in services if one)),
        "cause": None,
        "opened_at": rfc3339_or_none(row["opened_at"]),
        "acknowledged_at": rfc3339_or_none(row["acknowledged_at"]),
        "resolved_at": rfc3339_or_none(row["resolved_at"]),
        "closed_at": rfc3339_or_none(row["closed_at"]),
        "merged_into": public_id(row["merged_into"]) or None,
        "alerts": {"firing": row["firing"], "resolved": row["ended"], "held": row["held"]},
    }


def member_json(row: Mapping[str, Any]) -> dict[str, Any]:
    """A member of the past."""
    notes = labels_of(row["annotations"] or "{}")
    return {
        "key": row["key"].hex(),
        "name": clean(row["name"]),
        "status": "expired" if row["ending"] in ("expired", "lapsed") else "resolved",
        "severity": row["severity"],
        "service": clean(row["service"]),
        "resource": clean(row["resource"]),
        "environment": clean(row["environment"]),
        "summary": clean(notes.get("summary") or notes.get("message") or notes.get("description") or ""),
        "starts_at": rfc3339_or_none(row["starts_at"]),
        "held": [],
        "reason": row["reason"],
        "evidence": {"facts": clean(row["facts"]), "strength": row["strength"]},
        "url": None,
        "runbook_url": None,
    }


def sent_json(row: OutboxRow) -> dict[str, Any]:
    """One thing that a sink was told, or is to be told."""
    send = row.send
    return {
        "sink": send.sink,
        "kind": send.kind,
        "purpose": send.purpose,
        "action": send.action,
        "state": row.state,
        "reference": row.ref or None,
        "attempts": row.attempts,
        "reason": row.reason or None,
        "detail": clean(row.detail) or None,
        "at": rfc3339_or_none(send.at),
        "done_at": rfc3339_or_none(row.done_at),
    }


def held_back(state: State, incident: int) -> list[dict[str, Any]]:
    """Objects of an incident in memory that no sink has been asked for: waiting, or drafts that a person publishes."""
    return [
        {
            "sink": one.sink,
            "kind": one.kind,
            "purpose": one.purpose,
            "action": "create",
            "state": "draft" if one.state == "draft" else "held_back",
            "reference": None,
            "attempts": 0,
            "reason": None,
            "detail": None,
            "at": rfc3339_or_none(one.due_send),
            "done_at": None,
        }
        for one in state.incident_deliveries(incident)
        if one.state in ("waiting", "draft") and not one.create
    ]
