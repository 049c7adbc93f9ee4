"""Where a store is: what the rest of samband asks of it without knowing which database it is."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from importlib.util import find_spec
from pathlib import Path

import msgspec
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from daemon.settings.sections import Store as Settings
from daemon.store.archive import holds_anything, sync, tables_in
from daemon.store.base import Store, StoreError
from daemon.store.connection import create_file, open_reader, open_writer, reason_of, text_of
from daemon.store.lock import LockFile
from daemon.store.migrate import engine_of
from daemon.store.queries import reading
from daemon.store.sqlite import SqliteStore


class SqlitePlace(msgspec.Struct, frozen=True):
    """An SQLite file."""

    path: Path

    @property
    def name(self) -> str:
        """What people call it."""
        return str(self.path)

    @property
    def state(self) -> Path:
        """The folder of what stands beside the store: operator.token."""
        return self.path.parent

    @property
    def secrets(self) -> list[str]:
        """What must stand in no log."""
        return []

    def exists(self) -> bool:
        """Whether there is anything yet."""
        return self.path.exists()

    def trouble(self) -> str:
        """What would keep a daemon from working with it, as far as asking shows; "" for nothing."""
        return ""

    def open(self, build: str) -> Store:
        """The store; nobody else has it then. Raises Locked, StoreError."""
        return SqliteStore(self.path, build=build)

    def reading(self) -> Engine:
        """An engine that only reads, beside a running daemon or without one."""
        return reading(self.path)

    def writing(self) -> Engine:
        """An engine for upgrades and restores; only inside `alone`."""
        return engine_of(self.path)

    @contextmanager
    def snapshot(self, beside: Path) -> Iterator[Connection]:
        """The store as it is at this moment, while a daemon writes on: SQLite copies itself to another file.

        beside: the file beside which there is room for that. Raises StoreError, OSError.
        """
        copy = beside.with_name(beside.name + ".copy")
        copy.unlink(missing_ok=True)
        create_file(copy)
        try:
            try:
                with closing(open_reader(self.path)) as source, closing(open_writer(copy)) as target:
                    source.backup(target)
            except sqlite3.Error as error:
                raise StoreError(reason_of(error), text_of(self.name, error)) from error
            with _connected(engine_of(copy)) as connection:
                yield connection
        finally:
            copy.unlink(missing_ok=True)

    @contextmanager
    def refilled(self, *, force: bool) -> Iterator[Connection]:
        """A connection to a database without tables, which takes the store's place once the block has ended well.

        Only inside `alone`. force: a store that is there is moved aside. Raises StoreError, OSError.
        """
        real = self.path.resolve()
        if real.exists() and not force and self._holds_anything():
            raise StoreError("refused", f"{self.name}: there is a store already; --force moves it aside")
        fresh = real.with_name(real.name + ".new")
        fresh.unlink(missing_ok=True)
        create_file(fresh)
        try:
            engine = engine_of(fresh)
            with engine.begin() as connection:
                yield connection
            engine.dispose()
            sync(fresh)
            for ending in ("", "-wal", "-shm"):
                old = real.with_name(real.name + ending)
                if old.exists():
                    old.rename(real.with_name(f"{real.name}.before{ending}"))
            fresh.rename(real)
            sync(real.parent)
        finally:
            fresh.unlink(missing_ok=True)

    def _holds_anything(self) -> bool:
        try:
            with _connected(self.reading()) as connection:
                return holds_anything(connection)
        except DBAPIError:
            return True  # What cannot be read may be worth something.

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keeps daemons out. Raises Locked, StoreError."""
        real = self.path.resolve()
        real.parent.mkdir(parents=True, exist_ok=True)
        lock = LockFile(real.with_name(real.name + ".lock"))
        try:
            yield
        finally:
            lock.release()


class PostgresqlPlace(msgspec.Struct, frozen=True):
    """A PostgreSQL database. `state`: the folder of what stands beside an SQLite store."""

    dsn: str
    state: Path

    def __post_init__(self) -> None:
        """Raises StoreError when the driver is not installed."""
        if find_spec("psycopg") is None:
            text = "store: type postgresql needs a driver; install it with: pip install 'samband[postgresql]'"
            raise StoreError("down", text)

    @property
    def name(self) -> str:
        """What people call it: without a password. Raises StoreError."""
        from daemon.store.postgres_session import name_of

        return name_of(self.dsn)

    @property
    def secrets(self) -> list[str]:
        """What must stand in no log."""
        from daemon.store.postgres_session import parameters

        return [str(found)] if (found := parameters(self.dsn).get("password")) else []

    def exists(self) -> bool:
        """Whether there may be anything: only the server knows."""
        return True

    def trouble(self) -> str:
        """What would keep a daemon from working with it, as far as asking shows; "" for nothing. Changes nothing."""
        import psycopg

        from daemon.store.postgres_session import Session, error_of

        try:
            Session(self.dsn).close()
        except psycopg.Error as error:
            return str(error_of(self.name, error))
        except StoreError as error:
            return str(error)
        return ""

    def open(self, build: str) -> Store:
        """The store; whether somebody else has it shows when a scope is claimed. Raises StoreError."""
        from daemon.store.postgres import PostgresStore

        return PostgresStore(self.dsn, build=build)

    def reading(self) -> Engine:
        """An engine that only reads, from any primary or standby that the DSN names."""
        from daemon.store.postgres_session import reading_engine

        return reading_engine(self.dsn)

    def writing(self) -> Engine:
        """An engine for upgrades and restores; only inside `alone`."""
        from daemon.store.postgres_session import writing_engine

        return writing_engine(self.dsn)

    @contextmanager
    def snapshot(self, beside: Path) -> Iterator[Connection]:
        """The store as it is at this moment, while a daemon writes on: a transaction that sees nothing newer."""
        with _connected(self.writing()) as connection:
            connection.execution_options(isolation_level="REPEATABLE READ")
            connection.execute(text("SET TRANSACTION READ ONLY"))
            yield connection

    @contextmanager
    def refilled(self, *, force: bool) -> Iterator[Connection]:
        """A connection to a database without our tables; what was in them is gone once the block has ended well.

        Only inside `alone`. Raises StoreError when there is something and not `force`.
        """
        engine = self.writing()
        with engine.begin() as connection:
            if holds_anything(connection) and not force:
                raise StoreError("refused", f"{self.name}: there is a store already; --force replaces it")
            for name in reversed([*tables_in(connection), "alembic_version"]):
                connection.execute(text(f"DROP TABLE IF EXISTS {name}"))
            yield connection
        engine.dispose()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keeps daemons out. Raises Locked, StoreError."""
        from daemon.store.postgres_lease import alone

        with alone(self.dsn):
            yield


@contextmanager
def _connected(engine: Engine) -> Iterator[Connection]:
    try:
        with engine.connect() as connection:
            yield connection
    finally:
        engine.dispose()


Place = SqlitePlace | PostgresqlPlace


def place_of(settings: Settings) -> Place:
    """The store that the configuration names. Raises StoreError."""
    if settings.type == "sqlite":
        return SqlitePlace(Path(settings.path))
    if settings.dsn is not None:
        return PostgresqlPlace(settings.dsn.get_secret_value(), Path(settings.state))
    file = Path(settings.dsn_file or "")
    try:
        return PostgresqlPlace(file.read_text("utf-8").strip(), Path(settings.state))
    except (OSError, UnicodeDecodeError) as error:
        raise StoreError("down", f"store.dsn_file: {file} cannot be read: {error}") from error
