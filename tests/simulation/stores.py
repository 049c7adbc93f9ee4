"""The real SQLite store in memory, behind a connection that fails on order."""

import sqlite3
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from random import Random
from typing import Any, NamedTuple, Protocol

from daemon.core.records import (
    AlertSeen,
    ClockStepped,
    CommandGiven,
    Overdue,
    PolicyChanged,
    Refreshed,
    Resumed,
    SelfNoticed,
    SilenceExpired,
    SilencePut,
    decode_records,
)
from daemon.store.base import Batch, OutboxRow, Recovered, Store
from daemon.store.migrate import definitions
from daemon.store.schema import HEAD
from daemon.store.sqlite import SqliteStore
from tests.simulation.life import Life

_CODES = {
    "busy": sqlite3.SQLITE_BUSY,
    "full": sqlite3.SQLITE_FULL,
    "down": sqlite3.SQLITE_IOERR,
    "read_only": sqlite3.SQLITE_READONLY,
}
MOODS = (*_CODES, "after", "slow")
"""What a disk can do: refuse, carry out a COMMIT and not say so, or take its time."""

_POINT: dict[type, str] = {
    AlertSeen: "alerts",
    Refreshed: "refresh",
    PolicyChanged: "reload",
    Resumed: "start",
    CommandGiven: "command",
    SilencePut: "command",
    SilenceExpired: "command",
    ClockStepped: "clock",
    SelfNoticed: "notice",
    Overdue: "notice",
}


class DiskSpell(NamedTuple):
    """From `begin` to `end` the disk is in a mood, for that share of its transactions."""

    begin: float
    end: float
    mood: str
    share: float = 0.5


class AnyDisk(Protocol):
    """What outlives the daemon, whatever the database. See `Disk`."""

    mood: Callable[[bool], str]

    def store(self) -> Store:
        """The real store on it."""
        ...

    def read(self, sql: str, *args: Any) -> list[tuple[Any, ...]]:
        """What stands in the database; the statement as SQLite takes it."""
        ...

    def close(self) -> None:
        """The database is gone."""
        ...


class Disk:
    """What outlives the daemon: the database, and the mood of the disk.

    mood: called before every transaction and every COMMIT, it says what goes wrong: "" for nothing; busy
    (only before a transaction), full, read_only, down (before it is done), after (done, and the answer is lost).
    """

    def __init__(self, name: str) -> None:
        self.mood: Callable[[bool], str] = lambda committing: ""
        self._uri = f"file:{name}?mode=memory&cache=shared"
        self._keeper = sqlite3.connect(self._uri, uri=True, isolation_level=None, check_same_thread=False)
        _template().backup(self._keeper)

    def open(self) -> sqlite3.Connection:
        """A connection as the store opens it."""
        disk = self

        class Connection(sqlite3.Connection):
            """Refuses, or does and does not say so, as the disk is minded."""

            def execute(self, sql: str, *args: Any) -> sqlite3.Cursor:
                """See sqlite3."""
                committing = sql == "COMMIT"
                wrong = disk.mood(committing) if committing or sql == "BEGIN IMMEDIATE" else ""
                if wrong == "after" and committing:
                    super().execute(sql, *args)
                if wrong:
                    raise _error("down" if wrong == "after" else wrong)
                return super().execute(sql, *args)

        return sqlite3.connect(
            self._uri, uri=True, isolation_level=None, check_same_thread=False, factory=Connection, timeout=0
        )

    def store(self) -> Store:
        """The real store on it."""
        return SqliteStore(Path("simulated.db"), build="simulation", connect=self.open)

    def read(self, sql: str, *args: Any) -> list[tuple[Any, ...]]:
        """What stands in the database, for those who check from outside."""
        return self._keeper.execute(sql, args).fetchall()

    def close(self) -> None:
        """The database is gone."""
        self._keeper.close()


@lru_cache(maxsize=1)
def _template() -> sqlite3.Connection:
    """A database with its tables: making them anew costs as much as a small world."""
    connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    for statement in definitions("sqlite"):
        connection.execute(statement)
    connection.execute("INSERT INTO alembic_version (version_num) VALUES (?)", (HEAD,))
    return connection


def _error(kind: str) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError(f"simulated: {kind}")
    error.sqlite_errorcode, error.sqlite_errorname = _CODES[kind], f"SQLITE_{kind.upper()}"
    return error


def moody(
    luck: Random, now: Callable[[], float], spells: list[DiskSpell], met: Callable[[str], None] = lambda mood: None
) -> Callable[[bool], str]:
    """A disk that is in a bad mood during the spells. met: told of each trouble that it makes."""

    def mood(committing: bool) -> str:
        for spell in spells:
            if spell.mood != "slow" and spell.begin <= now() < spell.end and luck.random() < spell.share:
                wrong = spell.mood if committing or spell.mood != "after" else ""
                if wrong:
                    met(wrong)
                return wrong
        return ""

    return mood


class FailpointStore:
    """The store's port: the failpoints of a life stand here. Everything else is the real store's."""

    def __init__(self, disk: AnyDisk, life: Life) -> None:
        self._life = life
        self._store = disk.store()
        self._points: tuple[Batch | None, list[tuple[str, str, str]]] = (None, [])

    def claim(self, scope: str, wall_ms: int) -> Recovered:
        """See `Store.claim`."""
        self._life.passes("before-claim")
        recovered = self._store.claim(scope, wall_ms)
        self._life.passes("after-claim")
        return recovered

    def commit(self, batch: Batch) -> None:
        """See `Store.commit`."""
        if self._points[0] is not batch:
            self._points = (batch, points_of(batch))
        points = self._points[1]
        for name, sink, key in points:
            self._life.passes(f"before-{name}", sink, key)
        self._store.commit(batch)
        for name, sink, key in points:
            self._life.passes(f"after-{name}", sink, key)

    def tidy(self, idle: bool) -> None:
        """See `Store.tidy`."""
        self._life.passes("before-tidy")
        self._store.tidy(idle)
        self._life.passes("after-tidy")

    def held_s(self) -> float:
        """See `Store.held_s`."""
        return self._store.held_s()

    def close(self) -> None:
        """See `Store.close`."""
        self._store.close()


def points_of(batch: Batch) -> list[tuple[str, str, str]]:
    """The failpoints that stand before and after the batch: what kinds of thing are in it, at
    which sinks, and for which objects there."""
    found: dict[tuple[str, str, str], None] = {}
    records = decode_records(batch.records) if batch.records else []
    for record in records:
        if (name := _POINT.get(type(record))) is not None:
            found[name, "", ""] = None
    if batch.records and not records:
        found["deadlines", "", ""] = None
    if batch.base is not None:
        found["base", "", ""] = None
    if batch.dead_letters:
        found["letter", "", ""] = None
    if not (batch.records or batch.outbox or batch.base or batch.dead_letters):
        found["stop", "", ""] = None
    for row in batch.outbox:
        if row.state != "shadow":
            found[_of_row(row), row.send.sink, row.send.key] = None
    return list(found)


def _of_row(row: OutboxRow) -> str:
    if row.state == "waiting":
        return "retry" if row.attempts else "row"
    return {"sending": "mark", "done": "delivered", "superseded": "drop"}.get(row.state, row.state)
