"""The store of larger installations: PostgreSQL, with a lease in place of SQLite's lock file."""

import struct
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import psycopg
from msgspec.structs import replace

from daemon import log, metrics
from daemon.store import ledger, writes
from daemon.store.base import Batch, CommitUnknown, Fenced, OutboxRow, Recovered, StoreError
from daemon.store.holder import me
from daemon.store.migrate import prepare_postgresql
from daemon.store.postgres_arrays import Statement, text, whole
from daemon.store.postgres_lease import CLAIMS, NOW_MS, await_turn, call, free, locked, look, oust
from daemon.store.postgres_session import Session, error_of, name_of, reason_of

LEASE_S = 30.0
"""How long a lease runs. A commit prolongs it, and an idle daemon's housekeeping once a tenth of it is over."""

KEPT_BYTES, KEPT_BATCHES = 32 * 1024 * 1024, 512
"""How much of what was committed is kept, for a database that loses it."""

LIVE_PAGE = 5_000

_HOW = {write: Statement(write, f"w{place}") for place, write in enumerate(writes.ALL)}


def _typed(sql: str, *kinds: str) -> str:
    """The statement with a number and a type for each of its marks."""
    first, *rest = sql.split("?")
    return first + "".join(
        f"${place}::{kind}{part}" for place, (kind, part) in enumerate(zip(kinds, rest, strict=True), 1)
    )


_LEASE = f"lease_until = {NOW_MS} + ?"
_PREPARED = {
    **{one.name: one.sql for one in _HOW.values()},
    b"begin": "BEGIN",
    b"at": _typed(ledger.AT, "bigint"),
    b"advance": _typed(
        ledger.ADVANCE.replace(" WHERE", f", lineage = ?, {_LEASE} WHERE"),
        *("bigint", "bigint", "bigint", "bigint", "text", "text", "text", "bytea"),
        *("text", "bigint", "bigint", "bigint", "bigint"),
    ),
    b"prolong": _typed(f"UPDATE scope SET {_LEASE} WHERE id = ? AND epoch = ?", "bigint", "bigint", "bigint"),  # noqa: S608
}
_FOLLOWING = "SELECT kind, id, image, extra, crc FROM live WHERE scope = %s AND id > %s ORDER BY id LIMIT %s"


class Kept:
    """The newest committed batches. A database that fails over to a replica without them gets them again."""

    def __init__(self) -> None:
        self._batches: deque[tuple[Batch, int]] = deque()
        self._bytes = 0

    def add(self, batch: Batch) -> None:
        """Keeps a batch that was committed, and lets go of the oldest."""
        size = len(batch.records) + sum(len(row.image or b"") + len(row.extra) + 100 for row in batch.rows)
        self._batches.append((batch, size))
        self._bytes += size
        while self._bytes > KEPT_BYTES or len(self._batches) > KEPT_BATCHES:
            self._bytes -= self._batches.popleft()[1]

    def lost(self, row: Sequence[int], batch: Batch) -> list[Batch] | None:
        """What was committed since the place (epoch, seq) where the database stands; None when too little was kept.

        batch: the one that is to be written now.
        """
        epoch, seq = row[:2]
        if epoch < batch.epoch:
            return None
        lost = [one for one, _ in self._batches if one.epoch == epoch and one.seq > seq]
        return lost if not lost or lost[0].seq == seq + 1 else None


