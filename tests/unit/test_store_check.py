"""`db check` finds what is not as it was written: one scar at a time on a sound store."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from random import Random

import msgspec
import pytest

from daemon.core.effects import Send
from daemon.core.engine import Engine
from daemon.core.policy import Policy
from daemon.core.records import AlertSeen, AnyRecord, Resumed, encode_records
from daemon.core.state import State
from daemon.snapshot import base_parts
from daemon.store.base import Batch, OutboxRow, StoreError
from daemon.store.check import Checked, check
from daemon.store.queries import Queries, reading
from daemon.store.sqlite import SqliteStore

from .kit import AT_ONCE, T0, alert, policy, services

POLICY = policy(services(shop=1), timing=AT_ONCE)


def fill(path: Path, batches: int = 6, base_at: int = 0) -> None:
    """A store with some batches, straight from the engine; one of them may bring a base."""
    store = SqliteStore(path, build="test")
    recovered = store.claim("default", T0)
    engine = Engine(POLICY, State.load(recovered.live, recovered.next_id, recovered.next_number))
    records: list[AnyRecord] = [Resumed(T0, recovered.epoch, 0)]
    for seq in range(1, batches + 1):
        now = T0 + seq * 1000
        base = asyncio.run(base_parts(engine.state)) if seq == base_at else None
        changes = engine.fold(records, now)
        state = engine.state
        store.commit(
            Batch(
                scope="default",
                epoch=recovered.epoch,
                seq=seq,
                now_ms=now,
                policy=POLICY.digest,
                mode="live",
                next_id=state.next_id,
                next_number=state.next_number,
                records=encode_records(records),
                count=len(records),
                digest=changes.digest,
                rows=changes.changed,
                outbox=[OutboxRow(one, "waiting") for one in changes.effects if isinstance(one, Send)],
                base=base,
            )
        )
        records = [AlertSeen(now, alert(service=f"s{seq}", resource=f"r{n}", start=seq)) for n in range(5)]
    store.close()


def examine(path: Path, known: Policy | None = POLICY, build: str = "test") -> Checked:
    return check(path, Queries(reading(path)), lambda digest: known, build=build)


def scar(path: Path, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute(statement, values).rowcount == 1
        connection.commit()


def flipped(path: Path, query: str) -> bytes:
    """The blob that the query finds, with one bit in its middle turned over."""
    with closing(sqlite3.connect(path)) as connection:
        blob = bytearray(connection.execute(query).fetchone()[0])
    blob[len(blob) // 2] ^= 0x10
    return bytes(blob)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    fill(tmp_path / "samband.db")
    return tmp_path / "samband.db"


def test_a_sound_store_is_folded_again_whole(path: Path) -> None:
    checked = examine(path)
    assert checked.sound
    assert checked.findings == []
    assert checked.folded == checked.batches == 6
    assert checked.live_rows > 20


def test_a_daemon_may_be_running_on_it(path: Path) -> None:
    with closing(SqliteStore(path, build="test")) as store:
        store.claim("default", T0)
        assert examine(path).sound


def test_a_flipped_bit_in_a_live_row(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        (number,) = connection.execute("SELECT id FROM live WHERE kind = 1").fetchone()
    blob = flipped(path, f"SELECT image FROM live WHERE id = {number}")
    scar(path, "UPDATE live SET image = ? WHERE id = ?", blob, number)
    assert [(one.place, one.wrong) for one in examine(path).findings] == [(f"live, row {number}", True)]


def test_a_live_row_that_is_missing_or_should_not_be_there(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        (number,) = connection.execute("SELECT max(id) FROM live").fetchone()
    scar(path, "DELETE FROM live WHERE id = ?", number)
    assert [one.text for one in examine(path).findings] == [f"row {number} is missing"]
    scar(path, "INSERT INTO live VALUES (?, 1, 5, 0, x'', x'')", number + 7)
    assert f"row {number + 7} should not be there" in [one.text for one in examine(path).findings]


def test_a_flipped_bit_in_the_journal(path: Path) -> None:
    scar(path, "UPDATE journal SET inputs = ? WHERE seq = 3", flipped(path, "SELECT inputs FROM journal WHERE seq = 3"))
    checked = examine(path)
    assert not checked.sound
    assert [one.place for one in checked.findings] == ["journal, batch 3"]
    assert checked.folded == 0, "what is damaged is never folded"
    assert "samband db restore" in checked.findings[0].text


@pytest.mark.parametrize("column", ["epoch", "now_ms", "build", "policy", "positions", "count", "inputs", "digest"])
def test_any_column_of_the_journal(path: Path, column: str) -> None:
    scar(path, f"UPDATE journal SET {column} = ? WHERE seq = 3", 7)
    assert [one.place for one in examine(path).findings] == ["journal, batch 3"]


def test_every_column_of_the_outbox_and_the_start_stops(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        names = [row[1] for row in connection.execute("PRAGMA table_info(outbox)")]
        (number,) = connection.execute("SELECT min(id) FROM outbox").fetchone()
        values = connection.execute("SELECT * FROM outbox WHERE id = ?", (number,)).fetchone()
    for name, value in zip(names[2:-1], values[2:-1], strict=True):
        scar(path, f'UPDATE outbox SET "{name}" = ? WHERE id = ?', "x" if isinstance(value, str) else 77, number)
        assert [one.place for one in examine(path).findings] == [f"outbox, row {number}"], name
        if name not in ("state", "scope"):
            with closing(SqliteStore(path, build="test")) as store, pytest.raises(StoreError) as caught:
                store.claim("default", T0)
            assert f"row {number} of `outbox`" in str(caught.value)
            assert "samband db check" in str(caught.value)
        scar(path, f'UPDATE outbox SET "{name}" = ? WHERE id = ?', value, number)
    assert examine(path).sound


def test_a_base_that_is_not_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "based.db"
    fill(path, base_at=4)
    scar(path, "UPDATE bases SET next_id = next_id + 1")
    assert [one.place for one in examine(path).findings] == ["bases, base 3"]
    scar(path, "UPDATE bases SET next_id = next_id - 1")
    assert examine(path).sound
    scar(path, "UPDATE base_rows SET rows = ? WHERE part = 0", flipped(path, "SELECT rows FROM base_rows"))
    assert "base 3, part 0" in examine(path).findings[0].text


@pytest.mark.parametrize(
    "change", ["seq = 2", "epoch = 5", "now_ms = now_ms + 70000", "next_id = 9", "next_number = 1", "mode = 'lhve'"]
)
def test_counters_that_would_be_given_twice(path: Path, change: str) -> None:
    scar(path, f"UPDATE scope SET {change}")
    assert "scope" in [one.place for one in examine(path).findings]


def test_a_live_row_under_another_id_or_kind(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        (number,) = connection.execute("SELECT max(id) FROM live WHERE kind = 1").fetchone()
    scar(path, "UPDATE live SET kind = 5 WHERE id = ?", number)
    assert examine(path).findings[0].place == f"live, row {number}"
    scar(path, "UPDATE live SET kind = 1, id = id + 1000 WHERE id = ?", number)
    assert examine(path).findings[0].place == f"live, row {number + 1000}"


def test_any_flipped_bit_is_found_or_changes_nothing_that_counts(tmp_path: Path) -> None:
    """One bit of the file at a time: either the check finds it, or what the store rests on reads as before."""
    path = tmp_path / "based.db"
    fill(path, base_at=4)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    whole, before, luck, found = path.read_bytes(), resting_on(path), Random(7), 0
    for _ in range(150):
        place, bit = luck.randrange(100, len(whole)), luck.randrange(8)
        scarred = bytearray(whole)
        scarred[place] ^= 1 << bit
        path.write_bytes(scarred)
        checked = examine(path)
        found += not checked.sound
        assert not checked.sound or resting_on(path) == before, f"byte {place}, bit {bit} went unnoticed"
    assert found > 20


def resting_on(path: Path) -> list[list[tuple[object, ...]]]:
    """All that recovery and folding again read; of the scope what has a check."""
    tables = ("journal", "live", "bases", "base_rows", "outbox")
    with closing(sqlite3.connect(path)) as connection:
        connection.text_factory = bytes
        return [connection.execute(f"SELECT * FROM {name} ORDER BY 1, 2, 3").fetchall() for name in tables]


def test_a_decision_that_cannot_be_had_again(path: Path) -> None:
    scar(path, "UPDATE journal SET digest = ?, crc = 0 WHERE seq = 4", b"another")
    assert [(one.place, one.wrong) for one in examine(path).findings] == [("journal, batch 4", True)]
    (other,) = examine(path, build="newer").findings
    assert not other.wrong
    assert "build test decided it" in other.text


def test_a_batch_that_is_missing(path: Path) -> None:
    scar(path, "DELETE FROM journal WHERE seq = 4")
    assert not examine(path).sound


def test_a_policy_that_nobody_has_is_said_and_no_fault(path: Path) -> None:
    checked = examine(path, known=None)
    assert checked.sound
    assert checked.folded == 0
    (finding,) = checked.findings
    assert "nobody has configuration test any more" in finding.text


def test_another_policy_decides_something_else(path: Path) -> None:
    other = msgspec.structs.replace(POLICY, catalogue=policy(services(shop=3, s1=1)).catalogue)
    assert not examine(path, known=other).sound


def test_a_page_of_the_file_that_is_rubbish(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(2 * 4096)
        file.write(b"\xaa" * 4096)
    checked = examine(path)
    assert not checked.sound
    assert checked.findings


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    (finding,) = examine(tmp_path / "nothing.db").findings
    assert "nothing.db" in finding.text
