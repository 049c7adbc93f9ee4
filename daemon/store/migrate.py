"""The schema of a database: made new, checked at start, and brought up to this build.

A new database gets its tables straight from `schema` and is stamped with its revision; an older
one is upgraded by Alembic, on request only, since that can take long and cannot be taken back. A
test holds the two ways equal.
"""

import sqlite3
from pathlib import Path

from sqlalchemy import Connection, Engine, create_engine
from sqlalchemy.dialects.sqlite import dialect
from sqlalchemy.schema import CreateIndex, CreateTable

from daemon.store.base import StoreError
from daemon.store.schema import HEAD, metadata


def engine_of(target: str | Path) -> Engine:
    """A SQLAlchemy engine for a DSN (`postgresql+psycopg://…`, `sqlite:///…`) or the path of an SQLite file."""
    text = str(target)
    return create_engine(text if "://" in text else f"sqlite:///{Path(text).absolute()}")


def upgrade(target: str | Path) -> str:
    """Brings the database (DSN or path of an SQLite file, made when missing) to this build's schema.

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
    found = revision_of(connection)
    if found == HEAD:
        return
    if found:
        raise StoreError(
            "schema",
            f"{name}: schema {found}, this build needs {HEAD}; stop samband, make a backup, "
            "then run `samband db upgrade` (if a newer build wrote it, run that build)",
        )
    connection.execute("BEGIN IMMEDIATE")
    try:
        if not revision_of(connection):
            for statement in definitions():
                connection.execute(statement)
            connection.execute("INSERT INTO alembic_version (version_num) VALUES (?)", (HEAD,))
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def revision_of(connection: sqlite3.Connection) -> str:
    """The revision of an SQLite database's schema, "" when it is new. Raises sqlite3.Error."""
    known = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'").fetchone()
    row = connection.execute("SELECT version_num FROM alembic_version").fetchone() if known else None
    return str(row[0]) if row else ""


def definitions() -> list[str]:
    """The statements that make a new SQLite database."""
    kind = dialect()
    found = ["CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)"]
    for table in metadata.sorted_tables:
        found.append(str(CreateTable(table).compile(dialect=kind)))
        found.extend(str(CreateIndex(index).compile(dialect=kind)) for index in sorted(table.indexes, key=str))
    return found
