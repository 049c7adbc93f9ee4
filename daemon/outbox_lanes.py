"""Where rows wait: a queue per incident and sink that keeps their order, a lane per sink that keeps its peace."""

from collections.abc import Callable, Mapping
from heapq import heappop, heappush
from typing import Protocol

from msgspec.structs import replace

from daemon.core.state import State
from daemon.outbox_rules import Timing, Verdict
from daemon.store.base import OutboxRow
from sinks.base import Sink

IN_FLIGHT_MAX = 8
"""Conversations that one sink is asked to hold at once; each is about another incident."""

QueueKey = tuple[str, str]


def queue_key(row: OutboxRow) -> QueueKey:
    """Sink, and the incident in whose name the object was made.

    It is read from the object's key, which stays when a merge hands the object to another incident;
    raises and later generations are in the same queue.
    """
    return row.send.sink, row.send.key.partition("#")[0].rpartition("-")[0]


def shifted(row: OutboxRow, by: int) -> OutboxRow:
    """The row with its times moved by so many ms, so that a wait is as long as before."""
    return replace(
        row,
        next_at=row.next_at + by,
        first_try_at=row.first_try_at + by if row.first_try_at else 0,
        unsure_at=row.unsure_at + by if row.unsure_at else 0,
    )


class Queue:
    """The rows of one incident at one sink, oldest first. `busy`: one of them is being carried out."""

    def __init__(self, key: QueueKey) -> None:
        self.key = key
        self.rows: dict[int, OutboxRow] = {}
        self.busy = False
        self.armed = 0
        self.looks = 0
        self.owed = 0

    @property
    def rank(self) -> int:
        """The most urgent of its rows gives all before it its haste."""
        return min(row.send.rank for row in self.rows.values())

    def add(self, row: OutboxRow, now: int) -> None:
        """Takes a new row. A more urgent one ends the back-off of those before it."""
        if self.rows and row.send.rank < self.rank:
            for number, other in self.rows.items():
                if other.next_at > now and other.state == "waiting":
                    self.rows[number] = replace(other, next_at=now)
        self.rows[row.send.id] = row

    def shift(self, by: int) -> list[OutboxRow]:
        """Moves all waits by so many ms; the rows whose outcome is unclear, as they are now.

        The row that is being carried out is in other hands; it is moved when it comes back (`returned`).
        """
        moved = []
        for number, row in self.rows.items():
            if self.busy and number == self.armed:
                self.owed += by
                continue
            self.rows[number] = shifted(row, by)
            if row.unsure_at:
                moved.append(self.rows[number])
        return moved

    def returned(self, row: OutboxRow) -> OutboxRow:
        """The row after an attempt, with the times that are older than a step of the clock moved along."""
        before, by, self.owed = self.rows[row.send.id], self.owed, 0
        if by and row.unsure_at and row.unsure_at == before.unsure_at:
            row = replace(row, unsure_at=row.unsure_at + by)
        if by and row.first_try_at and row.first_try_at == before.first_try_at:
            row = replace(row, first_try_at=row.first_try_at + by)
        self.rows[row.send.id] = row
        return row

    def younger(self, row: OutboxRow) -> list[OutboxRow]:
        """Rows of the same delivery that came after it."""
        return [
            other
            for other in self.rows.values()
            if other.send.delivery == row.send.delivery and other.send.id > row.send.id
        ]

    def pick(
        self, undone: Callable[[int], bool], judge: Callable[["Queue", OutboxRow], Verdict]
    ) -> tuple[OutboxRow, Verdict] | None:
        """The row whose turn it is and what to do with it; None when all wait for something else.

        A row that waits for another one keeps back the rest of its delivery, and only that.
        undone: whether the row of that number is still to be waited for.
        """
        parked: dict[int, None] = {}
        for number in sorted(self.rows):
            row = self.rows[number]
            if row.send.delivery in parked:
                continue
            verdict: Verdict = "wait" if row.send.after and undone(row.send.after) else judge(self, row)
            if verdict != "wait":
                return row, verdict
            parked[row.send.delivery] = None
        return None


