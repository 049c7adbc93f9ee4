"""The scope's own row: how it is taken, advanced, and what it says about a batch. The same in every database.

Statements mark their values with `?`; a store whose driver wants another mark puts it in.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol

import msgspec

from daemon.core.model.ids import epoch_of, first_id
from daemon.store import schema
from daemon.store.base import Batch, Fenced, LiveRow, OutboxRow, Recovered, StoreError
from daemon.store.columns import checksum, intact
from daemon.store.writes import Standing

ADVANCE = (
    "UPDATE scope SET seq = ?, now_ms = ?, next_id = ?, next_number = ?, policy = ?, mode = ?, build = ?,"
    " positions = ? WHERE id = ? AND epoch = ? AND seq = ?"
)
AT = "SELECT epoch, seq, now_ms, next_id, next_number FROM scope WHERE id = ?"

_FIND = "SELECT id, epoch, seq, now_ms, next_id, next_number, policy, mode, build, positions FROM scope WHERE name = ?"
_CREATE = (
    "INSERT INTO scope (name, epoch, seq, now_ms, next_id, next_number, policy, mode, build, positions, holder,"
    " lease_until) VALUES (?, 0, 0, 0, 1, 1, '', '', '', ?, '', 0)"
)
_OUTBOX_FIELDS = [str(column.name) for column in schema.outbox.columns]
_COLUMNS = ", ".join(_OUTBOX_FIELDS)
OUTBOX_ROWS = f"SELECT {_COLUMNS} FROM outbox WHERE {schema.UNFINISHED_SQL} AND scope = ? ORDER BY id"  # noqa: S608
_ENDED_ROWS = (
    f"SELECT {_COLUMNS} FROM outbox WHERE {schema.UNCLEAR_SQL} AND unsure_at >= ? AND scope = ?"  # noqa: S608
    " AND state IN ('done', 'superseded') ORDER BY id"
)
TWINS_MS = 15 * 60_000
"""So long after an unclear attempt what it made may still turn up; the time without a daemon is not counted."""


class Found(Protocol):
    """What a statement found: a driver's cursor."""

    def fetchone(self) -> Any:
        """The next row; None after the last."""
        ...

    def __iter__(self) -> Iterator[Any]: ...


class Execute(Protocol):
    """Runs one statement inside the transaction of the caller."""

    def __call__(self, sql: str, values: Sequence[object] = (), /) -> Found: ...


def take(execute: Execute, scope: str, wall_ms: int, build: str, name: str) -> tuple[int, Recovered]:
    """Gives the scope a new epoch; its number, and its state without `live`. See `Store.claim`.

    name: of the store, for messages. Raises StoreError("damaged").
    """
    row = execute(_FIND, (scope,)).fetchone()
    if row is None:
        execute(_CREATE, (scope, b""))
        row = execute(_FIND, (scope,)).fetchone()
    number, _, seq, now_ms, next_id, next_number, policy, mode, _, positions = row
    (newest,) = execute("SELECT max(epoch) FROM scope").fetchone()
    epoch = max(newest + 1, wall_ms // 1000, epoch_of(next_id) + 1)
    execute("UPDATE scope SET epoch = ?, next_id = ? WHERE id = ?", (epoch, first_id(epoch), number))
    base = execute("SELECT now_ms, build FROM bases WHERE scope = ? ORDER BY seq DESC LIMIT 1", (number,)).fetchone()
    return number, Recovered(
        epoch=epoch,
        seq=seq,
        now_ms=now_ms,
        next_id=first_id(epoch),
        next_number=next_number,
        policy=policy,
        mode=mode,
        live=(),
        outbox=[
            _outbox_row(found, name)
            for found in (*execute(OUTBOX_ROWS, (number,)), *execute(_ENDED_ROWS, (now_ms - TWINS_MS, number)))
        ],
        positions=positions,
        base_at=base[0] if base else 0,
        comparable=bool(base) and base[1] == build,
    )


def standing(row: Sequence[Any]) -> Standing:
    """What a base needs, of a row that `AT` found."""
    return row[2], row[3], row[4]


def landed(row: Sequence[Any] | None, batch: Batch, name: str) -> bool:
    """What the scope's row says about a batch whose compare-and-set failed: True when it is there already.

    row: as `AT` found it. name: of the store, for messages. False: it begins where the scope stands, so
    something else was wrong with it. Raises Fenced; StoreError("refused") when it does not follow.
    """
    if row is None or row[0] > batch.epoch:
        raise Fenced(f"{name}: scope {batch.scope} was taken by another daemon (epoch {row and row[0]})")
    if tuple(row[:2]) == (batch.epoch, batch.seq):
        return True
    if tuple(row[:2]) == (batch.epoch, batch.seq - 1):
        return False
    raise StoreError("refused", f"{name}: batch {batch.seq} does not follow batch {row[1]}")


def whole(rows: Iterable[Sequence[Any]], name: str) -> Iterator[LiveRow]:
    """Rows of `live` (kind, id, image, extra, crc) as they are recovered. Raises StoreError("damaged")."""
    for kind, number, image, extra, crc in rows:
        if checksum(image, extra) != crc:
            raise _damaged(name, "live", number)
        yield LiveRow(kind, number, image, extra)


def _outbox_row(values: Sequence[Any], name: str) -> OutboxRow:
    if not intact(values):
        raise _damaged(name, "outbox", values[0])
    found = dict(zip(_OUTBOX_FIELDS, values, strict=True))
    return msgspec.convert({**found, "send": found}, OutboxRow, strict=False)


def _damaged(name: str, table: str, number: int) -> StoreError:
    return StoreError(
        "damaged",
        f"{name}: row {number} of `{table}` is not what was written (CRC); run `samband db check`, "
        "then `samband db restore` with a backup",
    )
