"""The machine on which the daemon runs: disk, clocks, network, and one life of the daemon after the other."""

import asyncio
import contextlib
from collections.abc import Callable
from random import Random
from typing import NamedTuple

from daemon import wiring
from daemon.core.effects import Changes
from daemon.core.policy import Policy
from daemon.emergency import Emergency
from daemon.outbox import Outbox
from daemon.runtime import NotDurable, Runtime
from daemon.store.base import Batch, Fenced, StoreError
from tests.simulation.configuration import BEGIN_MS, Configuration, configuration
from tests.simulation.coverage import Coverage
from tests.simulation.life import Dead, Life, Silent
from tests.simulation.loop import VirtualLoop
from tests.simulation.plan import Plan, Span
from tests.simulation.services import Network, Services
from tests.simulation.stores import AnyDisk, Disk, FailpointStore, moody

GRACE_S = 10.0
"""How long deliveries under way may take when the daemon stops in good order."""


class VirtualClock:
    """The machine's clocks: elapsed time is the loop's, the wall clock may be set."""

    def __init__(self, loop: VirtualLoop, begin_ms: int) -> None:
        self._loop, self._begin_ms, self.set_by_ms = loop, begin_ms, 0

    def true_ms(self) -> float:
        """What a right clock shows."""
        return self._begin_ms + self._loop.time() * 1000

    def wall_ms(self) -> int:
        """See `Clock.wall_ms`."""
        return self._begin_ms + self.set_by_ms + self.elapsed_ms()

    def elapsed_ms(self) -> int:
        """See `Clock.elapsed_ms`."""
        return int(self._loop.time() * 1000)


class Wrong(NamedTuple):
    """Something that must not be: when it was seen, s; and whom it concerns."""

    at: float
    text: str
    about: tuple[str, ...] = ()


