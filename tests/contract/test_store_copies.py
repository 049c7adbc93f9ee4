"""Backup, restore and move: what comes out is what went in, from either database into either."""

import json
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import text

from daemon.core.effects import Noted, Row, Send
from daemon.core.state import EMITTER
from daemon.store import archive
from daemon.store.base import Batch, DeadLetter, OutboxRow, Recovered, StoreError
from daemon.store.migrate import migrate
from daemon.store.places import Place, PostgresqlPlace, SqlitePlace
from daemon.store.queries import Queries
from tests.unit.kit import T0

MADE_AT = "2026-06-01T10:00:00Z"


@pytest.fixture
def empty(request: pytest.FixtureRequest, tmp_path: Path, postgres_dsn: str) -> Iterator[Callable[[str], Place]]:
    """A new, empty place of that kind, as often as one likes."""
    from contextlib import ExitStack

    from tests.counterparts.postgres import own_schema

    with ExitStack() as made:
        count = 0

        def one(kind: str) -> Place:
            nonlocal count
            count += 1
            folder = tmp_path / str(count)
            folder.mkdir()
            if kind == "sqlite":
                return SqlitePlace(folder / "samband.db")
            return PostgresqlPlace(made.enter_context(own_schema(postgres_dsn)), folder)

        yield one


KINDS = ("sqlite", "postgresql")


def batch(found: Recovered, seq: int) -> Batch:
    number = found.next_id + 10 * seq
    return Batch(
        scope="default",
        epoch=found.epoch,
        seq=seq,
        now_ms=T0 + seq,
        policy="d",
        mode="live",
        next_id=number + 10,
        next_number=seq + 1,
        records=b"r" * seq,
        digest=b"d",
        rows=[Row(EMITTER, number, b"image %d" % seq, b"\x00\xff")],
        outbox=[
            OutboxRow(Send(number + 1, T0, 2, 3, 1, "desk", "ticket", "create", "t", f"k{seq}", 2), "waiting"),
            OutboxRow(Send(number + 2, T0, 2, 3, 1, "desk", "ticket", "create", "t", f"k{seq}", 2), "done"),
        ],
        timeline=[Noted(3, T0, "noted", "käse \N{SNOWMAN} a\0b")],
        dead_letters=[DeadLetter(T0, "s", "r", bytes(range(256)))],
        positions=b"p%d" % seq,
    )


def fill(place: Place, batches: int = 5) -> None:
    with closing(place.open("test")) as store:
        found = store.claim("default", T0)
        for seq in range(1, batches + 1):
            store.commit(batch(found, seq))


def backup(place: Place, file: Path) -> archive.Manifest:
    with place.snapshot(file) as connection:
        return archive.write(connection, file, build="test", made_at=MADE_AT)


def restore(place: Place, file: Path, *, force: bool = False) -> None:
    with place.alone(), place.refilled(force=force) as connection:
        archive.restore(connection, file)


def digests(place: Place) -> dict[str, archive.TableFacts]:
    """What each table holds."""
    engine = place.writing()
    with engine.connect() as connection:
        found = {}
        for name, columns in archive.tables_in(connection).items():
            rows = archive.rows_of(connection, name, columns)
            assert all(True for _ in rows)
            found[name] = rows.facts()
    engine.dispose()
    return found


@pytest.mark.parametrize("source", KINDS)
@pytest.mark.parametrize("target", KINDS)
def test_a_restored_store_is_the_one_that_was_backed_up(
    empty: Callable[[str], Place], tmp_path: Path, source: str, target: str
) -> None:
    old, new, file = empty(source), empty(target), tmp_path / "backup.zip"
    fill(old)
    manifest = backup(old, file)
    assert {name: facts.rows for name, facts in manifest.tables.items() if facts.rows} == {
        "scope": 1, "journal": 5, "live": 5, "outbox": 10, "timeline": 5, "dead_letters": 5,
    }  # fmt: skip
    assert file.stat().st_mode & 0o077 == 0
    restore(new, file)
    before, after = digests(old), digests(new)
    # What a restore changes on purpose: the counter, the lease, and rows that may have been sent.
    for name in ("scope", "outbox"):
        assert before.pop(name).rows == after.pop(name).rows
    assert before == after
    with closing(new.open("test")) as store:
        found = store.claim("default", T0)
        assert (found.seq, found.next_number, found.positions) == (5, 6 + archive.NUMBERS_LIFTED, b"p5")
        assert {row.state for row in found.outbox} == {"sending"}
        assert [row.image for row in found.live] == [b"image %d" % seq for seq in range(1, 6)]
        store.commit(batch(found, 6))
    engine = new.reading()
    queries = Queries(engine)
    assert [line["id"] for line in queries.timeline([3])] == [1, 2, 3, 4, 5, 6]
    assert queries.dead_letters()[-1].raw == bytes(range(256))
    engine.dispose()


