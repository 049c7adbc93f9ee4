"""One alert's way through samband, step by step in one process: parse, fold, commit; new and repeated."""

import dataclasses
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any, Self

import msgspec

from daemon.batching import RefreshBuffer
from daemon.core.effects import Noted, Send
from daemon.core.engine import Engine
from daemon.core.model.alert import ParsedAlert
from daemon.core.model.catalogue import Service
from daemon.core.records import AlertSeen, AnyRecord, Resumed
from daemon.core.state import State
from daemon.flight import folded
from daemon.sources.formats.alertmanager import FORMAT
from daemon.sources.formats.base import Context
from daemon.sources.formats.memory import Memory
from daemon.store.base import Batch, OutboxRow
from daemon.store.sqlite import SqliteStore
from tests.bench.load import SERVICES, requests
from tests.unit.kit import policy

Meter = Callable[[Callable[[], Any]], float]
"""Does the work and says what it cost."""

STEPS = ("parse", "parse repeat", "fold new", "commit new", "repeat", "reference")
TURN_MS = 10
CHAIN = 5


def bodies(first: int, count: int, turn: int = 0) -> bytes:
    """The body of one request with so many alerts."""
    (request,) = requests(range(first, first + count), count, turn)
    return request.partition(b"\r\n\r\n")[2]


def catalogue() -> dict[str, Service]:
    """A service for each that the load names, in chains of five, so that topology has something to find."""
    names = [f"checkout-{number}" for number in range(SERVICES)]
    return {
        name: Service(name, team="payments", tier=2, depends_on=() if number % CHAIN == 0 else (names[number - 1],))
        for number, name in enumerate(names)
    }


class Pipeline:
    """An engine and a store, and what goes through them in batches."""

    def __init__(self, folder: Path) -> None:
        self.memory = Memory()
        self.store = SqliteStore(folder / "samband.db", build="bench")
        self.now = int(time.time() * 1000)
        found = self.store.claim("default", self.now)
        self.epoch, self.seq, self.alerts = found.epoch, found.seq, 0
        state = State.load(found.live, found.next_id, found.next_number)
        self.engine = Engine(policy(catalogue()), state)
        self.engine.fold([Resumed(self.now, found.epoch, 0)], self.now)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.store.close()

    def parse(self, body: bytes) -> list[ParsedAlert]:
        """As the intake does."""
        parsed = FORMAT.parse(body, Context("prometheus", self.now, client="127.0.0.1", memory=self.memory))
        assert not parsed.rejected
        return parsed.alerts

    def fold(self, records: list[AnyRecord]) -> Batch:
        """The batch that comes of these records, ready for the store."""
        self.now += TURN_MS
        self.seq += 1
        batch = Batch("default", self.epoch, self.seq, self.now, "d", "live", 0, 0)
        changes = folded(batch, self.engine, records, self.now)
        assert not changes.quarantined
        batch.outbox = [OutboxRow(one, "waiting") for one in changes.effects if isinstance(one, Send)]
        batch.timeline = [one for one in changes.effects if isinstance(one, Noted)]
        return batch

    def fold_new(self, alerts: list[ParsedAlert]) -> Batch:
        """Alerts that were never seen."""
        return self.fold([AlertSeen(self.now, one) for one in alerts])

    def repeat(self, alerts: list[ParsedAlert]) -> Batch:
        """Unchanged repeats: through the refresh buffer, as one record."""
        buffer = RefreshBuffer()
        for one in alerts:
            refresh = self.engine.repeat(one, self.now)
            assert refresh is not None
            buffer.add(refresh, self.engine.contact_of(one))
        return self.fold([buffer.take(self.now)])

    def rounds(self, count: int, size: int, meter: Meter) -> Iterator[dict[str, float]]:
        """So many batches of new alerts, each sent again once: what each step cost, per alert."""
        for _ in range(count):
            body, again = bodies(self.alerts, size), bodies(self.alerts, size, 1)
            self.alerts += size
            kept: list[Any] = []

            def keep(work: Callable[[], Any], kept: list[Any] = kept) -> Callable[[], None]:
                return lambda: kept.append(work())

            costs = {"parse": meter(keep(lambda: self.parse(body)))}  # noqa: B023 - called at once
            costs["fold new"] = meter(keep(lambda: self.fold_new(kept[0])))  # noqa: B023
            costs["commit new"] = meter(lambda: self.store.commit(kept[1]))  # noqa: B023
            costs["parse repeat"] = meter(keep(lambda: self.parse(again)))  # noqa: B023
            repeated = kept[2]
            costs["repeat"] = meter(keep(lambda: self.repeat(repeated)))  # noqa: B023
            self.store.commit(kept[3])
            costs["reference"] = meter(lambda: reference(body))  # noqa: B023
            self.store.tidy(idle=False)
            yield {step: cost / size for step, cost in costs.items()}


@dataclasses.dataclass
class Looked:
    """What the reference makes of an alert."""

    name: str
    parts: dict[str, str]


_items = msgspec.json.Decoder(list[dict[str, Any]])


def reference(body: bytes) -> int:
    """Fixed work of the kinds that samband does: decoding, dictionaries, calls, objects, encoding. Never change it."""
    found: dict[str, Looked] = {}
    for item in _items.decode(body):
        labels = item["labels"]
        for turn in range(4):
            parts = {}
            for name, value in sorted(labels.items()):
                parts[name] = _shown(name, value, turn)
            found[f"{labels['pod']}-{turn}"] = Looked(labels["alertname"], parts)
    return len(msgspec.json.encode(found))


def _shown(name: str, value: str, turn: int) -> str:
    return f"{name}={value}" if len(value) > turn else name


def cpu(work: Callable[[], Any]) -> float:
    """Microseconds of this thread's CPU time."""
    before = time.thread_time_ns()
    work()
    return (time.thread_time_ns() - before) / 1e3


def opcodes(work: Callable[[], Any]) -> float:
    """Instructions of Python's virtual machine. The same work gives the same number; what C does is not in it."""
    count = 0

    def each(frame: FrameType, event: str, arg: object) -> Any:
        nonlocal count
        count += event == "opcode"
        return each

    def begin(frame: FrameType, event: str, arg: object) -> Any:
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        return each

    before = sys.gettrace()
    sys.settrace(begin)
    try:
        work()
    finally:
        sys.settrace(before)
    return count


def least(rounds: list[dict[str, float]]) -> dict[str, float]:
    """The mean of the cheapest quarter of the rounds, step by step: what it costs when nothing disturbs."""
    quarter = max(1, len(rounds) // 4)
    return {step: statistics.mean(sorted(one[step] for one in rounds)[:quarter]) for step in rounds[0]}
