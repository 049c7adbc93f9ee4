"""The real SQLite store in memory, behind a connection that fails on order."""

import sqlite3
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from daemon.store.base import Batch, Recovered
from daemon.store.sqlite import SqliteStore
from tests.simulation.life import Life

_CODES = {"busy": sqlite3.SQLITE_BUSY, "full": sqlite3.SQLITE_FULL, "down": sqlite3.SQLITE_IOERR}


class Disk:
    """What outlives the daemon: the database, and the mood of the disk.

    mood: called before every transaction and every COMMIT, it says what goes wrong: "" for nothing; busy
    (only before a transaction), full, down (before it is done), after (done, and the answer is lost).
    """

    def __init__(self, name: str) -> None:
        self.mood: Callable[[bool], str] = lambda committing: ""
        self._uri = f"file:{name}?mode=memory&cache=shared"
        self._keeper = sqlite3.connect(self._uri, uri=True, isolation_level=None, check_same_thread=False)

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

    def read(self, sql: str, *args: Any) -> list[tuple[Any, ...]]:
        """What stands in the database, for those who check from outside."""
        return self._keeper.execute(sql, args).fetchall()

    def close(self) -> None:
        """The database is gone."""
        self._keeper.close()


def _error(kind: str) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError(f"simulated: {kind}")
    error.sqlite_errorcode, error.sqlite_errorname = _CODES[kind], f"SQLITE_{kind.upper()}"
    return error


def moody(luck: Random, now: Callable[[], float], spells: list[tuple[float, float, str]]) -> Callable[[bool], str]:
    """A disk that is in a bad mood during the spells (from, to, kind), and then half of the time."""

    def mood(committing: bool) -> str:
        for begin, end, kind in spells:
            if begin <= now() < end and luck.random() < 0.5:
                return kind if committing or kind != "after" else ""
        return ""

    return mood


class FailpointStore:
    """The store's port: the failpoints of a life stand here. Everything else is the real store's."""

    def __init__(self, disk: Disk, life: Life) -> None:
        self._life = life
        self._store = SqliteStore(Path("simulated.db"), build="simulation", connect=disk.open)

    def claim(self, scope: str, wall_ms: int) -> Recovered:
        """See `Store.claim`."""
        return self._store.claim(scope, wall_ms)

    def commit(self, batch: Batch) -> None:
        """See `Store.commit`."""
        points = _points(batch)
        for name in points:
            self._life.passes(f"before-{name}")
        self._store.commit(batch)
        for name in points:
            self._life.passes(f"after-{name}")

    def tidy(self, idle: bool) -> None:
        """See `Store.tidy`."""
        if self._life.alive:
            self._store.tidy(idle)

    def held_s(self) -> float:
        """See `Store.held_s`."""
        return self._store.held_s()

    def close(self) -> None:
        """See `Store.close`."""
        self._store.close()


def _points(batch: Batch) -> list[str]:
    states = {row.state for row in batch.outbox}
    names = ["commit"]
    if "sending" in states:
        names.append("mark")
    if "done" in states:
        names.append("delivered")
    return names
