"""The store of one machine: SQLite over the sqlite3 module. The hot path is here and nowhere else."""

import os
import sqlite3
from collections.abc import Callable, Iterator
from math import inf
from pathlib import Path

from daemon.store import writes
from daemon.store.base import Batch, CommitUnknown, LiveRow, Recovered, StoreError
from daemon.store.connection import create_file, open_writer, reason_of, rewrite, set_up, sync_names, text_of
from daemon.store.ledger import ADVANCE, AT, landed, standing, take, whole
from daemon.store.lock import LockFile
from daemon.store.migrate import prepare
from daemon.store.statements import Bulk, delete, insert

CHECKPOINT_BYTES = 8 * 1024 * 1024
"""Images written since the last checkpoint that make the next one worth its sync (some ms)."""

_HOW: dict[writes.Write, Bulk] = {
    one: delete(one.table) if one.gone else insert(one.table, update=one.update, running=one.running)
    for one in writes.ALL
}


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
            number, recovered = take(connection.execute, scope, wall_ms, self.build, str(self.path))
            connection.execute("COMMIT")
        except StoreError as error:
            self._roll_back(error)
            raise
        except sqlite3.Error as error:
            self._roll_back(error)
            raise self._error(error) from error
        self._scopes[scope] = number
        recovered.live = self._live(number)
        return recovered

    def _live(self, scope: int) -> Iterator[LiveRow]:
        try:
            rows = self._ready().execute(
                "SELECT kind, id, image, extra, crc FROM live WHERE scope = ? ORDER BY id", (scope,)
            )
            yield from whole(rows, str(self.path))
        except sqlite3.Error as error:
            raise self._error(error) from error

    # ---- the transaction -------------------------------------------------------------------------
    def commit(self, batch: Batch) -> None:
        """See `Store.commit`."""
        number = self._scopes[batch.scope]
        moved, failed = False, None
        try:
            self._still_there()
            connection = self._ready()
            connection.execute("BEGIN IMMEDIATE")
            try:
                self._write(connection, number, batch)
                moved = self._advance(connection, number, batch)
            except sqlite3.IntegrityError as error:
                failed = error  # A key that is there already may mean that the batch is.
            if not moved:
                connection.execute("ROLLBACK")
                if landed(connection.execute(AT, (number,)).fetchone(), batch, str(self.path)):
                    return
                if failed is not None:
                    raise failed
        except (sqlite3.Error, OverflowError, UnicodeError) as error:
            self._roll_back(error)
            raise self._error(error) from error
        try:
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            self._roll_back(error)
            raise CommitUnknown(reason_of(error), text_of(str(self.path), error)) from error

    def _write(self, connection: sqlite3.Connection, scope: int, batch: Batch) -> None:
        before = standing(connection.execute(AT, (scope,)).fetchone()) if batch.base is not None else None
        for write, rows in writes.writes_of(scope, batch, self.build, before):
            _HOW[write].run(connection, rows)
            if write is writes.LIVE:
                self._written += sum(len(image) + len(extra) + 40 for *_, image, extra in rows)
            elif write is writes.JOURNAL:
                self._written += sum(len(inputs) for *_, inputs, _, _ in rows)

    def _advance(self, connection: sqlite3.Connection, scope: int, batch: Batch) -> bool:
        values = (batch.seq, batch.now_ms, batch.next_id, batch.next_number, batch.policy, batch.mode, self.build)
        where = (batch.positions, scope, batch.epoch, batch.seq - 1)
        return bool(connection.execute(ADVANCE, (*values, *where)).rowcount)

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

    def held_s(self) -> float:
        """See `Store.held_s`: the kernel keeps others out for as long as the process lives."""
        return inf

    def close(self) -> None:
        """See `Store.close`. Further calls do nothing."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._lock is not None:
            self._lock.release()

    # ---- the connection ------------------------------------------------------------------------------
    def _open_file(self) -> sqlite3.Connection:
        real = self.path.resolve()
        rewrite(real.with_name(real.name + "-wal"))
        return open_writer(self.path)

    def _ready(self) -> sqlite3.Connection:
        if self._connection is None:
            connection = self._connect()
            try:
                mode = set_up(connection)
                if self._place is not None and mode != "wal":
                    raise StoreError("down", f"{self.path}: this file system cannot do SQLite's WAL; use a local disk")
                if self._place is not None:
                    sync_names(self.path.resolve().parent)
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
