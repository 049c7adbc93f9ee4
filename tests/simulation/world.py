"""One seeded world: senders, people, four services, a disk, and the daemon in between, which may die at any point."""

import asyncio
import contextlib
from pathlib import Path
from random import Random

from daemon import outbox_rules as rules
from daemon.assembly import Assembly, assemble
from daemon.batching import NotDurable
from daemon.core.effects import Changes
from daemon.core.model.alert import ParsedAlert
from daemon.core.records import CommandGiven
from daemon.outbox import Outbox
from daemon.runtime import Runtime
from daemon.settings import load
from daemon.store.base import Batch, StoreError
from tests.simulation.life import FAILPOINTS, Dead, Life
from tests.simulation.loop import VirtualLoop
from tests.simulation.senders import Condition, Prometheus, Script, draw_conditions
from tests.simulation.services import TROUBLES, Network, Services, Spell
from tests.simulation.stores import Disk, FailpointStore, moody

BEGIN_MS = 1_800_000_000_000
"""Wall clock at the beginning: a Friday morning in January 2027."""

STORM_S = 2 * 3600.0
"""So long things go wrong; then comes the quiet time, in which everything must come right."""

QUIET_S = 3 * 3600.0
"""Longer than the longest wait: late twins, green components, reopen windows."""

CONFIGURATION = Path(__file__).with_name("samband.yaml")