class Circuit:
    """Leaves a sink alone after failures in a row; then lets one attempt through to see."""

    def __init__(self, timing: Timing) -> None:
        self._timing = timing
        self.failures = 0
        self.failing_since = 0
        self.until = 0
        self.probing = False

    @property
    def open(self) -> bool:
        """Whether the sink is left alone (or only probed)."""
        return self.until > 0

    def shift(self, by: int) -> None:
        """Moves its pause by so many ms."""
        self.until += by if self.until else 0
        self.failing_since += by if self.failing_since else 0

    def wait(self, now: int) -> int | None:
        """How long until an attempt may be made, ms: 0 for now, None while a probe is under way."""
        if not self.until:
            return 0
        return None if self.probing else max(0, self.until - now)

    def begins(self) -> None:
        """An attempt is made; while open it is the probe."""
        self.probing = self.open

    def failed(self, now: int) -> bool:
        """An attempt failed. True when that opens the circuit."""
        self.failures += 1
        self.failing_since = self.failing_since or now
        was_open, self.probing = self.open, False
        if self.failures >= self._timing.circuit_after:
            self.until = now + self._timing.circuit_pause
        return self.open and not was_open

    def worked(self) -> bool:
        """The sink answered. True when that closes the circuit."""
        was_open = self.open
        self.failures = self.failing_since = self.until = 0
        self.probing = False
        return was_open

    def unclear(self) -> None:
        """An attempt ended without telling anything about the sink."""
        self.probing = False


class Lane:
    """One sink (with one set of options): what is ready for it, most urgent first, and its circuit."""

    def __init__(self, sink: Sink, timing: Timing) -> None:
        self.sink = sink
        self.circuit = Circuit(timing)
        self.paused_until = 0
        self.in_flight = 0
        self.looking_back = False
        # Entries share components, and each sets them to the worst of all: the last word must be the newest.
        self._at_once = 1 if sink.kind == "status_page" else IN_FLIGHT_MAX
        self._ready: list[tuple[int, int, QueueKey]] = []

    def retire(self) -> None:
        """Another sink stands in its place: nothing more is begun here."""
        self._ready.clear()

    def put(self, rank: int, number: int, key: QueueKey) -> None:
        """A row is ready."""
        heappush(self._ready, (rank, number, key))

    def take(self, queues: Mapping[QueueKey, Queue]) -> tuple[Queue, OutboxRow] | None:
        """The most urgent row that is still the turn of its queue; what is outdated falls away."""
        while self._ready:
            _, number, key = heappop(self._ready)
            queue = queues.get(key)
            if queue is not None and not queue.busy and queue.armed == number and number in queue.rows:
                return queue, queue.rows[number]
        return None

    def wait(self, now: int) -> int | None:
        """How long nothing may be begun, ms; None: until one of those in flight is back."""
        if not self._ready or self.in_flight >= self._at_once:
            return None
        until = self.circuit.wait(now)
        return None if until is None else max(until, self.paused_until - now, 0)


class Sinks(Protocol):
    """The configured sinks."""

    def get(self, name: str, team: str) -> Sink:
        """The sink as the team has it (the same object for teams without options of their own). Raises KeyError."""
        ...


class Lanes:
    """A lane for every sink that anything goes to."""

    def __init__(self, sinks: Sinks, timing: Timing) -> None:
        self._sinks, self._timing = sinks, timing
        self._lanes: dict[int, Lane] = {}

    def retire(self) -> None:
        """Other lanes take what waits in these."""
        for lane in self._lanes.values():
            lane.retire()

    def shift(self, by: int) -> None:
        """Moves the pauses of all by so many ms."""
        for lane in self._lanes.values():
            lane.circuit.shift(by)
            lane.paused_until += by if lane.paused_until else 0

    def of(self, row: OutboxRow, state: State) -> Lane | None:
        """The lane that the row belongs into; None when its sink is no longer configured."""
        delivery = state.deliveries.get(row.send.delivery)
        try:
            sink = self._sinks.get(row.send.sink, delivery.team if delivery is not None else "")
        except KeyError:
            return None
        lane = self._lanes.get(id(sink))
        if lane is None:
            lane = self._lanes[id(sink)] = Lane(sink, self._timing)
        return lane
