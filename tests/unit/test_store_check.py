"""`db check` finds what is not as it was written: one scar at a time on a sound store."""

import sqlite3
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from daemon.core.engine import Engine
from daemon.core.policy import Policy
from daemon.core.records import AlertSeen, AnyRecord, Resumed, encode_records
from daemon.core.state import State
from daemon.store.base import Batch
from daemon.store.check import Checked, check
from daemon.store.queries import Queries, reading
from daemon.store.sqlite import SqliteStore

from .kit import AT_ONCE, T0, alert, policy, services

POLICY = policy(services(shop=1), timing=AT_ONCE)


def fill(path: Path, batches: int = 6) -> None:
    """A store with some batches, straight from the engine."""
    store = SqliteStore(path, build="test")
    recovered = store.claim("default", T0)
    engine = Engine(POLICY, State.load(recovered.live, recovered.next_id, recovered.next_number))
    records: list[AnyRecord] = [Resumed(T0, recovered.epoch, 0)]
    for seq in range(1, batches + 1):
        now = T0 + seq * 1000
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
    assert "journal, batch 3" in checked.findings[0].text
    assert "samband db restore" in checked.findings[0].text


def test_a_decision_that_cannot_be_had_again(path: Path) -> None:
    scar(path, "UPDATE journal SET digest = ? WHERE seq = 4", b"another")
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
