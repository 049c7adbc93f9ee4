"""The SQLite store: its file, its lock, its errors by kind, and the outcome that nobody knows."""

import os
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from daemon.core.effects import Row, Send
from daemon.core.state import EMITTER
from daemon.store import schema
from daemon.store.base import Batch, CommitUnknown, Locked, OutboxRow, Recovered, StoreError
from daemon.store.columns import outbox_values
from daemon.store.connection import create_file, open_reader, open_writer
from daemon.store.ledger import OUTBOX_ROWS
from daemon.store.sqlite import SqliteStore
from daemon.store.statements import ROWS_MAX

from .kit import T0


def row(number: int, size: int = 10) -> Row:
    return Row(EMITTER, number, b"i" * size)


def batch(recovered: Recovered, seq: int, *rows: Row) -> Batch:
    return Batch("default", recovered.epoch, seq, T0, "d", "live", recovered.next_id, 1, b"\x90", 0, b"digest", rows)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "samband.db"


# ---- the file and its lock ---------------------------------------------------------------------------


def test_the_file_is_its_owners_and_every_commit_is_synced(path: Path) -> None:
    with closing(SqliteStore(path, build="test")) as store:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        connection = store._ready()
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
        assert connection.execute("PRAGMA wal_autocheckpoint").fetchone() == (0,)


def test_a_second_daemon_is_kept_out_and_told_whom_by(path: Path) -> None:
    with closing(SqliteStore(path, build="test")):
        with pytest.raises(Locked, match=f"process {os.getpid()} has this store open") as caught:
            SqliteStore(path, build="test")
        assert caught.value.pid == os.getpid()
        link = path.with_name("link.db")
        link.symlink_to(path)
        with pytest.raises(Locked):
            SqliteStore(link, build="test")
    SqliteStore(path, build="test").close()


def test_the_lock_goes_with_a_process_that_was_killed(path: Path) -> None:
    program = (
        "import sys, time\nfrom pathlib import Path\nfrom daemon.store.sqlite import SqliteStore\n"
        f"store = SqliteStore(Path({str(path)!r}), build='test')\nprint('open', flush=True)\ntime.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "open\n"
        with pytest.raises(Locked) as caught:
            SqliteStore(path, build="test")
        assert caught.value.pid == child.pid
        child.send_signal(signal.SIGKILL)
    SqliteStore(path, build="test").close()


def test_a_schema_of_another_build_is_not_touched(path: Path) -> None:
    SqliteStore(path, build="test").close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()
    with pytest.raises(StoreError, match=r"schema 9999, this build needs .*samband db upgrade") as caught:
        SqliteStore(path, build="test")
    assert caught.value.reason == "schema"
    with pytest.raises(StoreError, match="schema"):
        SqliteStore(path, build="test")  # The lock was given back.


def test_a_file_that_is_no_database_is_refused(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"this is a letter to my aunt, and not a database at all. " * 100)
    with pytest.raises(StoreError, match="db check") as caught:
        SqliteStore(path, build="test")
    assert caught.value.reason == "damaged"


def test_a_file_that_was_removed_takes_nothing_more(path: Path) -> None:
    with closing(SqliteStore(path, build="test")) as store:
        recovered = store.claim("default", T0)
        store.commit(batch(recovered, 1))
        aside = path.rename(path.with_name("aside.db"))
        with pytest.raises(StoreError, match="put the database file back") as caught:
            store.commit(batch(recovered, 2))
        assert caught.value.reason == "down"
        aside.rename(path)
        store.commit(batch(recovered, 2))


# ---- errors by kind ----------------------------------------------------------------------------------


def test_another_writer_makes_it_busy_for_a_while(path: Path) -> None:
    with closing(SqliteStore(path, build="test")) as store, closing(open_writer(path)) as other:
        recovered = store.claim("default", T0)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError) as caught:
            store.commit(batch(recovered, 1))
        assert caught.value.reason == "busy"
        other.execute("ROLLBACK")
        store.commit(batch(recovered, 1))


def test_a_full_disk_takes_nothing_and_goes_on_when_there_is_room(path: Path) -> None:
    with closing(SqliteStore(path, build="test")) as store:
        recovered = store.claim("default", T0)
        connection = store._ready()
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages + 2}")
        big = [row(recovered.next_id + step, 4000) for step in range(20)]
        with pytest.raises(StoreError, match="make room") as caught:
            store.commit(batch(recovered, 1, *big))
        assert caught.value.reason == "full"
        connection.execute("PRAGMA max_page_count = 1000000")
        store.commit(batch(recovered, 1, *big))
    with closing(SqliteStore(path, build="test")) as store:
        assert len(list(store.claim("default", T0).live)) == 20


def test_a_store_that_may_only_be_read_says_so(path: Path) -> None:
    SqliteStore(path, build="test").close()
    with closing(SqliteStore(path, build="test", connect=lambda: open_reader(path))) as store:
        with pytest.raises(StoreError) as caught:
            store.claim("default", T0)
        assert caught.value.reason == "read_only"


def test_a_flipped_bit_in_a_live_row_stops_the_start(path: Path) -> None:
    with closing(SqliteStore(path, build="test")) as store:
        recovered = store.claim("default", T0)
        store.commit(batch(recovered, 1, row(recovered.next_id)))
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE live SET image = CAST('iiiiiiijii' AS BLOB)")
        connection.commit()
    with closing(SqliteStore(path, build="test")) as store:
        with pytest.raises(StoreError, match=r"CRC.*samband db check") as caught:
            list(store.claim("default", T0).live)
        assert caught.value.reason == "damaged"


