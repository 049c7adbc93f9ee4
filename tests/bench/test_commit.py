"""What a transaction costs: CPU per alert in batches, and beside an event loop that decodes."""

import statistics
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest

from daemon.committing import SWITCH_INTERVAL_S
from daemon.core.effects import Noted, Send
from daemon.core.engine import Engine
from daemon.core.records import AlertSeen, AnyRecord, Resumed, encode_records
from daemon.core.state import State
from daemon.store.base import Batch, OutboxRow
from daemon.store.sqlite import SqliteStore
from tests.unit.kit import T0, alert, policy, services

pytestmark = pytest.mark.bench

BUDGET_US = 7.0
BESIDE_MAX = 3.0
ANNOTATIONS = msgspec.json.encode({"summary": "x" * 120, "description": "y" * 100, "runbook_url": "https://wiki/z"})


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    opened = SqliteStore(tmp_path / "samband.db", build="bench")
    yield opened
    opened.close()


def seen(number: int) -> AnyRecord:
    """A new alert with ten labels, of one of eight services."""
    one = alert(
        f"Down{number % 7}",
        f"svc{number % 8}",
        "warning",
        resource=f"r{number}",
        start=0,
        end=240,
        cluster="c1",
        namespace=f"n{number % 50}",
        pod=f"p{number}",
        instance=f"10.0.0.{number}:9100",
        job="node",
        container="main",
        region="eu-north-1",
    )
    return AlertSeen(T0, msgspec.structs.replace(one, annotations=ANNOTATIONS))


def batches(store: SqliteStore, count: int, size: int) -> list[Batch]:
    """Batches of new alerts, folded beforehand."""
    found = store.claim("default", T0)
    engine = Engine(policy(services(svc1=1)), State.load(found.live, found.next_id, found.next_number))
    engine.fold([Resumed(T0, found.epoch, 0)], T0)
    made = []
    for seq in range(1, count + 1):
        records = [seen(seq * size + step) for step in range(size)]
        changes = engine.fold(records, T0 + seq)
        made.append(
            Batch(
                scope="default",
                epoch=found.epoch,
                seq=seq,
                now_ms=T0 + seq,
                policy="d",
                mode="live",
                next_id=engine.state.next_id,
                next_number=engine.state.next_number,
                records=encode_records(records),
                count=size,
                digest=changes.digest,
                rows=changes.changed,
                outbox=[OutboxRow(one, "waiting") for one in changes.effects if isinstance(one, Send)],
                timeline=[one for one in changes.effects if isinstance(one, Noted)],
            )
        )
    return made


@pytest.mark.parametrize(("count", "size"), [(300, 64), (20, 1000)])
def test_cpu_of_a_transaction_per_alert(store: SqliteStore, count: int, size: int) -> None:
    """Checkpoints included. The best third counts: the rest has the neighbours' load in it."""
    costs = []
    for batch in batches(store, count, size):
        before = time.thread_time()
        store.commit(batch)
        store.tidy(idle=False)
        costs.append((time.thread_time() - before) / size * 1e6)
    best = statistics.mean(sorted(costs)[: count // 3])
    print(f"\nbatch {size}: best third {best:.2f}, mean {statistics.mean(costs):.2f} us CPU an alert")  # noqa: T201
    assert best <= BUDGET_US


@pytest.mark.parametrize("size", [64, 1000])
def test_a_commit_beside_decoding(store: SqliteStore, size: int) -> None:
    """The loop's thread decodes in slices below a millisecond; the writer's must still get its turn."""
    body = msgspec.json.encode([msgspec.to_builtins(seen(number)) for number in range(100)])
    decoder = msgspec.json.Decoder(list[AlertSeen])
    made = iter(batches(store, 60, size))
    before, stop = sys.getswitchinterval(), threading.Event()
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    try:
        with ThreadPoolExecutor(1) as writer:

            def commit() -> float:
                began = time.perf_counter()
                writer.submit(store.commit, next(made)).result()
                return time.perf_counter() - began

            idle = statistics.median(commit() for _ in range(30))
            decoding = threading.Thread(target=lambda: _decode(decoder, body, stop))
            decoding.start()
            beside = statistics.median(commit() for _ in range(30))
            stop.set()
            decoding.join()
    finally:
        sys.setswitchinterval(before)
    print(f"\nbatch {size}: idle {idle * 1e3:.2f} ms, beside decoding {beside * 1e3:.2f} ms")  # noqa: T201
    assert beside <= BESIDE_MAX * idle


def _decode(decoder: "msgspec.json.Decoder[list[AlertSeen]]", body: bytes, stop: threading.Event) -> None:
    while not stop.is_set():
        decoder.decode(body)