@pytest.mark.parametrize("kind", KINDS)
def test_a_backup_beside_a_daemon_is_of_one_moment(empty: Callable[[str], Place], tmp_path: Path, kind: str) -> None:
    place = empty(kind)
    with closing(place.open("test")) as store:
        found = store.claim("default", T0)
        store.commit(batch(found, 1))
        stop, seqs = threading.Event(), [1]

        def write() -> None:
            while not stop.is_set():
                store.commit(batch(found, seqs[-1] + 1))
                seqs.append(seqs[-1] + 1)

        writer = threading.Thread(target=write)
        writer.start()
        rows: dict[str, int] = {}
        try:
            for number in range(4):
                manifest = backup(place, tmp_path / f"{number}.zip")
                rows = {name: facts.rows for name, facts in manifest.tables.items()}
                assert rows["journal"] == rows["live"] == rows["timeline"] == rows["outbox"] / 2
        finally:
            stop.set()
            writer.join()
    fresh = empty("sqlite")
    restore(fresh, tmp_path / "3.zip")
    with closing(fresh.open("test")) as store:
        recovered = store.claim("default", T0)
        assert recovered.seq == rows["journal"] <= seqs[-1]
        assert len(list(recovered.live)) == recovered.seq


@pytest.mark.parametrize("kind", KINDS)
def test_a_restore_spares_what_is_there_and_replaces_it_when_told(
    empty: Callable[[str], Place], tmp_path: Path, kind: str
) -> None:
    place, file = empty(kind), tmp_path / "backup.zip"
    fill(place, 2)
    backup(place, file)
    with closing(place.open("test")) as store:
        found = store.claim("default", T0)
        store.commit(batch(found, 3))
    with pytest.raises(StoreError, match="--force"):
        restore(place, file)
    before = digests(place)
    restore(place, file, force=True)
    assert digests(place)["journal"].rows == 2
    if isinstance(place, SqlitePlace):
        assert digests(SqlitePlace(place.path.with_name("samband.db.before"))) == before
    place.open("test").close()


@pytest.mark.parametrize("kind", KINDS)
def test_a_restore_waits_for_no_daemon(empty: Callable[[str], Place], tmp_path: Path, kind: str) -> None:
    place, file = empty(kind), tmp_path / "backup.zip"
    fill(place)
    backup(place, file)
    with closing(place.open("test")) as store:
        store.claim("default", T0)
        with pytest.raises(StoreError, match="has this store open") as caught:
            restore(place, file, force=True)
        assert caught.value.reason == "locked"
    restore(place, file, force=True)


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_backup_changes_nothing(empty: Callable[[str], Place], tmp_path: Path, kind: str) -> None:
    source, file = empty("sqlite"), tmp_path / "backup.zip"
    fill(source)
    backup(source, file)
    place = empty(kind)
    fill(place, 1)
    before = digests(place)
    whole = file.read_bytes()
    short = tmp_path / "short.zip"
    short.write_bytes(whole[: len(whole) // 2])
    scarred = tmp_path / "scarred.zip"
    with zipfile.ZipFile(file) as old, zipfile.ZipFile(scarred, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if name == archive.MANIFEST:
                manifest = json.loads(data)
                manifest["tables"]["live"]["sha256"] = "0" * 64
                data = json.dumps(manifest).encode()
            new.writestr(name, data)
    other = tmp_path / "other.zip"
    with zipfile.ZipFile(other, "w") as new:
        new.writestr("letter.txt", "dear aunt")
    for wrong in (short, scarred, other):
        with pytest.raises(archive.ArchiveError):
            restore(place, wrong, force=True)
        assert digests(place) == before


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("revision", ["0001", "0002"])
def test_a_backup_of_an_older_schema_is_brought_up_to_this_one(
    empty: Callable[[str], Place], tmp_path: Path, kind: str, revision: str
) -> None:
    old, file = empty(kind), tmp_path / "backup.zip"
    engine = old.writing()
    with engine.begin() as connection:
        migrate(connection, revision)
        connection.execute(
            text(
                "INSERT INTO scope (name, epoch, seq, now_ms, next_id, next_number, policy, mode, build, positions,"
                " holder, lease_until) VALUES ('default', 7, 3, 1, 1, 4, 'd', 'live', 'old', :none, '', 0)"
            ),
            {"none": b""},
        )
    engine.dispose()
    assert backup(old, file).revision == revision
    new = empty(kind)
    restore(new, file)
    with closing(new.open("test")) as store:
        found = store.claim("default", T0)
        assert (found.seq, found.next_number) == (3, 4 + archive.NUMBERS_LIFTED)


def test_a_move_to_postgresql_keeps_everything(empty: Callable[[str], Place]) -> None:
    old, new = empty("sqlite"), empty("postgresql")
    fill(old)
    before = digests(old)
    with old.alone(), old.writing().connect() as source, new.alone(), new.refilled(force=False) as target:
        assert archive.copy(source, target) == before
    assert digests(new) == before
    with closing(new.open("test")) as store:
        found = store.claim("default", T0)
        assert (found.seq, found.next_number) == (5, 6)
        assert {row.state for row in found.outbox} == {"waiting"}
        store.commit(batch(found, 6))
    with pytest.raises(StoreError, match="a store already"), new.alone(), new.refilled(force=False):
        pass