# ---- the outcome that nobody knows ---------------------------------------------------------------------


class Faulty(sqlite3.Connection):
    """A real connection that fails on order: the next COMMIT raises, after it was done or instead."""

    order = ""

    def execute(self, sql: str, *rest: Any) -> sqlite3.Cursor:
        """Runs the statement, or fails as ordered."""
        if sql == "COMMIT" and Faulty.order:
            order, Faulty.order = Faulty.order, ""
            if order == "after":
                super().execute(sql)
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode, error.sqlite_errorname = sqlite3.SQLITE_IOERR_FSYNC, "SQLITE_IOERR_FSYNC"
            raise error
        return super().execute(sql, *rest)


@pytest.mark.parametrize("order", ["after", "instead"])
def test_an_unknown_outcome_is_settled_by_the_identical_batch(path: Path, order: str) -> None:
    create_file(path)
    connect: Callable[[], sqlite3.Connection] = lambda: sqlite3.connect(  # noqa: E731
        path, isolation_level=None, factory=Faulty
    )
    store = SqliteStore(path, build="test", connect=connect)
    recovered = store.claim("default", T0)
    one = batch(recovered, 1, row(recovered.next_id))
    Faulty.order = order
    with pytest.raises(CommitUnknown) as caught:
        store.commit(one)
    assert caught.value.reason == "down"
    store.commit(one)
    store.commit(batch(recovered, 2, row(recovered.next_id + 1)))
    store.close()
    with closing(SqliteStore(path, build="test")) as again:
        found = again.claim("default", T0)
        assert found.seq == 2
        assert len(list(found.live)) == 2


WRITER = """
import sys
from pathlib import Path
from daemon.core.effects import Row
from daemon.store.base import Batch
from daemon.store.sqlite import SqliteStore

store = SqliteStore(Path(sys.argv[1]), build="test")
found = store.claim("default", 1_780_000_000_000)
for seq in range(found.seq + 1, 1_000_000):
    rows = [Row(5, found.next_id + 50 * seq + n, b"i" * 500) for n in range(50)]
    store.commit(Batch("default", found.epoch, seq, seq, "d", "live", found.next_id, 1, b"r", 1, b"d", rows))
    print(seq, flush=True)
    store.tidy(idle=False)
"""


def test_whatever_a_killed_daemon_called_durable_is_there(path: Path) -> None:
    for wanted in (3, 60, 170):
        with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            said = [int(child.stdout.readline()) for _ in range(wanted)]
            child.send_signal(signal.SIGKILL)
            said += [int(line) for line in child.stdout.read().split()]
        with closing(SqliteStore(path, build="test")) as store:
            found = store.claim("default", T0)
            rows = [one.id for one in found.live]
        # The batch that it was killed in may have landed; of no batch is there a part.
        assert found.seq in (said[-1], said[-1] + 1)
        assert len(rows) == 50 * found.seq


# ---- housekeeping, statements ----------------------------------------------------------------------------


def test_the_log_is_moved_in_steps_and_cut_when_idle(path: Path) -> None:
    with closing(SqliteStore(path, build="test")) as store:
        recovered = store.claim("default", T0)
        log = path.with_name(path.name + "-wal")
        sizes = []
        for seq in range(1, 41):
            store.commit(batch(recovered, seq, *(row(recovered.next_id + 1000 * seq + n, 5000) for n in range(200))))
            store.tidy(idle=False)
            sizes.append(log.stat().st_size)
        assert max(sizes) < 30_000_000
        assert sizes[-1] > 0
        store.tidy(idle=True)
        assert log.stat().st_size == 0


@pytest.mark.parametrize("count", [1, 7, 63, 64, ROWS_MAX - 1, ROWS_MAX + 1, 2 * ROWS_MAX + 3])
def test_any_number_of_rows_is_written_changed_and_deleted(path: Path, count: int) -> None:
    with closing(SqliteStore(path, build="test")) as store:
        recovered = store.claim("default", T0)
        numbers = range(recovered.next_id, recovered.next_id + count)
        store.commit(batch(recovered, 1, *(row(number) for number in numbers)))
        store.commit(batch(recovered, 2, *(row(number, 20) for number in numbers)))
        found = list(store.claim("default", T0).live)
        assert [one.id for one in found] == list(numbers)
        assert {len(one.image) for one in found} == {20}
        again = store.claim("default", T0)
        store.commit(batch(again, 3, *(Row(EMITTER, number, None) for number in numbers)))
        assert list(store.claim("default", T0).live) == []


def test_columns_stand_where_the_tables_have_them() -> None:
    names = [column.name for column in schema.outbox.columns]
    send = Send(1, 2, 3, 4, 5, "sink", "pager", "create", "page", "key", 6, 7, False)
    sent = OutboxRow(send, "sending", 8, 9, 10, 11, "reason", "detail", "ref", 12)
    found = dict(zip(names, outbox_values(13, sent), strict=True))
    expected = {**msgspec.structs.asdict(sent.send), **msgspec.structs.asdict(sent), "scope": 13}
    del expected["send"]
    assert found.pop("crc")
    assert found == expected


def test_recovery_finds_open_sends_through_their_own_index(path: Path) -> None:
    with closing(SqliteStore(path, build="test")) as store:
        plan = store._ready().execute(f"EXPLAIN QUERY PLAN {OUTBOX_ROWS}", (1,)).fetchall()
        assert "outbox_unfinished" in plan[0][3]