class Host:
    """See above. deaths: when and how each life ended. wrongs: what must not be.

    landed: batch -> when it was known to be durable, s. log: what happened here, for the story.
    """

    def __init__(self, loop: VirtualLoop, plan: Plan, disk: AnyDisk | None = None) -> None:
        self.loop, self.plan = loop, plan
        self.clock = VirtualClock(loop, BEGIN_MS + plan.begin_ms)
        self.coverage = Coverage()
        self.wrongs: list[Wrong] = []
        self.policies: dict[str, Policy] = {}
        self.deaths: list[str] = []
        self.landed: dict[int, float] = {}
        self.log: list[tuple[float, str]] = []
        self.reloads: list[tuple[float, str]] = []
        self.disk = disk or Disk(f"simulation-{plan.seed}-{id(self)}")
        self.disk_spells = list(plan.disk)
        self.disk.mood = moody(self.luck("disk"), loop.time, self.disk_spells, self._disk_fails)
        self.services = Services(loop, self.luck("network"), list(plan.spells))
        self.variant = plan.variant
        self.configuration = self._configured(plan.variant)
        self.life: Life | None = None
        self.runtime: Runtime | None = None
        self.outbox: Outbox | None = None
        self.emergency: Emergency | None = None
        slow = self.luck("slow disk")
        delays = plan.disk_delays
        loop.executor_delay = lambda: self._disk_takes(slow, delays)
        loop.holding = _holding
        loop.set_task_factory(Life.of_tasks)

    def luck(self, what: str) -> Random:
        """Luck of its own for each purpose, so that one more draw here changes nothing there."""
        return Random(f"{self.plan.seed} {what}")

    def say(self, text: str) -> None:
        """A line for the story."""
        self.log.append((self.loop.time(), text))

    def wrong(self, text: str, *about: str) -> None:
        """Something that must not be. about: alert keys and incident ids (both in hexadecimal) that it concerns."""
        self.wrongs.append(Wrong(self.loop.time(), text, about))

    def _configured(self, variant: str) -> Configuration:
        found = configuration(variant, quick=self.plan.quick, buzzer=self.plan.buzzer, poison="poison" in self.plan.has)
        self.policies[found.policy.digest] = found.policy
        return found

    def _disk_takes(self, luck: Random, delays: tuple[float, ...]) -> float:
        now = self.loop.time()
        if any(spell.mood == "slow" and spell.begin <= now < spell.end for spell in self.disk_spells):
            self.coverage.disk["slow"] += 1
            return luck.choice((1.0, 4.0, 12.0))
        return luck.choice(delays)

    def _disk_fails(self, mood: str) -> None:
        self.coverage.disk[mood] += 1

    # ---- one life ---------------------------------------------------------------------------------------
    async def start(self, life: Life) -> None:
        """Starts the daemon in that life, as often as the disk makes it necessary. Raises Dead when it dies at once."""
        life.on_pass, life.on_death = self._passed, self._died
        runtime = await self._open(life)
        configured = self.configuration
        network = Network(self.services, life)
        outbox = Outbox(
            runtime,
            configured.sinks,
            network,
            wiring.timing(configured.assembly.settings),
            self.luck(f"jitter {len(self.deaths)}"),
        )
        emergency = Emergency([configured.sinks.get("pager")], network, "host", self.clock)
        runtime.on_emergency, runtime.on_relief = emergency.tell, emergency.relieve
        runtime.on_sends, runtime.on_committed, runtime.on_step = outbox.add, self._committed, outbox.clock_stepped
        try:
            await life.ask(self._starting(runtime))
        except StoreError as error:
            life.end(f"could not start: {error.reason}")
            raise Dead from None

        async def begin() -> None:
            outbox.start(runtime.recovered.outbox)

        await life.ask(begin())
        self.life, self.runtime, self.outbox, self.emergency = life, runtime, outbox, emergency
        self.say(f"samband has started, with the configuration {self.variant!r}")

    async def _starting(self, runtime: Runtime) -> None:
        await runtime.start()
        self.started(runtime)

    def started(self, runtime: Runtime) -> None:
        """A life has begun; for those who check."""

    async def _open(self, life: Life) -> Runtime:
        while True:
            try:
                store = FailpointStore(self.disk, life)
                return await life.ask(Runtime.open(self.configuration.policy, store, self.clock))
            except StoreError:
                await asyncio.sleep(5)

    def _passed(self, point: str, sink: str, key: str) -> None:
        self.coverage.passed[point, sink, self.services.last.get((sink, key), "")] += 1

    def _died(self, point: str, sink: str, key: str) -> None:
        self.coverage.died[point, sink, self.services.last.get((sink, key), "")] += 1

    def _committed(self, batch: Batch, changes: Changes | None) -> None:
        self.landed[batch.seq] = self.loop.time()
        if changes is not None and "poison" not in self.plan.has:
            for one in changes.quarantined:
                self.wrong(f"batch {batch.seq}: quarantined: {one.reason}")

    async def reload(self, variant: str) -> None:
        """Puts another configuration in force, in the order of `daemon.app`. Nothing when the daemon is down."""
        life, runtime, outbox, emergency = self.life, self.runtime, self.outbox, self.emergency
        if life is None or runtime is None or outbox is None or emergency is None:
            return
        fresh = self._configured(variant)
        self.reloads.append((self.loop.time(), variant))
        self.say(f"reload: the configuration {variant!r} is put in force")
        emergency.set_sinks([fresh.sinks.get("pager")])
        settings = fresh.assembly.settings
        outbox.set_sinks(fresh.sinks, wiring.timing(settings), wiring.style(settings))
        self.variant, self.configuration = variant, fresh
        with contextlib.suppress(Dead, Silent, NotDurable):
            await life.ask(runtime.reload(fresh.policy), patience=60.0)

    async def stop(self, life: Life) -> None:
        """Stops the daemon in good order, as SIGTERM does."""
        runtime, outbox = self.runtime, self.outbox
        assert runtime is not None
        assert outbox is not None

        async def stopping() -> None:
            await outbox.stop(GRACE_S)
            await runtime.stop()

        with contextlib.suppress(Dead, Silent, StoreError):
            await life.ask(stopping(), patience=60.0)
        life.end("was stopped in good order")

    # ---- all lives ---------------------------------------------------------------------------------------
    async def run_daemon(self) -> None:
        """Starts it, lets it end, and starts it again, as planned; the last life lives to the end of the world."""
        for span in self.plan.spans:
            if self.loop.time() > self.plan.storm_s:
                break
            await self._live(span)
        await self._begin_at_last()

    async def _begin_at_last(self) -> None:
        while True:
            with contextlib.suppress(Dead):
                await self.start(Life(self.loop))
                return

    async def _live(self, span: Span) -> None:
        life = Life(self.loop, span.dies_at)
        ending = self.loop.call_later(span.kill_after, life.ended.set)
        with contextlib.suppress(Dead):
            await self.start(life)
        await life.ended.wait()
        ending.cancel()
        if life.alive and self.life is life:
            if span.how == "stop":
                await self.stop(life)
            elif span.how == "freeze":
                await self._replace(life, span)
                return
        life.end("was killed")
        self._over(life)
        await asyncio.sleep(span.downtime)
        self._next_configuration(span)

    def _next_configuration(self, span: Span) -> None:
        if span.variant:
            self.variant, self.configuration = span.variant, self._configured(span.variant)

    def _over(self, life: Life) -> None:
        if self.life is life:
            self.life = self.runtime = self.outbox = self.emergency = None
        self.deaths.append(f"{self.loop.time():.1f} s {life.how}")
        self.say(f"samband {life.how}")

    async def _replace(self, life: Life, span: Span) -> None:
        """The process is stopped, another takes its place, and then the first goes on: it must write nothing more."""
        runtime = self.runtime
        assert runtime is not None
        away = min(span.downtime, 120.0)
        life.freeze(away + 20)
        self.say(f"samband is stopped for {away + 20:.0f} s, and another one is started meanwhile")
        await asyncio.sleep(away)
        self._next_configuration(span)
        with contextlib.suppress(Dead):
            await self.start(Life(self.loop))
        await asyncio.sleep(100)
        try:
            await life.ask(runtime.wait(), patience=1.0)
            self.wrong("a daemon that had been replaced stopped without saying why")
        except Fenced:
            pass
        except (Dead, Silent):
            pass  # It had nothing to write, so that it does not know yet.
        life.end("was replaced")
        if self.life is life:
            self._over(life)
        elif (successor := self.life) is not None:
            # The successor lives as long as this span's life would have.
            await asyncio.wait([self.loop.create_task(successor.ended.wait())], timeout=span.kill_after)
            successor.end("was killed")
            self._over(successor)


def _holding() -> Callable[[], float]:
    """For how long the life that asks is held up, whenever that is asked."""
    life = Life.current()
    return life.left if life is not None else lambda: 0.0
