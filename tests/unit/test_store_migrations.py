"""New tables from the schema and old ones through the migrations come to the same."""

import contextlib
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

import daemon.store.migrations
from daemon.store.base import StoreError
from daemon.store.migrate import engine_of, migrate, prepare, upgrade
from daemon.store.places import PostgresqlPlace
from daemon.store.schema import HEAD, metadata
from daemon.store.sqlite import SqliteStore


def shape(path: Path) -> dict[str, object]:
    """Every table with its columns, and every index with its columns and condition."""
    found: dict[str, object] = {}
    with closing(sqlite3.connect(path)) as connection:
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            found[name] = connection.execute(
                f"SELECT name, type, [notnull], pk FROM pragma_table_info('{name}')"
            ).fetchall()
            for index in connection.execute(
                f"SELECT name, [unique], partial FROM pragma_index_list('{name}')"
            ).fetchall():
                columns = connection.execute(f"SELECT name FROM pragma_index_info('{index[0]}')").fetchall()
                found[f"{name}: {columns} {index[1:]}"] = True
    return found


def test_both_ways_make_the_same_database(tmp_path: Path) -> None:
    made, migrated = tmp_path / "made.db", tmp_path / "migrated.db"
    with closing(sqlite3.connect(made, isolation_level=None)) as connection:
        prepare(connection, "made")
    assert upgrade(migrated) == HEAD
    assert shape(made) == shape(migrated)


def test_the_migrations_leave_nothing_to_do(tmp_path: Path) -> None:
    upgrade(tmp_path / "samband.db")
    engine = engine_of(tmp_path / "samband.db")
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    engine.dispose()


@pytest.mark.parametrize("revision", ["0001", "0002"])
def test_postgresql_goes_the_same_way_forward_with_what_it_holds(postgresql: str, revision: str) -> None:
    place = PostgresqlPlace(postgresql, Path())
    engine = place.writing()
    with engine.begin() as connection:
        migrate(connection, revision)
        connection.execute(
            text(
                "INSERT INTO scope (name, epoch, seq, now_ms, next_id, next_number, policy, mode, build, positions,"
                " holder, lease_until) VALUES ('default', 7, 3, 1, 1, 4, 'd', 'live', 'old', '', '', 0)"
            )
        )
        connection.execute(text("INSERT INTO live VALUES (5, 1, 5, 0, '', '')"))
    with pytest.raises(StoreError, match="db upgrade"):
        place.open("test")
    with place.alone():
        assert upgrade(engine) == HEAD
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection, opts=ALL), metadata) == []
    engine.dispose()
    with closing(place.open("test")) as store:
        found = store.claim("default", 1_780_000_000_000)
        assert (found.seq, found.next_number, [row.id for row in found.live]) == (3, 4, [5])


def test_a_new_postgresql_database_has_the_tables_of_the_migrations(postgresql: str) -> None:
    place = PostgresqlPlace(postgresql, Path())
    place.open("test").close()
    engine = place.writing()
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection, opts=ALL), metadata) == []
        made = postgresql_shape(connection)
        connection.rollback()
    with engine.begin() as connection:
        for table in reversed(metadata.sorted_tables):
            table.drop(connection)
        connection.execute(text("DROP TABLE alembic_version"))
        migrate(connection)
    with engine.connect() as connection:
        assert postgresql_shape(connection) == made
    engine.dispose()


ALL = {"compare_type": True, "compare_server_default": True}


def postgresql_shape(connection: Connection) -> list[tuple[object, ...]]:
    """Every column and every index of the schema."""
    columns = text(
        "SELECT table_name, column_name, data_type, is_nullable, column_default IS NOT NULL"
        " FROM information_schema.columns WHERE table_schema = current_schema() ORDER BY 1, 2"
    )
    indexes = text("SELECT tablename, indexdef FROM pg_indexes WHERE schemaname = current_schema() ORDER BY 1, 2")
    return [tuple(row) for query in (columns, indexes) for row in connection.execute(query)]


def test_upgrading_again_changes_nothing_and_the_daemon_takes_it(tmp_path: Path) -> None:
    path = tmp_path / "samband.db"
    upgrade(path)
    before = tables_of(path)
    assert before
    upgrade(f"sqlite:///{path}")
    assert tables_of(path) == before
    SqliteStore(path, build="test").close()


def tables_of(path: Path) -> list[tuple[str, str, int]]:
    """Name, definition and number of rows of every table."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        found = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table' ORDER BY name").fetchall()
        count = "SELECT count(*) FROM "
        return [(name, sql, connection.execute(f'{count}"{name}"').fetchone()[0]) for name, sql in found]


def test_the_newest_revision_is_the_one_that_this_build_needs() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(daemon.store.migrations.__file__).parent))
    assert ScriptDirectory.from_config(config).get_heads() == [HEAD]