class VirtualClock:
    """The machine's clocks: elapsed time is the loop's, the wall clock may be set."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop, self.set_by_ms = loop, 0

    def wall_ms(self) -> int:
        """See `Clock.wall_ms`."""
        return BEGIN_MS + self.set_by_ms + self.elapsed_ms()

    def elapsed_ms(self) -> int:
        """See `Clock.elapsed_ms`."""
        return int(self._loop.time() * 1000)


class World:
    """Everything of one seed. `acknowledged`: key, status and start of what the daemon has answered for."""

    def __init__(self, loop: VirtualLoop, seed: int, *, calm: bool = False) -> None:
        """calm: nothing goes wrong but what a test orders."""
        self.loop, self.seed = loop, seed
        self.clock = VirtualClock(loop)
        self.disk = Disk(f"simulation-{seed}-{id(self)}")
        disk_spells = [] if calm else _disk_spells(self._luck("disk spells"))
        self.disk.mood = moody(self._luck("disk"), loop.time, disk_spells)
        self.services = Services(loop, self._luck("network"), [] if calm else _spells(self._luck("weather")))
        self.assembly: Assembly = assemble(load(CONFIGURATION), from_ms=BEGIN_MS, days=10)
        self.acknowledged: dict[tuple[bytes, bool, int | None], None] = {}
        self.trouble: list[str] = []
        self.deaths: list[str] = []
        self.life: Life | None = None
        self.runtime: Runtime | None = None
        self.outbox: Outbox | None = None
        self._changed = asyncio.Event()
        loop.set_task_factory(Life.of_tasks)
        slow = self._luck("slow disk")
        loop.executor_delay = lambda: slow.choice((0.0005, 0.001, 0.002, 0.02)) if slow.random() < 0.99 else 1.5

    def _luck(self, what: str) -> Random:
        return Random(f"{self.seed} {what}")

    # ---- the daemon -----------------------------------------------------------------------------------
    async def _open(self, life: Life) -> Runtime:
        while True:
            try:
                store = FailpointStore(self.disk, life)
                return await life.ask(Runtime.open(self.assembly.policy, store, self.clock))
            except StoreError:
                await asyncio.sleep(5)

    async def start(self, life: Life) -> None:
        """Starts the daemon in that life, as often as the disk makes it necessary. Raises Dead when it dies at once."""
        runtime = await self._open(life)
        delivery = self.assembly.settings.delivery
        timing = rules.Timing(
            retry_first=delivery.retry_first,
            retry_max=delivery.retry_max,
            give_up_after=delivery.give_up_after,
            circuit_pause=delivery.circuit_pause,
            settle=delivery.settle,
        )
        outbox = Outbox(
            runtime, self.assembly.sinks, Network(self.services, life), timing, self._luck(f"jitter {len(self.deaths)}")
        )
        runtime.on_sends, runtime.on_committed = outbox.add, self._committed
        await life.ask(runtime.start())

        async def begin() -> None:
            outbox.start(runtime.recovered.outbox)

        await life.ask(begin())
        self.life, self.runtime, self.outbox = life, runtime, outbox
        self._changed.set()

    def _committed(self, batch: Batch, changes: Changes | None) -> None:
        for one in changes.quarantined if changes is not None else ():
            self.trouble.append(f"batch {batch.seq}: quarantined: {one.reason}")

    async def run_daemon(self) -> None:
        """Starts it, lets it die, and starts it again, until the quiet time; then it lives to the end."""
        luck = self._luck("deaths")
        for _ in range(luck.choice((0, 1, 2, 3, 5))):
            point = (luck.choice(FAILPOINTS), luck.choice((1, 2, 3, 5, 8, 20, 60)))
            life = Life(self.loop, point if luck.random() < 0.7 else None)
            self.loop.call_later(luck.uniform(1, STORM_S / 2), life.end, "killed")
            with contextlib.suppress(Dead):
                await self.start(life)
            await life.ended.wait()
            self.life = self.runtime = None
            self.deaths.append(f"{self.loop.time():.1f} s {life.how}")
            await asyncio.sleep(luck.choice((0.1, 2, 30, 300, 1500)) * luck.uniform(0.5, 1.5))
            if self.loop.time() > STORM_S:
                break
        await self.start(Life(self.loop))

    async def intake(self, alerts: list[ParsedAlert]) -> bool:
        """What a sender does: True once the daemon has answered that it has them."""
        if not alerts:
            return True
        if self.life is None or self.runtime is None:
            return False
        try:
            await self.life.ask(self.runtime.intake(alerts))
        except (Dead, NotDurable):
            return False
        self.acknowledged |= {(alert.key, alert.firing, alert.starts_at): None for alert in alerts}
        return True

    async def command(self, verb: str, incident: int, who: str) -> None:
        """What a person does; they do not insist."""
        if self.life is None or self.runtime is None:
            return
        now = self.runtime.now_ms()
        with contextlib.suppress(Dead, NotDurable):
            await self.life.ask(
                self.runtime.submit([CommandGiven(now, f"{verb}-{now}-{incident}", who, verb, incident)])
            )

    # ---- everybody else ---------------------------------------------------------------------------------
    async def people(self) -> None:
        """Somebody acknowledges or resolves something now and then, and sets a clock."""
        luck = self._luck("people")
        while self.loop.time() < STORM_S:
            await asyncio.sleep(luck.uniform(60, 900))
            if luck.random() < 0.08:
                self.clock.set_by_ms += luck.choice((-600_000, -5_000, 3_000, 90_000, 1_800_000))
            if self.runtime is None:
                continue
            live = [one.id for one in self.runtime.engine.state.incidents.rows.values() if one.live]
            if live:
                verb = "acknowledge" if luck.random() < 0.8 else "resolve"
                await self.command(verb, luck.choice(live), luck.choice(("anna", "bo")))

    async def run(self) -> None:
        """From the first alert to the end of the quiet time."""
        luck = self._luck("conditions")
        conditions = draw_conditions(luck, luck.randint(8, 40), STORM_S)
        shared = [one for one in conditions if luck.random() < 0.6]
        end = STORM_S + QUIET_S
        tasks = [asyncio.Task(self.run_daemon(), loop=self.loop), asyncio.Task(self.people(), loop=self.loop)]
        for replica in ("a", "b")[: luck.randint(1, 2)]:
            server = Prometheus(self.loop, self._luck(f"prometheus {replica}"), self._true_ms, self.intake, replica)
            tasks.append(asyncio.Task(server.run(shared, end), loop=self.loop))
        for condition in conditions:
            if condition not in shared:
                tasks.append(asyncio.Task(self._script(condition).run(condition), loop=self.loop))
        await asyncio.sleep(STORM_S)
        self.clock.set_by_ms = 0
        await asyncio.sleep(2 * 3600)
        await self._tidy_up()
        await asyncio.sleep(end - self.loop.time())
        for task in tasks:
            if task.done() and not task.cancelled() and (error := task.exception()) is not None:
                raise error
            task.cancel()

    def _true_ms(self) -> float:
        """The clocks of the others are right."""
        return BEGIN_MS + self.loop.time() * 1000

    def _script(self, condition: Condition) -> Script:
        return Script(self.loop, self._luck(f"script {condition.resource}"), self._true_ms, self.intake)

    async def _tidy_up(self) -> None:
        """A person ends what waits for a person: P1s that nobody saw, and their tickets."""
        if self.runtime is None:
            return
        state = self.runtime.engine.state
        for one in sorted(state.incidents.rows.values(), key=lambda one: one.id):
            if one.live or (one.state == "resolved" and one.priority == "P1"):
                await self.command("resolve", one.id, "carl")


def _spells(luck: Random) -> list[Spell]:
    """Bad weather: always a little, sometimes very much."""
    names = ("pagerduty", "jira", "statuspage", "webhook")
    found = [Spell(name, 0, STORM_S, TROUBLES, luck.choice((0.0, 0.02, 0.1))) for name in names]
    for _ in range(luck.randint(0, 6)):
        begin = luck.uniform(0, STORM_S)
        troubles = tuple(luck.sample(TROUBLES, luck.randint(1, 3)))
        found.append(
            Spell(luck.choice(names), begin, begin + luck.choice((30, 300, 2000)), troubles, luck.choice((0.5, 1.0)))
        )
    return [_before_the_quiet(spell) for spell in found]


def _before_the_quiet(spell: Spell) -> Spell:
    """No weather in the quiet time."""
    return spell._replace(end=min(spell.end, STORM_S))


def _disk_spells(luck: Random) -> list[tuple[float, float, str]]:
    found = []
    for _ in range(luck.choice((0, 0, 1, 2, 4))):
        begin = luck.uniform(0, STORM_S * 0.9)
        found.append((begin, begin + luck.choice((0.5, 10, 120)), luck.choice(("busy", "full", "down", "after"))))
    return found
