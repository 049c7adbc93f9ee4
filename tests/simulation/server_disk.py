"""The real PostgreSQL store, behind a connection that fails on order: `stores.Disk` with a server."""

from collections.abc import Callable, Iterable
from typing import Any

import psycopg
from psycopg.pq.abc import PGresult

from daemon.store.base import Store
from daemon.store.postgres import PostgresStore
from daemon.store.postgres_session import ANSWER_S, Session
from daemon.store.postgres_wire import Call, Wire

_ERRORS: dict[str, type[psycopg.Error]] = {
    "busy": psycopg.errors.LockNotAvailable,
    "full": psycopg.errors.DiskFull,
    "down": psycopg.OperationalError,
    "read_only": psycopg.errors.ReadOnlySqlTransaction,
    "after": psycopg.OperationalError,
}


class ServerDisk:
    """A schema of a server. See `stores.Disk`.

    Time is virtual there and real here, so leases run out at once: who comes next may always take over.
    """

    def __init__(self, dsn: str) -> None:
        self.mood: Callable[[bool], str] = lambda committing: ""
        self._dsn = dsn
        self._sessions: list[Session] = []
        PostgresStore(dsn, build="simulation").close()
        self._keeper = psycopg.connect(dsn, autocommit=True)
        self._keeper.execute("CREATE FUNCTION hex(bytea) RETURNS text LANGUAGE sql AS $$ SELECT encode($1, 'hex') $$")

    def store(self) -> Store:
        """The real store on it; nobody is kept out, and what is sent depends on no lease."""
        return Unleased(self._dsn, build="simulation", lease_s=0.0, connect=self._open)

    def _open(self, dsn: str) -> Session:
        session = MoodySession(dsn, self)
        self._sessions.append(session)
        return session

    def read(self, sql: str, *args: Any) -> list[tuple[Any, ...]]:
        """What stands in the database, for those who check from outside."""
        return self._keeper.execute(sql.replace("?", "%s").encode(), args or None).fetchall()

    def close(self) -> None:
        """Ends what daemons that died have left open."""
        for session in self._sessions:
            session.close()
        self._keeper.close()


class Unleased(PostgresStore):
    """With a lease that has always run out, nothing could be sent."""

    def held_s(self) -> float:
        """See `Store.held_s`."""
        return float("inf")


class MoodySession(Session):
    """A session that refuses, or does and does not say so, as the server is minded."""

    def __init__(self, dsn: str, disk: ServerDisk) -> None:
        super().__init__(dsn)
        self.wire: Wire = MoodyWire(self.connection, disk)
        self._disk = disk

    def end(self) -> bool:
        """See `Session.end`."""
        wrong = self._disk.mood(True)
        done = super().end() if wrong in ("", "after") else False
        if wrong:
            raise _ERRORS[wrong](f"simulated: {wrong}")
        return done


class MoodyWire(Wire):
    """Likewise, before a transaction."""

    def __init__(self, connection: "psycopg.Connection[tuple[object, ...]]", disk: ServerDisk) -> None:
        super().__init__(connection, ANSWER_S)
        self._disk = disk

    def run(self, calls: Iterable[Call]) -> list[PGresult]:
        """See `Wire.run`."""
        whole = list(calls)
        wrong = self._disk.mood(False) if whole[0][0] == b"begin" else ""
        if wrong:
            raise _ERRORS[wrong](f"simulated: {wrong}")
        return super().run(whole)
