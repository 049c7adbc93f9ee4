"""A table of entities: every change goes through it, is remembered since the last mark, and counts as changed."""

from typing import Any, Generic, Protocol, TypeVar

import msgspec

from daemon.core.model.alert import Alert, Emitter
from daemon.core.model.change import Change
from daemon.core.model.incident import Delivery, Incident, IncidentService
from daemon.core.model.memory import Apart, Given
from daemon.core.model.silence import Silence
from daemon.core.model.stream import Stream

ALERT, INCIDENT, SERVICE, DELIVERY, EMITTER, SILENCE, CHANGE, GIVEN, APART, STREAM = range(1, 11)
"""Kinds of entity, as they stand in `live`. Numbers are never used again for something else."""

T = TypeVar("T", Alert, Incident, IncidentService, Delivery, Emitter, Silence, Change, Given, Apart, Stream)

DECODERS: dict[int, msgspec.msgpack.Decoder[Any]] = {
    ALERT: msgspec.msgpack.Decoder(Alert),
    INCIDENT: msgspec.msgpack.Decoder(Incident),
    SERVICE: msgspec.msgpack.Decoder(IncidentService),
    DELIVERY: msgspec.msgpack.Decoder(Delivery),
    EMITTER: msgspec.msgpack.Decoder(Emitter),
    SILENCE: msgspec.msgpack.Decoder(Silence),
    CHANGE: msgspec.msgpack.Decoder(Change),
    GIVEN: msgspec.msgpack.Decoder(Given),
    APART: msgspec.msgpack.Decoder(Apart),
    STREAM: msgspec.msgpack.Decoder(Stream),
}
"""What reads the image of an entity, by kind."""

COUNTS: dict[int, tuple[str, ...]] = {INCIDENT: ("cells", "loud"), SERVICE: ("firing",)}
"""Lists that are counted in, in place: a row that is opened for change gets copies of its own."""


class StoredRow(Protocol):
    """A row of `live` as the store hands it over."""

    @property
    def kind(self) -> int:
        """Kind of entity."""
        ...

    @property
    def id(self) -> int:
        """Its id."""
        ...

    @property
    def image(self) -> bytes:
        """Its image."""
        ...

    @property
    def extra(self) -> bytes:
        """What is kept beside the image, outside the digest (annotations)."""
        ...


class Log(Protocol):
    """Where a table notes what stood there before, and what has changed: the state it belongs to."""

    log: list[tuple[dict[Any, Any], Any, Any]]
    saved: set[int]
    dirty: dict[int, int]
    removed: dict[int, Any]

    def put(self, container: dict[Any, Any], key: Any, value: Any) -> None:
        """Sets an entry, remembering what stood there."""
        ...

    def drop(self, container: dict[Any, Any], key: Any) -> None:
        """Removes an entry, remembering what stood there."""
        ...


class Table(Generic[T]):
    """Entities of one kind by id."""

    def __init__(self, kind: int, state: Log) -> None:
        self.kind = kind
        self.rows: dict[int, T] = {}
        self._state = state
        self._own = COUNTS.get(kind, ())

    def get(self, number: int) -> T | None:
        """The entity, to be read only; None if there is none."""
        return self.rows.get(number)

    def __getitem__(self, number: int) -> T:
        return self.rows[number]

    def edit(self, number: int) -> T:
        """The entity, to be changed; it counts as changed in this batch. Raises KeyError."""
        row = self.touch(number)
        self._state.dirty[number] = self.kind
        return row

    def touch(self, number: int) -> T:
        """As `edit`, but for what is no part of `live` (refresh data): undone, yet not written."""
        row = self.rows[number]
        state = self._state
        if number not in state.saved:
            state.saved.add(number)
            old: Any = row
            state.log.append((self.rows, number, old.__copy__()))
            for name in self._own:
                setattr(row, name, getattr(row, name).copy())
        return row

    def add(self, row: T) -> T:
        """Takes a new entity in; its `id` comes from `State.new_id`."""
        self._state.put(self.rows, row.id, row)
        self._state.saved.add(row.id)
        self._state.dirty[row.id] = self.kind
        return row

    def remove(self, number: int) -> None:
        """Takes the entity out; its last image goes to history."""
        self._state.removed[number] = self.rows[number]
        self._state.drop(self.rows, number)
        self._state.dirty[number] = self.kind
