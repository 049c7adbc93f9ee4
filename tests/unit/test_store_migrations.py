"""New tables from the schema and old ones through the migrations come to the same."""

import contextlib
import sqlite3
from contextlib import closing
from pathlib import Path

from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

import daemon.store.migrations
from daemon.store.migrate import engine_of, prepare, upgrade
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
