"""The store of one machine: SQLite over the sqlite3 module. The hot path is here and nowhere else."""

import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from zlib import crc32

import msgspec
import zstandard

from daemon.core.effects import Row, Send
from daemon.core.model.ids import epoch_of, first_id
from daemon.core.state import ALERT, DELIVERY, INCIDENT, SERVICE
from daemon.store import schema
from daemon.store.base import Batch, CommitUnknown, Fenced, LiveRow, OutboxRow, Recovered, StoreError
from daemon.store.columns import (
    alert_values,
    checksum,
    dead_letter_values,
    delivery_values,
    incident_values,
    outbox_values,
    service_values,
    timeline_values,
    token_values,
)
from daemon.store.connection import create_file, open_writer, reason_of, set_up, text_of
from daemon.store.lock import LockFile
from daemon.store.migrate import prepare
from daemon.store.statements import besides, delete, insert

CHECKPOINT_BYTES = 8 * 1024 * 1024
"""Images written since the last checkpoint that make the next one worth its sync (some ms)."""

_SENT = ("id", "scope", *Send.__struct_fields__)

_JOURNAL = insert(schema.journal)
_LIVE = insert(schema.live, update=("crc", "image", "extra"))
_LIVE_GONE = delete(schema.live)
_INCIDENTS = insert(schema.incidents, update=besides(schema.incidents, "id", "scope", "number"))
_ALERTS = insert(schema.history_alerts)
_SERVICES = insert(schema.history_services)
_DELIVERIES = insert(schema.history_deliveries)
_OUTBOX = insert(schema.outbox, update=besides(schema.outbox, *_SENT))
_TIMELINE = insert(schema.timeline, running=True)
_DEAD_LETTERS = insert(schema.dead_letters, running=True)
_LETTERS_GONE = delete(schema.dead_letters)
_TOKENS = insert(schema.tokens, update=("revoked_at",))
_BASES = insert(schema.bases)
_BASE_ROWS = insert(schema.base_rows)

_ADVANCE = (
    "UPDATE scope SET seq = ?, now_ms = ?, next_id = ?, next_number = ?, policy = ?, mode = ?, build = ?,"
    " positions = ? WHERE id = ? AND epoch = ? AND seq = ?"
)
_FIND = "SELECT id, epoch, seq, now_ms, next_id, next_number, policy, mode, build, positions FROM scope WHERE name = ?"
_CREATE = (
    "INSERT INTO scope (name, epoch, seq, now_ms, next_id, next_number, policy, mode, build, positions, holder,"
    " lease_until) VALUES (?, 0, 0, 0, 1, 1, '', '', '', x'', '', 0)"
)
_OUTBOX_FIELDS = (*Send.__struct_fields__, *OutboxRow.__struct_fields__[1:])
_COLUMNS = ", ".join(_OUTBOX_FIELDS)
_OUTBOX_ROWS = f"SELECT {_COLUMNS} FROM outbox WHERE {schema.UNFINISHED_SQL} AND scope = ? ORDER BY id"  # noqa: S608

_compress = zstandard.ZstdCompressor(level=1, write_checksum=True).compress


