"""A transaction on PostgreSQL beside the same on SQLite: CPU in samband, and apart from it the database's."""

import os
import statistics
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from daemon.store.base import Store
from daemon.store.postgres import PostgresStore
from daemon.store.sqlite import SqliteStore
from tests.bench.table import Line, Table, times
from tests.bench.test_commit import batches
from tests.counterparts.postgres import Postgres

pytestmark = pytest.mark.bench

PART = "The store: CPU in samband, PostgreSQL beside SQLite"
RATIO_AT_MOST = 1.3
SLICES = 10
TICKS = os.sysconf("SC_CLK_TCK")


@pytest.fixture
def server() -> Iterator[Postgres]:
    """A server that syncs, as one in earnest does."""
    with Postgres(durable=True) as running:
        yield running


def used_by(pid: int) -> float:
    """CPU seconds of a server and all its processes, the ended ones too."""
    total = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            number, fields = int(stat.parent.name), stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # It has just ended.
        if number == pid or int(fields[1]) == pid:
            total += int(fields[11]) + int(fields[12])
            total += int(fields[13]) + int(fields[14]) if number == pid else 0
    return total / TICKS


def cost(store: Store, made: Iterator[object], count: int, size: int) -> float:
    """CPU of this thread, us an alert, of so many commits; checkpoints and the lease included."""
    before = time.thread_time()
    for _ in range(count):
        store.commit(next(made))  # type: ignore[arg-type]
        store.tidy(idle=False)
    return (time.thread_time() - before) / count / size * 1e6


@pytest.mark.parametrize(("size", "count"), [(1, 100), (64, 20), (1000, 3)])
def test_cpu_beside_sqlite(server: Postgres, tmp_path: Path, table: Table, size: int, count: int) -> None:
    """In alternating slices, so that whatever else the machine does falls on both."""
    with (
        closing(SqliteStore(tmp_path / "samband.db", build="bench")) as sqlite,
        closing(PostgresStore(server.dsn, build="bench")) as postgresql,
    ):
        ours = iter(batches(sqlite, SLICES * count, size))
        theirs = iter(batches(postgresql, SLICES * count, size))
        before, pairs = used_by(server.pid), list[tuple[float, float]]()
        for _ in range(SLICES):
            pairs.append((cost(postgresql, theirs, count, size), cost(sqlite, ours, count, size)))
        server_us = (used_by(server.pid) - before) / SLICES / count / size * 1e6
    ratios = [one / other for one, other in pairs]
    here, there = (statistics.median(one[place] for one in pairs) for place in (0, 1))
    table.add(
        Line(
            PART,
            f"batch {size}, µs an alert (SQLite {there:.1f}; the server itself {server_us:.1f})",
            f"{here:.1f}",
            ratio=times(ratios),
            goal=f"≤ {RATIO_AT_MOST:g} × SQLite",
            met=statistics.median(ratios) <= RATIO_AT_MOST,
        )
    )
    table.check()
