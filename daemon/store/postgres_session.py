"""Opening a connection to PostgreSQL the way the store needs it, and what its errors mean."""

from typing import Any

import psycopg
from psycopg import pq
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import Engine, create_engine
from sqlalchemy.pool import NullPool

from daemon.store.base import StoreError
from daemon.store.postgres_wire import Wire

OLDEST = 14
"""The oldest version of the server: its pg_terminate_backend can wait."""

ANSWER_S = 30.0
"""After so long without an answer the server is given up. It gives up statements itself before that."""

_CONNECTING: dict[str, Any] = {
    "application_name": "samband",
    "connect_timeout": 5,
    "target_session_attrs": "read-write",
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
}
"""What holds where the DSN says nothing else: a dead network is noticed, a standby is passed over."""

_SETTINGS = (
    "SET synchronous_commit = 'on'",
    "SET default_transaction_isolation = 'read committed'",
    "SET statement_timeout = '25s'",
    "SET lock_timeout = '5s'",
    "SET idle_in_transaction_session_timeout = '10s'",
)
"""Read committed is enough, and more would be in the way: what is written is the holder's alone, and the
compare-and-set, which comes last, looks at the newest committed row once it has its lock. No statement of
ours waits long, and no transaction of a process that stands still keeps its locks."""

_REASONS = {
    "08": "down", "28": "down", "3D": "down", "42501": "down", "57": "down", "58": "down",
    "53": "busy", "53100": "full", "25006": "read_only", "25P": "busy",
    "40": "busy", "55P03": "busy", "57014": "busy", "54": "refused",
    "XX001": "damaged", "XX002": "damaged",
    "42P01": "schema", "42703": "schema", "3F000": "schema",
}  # fmt: skip
"""The longest beginning of an SQLSTATE that stands here says what an error is; none: the batch was refused."""

_REMEDIES = {
    "busy": "the server is busy with something else, or waits for a lock",
    "full": "make room on the server's disk",
    "read_only": "this server is a standby, or was made read-only: name the primary in store.dsn",
    "down": "see to the server, the way to it, and what store.dsn says; samband goes on trying",
    "damaged": "stop samband and see the server's log; `samband db restore` takes a backup back",
    "schema": "stop samband, make a backup, then run `samband db upgrade`",
    "refused": "this is a fault in samband: please report it",
}


def reason_of(error: Exception) -> str:
    """The `StoreError.reason` of an error of psycopg."""
    state = getattr(error, "sqlstate", None)
    if not state:
        return "down" if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError) else "refused"
    return next((_REASONS[state[:n]] for n in range(len(state), 1, -1) if state[:n] in _REASONS), "refused")


def error_of(name: str, error: Exception) -> StoreError:
    """What went wrong, where, and the remedy. `name`: of the store."""
    reason, state = reason_of(error), getattr(error, "sqlstate", None)
    said = " ".join(str(error).split()) or type(error).__name__
    return StoreError(reason, f"{name}: {said}{f' ({state})' if state else ''}; {_REMEDIES[reason]}")


def parameters(dsn: str) -> dict[str, Any]:
    """The parts of a DSN (`postgresql://…` or `host=… dbname=…`). Raises StoreError."""
    try:
        return {**_CONNECTING, **conninfo_to_dict(dsn)}
    except psycopg.ProgrammingError as error:
        text = "store.dsn is not understood; write postgresql://USER@HOST:5432/DATABASE"
        raise StoreError("down", text) from error


def name_of(dsn: str) -> str:
    """The store's name for people: never with a password. Raises StoreError."""
    found = parameters(dsn)
    user = f"{found['user']}@" if found.get("user") else ""
    port = f":{found['port']}" if found.get("port") else ""
    return f"postgresql://{user}{found.get('host') or ''}{port}/{found.get('dbname') or found.get('user') or ''}"


READERS = 4
"""Connections that are kept for reads, and as many again when those are taken."""

_READING = ("SET default_transaction_read_only = on", "SET statement_timeout = '10s'", "SET lock_timeout = '5s'")


def reading_engine(dsn: str) -> Engine:
    """An engine that only reads. Its connections are looked at before each use, so that a failover costs no read."""

    def connect() -> Any:
        connection = psycopg.connect("", **{**parameters(dsn), "application_name": "samband reader"}, autocommit=True)
        connection.execute("; ".join(_READING))
        return connection

    return create_engine(
        "postgresql+psycopg://", creator=connect, pool_size=READERS, max_overflow=READERS, pool_pre_ping=True
    ).execution_options(isolation_level="AUTOCOMMIT")


def writing_engine(dsn: str) -> Engine:
    """An engine for what changes the schema or fills it."""
    return create_engine(
        "postgresql+psycopg://", creator=lambda: psycopg.connect("", **parameters(dsn)), poolclass=NullPool
    )


class Session:
    """A connection that writes. Raises psycopg.Error, and StoreError for a server that will not do.

    lineage: the server and its timeline, which is another after every failover.
    """

    def __init__(self, dsn: str) -> None:
        self.warned = False
        self.connection = psycopg.connect("", **parameters(dsn), autocommit=True)
        try:
            self.connection.add_notice_handler(self._heard)
            self.wire = Wire(self.connection, ANSWER_S)
            self._set_up()
        except BaseException:
            self.connection.close()
            raise

    def _set_up(self) -> None:
        version = self.connection.info.server_version // 10_000
        if version < OLDEST:
            raise StoreError("down", f"the server is PostgreSQL {version}; samband needs {OLDEST} or newer")
        (found,) = self.wire.simple("SHOW synchronous_commit")
        # Stronger than `on` is left as it is: replicas then have applied what a commit says.
        self.wire.simple("; ".join(_SETTINGS[found.get_value(0, 0) == b"remote_apply" :]))
        (found,) = self.wire.simple(
            "SELECT system_identifier || '/' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8), "
            "current_setting('fsync') FROM pg_control_system()"
        )
        self.lineage = (found.get_value(0, 0) or b"").decode()
        self.syncs = found.get_value(0, 1) == b"on"

    def end(self) -> bool:
        """COMMIT. False when the server warned: then replicas may not have what was committed."""
        self.warned = False
        (result,) = self.wire.simple("COMMIT")
        return result.command_status == b"COMMIT" and not self.warned

    def clear(self) -> bool:
        """Leaves no transaction behind; False when the connection is of no use any more, and closed."""
        pgconn = self.connection.pgconn
        try:
            if pgconn.status == pq.ConnStatus.OK and pgconn.transaction_status in (
                pq.TransactionStatus.INTRANS,
                pq.TransactionStatus.INERROR,
            ):
                self.wire.simple("ROLLBACK")
        except psycopg.Error:
            self.connection.close()
            return False
        if pgconn.status == pq.ConnStatus.OK and pgconn.transaction_status == pq.TransactionStatus.IDLE:
            return True
        self.connection.close()
        return False

    def close(self) -> None:
        """Closes the connection."""
        self.connection.close()

    def _heard(self, diagnostic: "psycopg.errors.Diagnostic") -> None:
        self.warned = self.warned or diagnostic.severity_nonlocalized == "WARNING"
