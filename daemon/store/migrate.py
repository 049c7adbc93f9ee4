"""The schema of a database: made new, checked at start, and brought up to this build.

A new database gets its tables straight from `schema` and is stamped with its revision; an older
one is upgraded by Alembic, on request only, since that can take long and cannot be taken back. A
test holds the two ways equal.
"""

import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from sqlalchemy import Connection, Dialect, Engine, create_engine
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.schema import CreateIndex, CreateTable

from daemon.store.base import StoreError
from daemon.store.schema import HEAD, metadata

if TYPE_CHECKING:
    import psycopg


MAKING = 0x73616D62616E6400
"""The advisory lock under which the tables of a PostgreSQL database are made."""


def engine_of(target: str | Path | Engine) -> Engine:
    """A SQLAlchemy engine for a DSN (`sqlite:///…`) or the path of an SQLite file; an engine is taken as it is."""
    if isinstance(target, Engine):
        return target
    text = str(target)
    return create_engine(text if "://" in text else f"sqlite:///{Path(text).absolute()}")


def upgrade(target: str | Path | Engine) -> str:
    """Brings the database (see `engine_of`; an SQLite file is made when missing) to this build's schema.

    Returns its revision. No daemon may have it open. Raises sqlalchemy.exc.SQLAlchemyError, and
    alembic.util.CommandError when a newer build has written it.
    """
    engine = engine_of(target)
    try:
        with engine.begin() as connection:
            migrate(connection)
    finally:
        engine.dispose()
    return HEAD


def migrate(connection: Connection, revision: str = "head") -> None:
    """Runs the migrations up to `revision` over a connection inside a transaction of the caller."""
    # Imported here: a daemon that finds its schema in order does not pay for Alembic at start.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


def prepare(connection: sqlite3.Connection, name: str) -> None:
    """Makes the tables of a new SQLite database, or checks those of an old one. `name` is for messages.

    Raises StoreError("schema") when another build's schema is there, and sqlite3.Error.
    """
    if _in_order(revision_of(connection), name):
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        if not revision_of(connection):
            for statement in definitions("sqlite"):
                connection.execute(statement)
            connection.execute("INSERT INTO alembic_version (version_num) VALUES (?)", (HEAD,))
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def prepare_postgresql(connection: "psycopg.Connection[tuple[Any, ...]]", name: str) -> None:
    """Likewise for PostgreSQL, over a connection in autocommit mode. Raises StoreError, and psycopg.Error."""
    if _in_order(_revision_of_postgresql(connection), name):
        return
    with connection.transaction():
        # Two daemons that start at once make them once.
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (MAKING,))
        if not _revision_of_postgresql(connection):
            for statement in definitions("postgresql"):
                connection.execute(statement)
            connection.execute("INSERT INTO alembic_version (version_num) VALUES (%s)", (HEAD,))


def _in_order(found: str, name: str) -> bool:
    """Whether the tables are this build's; False when there are none. Raises StoreError("schema")."""
    if found in ("", HEAD):
        return bool(found)
    raise StoreError(
        "schema",
        f"{name}: schema {found}, this build needs {HEAD}; stop samband, make a backup, "
        "then run `samband db upgrade` (if a newer build wrote it, run that build)",
    )


def revision_of(connection: sqlite3.Connection) -> str:
    """The revision of an SQLite database's schema, "" when it is new. Raises sqlite3.Error."""
    known = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'").fetchone()
    row = connection.execute("SELECT version_num FROM alembic_version").fetchone() if known else None
    return str(row[0]) if row else ""


def _revision_of_postgresql(connection: "psycopg.Connection[tuple[Any, ...]]") -> str:
    known = connection.execute("SELECT to_regclass('alembic_version') IS NOT NULL").fetchone()
    row = connection.execute("SELECT version_num FROM alembic_version").fetchone() if known and known[0] else None
    return str(row[0]) if row else ""


def definitions(database: Literal["sqlite", "postgresql"]) -> list[str]:
    """The statements that make a new database of that kind."""
    kind: Dialect = {"sqlite": sqlite.dialect, "postgresql": postgresql.dialect}[database]()
    # As Alembic makes it.
    key = "CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)"
    found = [f"CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL, {key})"]
    for table in metadata.sorted_tables:
        found.append(str(CreateTable(table).compile(dialect=kind)))
        found.extend(str(CreateIndex(index).compile(dialect=kind)) for index in sorted(table.indexes, key=str))
    return found
