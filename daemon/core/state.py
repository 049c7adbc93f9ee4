"""The only mutable state there is: bounded tables with dirty tracking, undo and an index of deadlines.

Every change goes through `Table.add/edit/remove` or `State.put`, which remember the old value
since the last mark; containers inside entities (but for `COUNTS`) are replaced, never changed in
place. What changed
in a batch is in `dirty`; the images of these rows are what the store writes to `live`.
"""

from collections.abc import Iterable, Iterator
from heapq import heapify, heappop, heappush
from typing import Any

import msgspec

from daemon.core.effects import Row
from daemon.core.model.alert import Alert, Emitter
from daemon.core.model.change import Change
from daemon.core.model.incident import Delivery, Incident, IncidentService
from daemon.core.model.memory import Apart, Given
from daemon.core.model.silence import Silence
from daemon.core.model.stream import Stream
from daemon.core.table import (
    ALERT,
    APART,
    CHANGE,
    DECODERS,
    DELIVERY,
    EMITTER,
    GIVEN,
    INCIDENT,
    SERVICE,
    SILENCE,
    STREAM,
    StoredRow,
    Table,
)

__all__ = [
    "ALERT",
    "APART",
    "CHANGE",
    "DEADLINES",
    "DELIVERY",
    "EMITTER",
    "GIVEN",
    "INCIDENT",
    "SERVICE",
    "SILENCE",
    "State",
]

_MISSING: Any = object()
_encode = msgspec.msgpack.Encoder().encode

DEADLINES: dict[int, tuple[str, ...]] = {
    ALERT: ("due_end",),
    INCIDENT: ("due_settle", "due_resolve", "due_priority", "due_ack_lapse", "due_reopen", "due_close"),
    DELIVERY: ("due_send", "due_update"),
    SILENCE: ("due_change", "due_remind"),
    CHANGE: ("due_forget",),
}


