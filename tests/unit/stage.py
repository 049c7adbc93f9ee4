"""A runtime on virtual time, over a real engine and real SQLite, and a store that fails on order."""

from collections.abc import Awaitable, Callable
from pathlib import Path

from daemon.core.model.alert import ParsedAlert
from daemon.core.policy import Policy
from daemon.core.records import AnyRecord, decode_records
from daemon.runtime import Runtime
from daemon.store.base import Batch, OutboxRow, Recovered, StoreError
from daemon.store.check import Checked, check
from daemon.store.queries import Queries, reading
from daemon.store.sqlite import SqliteStore
from tests.simulation.loop import VirtualLoop, run_virtual

from .kit import AT_ONCE, T0, alert, policy, services

POLICY = policy(services(shop=1), timing=AT_ONCE)


class LoopClock:
    """Both clocks run with the loop; the wall clock can be set."""

    def __init__(self, loop: VirtualLoop, start_s: float = 0) -> None:
        self.loop, self.start, self.set_by = loop, T0 + int(start_s * 1000), 0

    def wall_ms(self) -> int:
        """Wall clock."""
        return self.start + round(self.loop.time() * 1000) + self.set_by

    def elapsed_ms(self) -> int:
        """Boot clock."""
        return round(self.loop.time() * 1000)


class Wayward:
    """A real store in front of which errors stand in line: ("before" or "after" the commit, the error)."""

    def __init__(self, path: Path) -> None:
        self.real = SqliteStore(path, build="test")
        self.errors: list[tuple[str, StoreError]] = []
        self.always: StoreError | None = None
        self.seen: list[Batch] = []

    def claim(self, scope: str, wall_ms: int) -> Recovered:
        """See `Store.claim`."""
        return self.real.claim(scope, wall_ms)

    def commit(self, batch: Batch) -> None:
        """See `Store.commit`; fails as ordered."""
        self.seen.append(batch)
        if self.always is not None:
            raise self.always
        when, error = self.errors.pop(0) if self.errors else ("", None)
        if error is None or when == "after":
            self.real.commit(batch)
        if error is not None:
            raise error

    def tidy(self, idle: bool) -> None:
        """See `Store.tidy`."""
        self.real.tidy(idle)

    def held_s(self) -> float:
        """See `Store.held_s`."""
        return self.real.held_s()

    def close(self) -> None:
        """See `Store.close`."""
        self.real.close()


class Stage:
    """One runtime over one store on virtual time."""

    def __init__(self, loop: VirtualLoop, path: Path, policy: Policy, start_s: float = 0) -> None:
        self.path, self.policy = path, policy
        self.clock = LoopClock(loop, start_s)
        self.store = Wayward(path)
        self.sends: list[OutboxRow] = []
        self.emergencies: list[str] = []
        self.relieved: list[str] = []
        self.runtime: Runtime

    async def start(self) -> Runtime:
        """Opens and starts it."""
        self.runtime = await Runtime.open(self.policy, self.store, self.clock)
        self.runtime.on_sends = self.sends.extend
        self.runtime.on_emergency = lambda cause, text: self.emergencies.append(f"{cause}: {text}")
        self.runtime.on_relief = self.relieved.append
        await self.runtime.start()
        return self.runtime

    def journal(self) -> list[list[AnyRecord]]:
        """The records of every batch on disk."""
        return [decode_records(row.records) for row in Queries(reading(self.path)).journal()]

    def check(self, *policies: Policy) -> Checked:
        """`db check` of what is on disk."""
        known = {one.digest: one for one in (self.policy, *policies)}
        return check(self.path, Queries(reading(self.path)), known.get, build="test")

    def kill(self) -> None:
        """As kill -9 leaves it."""
        self.store.close()


Scene = Callable[[Stage], Awaitable[None]]
Play = Callable[..., Stage]


def player(path: Path) -> Play:
    """Plays scenes on the store at `path`, one after the other on what the one before left."""

    def run(scene: Scene, policy: Policy = POLICY, start_s: float = 0) -> Stage:
        stages: list[Stage] = []

        async def main(loop: VirtualLoop) -> None:
            stages.append(Stage(loop, path, policy, start_s))
            try:
                await scene(stages[0])
            finally:
                stages[0].store.close()

        run_virtual(main)
        return stages[0]

    return run


def lease(resource: str = "r1", at: float = 0) -> ParsedAlert:
    """An alert as Prometheus sends it: the same start, an end four minutes from now."""
    return alert(resource=resource, start=-60, end=at + 240)


def healthy(runtime: Runtime) -> bool:
    """Asked anew each time, which mypy would not believe of a property."""
    return runtime.healthy


def down(reason: str = "down") -> StoreError:
    return StoreError(reason, "the disk is gone; see to it")
