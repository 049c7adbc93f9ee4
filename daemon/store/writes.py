"""What a batch writes, table by table: rows that are the same in every database. Statements are each store's own."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import zstandard
from sqlalchemy import Table

from daemon.core.effects import Row, Send
from daemon.core.state import ALERT, DELIVERY, INCIDENT, SERVICE
from daemon.store import schema
from daemon.store.base import Batch
from daemon.store.columns import (
    Values,
    alert_values,
    checksum,
    dead_letter_values,
    delivery_values,
    incident_values,
    outbox_values,
    sealed,
    service_values,
    timeline_values,
    token_values,
)


def besides(table: Table, *fixed: str) -> tuple[str, ...]:
    """The names of the table's columns but for the fixed ones."""
    return tuple(column.name for column in table.columns if column.name not in fixed)


@dataclass(frozen=True, eq=False)
class Write:
    """One kind of statement: whole rows into a table, or ids out of it.

    update: columns that are set when the id is there already. running: the table numbers its rows
    itself, so its first column is left out. gone: rows are deleted by id.
    """

    table: Table
    update: tuple[str, ...] = ()
    running: bool = False
    gone: bool = False


_SENT = ("id", "scope", *Send.__struct_fields__)

JOURNAL = Write(schema.journal)
LIVE = Write(schema.live, update=("crc", "image", "extra"))
LIVE_GONE = Write(schema.live, gone=True)
INCIDENTS = Write(schema.incidents, update=besides(schema.incidents, "id", "scope", "number"))
ALERTS = Write(schema.history_alerts)
SERVICES = Write(schema.history_services)
DELIVERIES = Write(schema.history_deliveries)
OUTBOX = Write(schema.outbox, update=besides(schema.outbox, *_SENT))
TIMELINE = Write(schema.timeline, running=True)
DEAD_LETTERS = Write(schema.dead_letters, running=True)
LETTERS_GONE = Write(schema.dead_letters, gone=True)
TOKENS = Write(schema.tokens, update=("revoked_at",))
BASES = Write(schema.bases)
BASE_ROWS = Write(schema.base_rows)

ALL = (
    *(JOURNAL, LIVE, LIVE_GONE, INCIDENTS, ALERTS, SERVICES, DELIVERIES),
    *(OUTBOX, TIMELINE, DEAD_LETTERS, LETTERS_GONE, TOKENS, BASES, BASE_ROWS),
)

Rows = list[Values]
Standing = tuple[int, int, int]
"""now_ms, next_id and next_number of the scope as they are before the batch."""

_compress = zstandard.ZstdCompressor(level=1, write_checksum=True).compress


def writes_of(scope: int, batch: Batch, build: str, standing: Standing | None) -> Iterator[tuple[Write, Rows]]:
    """Everything that the batch writes but for the scope's own row, which comes last. No list is empty.

    standing: needed for a batch that carries a base.
    """
    if batch.base is not None and standing is not None:
        seq = batch.seq - 1
        now_ms, next_id, next_number = standing
        yield BASES, [sealed((scope, seq, now_ms, batch.policy, build, next_id, next_number))]
        for place, part in enumerate(batch.base):
            yield BASE_ROWS, [(scope, seq, place, _compress(part))]
    if batch.records:
        head = (scope, batch.seq, batch.epoch, batch.now_ms, build, batch.policy, batch.positions)
        yield JOURNAL, [sealed((*head, batch.count, _compress(batch.records), batch.digest))]
    if batch.rows:
        yield from _entities(scope, batch.rows)
    if batch.outbox:
        yield OUTBOX, [outbox_values(scope, row) for row in batch.outbox]
    if batch.timeline:
        yield TIMELINE, [timeline_values(scope, line) for line in batch.timeline]
    if batch.tokens:
        yield TOKENS, [token_values(scope, one) for one in batch.tokens]
    if batch.dead_letters:
        yield DEAD_LETTERS, [dead_letter_values(scope, letter) for letter in batch.dead_letters]
    if batch.letters_gone:
        yield LETTERS_GONE, [(number,) for number in batch.letters_gone]


def _entities(scope: int, rows: Sequence[Row]) -> Iterator[tuple[Write, Rows]]:
    live: Rows = [
        (row.id, scope, row.kind, checksum(row.image, row.extra), row.image, row.extra)
        for row in rows
        if row.image is not None
    ]
    if live:
        yield LIVE, live
    incidents = [
        incident_values(scope, row.image, True) for row in rows if row.kind == INCIDENT and row.image is not None
    ]
    if len(live) < len(rows):
        gone = [row for row in rows if row.image is None]
        yield LIVE_GONE, [(row.id,) for row in gone]
        past = [(row.kind, row.history, row.extra) for row in gone if row.history is not None]
        incidents += [incident_values(scope, last, False) for kind, last, _ in past if kind == INCIDENT]
        found = (
            (ALERTS, [alert_values(scope, last, extra) for kind, last, extra in past if kind == ALERT]),
            (SERVICES, [service_values(scope, last) for kind, last, _ in past if kind == SERVICE]),
            (DELIVERIES, [delivery_values(scope, last) for kind, last, _ in past if kind == DELIVERY]),
        )
        yield from ((write, values) for write, values in found if values)
    if incidents:
        yield INCIDENTS, incidents
