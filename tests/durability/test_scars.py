"""A bit that turned over on disk: `samband db check` names it, and a daemon that would rest on it stays down."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.integration.estate import configuration, outage
from tests.integration.samband import Samband, Sinks, until

pytestmark = pytest.mark.integration


async def test_a_flipped_bit_is_named_and_nothing_starts_on_it(tmp_path: Path) -> None:
    async with Sinks() as sinks, Samband(tmp_path / "samband", configuration(sinks)) as samband:
        await _scarred(samband, sinks, tmp_path / "samband" / "state" / "samband.db")


async def _scarred(samband: Samband, sinks: Sinks, store: Path) -> None:
    assert await samband.send(outage(["web", "checkout"], 20))
    await until(lambda: all(sink.keys() for sink in sinks.all), "every sink told")
    await samband.stop()
    assert (await samband.cli("db", "check"))[0] == 0
    for table, column, key, named in (
        ("journal", "inputs", "seq", "journal, batch {}"),
        ("outbox", "detail", "id", "outbox, row {}"),
        ("live", "image", "id", "live, row {}"),
    ):
        number, before = _flip(store, table, column, key)
        code, said = await samband.cli("db", "check")
        assert code == 1
        assert named.format(number) in said
        assert "samband db restore" in said
        if table == "live":
            with pytest.raises(RuntimeError, match="ended with 2"):
                await samband.start()
            text = samband.events[-1]["text"]
            assert f"row {number} of `live` is not what was written" in text
            assert "samband db restore" in text
        _put(store, table, column, key, number, before)
    await samband.start()


def _flip(store: Path, table: str, column: str, key: str) -> tuple[int, object]:
    """Turns one bit of the newest row over: its key, and what stood there."""
    with closing(sqlite3.connect(store)) as connection:
        number, value = connection.execute(f"SELECT {key}, {column} FROM {table} ORDER BY {key} DESC").fetchone()
    flipped: object = f"{value}!"
    if isinstance(value, bytes):
        middle = len(value) // 2
        flipped = value[:middle] + bytes([value[middle] ^ 4]) + value[middle + 1 :]
    _put(store, table, column, key, number, flipped)
    return number, value


def _put(store: Path, table: str, column: str, key: str, number: int, value: object) -> None:
    with closing(sqlite3.connect(store)) as connection:
        connection.execute(f"UPDATE {table} SET {column} = ? WHERE {key} = ?", (value, number))
        connection.commit()