class SqliteStore:
    """A store in one SQLite file: WAL, every commit synced, its lock file beside it.

    path: the file, made when missing. build: of this daemon, kept with every batch. connect: opens
    the database in place of `path` (simulation); then there is neither lock nor file. Constructing
    raises Locked when another daemon has it, and StoreError.
    """

    def __init__(self, path: Path, *, build: str, connect: Callable[[], sqlite3.Connection] | None = None) -> None:
        self.path, self.build = path.absolute(), build
        self._lock = None
        self._place: tuple[int, int] | None = None
        self._connect = connect or self._open_file
        self._connection: sqlite3.Connection | None = None
        self._scopes: dict[str, int] = {}
        self._written = 0
        if connect is None:
            real = self.path.resolve()
            create_file(real)
            self._lock = LockFile(real.with_name(real.name + ".lock"))
            found = os.stat(real)
            self._place = (found.st_dev, found.st_ino)
        try:
            prepare(self._ready(), str(path))
        except BaseException as error:
            self.close()
            if isinstance(error, sqlite3.Error):
                raise self._error(error) from error
            raise

    # ---- taking the scope ----------------------------------------------------------------------
    def claim(self, scope: str, wall_ms: int) -> Recovered:
        """See `Store.claim`."""
        try:
            connection = self._ready()
            connection.execute("BEGIN IMMEDIATE")
            row = connection.execute(_FIND, (scope,)).fetchone()
            if row is None:
                connection.execute(_CREATE, (scope,))
                row = connection.execute(_FIND, (scope,)).fetchone()
            number, _, seq, now_ms, next_id, next_number, policy, mode, _, positions = row
            (newest,) = connection.execute("SELECT max(epoch) FROM scope").fetchone()
            epoch = max(newest + 1, wall_ms // 1000, epoch_of(next_id) + 1)
            connection.execute("UPDATE scope SET epoch = ?, next_id = ? WHERE id = ?", (epoch, first_id(epoch), number))
            base = connection.execute(
                "SELECT now_ms, build FROM bases WHERE scope = ? ORDER BY seq DESC LIMIT 1", (number,)
            ).fetchone()
            outbox = [_outbox_row(found) for found in connection.execute(_OUTBOX_ROWS, (number,))]
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            self._roll_back(error)
            raise self._error(error) from error
        self._scopes[scope] = number
        return Recovered(
            epoch=epoch,
            seq=seq,
            now_ms=now_ms,
            next_id=first_id(epoch),
            next_number=next_number,
            policy=policy,
            mode=mode,
            live=self._live(number),
            outbox=outbox,
            positions=positions,
            base_at=base[0] if base else 0,
            comparable=bool(base) and base[1] == self.build,
        )

    def _live(self, scope: int) -> Iterator[LiveRow]:
        try:
            cursor = self._ready().execute(
                "SELECT kind, id, image, extra, crc FROM live WHERE scope = ? ORDER BY id", (scope,)
            )
            for kind, number, image, extra, crc in cursor:
                if checksum(image, extra) != crc:
                    raise StoreError(
                        "damaged",
                        f"{self.path}: row {number} of `live` is not what was written (CRC); run `samband db check`, "
                        "then `samband db restore` with a backup",
                    )
                yield LiveRow(kind, number, image, extra)
        except sqlite3.Error as error:
            raise self._error(error) from error

    # ---- the transaction -------------------------------------------------------------------------
    def commit(self, batch: Batch) -> None:
        """See `Store.commit`."""
        number = self._scopes[batch.scope]
        try:
            self._still_there()
            connection = self._ready()
            connection.execute("BEGIN IMMEDIATE")
            try:
                self._write(connection, number, batch)
                moved = self._advance(connection, number, batch)
            except sqlite3.IntegrityError:
                moved = False
                if not self._overtaken(connection, number, batch):
                    raise
        except (sqlite3.Error, OverflowError, UnicodeError) as error:
            self._roll_back(error)
            raise self._error(error) from error
        if not moved:
            self._judge(connection, number, batch)
            return
        try:
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            self._roll_back(error)
            raise CommitUnknown(reason_of(error), text_of(str(self.path), error)) from error

    def _write(self, connection: sqlite3.Connection, scope: int, batch: Batch) -> None:
        if batch.base is not None:
            self._write_base(connection, scope, batch, batch.base)
        if batch.records:
            inputs = _compress(batch.records)
            self._written += len(inputs)
            head = (scope, batch.seq, batch.epoch, batch.now_ms, self.build, batch.policy, batch.positions)
            _JOURNAL.run(connection, [(*head, batch.count, inputs, batch.digest)])
        if batch.rows:
            self._write_rows(connection, scope, batch.rows)
        if batch.outbox:
            _OUTBOX.run(connection, [outbox_values(scope, row) for row in batch.outbox])
        if batch.timeline:
            _TIMELINE.run(connection, [timeline_values(scope, line) for line in batch.timeline])
        if batch.tokens:
            _TOKENS.run(connection, [token_values(scope, one) for one in batch.tokens])
        if batch.dead_letters:
            _DEAD_LETTERS.run(connection, [dead_letter_values(scope, letter) for letter in batch.dead_letters])
        if batch.letters_gone:
            _LETTERS_GONE.run(connection, [(number,) for number in batch.letters_gone])

    def _write_rows(self, connection: sqlite3.Connection, scope: int, rows: Sequence[Row]) -> None:
        live = [
            (row.id, scope, row.kind, crc32(row.extra, crc32(row.image)), row.image, row.extra)
            for row in rows
            if row.image is not None
        ]
        self._written += sum(len(values[4]) + len(values[5]) + 40 for values in live)
        _LIVE.run(connection, live)
        incidents = [incident_values(scope, values[4], True) for values in live if values[2] == INCIDENT]
        if len(live) < len(rows):
            gone = [row for row in rows if row.image is None]
            _LIVE_GONE.run(connection, [(row.id,) for row in gone])
            past = [(row.kind, row.history, row.extra) for row in gone if row.history is not None]
            incidents += [incident_values(scope, last, False) for kind, last, _ in past if kind == INCIDENT]
            _ALERTS.run(connection, [alert_values(scope, last, extra) for kind, last, extra in past if kind == ALERT])
            _SERVICES.run(connection, [service_values(scope, last) for kind, last, _ in past if kind == SERVICE])
            _DELIVERIES.run(connection, [delivery_values(scope, last) for kind, last, _ in past if kind == DELIVERY])
        _INCIDENTS.run(connection, incidents)

    def _write_base(self, connection: sqlite3.Connection, scope: int, batch: Batch, parts: Sequence[bytes]) -> None:
        row = connection.execute("SELECT now_ms, next_id, next_number FROM scope WHERE id = ?", (scope,)).fetchone()
        now_ms, next_id, next_number = row
        seq = batch.seq - 1
        _BASES.run(connection, [(scope, seq, now_ms, batch.policy, self.build, next_id, next_number)])
        for place, part in enumerate(parts):
            _BASE_ROWS.run(connection, [(scope, seq, place, _compress(part))])

    def _advance(self, connection: sqlite3.Connection, scope: int, batch: Batch) -> bool:
        values = (batch.seq, batch.now_ms, batch.next_id, batch.next_number, batch.policy, batch.mode, self.build)
        where = (batch.positions, scope, batch.epoch, batch.seq - 1)
        return bool(connection.execute(_ADVANCE, (*values, *where)).rowcount)

    def _overtaken(self, connection: sqlite3.Connection, scope: int, batch: Batch) -> bool:
        """Whether the scope no longer stands where this batch begins, as a failed key may mean."""
        row = connection.execute("SELECT epoch, seq FROM scope WHERE id = ?", (scope,)).fetchone()
        return bool(row != (batch.epoch, batch.seq - 1))

    def _judge(self, connection: sqlite3.Connection, scope: int, batch: Batch) -> None:
        """After a compare-and-set that failed: returns when the batch had landed before."""
        try:
            connection.execute("ROLLBACK")
            row = connection.execute("SELECT epoch, seq FROM scope WHERE id = ?", (scope,)).fetchone()
        except sqlite3.Error as error:
            self._roll_back(error)
            raise self._error(error) from error
        if row == (batch.epoch, batch.seq):
            return
        if row is None or row[0] != batch.epoch:
            raise Fenced(f"{self.path}: scope {batch.scope} was taken by another daemon (epoch {row and row[0]})")
        raise StoreError("refused", f"{self.path}: batch {batch.seq} does not follow batch {row[1]}")

    # ---- housekeeping ------------------------------------------------------------------------------
    def tidy(self, idle: bool) -> None:
        """Moves the WAL into the database in small steps; `idle`: all of it, and truncates it."""
        if not self._written or (not idle and self._written < CHECKPOINT_BYTES):
            return
        try:
            connection = self._ready()
            connection.execute(f"PRAGMA wal_checkpoint({'TRUNCATE' if idle else 'PASSIVE'})").fetchall()
        except sqlite3.Error as error:
            self._roll_back(error)
            raise self._error(error) from error
        self._written = 0

    def close(self) -> None:
        """See `Store.close`. Further calls do nothing."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._lock is not None:
            self._lock.release()

    # ---- the connection ------------------------------------------------------------------------------
    def _open_file(self) -> sqlite3.Connection:
        return open_writer(self.path)

    def _ready(self) -> sqlite3.Connection:
        if self._connection is None:
            connection = self._connect()
            try:
                mode = set_up(connection)
                if self._place is not None and mode != "wal":
                    raise StoreError("down", f"{self.path}: this file system cannot do SQLite's WAL; use a local disk")
            except BaseException:
                connection.close()
                raise
            self._connection = connection
        return self._connection

    def _still_there(self) -> None:
        """SQLite would go on writing into a file that was removed, and lose it all with the process."""
        if self._place is None:
            return
        try:
            found = os.stat(self.path)
        except OSError as error:
            raise StoreError("down", f"{self.path}: {error.strerror}; put the database file back") from error
        if (found.st_dev, found.st_ino) != self._place:
            raise StoreError("down", f"{self.path}: another file stands in its place; put the database file back")

    def _roll_back(self, error: Exception) -> None:
        """Leaves no transaction behind; after trouble with the file the connection is made anew."""
        connection = self._connection
        if connection is None:
            return
        try:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        except sqlite3.Error:
            self._connection = None
            connection.close()
            return
        if reason_of(error) in ("down", "damaged", "read_only"):
            self._connection = None
            connection.close()

    def _error(self, error: Exception) -> StoreError:
        return StoreError(reason_of(error), text_of(str(self.path), error))


def _outbox_row(values: tuple[object, ...]) -> OutboxRow:
    found = dict(zip(_OUTBOX_FIELDS, values, strict=True))
    return msgspec.convert({**found, "send": found}, OutboxRow, strict=False)
