"""The lease on a scope: who holds it until when, by the database's clock, and how a successor takes over.

A lease that runs is respected, unless its holder was a process of this machine and has ended. Then, or once
it has run out, the successor ends the holder's connection (a process that stands still may keep locks in a
transaction), and takes the scope with a new epoch, which the old holder meets at its next commit.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import psycopg

from daemon import log
from daemon.store.base import Locked
from daemon.store.holder import is_gone, is_here, me, pid_of
from daemon.store.migrate import MAKING
from daemon.store.postgres_session import error_of, name_of, parameters

NOW_MS = "(extract(epoch FROM clock_timestamp()) * 1000)::bigint"
"""The database's clock. The daemons' own may differ from each other."""

LOOK_EVERY_S = 1.0
CLAIMS = 0x73616D62616E6401
"""The advisory lock under which scopes are taken and tables are made, one after the other."""

Connection = psycopg.Connection[tuple[Any, ...]]


class Look(NamedTuple):
    """The lease as it stands. left_ms: until it runs out, negative when it has. lineage: see `schema.scope`."""

    scope: int
    holder: str
    until: int
    left_ms: int
    lineage: str


def look(connection: Connection, scope: str, *, lock: bool = False) -> Look | None:
    """The lease on the scope of that name; None when there is no such scope. `lock`: keeps the row for the caller."""
    found = connection.execute(
        f"SELECT id, holder, lease_until, lease_until - {NOW_MS}, lineage FROM scope WHERE name = %s"  # noqa: S608
        + (" FOR UPDATE" if lock else ""),
        (scope,),
    ).fetchone()
    return Look(*found) if found is not None else None


def free(found: Look | None, mine: str) -> bool:
    """Whether the scope can be taken. mine: what the holder is called that asks."""
    return found is None or not found.holder or found.holder == mine or found.left_ms <= 0 or is_gone(found.holder)


def await_turn(connection: Connection, scope: str, mine: str, name: str) -> Look | None:
    """Returns, with the lease as it is, when the scope can be taken.

    Where nobody knows whether the holder lives, that is as long as its lease runs. Raises Locked as soon
    as it is seen to live. name: of the store, for the message.
    """
    first = look(connection, scope)
    found = first
    while first is not None and found is not None and not free(found, mine):
        if is_here(found.holder) or found[:3] != first[:3]:
            raise locked(found, name)
        if found is first:
            log.LEASE_AWAITED(holder=found.holder, seconds=round(found.left_ms / 1000))
        time.sleep(min(LOOK_EVERY_S, found.left_ms / 1000 + 0.05))
        found = look(connection, scope)
    return found


def locked(found: Look, name: str) -> Locked:
    """What is said to whoever comes second."""
    pid = pid_of(found.holder) if is_here(found.holder) else 0
    return Locked(f"{name}: {found.holder} has this store open; stop it, or use another store", pid)


def call(connection: Connection, scope: int, epoch: int) -> None:
    """Gives the session the name by which a successor finds it, and ends what is left of one that had this name.

    That may be our own from before a network broke; the server does not know yet, and keeps its locks.
    """
    own = f"{_prefix(connection, scope)}{epoch}"
    connection.execute("SELECT set_config('application_name', %s, false)", (own,))
    _end(connection, own)


def oust(connection: Connection, scope: int) -> None:
    """Ends the connections of everybody who has held the scope so far."""
    _end(connection, f"{_prefix(connection, scope)}%")


def _prefix(connection: Connection, scope: int) -> str:
    (table,) = connection.execute("SELECT 'scope'::regclass::oid::bigint").fetchone() or (0,)
    return f"samband {table}.{scope} "


def _end(connection: Connection, pattern: str) -> None:
    try:
        connection.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = current_database()"
            " AND pid <> pg_backend_pid() AND application_name LIKE %s",
            (pattern,),
        )
    except psycopg.errors.InsufficientPrivilege:
        # Held under another role. Then its locks last for its idle_in_transaction_session_timeout.
        return


ALONE_S = 3600
"""How long a command that works on a whole store may take."""


@contextmanager
def alone(dsn: str) -> Iterator[None]:
    """Keeps daemons out of the whole database: holds every scope, and the lock under which tables are made.

    Raises Locked when somebody has a scope, and StoreError.
    """
    name, mine = name_of(dsn), f"{me()} (samband db)"
    try:
        with psycopg.connect("", **parameters(dsn), autocommit=True) as connection:
            if connection.execute("SELECT pg_try_advisory_lock(%s)", (MAKING,)).fetchone() != (True,):
                raise Locked(f"{name}: another `samband db` is at work on it; wait until it has ended")
            if _has_scopes(connection):
                for found in _looks(connection):
                    if not free(found, mine):
                        raise locked(found, name)
                connection.execute(
                    f"UPDATE scope SET holder = %s, lease_until = {NOW_MS} + %s",  # noqa: S608
                    (mine, ALONE_S * 1000),
                )
            try:
                yield
            finally:
                if _has_scopes(connection):
                    connection.execute("UPDATE scope SET holder = '', lease_until = 0 WHERE holder = %s", (mine,))
    except psycopg.Error as error:
        raise error_of(name, error) from error


def _has_scopes(connection: Connection) -> bool:
    return connection.execute("SELECT to_regclass('scope') IS NOT NULL").fetchone() == (True,)


def _looks(connection: Connection) -> list[Look]:
    """The leases on all scopes, of whatever revision the tables are."""
    found = connection.execute(f"SELECT id, holder, lease_until, lease_until - {NOW_MS}, '' FROM scope").fetchall()  # noqa: S608
    return [Look(*row) for row in found]
