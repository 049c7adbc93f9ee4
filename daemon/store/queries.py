"""Cold reads: history, timelines, outbox, journal. Listings page by key, so no read lasts long.

They look at committed state beside the writer, through connections of their own that cannot write.
Cursors are ids: pass the last one seen, 0 to begin. Call them in a thread, not on the event loop.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec
import zstandard
from sqlalchemy import ColumnElement, Engine, RowMapping, Select, Table, create_engine, select
from sqlalchemy.pool import NullPool

from daemon.access import Issued
from daemon.store import schema
from daemon.store.base import LiveRow, OutboxRow, StoreError
from daemon.store.columns import intact
from daemon.store.connection import open_reader

PAGE_MAX = 1000
NOT_WRITTEN = "is not what was written (CRC); `samband db restore` takes a backup back"
JOURNAL_PAGE = 100


class JournalRow(msgspec.Struct, frozen=True):
    """One batch of the journal; `records` as `daemon.core.records.encode_records` made them."""

    seq: int
    epoch: int
    now_ms: int
    build: str
    policy: str
    count: int
    records: bytes
    digest: bytes


class Base(msgspec.Struct, frozen=True):
    """Where folding again can start: the state after batch `seq` is in `Queries.base_rows`."""

    seq: int
    now_ms: int
    policy: str
    build: str
    next_id: int
    next_number: int


class DeadLetterRow(msgspec.Struct, frozen=True):
    """One dead letter of a sender, with its number."""

    id: int
    at: int
    source: str
    reason: str
    raw: bytes


def reading(path: Path) -> Engine:
    """An engine over an SQLite store that only reads, beside a running daemon or without one.

    Each read opens a connection of its own and closes it: nothing keeps the WAL from being truncated.
    """
    return create_engine("sqlite://", creator=lambda: open_reader(path), poolclass=NullPool)


class Queries:
    """The cold reads of one scope. Raises sqlalchemy.exc.SQLAlchemyError, and StoreError("damaged")."""

    def __init__(self, engine: Engine, scope: str = "default") -> None:
        self._engine, self._name = engine, scope
        self._scope: int | None = None

    # ---- incidents ---------------------------------------------------------------------------------
    def incidents(
        self, *, where: Mapping[str, str] | None = None, before: int = 0, limit: int = 100, past: bool = False
    ) -> list[RowMapping]:
        """Incidents, newest first, those with an id below `before` (0: from the newest).

        where: column (state, priority, owner, environment) or `service` -> value. past: only those
        that have left memory. Each has the columns of `incidents`, and name and service of its lead.
        """
        table, lead = schema.incidents, schema.history_alerts
        query = select(table).add_columns(lead.c.name.label("lead_name"), lead.c.service.label("lead_service"))
        query = query.select_from(table.outerjoin(lead, lead.c.id == table.c.lead)).where(self._own(table))
        for column, value in (where or {}).items():
            query = query.where(_concerns(value) if column == "service" else table.c[column] == value)
        if past:
            query = query.where(table.c.live == 0)
        if before:
            query = query.where(table.c.id < before)
        return self._rows(query.order_by(table.c.id.desc()).limit(min(limit, PAGE_MAX)))

    def incident(self, number: int) -> RowMapping | None:
        """One incident by its id, live or past."""
        return next(iter(self._rows(select(schema.incidents).where(schema.incidents.c.id == number))), None)

    def incident_numbered(self, number: int) -> RowMapping | None:
        """One incident by the number in its name: INC-<number>."""
        table = schema.incidents
        return next(iter(self._rows(select(table).where(self._own(table), table.c.number == number))), None)

    def absorbed(self, incident: int) -> list[int]:
        """Ids of past incidents that were merged into it."""
        table = schema.incidents
        query = select(table.c.id).where(self._own(table), table.c.merged_into == incident).order_by(table.c.id)
        return [row["id"] for row in self._rows(query)]

    def members(self, incidents: Sequence[int], *, after: int = 0, limit: int = 100) -> list[RowMapping]:
        """Past members of these incidents (one and those merged into it), by id."""
        table = schema.history_alerts
        query = select(table).where(table.c.incident.in_(incidents), table.c.id > after)
        return self._rows(query.order_by(table.c.id).limit(min(limit, PAGE_MAX)))

    def services(self, incidents: Sequence[int]) -> list[RowMapping]:
        """What these past incidents were about."""
        table = schema.history_services
        return self._rows(select(table).where(table.c.incident.in_(incidents)).order_by(table.c.id).limit(PAGE_MAX))

    def deliveries(self, incidents: Sequence[int]) -> list[RowMapping]:
        """The objects that these past incidents had at sinks."""
        table = schema.history_deliveries
        return self._rows(select(table).where(table.c.incident.in_(incidents)).order_by(table.c.id).limit(PAGE_MAX))

    def timeline(self, incidents: Sequence[int], *, after: int = 0, limit: int = 200) -> list[RowMapping]:
        """Lines of the timeline of these incidents, live or past, in the order in which they were written."""
        table = schema.timeline
        query = select(table).where(table.c.incident.in_(incidents), table.c.id > after)
        return self._rows(query.order_by(table.c.id).limit(min(limit, PAGE_MAX)))

    # ---- outbox and dead letters -------------------------------------------------------------------
    def outbox(
        self, *, states: Sequence[str] = (), incident: int = 0, after: int = 0, limit: int = 100
    ) -> list[OutboxRow]:
        """Outbox rows by id, those in `states` (empty: all) and of one incident (0: of all)."""
        table = schema.outbox
        query = select(table).where(self._own(table), table.c.id > after)
        if states:
            query = query.where(table.c.state.in_(states))
        if incident:
            query = query.where(table.c.incident == incident)
        found = self._rows(query.order_by(table.c.id).limit(min(limit, PAGE_MAX)))
        plain = [{str(name): value for name, value in row.items()} for row in found]
        return [msgspec.convert({**row, "send": row}, OutboxRow, strict=False) for row in plain]

    def dead_letters(self, *, after: int = 0, limit: int = 100) -> list[DeadLetterRow]:
        """Dead letters of senders, oldest first."""
        table = schema.dead_letters
        query = select(table).where(self._own(table), table.c.id > after).order_by(table.c.id)
        return [
            DeadLetterRow(row["id"], row["at"], row["source"], row["reason"], row["raw"])
            for row in self._rows(query.limit(min(limit, PAGE_MAX)))
        ]

    def tokens(self) -> list[Issued]:
        """Every token that was issued, the oldest first."""
        table = schema.tokens
        columns = [table.c[name] for name in Issued.__struct_fields__]
        query = select(*columns).where(self._own(table)).order_by(table.c.id)
        return [Issued(**{str(name): value for name, value in row.items()}) for row in self._rows(query)]

    def dead_letter(self, number: int) -> DeadLetterRow | None:
        """One of them; None when it is gone."""
        return next((one for one in self.dead_letters(after=number - 1, limit=1) if one.id == number), None)

    def dead_send(self, number: int) -> OutboxRow | None:
        """One outbox row that was given up; None when there is none of that id."""
        found = self.outbox(states=("dead",), after=number - 1, limit=1)
        return next((row for row in found if row.send.id == number), None)

    # ---- journal -----------------------------------------------------------------------------------
    def journal(self, *, after: int = 0, until: int = 1 << 62) -> Iterator[JournalRow]:
        """The journal from the batch after `after` up to `until`, in order, read a page at a time."""
        table = schema.journal
        while True:
            query = select(table).where(self._own(table), table.c.seq > after, table.c.seq <= until)
            found = self._rows(query.order_by(table.c.seq).limit(JOURNAL_PAGE))
            for row in found:
                after = row["seq"]
                if not intact(list(row.values())):
                    raise StoreError("damaged", f"journal, batch {after}: {NOT_WRITTEN}")
                yield JournalRow(
                    seq=after,
                    epoch=row["epoch"],
                    now_ms=row["now_ms"],
                    build=row["build"],
                    policy=row["policy"],
                    count=row["count"],
                    records=_plain(row["inputs"], f"journal, batch {after}"),
                    digest=row["digest"],
                )
            if len(found) < JOURNAL_PAGE:
                return

    def last_batch(self) -> JournalRow | None:
        """The newest row of the journal."""
        table = schema.journal
        found = self._rows(select(table.c.seq).where(self._own(table)).order_by(table.c.seq.desc()).limit(1))
        return next(self.journal(after=found[0]["seq"] - 1), None) if found else None

    def broken(self) -> Iterator[str]:
        """The places of rows that are not as they were written, among those that have a checksum of their own."""
        for table, key, what in (
            (schema.journal, schema.journal.c.seq, "journal, batch"),
            (schema.bases, schema.bases.c.seq, "bases, base"),
            (schema.outbox, schema.outbox.c.id, "outbox, row"),
        ):
            after = 0
            while True:
                query = select(table).where(self._own(table), key > after).order_by(key).limit(JOURNAL_PAGE)
                found = self._rows(query)
                for row in found:
                    after = row[key.name]
                    if not intact(list(row.values())):
                        yield f"{what} {after}"
                if len(found) < JOURNAL_PAGE:
                    break

    def bases(self) -> list[Base]:
        """Where folding again can start, oldest first (the empty store before batch 1 is not among them)."""
        table = schema.bases
        columns = [table.c[name] for name in Base.__struct_fields__]
        return [Base(**row) for row in self._rows(select(*columns).where(self._own(table)).order_by(table.c.seq))]

    def base_rows(self, base: Base) -> Iterator[LiveRow]:
        """The state of a base, part by part."""
        table, part = schema.base_rows, 0
        while True:
            query = select(table.c.rows).where(self._own(table), table.c.seq == base.seq, table.c.part == part)
            found = self._rows(query)
            if not found:
                return
            plain = _plain(found[0]["rows"], f"base {base.seq}, part {part}")
            for kind, number, image, extra in msgspec.msgpack.decode(plain, type=list[tuple[int, int, bytes, bytes]]):
                yield LiveRow(kind, number, image, extra)
            part += 1

    def live(self) -> Iterator[tuple[LiveRow, int]]:
        """Every row of `live` with its checksum, by id, a page at a time."""
        table, after = schema.live, 0
        while True:
            query = select(table).where(self._own(table), table.c.id > after).order_by(table.c.id).limit(PAGE_MAX)
            found = self._rows(query)
            for row in found:
                after = row["id"]
                yield LiveRow(row["kind"], after, row["image"], row["extra"]), row["crc"]
            if len(found) < PAGE_MAX:
                return

    def position(self) -> RowMapping | None:
        """The scope's own row; None when it was never claimed."""
        return next(iter(self._rows(select(schema.scope).where(schema.scope.c.name == self._name))), None)

    # ---- how ---------------------------------------------------------------------------------------
    def _own(self, table: Table) -> ColumnElement[bool]:
        if self._scope is None:
            found = self.position()
            if found is None:
                return table.c.scope == -1
            self._scope = found["id"]
        return table.c.scope == self._scope

    def _rows(self, query: "Select[tuple[object, ...]]") -> list[RowMapping]:
        with self._engine.connect() as connection:
            return list(connection.execute(query).mappings())


def _concerns(service: str) -> ColumnElement[bool]:
    rows = schema.history_services
    return schema.incidents.c.id.in_(select(rows.c.incident).where(rows.c.service == service))


def _plain(data: bytes, place: str) -> bytes:
    try:
        return zstandard.ZstdDecompressor().decompress(data)
    except (zstandard.ZstdError, MemoryError) as error:
        raise StoreError(
            "damaged", f"{place}: not what was written ({error}); `samband db restore` takes a backup"
        ) from error