class PostgresStore:
    """A store in one PostgreSQL database, in the schema that its search_path names first.

    dsn: where it is. build: of this daemon, kept with every batch. lease_s: how long a claim holds when
    nothing is heard. connect: opens a session in place of `Session` (simulation). Constructing makes the
    tables of a new database. Raises StoreError.
    """

    def __init__(
        self, dsn: str, *, build: str, lease_s: float = LEASE_S, connect: Callable[[str], Session] = Session
    ) -> None:
        self.name, self.build = name_of(dsn), build
        self._dsn, self._lease_s, self._connect = dsn, lease_s, connect
        # Two stores of one process are two holders.
        self._me = f"{me()} #{id(self):x}"
        self._session: Session | None = None
        self._scopes: dict[str, tuple[int, int]] = {}
        self._kept = Kept()
        self._held_until = 0.0
        try:
            self._session = connect(dsn)
            prepare_postgresql(self._session.connection, self.name)
            self._session.wire.prepare(_PREPARED)
        except (psycopg.Error, StoreError) as error:
            self._drop()
            raise self._error(error) from error

    # ---- taking the scope ----------------------------------------------------------------------
    def claim(self, scope: str, wall_ms: int) -> Recovered:
        """See `Store.claim`. Waits for a lease whose holder may be gone. Raises Locked when it is not."""
        began = _boot_s()
        try:
            session = self._ready()
            before = await_turn(session.connection, scope, self._me, self.name)
            if before is not None:
                oust(session.connection, before.scope)
            began = _boot_s()
            number, recovered = self._take(session, scope, wall_ms)
            call(session.connection, number, recovered.epoch)
        except psycopg.Error as error:
            raise self._error(error) from error
        self._scopes[scope], self._held_until = (number, recovered.epoch), began + self._lease_s
        recovered.live = ledger.whole(self._live(number), self.name)
        if not session.syncs:
            log.STORE_UNSAFE(store=self.name, text="fsync is off: a crash of its machine loses what was committed")
        if before is not None and before.lineage not in ("", session.lineage):
            log.STORE_MOVED(store=self.name, before=before.lineage, now=session.lineage, seq=recovered.seq)
            recovered.outbox = [_perhaps_sent(row) for row in recovered.outbox]
        return recovered

    def _take(self, session: Session, scope: str, wall_ms: int) -> tuple[int, Recovered]:
        connection = session.connection

        def execute(sql: str, values: Sequence[object] = ()) -> Any:
            return connection.execute(sql.replace("?", "%s"), values)

        with connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (CLAIMS,))
            found = look(connection, scope, lock=True)
            if found is not None and not free(found, self._me):
                raise locked(found, self.name)
            number, recovered = ledger.take(execute, scope, wall_ms, self.build, self.name)
            execute(
                f"UPDATE scope SET holder = ?, lineage = ?, {_LEASE} WHERE id = ?",  # noqa: S608
                (self._me, session.lineage, int(self._lease_s * 1000), number),
            )
        return number, recovered

    def _live(self, scope: int) -> Iterator[tuple[Any, ...]]:
        after, more = 0, True
        while more:
            try:
                found = self._ready().connection.execute(_FOLLOWING, (scope, after, LIVE_PAGE), binary=True).fetchall()
            except psycopg.Error as error:
                raise self._error(error) from error
            yield from found
            more = len(found) == LIVE_PAGE
            after = found[-1][1] if more else 0

    # ---- the transaction -------------------------------------------------------------------------
    def commit(self, batch: Batch) -> None:
        """See `Store.commit`. A database that has lost the batches before this one is given them again."""
        number, _ = self._scopes[batch.scope]
        try:
            failed = self._transact(number, batch)
            if failed is not None:
                self._settle(number, batch, failed)
        except (psycopg.Error, struct.error, OverflowError, UnicodeError) as error:
            raise self._error(error) from error
        self._kept.add(batch)

    def _transact(self, number: int, batch: Batch) -> psycopg.Error | str | None:
        """Writes and commits; None when it is done, else why the scope did not move."""
        began, session = _boot_s(), self._ready()
        before = None
        if batch.base is not None:
            before = ledger.standing(self._at(number) or (0, 0, 0, 0, 0))
        calls = [(b"begin", list[bytes]())]
        for write, rows in writes.writes_of(number, batch, self.build, before):
            calls.append((_HOW[write].name, _HOW[write].values(rows)))
        calls.append((b"advance", self._advance(number, batch, session.lineage)))
        try:
            moved = session.wire.run(calls)[-1].command_tuples
        except psycopg.IntegrityError as error:
            session.clear()
            return error  # A key that is there already may mean that the batch is.
        if not moved:
            session.clear()
            return "the compare-and-set failed"
        try:
            sure = session.end()
        except psycopg.Error as error:
            self._drop()
            raise CommitUnknown(reason_of(error), str(error_of(self.name, error))) from error
        if not sure:
            raise CommitUnknown("busy", f"{self.name}: it is not certain that replicas have what was committed")
        self._held_until = began + self._lease_s
        return None

    def _advance(self, number: int, batch: Batch, lineage: str) -> list[bytes]:
        counters = [whole(one) for one in (batch.seq, batch.now_ms, batch.next_id, batch.next_number)]
        words = [text(one) for one in (batch.policy, batch.mode, self.build)]
        lease = [text(lineage), whole(int(self._lease_s * 1000))]
        return [
            *counters,
            *words,
            batch.positions,
            *lease,
            *(whole(one) for one in (number, batch.epoch, batch.seq - 1)),
        ]

    def _settle(self, number: int, batch: Batch, failed: psycopg.Error | str) -> None:
        """After a scope that did not move: returns when the batch is there after all. Raises Fenced, StoreError."""
        row = self._at(number)
        lost = self._kept.lost(row, batch) if row is not None else []
        if row is not None and lost != []:
            self._give_again(number, row, lost)
            again = self._transact(number, batch)
            if again is None:
                return
            failed, row = again, self._at(number)
        if ledger.landed(row, batch, self.name):
            # Landed, but nobody has heard whether replicas have it. They have once a commit after it is sure.
            self._prolong(number, batch.epoch)
        elif isinstance(failed, psycopg.Error):
            raise failed
        else:
            raise StoreError("busy", f"{self.name}: {failed} and would not now")

    def _give_again(self, number: int, row: Sequence[int], lost: list[Batch] | None) -> None:
        if lost is None:
            raise StoreError(
                "gone_back",
                f"{self.name}: the database has gone back to batch {row[1]} of epoch {row[0]}: a replica without the "
                "newest commits was promoted, or a backup was put in its place. samband stops; started again, it goes "
                "on from there, and looks for what it may have sent since",
            )
        log.STORE_WENT_BACK(store=self.name, seq=row[1], again=len(lost))
        for one in lost:
            self._transact(number, one)
            metrics.COMMITS_REPEATED.inc()

    def _at(self, number: int) -> tuple[int, ...] | None:
        (found,) = self._ready().wire.run([(b"at", [whole(number)])])
        if not found.ntuples:
            return None
        return tuple(int(found.get_value(0, place) or 0) for place in range(found.nfields))

    # ---- the lease ----------------------------------------------------------------------------------
    def tidy(self, idle: bool) -> None:
        """Prolongs the lease when no commit has for a while."""
        if self.held_s() > 0.9 * self._lease_s:
            return
        for number, epoch in self._scopes.values():
            try:
                self._prolong(number, epoch)
            except psycopg.Error as error:
                raise self._error(error) from error

    def held_s(self) -> float:
        """See `Store.held_s`."""
        return self._held_until - _boot_s()

    def _prolong(self, number: int, epoch: int) -> None:
        began = _boot_s()
        values = [whole(one) for one in (int(self._lease_s * 1000), number, epoch)]
        (done,) = self._ready().wire.run([(b"prolong", values)])
        if not done.command_tuples:
            raise Fenced(f"{self.name}: the scope was taken by another daemon")
        self._held_until = began + self._lease_s

    def close(self) -> None:
        """See `Store.close`. Lets go of the lease, if the database can be told. Further calls do nothing."""
        if self._session is None:
            return
        try:
            for number, epoch in self._scopes.values():
                self._session.connection.execute(
                    "UPDATE scope SET holder = '', lease_until = 0 WHERE id = %s AND epoch = %s", (number, epoch)
                )
        except psycopg.Error as error:
            log.COMMIT_FAILED(reason=reason_of(error), text=f"{self.name}: the lease runs on until its end: {error}")
        self._scopes, self._held_until = {}, 0.0
        self._drop()

    # ---- the connection ------------------------------------------------------------------------------
    def _ready(self) -> Session:
        if self._session is None:
            session = self._connect(self._dsn)
            try:
                for number, epoch in self._scopes.values():
                    call(session.connection, number, epoch)
                session.wire.prepare(_PREPARED)
            except BaseException:
                session.close()
                raise
            self._session = session
        return self._session

    def _drop(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            session.close()

    def _error(self, error: Exception) -> StoreError:
        """The error as the store's own; no transaction is left behind."""
        if self._session is not None and not self._session.clear():
            self._session = None
        return error if isinstance(error, StoreError) else error_of(self.name, error)


def _boot_s() -> float:
    """The clock that also runs while the machine sleeps: the database's does."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _perhaps_sent(row: OutboxRow) -> OutboxRow:
    """The newest commits may be missing, and among them the mark that this row was being sent."""
    return replace(row, state="sending") if row.state == "waiting" else row