class State:
    """All entities, the indexes over them, and what the running batch has changed.

    served: incident -> what its deliveries were last brought in line with. A memory of work that
    need not be done again, no part of the state: doing it again changes nothing.
    """

    def __init__(self) -> None:
        self.alerts: Table[Alert] = Table(ALERT, self)
        self.incidents: Table[Incident] = Table(INCIDENT, self)
        self.services: Table[IncidentService] = Table(SERVICE, self)
        self.deliveries: Table[Delivery] = Table(DELIVERY, self)
        self.emitters: Table[Emitter] = Table(EMITTER, self)
        self.silences: Table[Silence] = Table(SILENCE, self)
        self.changes: Table[Change] = Table(CHANGE, self)
        self.given: Table[Given] = Table(GIVEN, self)
        self.aparts: Table[Apart] = Table(APART, self)
        self.streams: Table[Stream] = Table(STREAM, self)
        self._by_kind: dict[int, Table[Any]] = {
            ALERT: self.alerts,
            INCIDENT: self.incidents,
            SERVICE: self.services,
            DELIVERY: self.deliveries,
            EMITTER: self.emitters,
            SILENCE: self.silences,
            CHANGE: self.changes,
            GIVEN: self.given,
            APART: self.aparts,
            STREAM: self.streams,
        }
        self.timed: tuple[Table[Any], ...] = (self.alerts, self.incidents, self.deliveries, self.silences, self.changes)
        self.annotations: dict[int, bytes] = {}
        self.by_key: dict[bytes, int] = {}
        self.by_emitter: dict[str, int] = {}
        self.by_send: dict[int, int] = {}
        self.of_service: dict[tuple[str, str], dict[int, None]] = {}
        self.member_ids: dict[int, dict[int, None]] = {}
        self.service_ids: dict[int, dict[int, None]] = {}
        self.row_of: dict[tuple[int, str, str, tuple[str, ...]], int] = {}
        self.delivery_ids: dict[int, dict[int, None]] = {}
        self.absorbed: dict[int, dict[int, None]] = {}
        self.active_silences: dict[int, None] = {}
        self.by_command: dict[str, int] = {}
        self.changes_of: dict[str, dict[int, None]] = {}
        self.apart_keys: dict[bytes, dict[bytes, None]] = {}
        self.apart_incidents: dict[tuple[int, int], int] = {}
        self.by_stream: dict[tuple[str, str], int] = {}
        self.behind: dict[str, dict[int, None]] = {}
        self.served: dict[int, tuple[object, ...]] = {}
        self.next_id = 1
        self.next_number = 1
        self.heap: list[tuple[int, int, str]] = []
        self.log: list[tuple[dict[Any, Any], Any, Any]] = []
        self.saved: set[int] = set()
        self.dirty: dict[int, int] = {}
        self.removed: dict[int, Any] = {}
        self._log_mark = self._dirty_mark = 0
        self._numbers_mark = self._numbers_began = (1, 1)

    # ---- changing, and taking back -------------------------------------------------------------
    def put(self, container: dict[Any, Any], key: Any, value: Any) -> None:
        """Sets an entry of an index, remembering what stood there."""
        self.log.append((container, key, container.get(key, _MISSING)))
        container[key] = value

    def drop(self, container: dict[Any, Any], key: Any) -> None:
        """Removes an entry of an index, remembering what stood there."""
        self.log.append((container, key, container.get(key, _MISSING)))
        container.pop(key, None)

    def link(self, index: dict[Any, dict[int, None]], key: Any, number: int) -> None:
        """Adds `number` to the group `key` of an index."""
        group = index.get(key)
        if group is None:
            group = {}
            self.put(index, key, group)
        self.put(group, number, None)

    def unlink(self, index: dict[Any, dict[int, None]], key: Any, number: int) -> None:
        """Takes `number` out of the group `key`, and the group away with its last."""
        group = index.get(key)
        if group is not None:
            self.drop(group, number)
            if not group:
                self.drop(index, key)

    def own_row(self, row: IncidentService) -> None:
        """Enters a row under its incident."""
        self.link(self.service_ids, row.incident, row.id)
        self.put(self.row_of, (row.incident, row.service, row.environment, row.extra), row.id)

    def disown_row(self, row: IncidentService) -> None:
        """Takes a row away from its incident."""
        self.unlink(self.service_ids, row.incident, row.id)
        self.drop(self.row_of, (row.incident, row.service, row.environment, row.extra))

    def begin(self) -> None:
        """A batch begins: until the next one does, `take_back` can take back all of it."""
        self.log.clear()
        self._numbers_began = (self.next_id, self.next_number)
        self.mark()

    def mark(self) -> None:
        """From here `undo` can take back; set before every record and deadline."""
        self.saved.clear()
        self._log_mark, self._dirty_mark = len(self.log), len(self.dirty)
        self._numbers_mark = (self.next_id, self.next_number)

    def undo(self) -> None:
        """Everything is again as it was at the mark."""
        for container, key, old in reversed(self.log[self._log_mark :]):
            if old is _MISSING:
                container.pop(key, None)
            else:
                container[key] = old
        del self.log[self._log_mark :]
        while len(self.dirty) > self._dirty_mark:
            number, _ = self.dirty.popitem()
            self.removed.pop(number, None)
        self.next_id, self.next_number = self._numbers_mark
        self.served.clear()
        self.mark()

    def take_back(self) -> None:
        """Everything is again as it was when the batch began; deadlines must be rebuilt."""
        self._log_mark, self._dirty_mark, self._numbers_mark = 0, 0, self._numbers_began
        self.undo()

    def new_id(self) -> int:
        """The next id; ids grow over the life of the store."""
        number = self.next_id
        self.next_id = number + 1
        return number

    def open_episode(self, alert: Alert, annotations: bytes) -> None:
        """Takes in a new episode, the newest of its key, with its deadline. The busiest line of a storm."""
        number, key, rows, by_key = alert.id, alert.key, self.alerts.rows, self.by_key
        before = by_key.get(key, _MISSING)
        self.log += ((rows, number, _MISSING), (by_key, key, before), (self.annotations, number, _MISSING))
        rows[number] = alert
        by_key[key] = number
        self.annotations[number] = annotations
        self.saved.add(number)
        self.dirty[number] = ALERT
        if alert.due_end:
            heappush(self.heap, (alert.due_end, number, "due_end"))

    # ---- deadlines ---------------------------------------------------------------------------
    def arm(self, row: Alert | Incident | Delivery | Silence | Change, field: str, due: int) -> None:
        """Sets a deadline field (0 disarms). The row must have been opened with `edit` or `touch`."""
        if getattr(row, field) != due:
            setattr(row, field, due)
            if due:
                heappush(self.heap, (due, row.id, field))

    def next_deadline(self) -> tuple[int, int, str] | None:
        """The earliest deadline that still holds, without taking it: (due, id, field)."""
        heap = self.heap
        while heap:
            due, number, field = heap[0]
            row = self._row(number)
            if row is not None and getattr(row, field, 0) == due:
                return heap[0]
            heappop(heap)
        return None

    def take_deadline(self) -> None:
        """Takes the deadline that `next_deadline` showed off the index."""
        heappop(self.heap)

    def rebuild_deadlines(self) -> None:
        """Makes the index anew from the fields of all entities."""
        self.heap = [
            (due, row.id, field)
            for table in self.timed
            for row in table.rows.values()
            for field in DEADLINES[table.kind]
            if (due := getattr(row, field))
        ]
        heapify(self.heap)

    def _row(self, number: int) -> Any:
        for table in self.timed:
            row = table.rows.get(number)
            if row is not None:
                return row
        return None

    # ---- looking -----------------------------------------------------------------------------
    def root(self, incident: int) -> int:
        """The incident that stands for this one after merges (itself if it was not merged); 0 for 0."""
        while incident:
            row = self.incidents.rows.get(incident)
            if row is None or not row.merged_into:
                return incident
            incident = row.merged_into
        return 0

    def incident_of(self, alert: Alert) -> Incident | None:
        """The incident that the alert is in, after merges; None if it is in none (any more)."""
        return self.incidents.rows.get(self.root(alert.incident)) if alert.incident else None

    def family(self, incident: int) -> Iterator[int]:
        """The incident and all that were merged into it."""
        yield incident
        for child in self.absorbed.get(incident, ()):
            yield from self.family(child)

    def members(self, incident: int) -> Iterator[Alert]:
        """The members of an incident, those of merged ones included, by id."""
        numbers = [number for one in self.family(incident) for number in self.member_ids.get(one, ())]
        for number in sorted(numbers):
            yield self.alerts.rows[number]

    def incident_services(self, incident: int) -> list[IncidentService]:
        """Its rows, in the order in which the services joined."""
        return [self.services.rows[number] for number in sorted(self.service_ids.get(incident, ()))]

    def incident_deliveries(self, incident: int) -> list[Delivery]:
        """Its objects at sinks, oldest first."""
        return [self.deliveries.rows[number] for number in sorted(self.delivery_ids.get(incident, ()))]

    # ---- in and out of the store -----------------------------------------------------------------
    def image(self, kind: int, number: int) -> tuple[bytes, bytes] | None:
        """The image of an entity and what is kept beside it; None when it is gone."""
        row = self._by_kind[kind].rows.get(number)
        if row is None:
            return None
        return _encode(row), self.annotations.get(number, b"") if kind == ALERT else b""

    def take_changes(self) -> list[Row]:
        """The rows that the batch changed, by id, and a clean slate for the next."""
        rows = []
        tables, annotations = self._by_kind, self.annotations.get
        for number, kind in sorted(self.dirty.items()):
            row = tables[kind].rows.get(number)
            if row is not None:
                rows.append(Row(kind, number, _encode(row), annotations(number, b"") if kind == ALERT else b""))
            elif number in self.removed:
                extra = self.annotations.get(number, b"")
                self.drop(self.annotations, number)
                rows.append(Row(kind, number, None, extra, _encode(self.removed[number])))
        self.dirty.clear()
        self.removed.clear()
        return rows

    @staticmethod
    def load(rows: Iterable[StoredRow], next_id: int, next_number: int) -> "State":
        """The state that these rows of `live` describe; indexes and deadlines are made anew.

        Raises ValueError or KeyError for rows that are none.
        """
        state = State()
        state.next_id, state.next_number = next_id, next_number
        tables = state.tables()
        for stored in rows:
            row = DECODERS[stored.kind].decode(stored.image)
            if row.id != stored.id:
                raise ValueError(f"row {stored.id} holds what is {row.id}")
            tables[stored.kind].rows[stored.id] = row
            if stored.kind == ALERT:
                state.annotations[stored.id] = stored.extra or b"{}"
        state._index()
        state.rebuild_deadlines()
        state.mark()
        return state

    def tables(self) -> dict[int, "Table[Any]"]:
        """All tables by kind: what `live` holds, and what a copy of the state must hold."""
        return self._by_kind

    def _index(self) -> None:
        for number, alert in sorted(self.alerts.rows.items()):
            if not alert.superseded:
                self.by_key[alert.key] = number
            if alert.incident:
                self.member_ids.setdefault(alert.incident, {})[number] = None
        for number, emitter in self.emitters.rows.items():
            self.by_emitter[emitter.name] = number
        for number, merged in sorted(self.incidents.rows.items()):
            if merged.merged_into:
                self.absorbed.setdefault(merged.merged_into, {})[number] = None
        for number, row in sorted(self.services.rows.items()):
            self.service_ids.setdefault(row.incident, {})[number] = None
            self.row_of[(row.incident, row.service, row.environment, row.extra)] = number
            incident = self.incidents.rows.get(row.incident)
            if incident is not None and incident.live and row.service:
                self.of_service.setdefault((row.service, row.environment), {})[number] = None
        for number, delivery in sorted(self.deliveries.rows.items()):
            self.delivery_ids.setdefault(delivery.incident, {})[number] = None
            for send in (delivery.create, *delivery.sends):
                if send and (send in delivery.sends or not delivery.confirmed):
                    self.by_send[send] = number
        self._index_memory()

    def _index_memory(self) -> None:
        for number, silence in sorted(self.silences.rows.items()):
            if silence.active:
                self.active_silences[number] = None
        for number, given in sorted(self.given.rows.items()):
            self.by_command[given.command] = number
        for number, change in sorted(self.changes.rows.items()):
            self.changes_of.setdefault(change.service, {})[number] = None
        for _, apart in sorted(self.aparts.rows.items()):
            self.keep_apart(apart)
        for number, stream in sorted(self.streams.rows.items()):
            self.by_stream[stream.source, stream.name] = number
            if stream.behind:
                self.behind.setdefault(stream.source, {})[number] = None

    def forget_apart(self, number: int) -> None:
        """Takes a correction out of the store and the indexes."""
        apart = self.aparts.rows[number]
        for one, other in ((apart.key, apart.other), (apart.other, apart.key)):
            if one in self.apart_keys:
                self.drop(self.apart_keys[one], other)
        self.drop(self.apart_incidents, _pair(apart.incident, apart.other_incident))
        self.aparts.remove(number)

    def keep_apart(self, apart: Apart) -> None:
        """Enters a correction into the indexes."""
        for one, other in ((apart.key, apart.other), (apart.other, apart.key)):
            group = self.apart_keys.get(one)
            if group is None:
                group = {}
                self.put(self.apart_keys, one, group)
            self.put(group, other, None)
        self.put(self.apart_incidents, _pair(apart.incident, apart.other_incident), apart.id)

    def said_apart(self, one: int, other: int) -> bool:
        """Whether a person has said that the two incidents are not one thing."""
        return _pair(one, other) in self.apart_incidents


def _pair(one: int, other: int) -> tuple[int, int]:
    return (one, other) if one < other else (other, one)
