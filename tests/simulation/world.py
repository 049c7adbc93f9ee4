"""One seeded world: senders, people, services, and the host of the daemon in between, which may die at any point."""

import asyncio
import contextlib
from collections.abc import Coroutine, Iterator
from random import Random
from typing import Any

from daemon.batching import NotDurable
from daemon.core.model.alert import ParsedAlert
from daemon.runtime import Runtime
from daemon.sources.formats.base import Parsed
from daemon.store.base import DeadLetter
from tests.simulation.configuration import VARIANTS
from tests.simulation.host import Host
from tests.simulation.journal import Journal, differences
from tests.simulation.ledger import Ledger
from tests.simulation.life import Dead, Life, Silent
from tests.simulation.loop import VirtualLoop
from tests.simulation.people import People
from tests.simulation.plan import Plan, draw
from tests.simulation.rings import Rings
from tests.simulation.senders import Condition, Prometheus, Script, Way, draw_conditions
from tests.simulation.services import AMBIGUOUS
from tests.simulation.stores import AnyDisk

QUIET_S = {True: 2 * 3600.0, False: 10 * 3600.0}
"""After the storm everything must come to rest within this (with quick waits, or the defaults), while samband runs."""
LONGEST_S = 24 * 3600.0

LOOK_EVERY_S = 20.0
PATIENCE_S = 10.0
"""So long a sender waits for an answer."""


class World(Host):
    """Everything of one seed."""

    def __init__(self, loop: VirtualLoop, seed: int, *, calm: bool = False, disk: AnyDisk | None = None) -> None:
        """calm: nothing goes wrong but what a test orders. disk: by default SQLite's in memory."""
        super().__init__(loop, Plan.calm(seed) if calm else draw(seed), disk)
        self.seed = seed
        self.ledger = Ledger(self)
        self.journal = Journal(self)
        self.rings = Rings(self)
        self.people = People(self, self.luck("people"))
        self.at_rest = self.wants_story = False

    # ---- what reaches the daemon ---------------------------------------------------------------------------
    async def intake(self, alerts: list[ParsedAlert]) -> bool:
        """What a sender does: True once the daemon has answered that it has them."""
        if not alerts:
            return True
        life, runtime = self.life, self.runtime
        if life is None or runtime is None:
            return False
        began, answered = self.loop.time(), False
        self.ledger.tries(alerts)
        try:
            await life.ask(_received(runtime, alerts), patience=PATIENCE_S)
            answered = True
        except (Dead, Silent, NotDurable):
            pass
        finally:
            self.ledger.ends(alerts, began, answered=answered)
        return answered

    async def _deliver(self, source: str, parsed: Parsed) -> bool:
        """As the intake does: what can be read is taken in, what cannot is kept as a dead letter."""
        done = await self.intake(parsed.alerts)
        life, runtime = self.life, self.runtime
        if done and parsed.rejected and life is not None and runtime is not None:
            first = parsed.rejected[0]
            letter = DeadLetter(runtime.now_ms(), source, first.reason, first.raw)
            with contextlib.suppress(Dead, Silent, NotDurable):
                await life.ask(runtime.dead_letter(letter), patience=PATIENCE_S)
        return done

    def _received_ms(self) -> int:
        return self.runtime.now_ms() if self.runtime is not None else self.clock.wall_ms()

    # ---- the world's course ----------------------------------------------------------------------------------
    async def run(self) -> None:
        """From the first alert to the time when all is at rest."""
        plan, end = self.plan, self.plan.storm_s + LONGEST_S
        tasks = [asyncio.Task(work, loop=self.loop) for work in self._everybody(end)]
        await asyncio.sleep(plan.storm_s)
        self.say("the storm is over: from here on everything works")
        self.clock.set_by_ms = 0
        if self.variant != "base":
            await self._reload_to("base")
        await self._until_rest(end)
        for task in tasks:
            if task.done() and not task.cancelled() and (error := task.exception()) is not None:
                raise error
            task.cancel()

    def _everybody(self, end: float) -> Iterator[Coroutine[Any, Any, None]]:
        yield self.run_daemon()
        yield self._watch()
        if any(name in self.plan.has for name in ("people", "corrections", "silences", "poison")):
            yield self.people.run(self.plan.storm_s)
        if "reload" in self.plan.has:
            yield self._reloads()
        if "clock" in self.plan.has:
            yield self._clock_is_set()
        yield from self._senders(end)

    def _senders(self, end: float) -> Iterator[Coroutine[Any, Any, None]]:
        has, luck = self.plan.has, self.luck("conditions")
        conditions = draw_conditions(
            luck, self.plan.conditions, self.plan.storm_s, quick=self.plan.quick, vanish="vanish" in has
        )
        if self.plan.loud:
            conditions[0] = self._loud(luck, conditions[0])
        names = ["alpha", "beta"] if "second server" in has else ["alpha"]
        servers: dict[str, list[Condition]] = {name: [] for name in names}
        for condition in conditions:
            if "prometheus" in has and ("scripts" not in has or luck.random() < 0.6):
                servers[luck.choice(names)].append(condition)
            elif "events" in has and luck.random() < 0.4:
                yield self._script(condition, "notices").run(condition)
            else:
                # What is said once is always said to its end.
                yield self._script(condition, "scripts").run(condition._replace(gone_at=1e9))
        if "prometheus" in has:
            for name, own in servers.items():
                resend = luck.choice((30.0, 60.0)) if self.plan.quick else 60.0
                for replica in ("a", "b") if "replica" in has else ("a",):
                    yield self._server(name, replica, resend).run(own, end)

    def _loud(self, luck: Random, condition: Condition) -> Condition:
        """One of which every sink is told."""
        begin = luck.uniform(2, 25)
        end = begin + (40 if self.plan.loud == "error" else luck.choice((30, 100)))
        later = (one for one in condition.episodes if one[0] > end + 5)
        episodes = ((begin, end), *later)
        severity = self.plan.loud
        return condition._replace(service="shop", severity=severity, environment="production", episodes=episodes)

    def _way(self, luck: Random, *, skew_ms: float = 0.0, lag: float, copy_s: float) -> Way:
        has = self.plan.has
        return Way(
            self.loop,
            luck,
            lambda: self.clock.true_ms() + skew_ms,
            self._deliver,
            self._received_ms,
            edge=lambda: self._until_a_deadline(luck),
            lag=lag if "lag" in has else 0.0,
            copies=0.2 if "copies" in has else 0.0,
            copy_s=copy_s,
        )

    def _until_a_deadline(self, luck: Random) -> float:
        """Now and then a message arrives just when a deadline is due, or a moment before or after it, s."""
        runtime = self.runtime
        if "edge" not in self.plan.has or runtime is None or luck.random() > 0.3:
            return 0.0
        left = (runtime.engine.next_due() - runtime.now_ms()) / 1000
        return max(0.0, left + luck.choice((-0.02, -0.002, -0.001, 0.0, 0.001, 0.002))) if 0 < left < 20 else 0.0

    def _server(self, name: str, replica: str, resend: float) -> Prometheus:
        has, luck = self.plan.has, self.luck(f"prometheus {name} {replica}")
        storm, trouble = self.plan.storm_s, []
        if "cut" in has and luck.random() < 0.6:
            begin = luck.uniform(0, storm)
            trouble.append((begin, begin + luck.choice((60, 200, 500)), "cut"))
        if "restarts" in has and luck.random() < 0.6:
            begin = luck.uniform(0, storm)
            trouble.append((begin, begin + luck.choice((0, 30, 120)), "restart"))
        if "dies" in has and luck.random() < 0.5:
            trouble.append((luck.uniform(storm * 0.3, storm), 1e9, "death"))
        return Prometheus(self._way(luck, lag=10.0, copy_s=resend * 2), name, replica, resend, tuple(trouble))

    def _script(self, condition: Condition, source: str) -> Script:
        has, luck = self.plan.has, self.luck(f"script {condition.resource}")
        skews = [0, 0, -3_600_000, -2_000, 2_000, 120_000]
        if "copies" not in has and "lag" not in has:
            skews.append(600_000)  # Its starts are clamped, and tell episodes apart only in their order.
        skew = luck.choice(skews) if "skew" in has else 0
        way = self._way(luck, skew_ms=skew, lag=40.0, copy_s=300.0)
        return Script(way, source, garbled="garbled" in has)

    # ---- what happens to the daemon, besides its ends ----------------------------------------------------------
    async def _reloads(self) -> None:
        luck = self.luck("reloads")
        for _ in range(luck.choice((1, 2, 4))):
            await asyncio.sleep(luck.uniform(5, self.plan.storm_s / 2))
            if self.loop.time() > self.plan.storm_s:
                return
            await self.reload(luck.choice(("base", *VARIANTS)))

    async def _reload_to(self, variant: str) -> None:
        """A reload that is tried until it is in force."""
        while self.variant != variant:
            await self.reload(variant)
            await asyncio.sleep(5)

    async def _clock_is_set(self) -> None:
        luck = self.luck("clock")
        for _ in range(luck.choice((1, 2))):
            await asyncio.sleep(luck.uniform(10, self.plan.storm_s / 2))
            by = luck.choice((-600_000, -5_000, 1_000, 3_000, 90_000, 1_800_000))
            self.clock.set_by_ms += by
            self.say(f"the machine's clock is set by {by / 1000:.0f} s")
            self.ledger.clock_set()

    # ---- looking ------------------------------------------------------------------------------------------------
    def started(self, runtime: Runtime) -> None:
        """See `Host`."""
        self.ledger.started(runtime)
        folded = self.journal.fold()
        if folded is not None:
            for text in differences(runtime.engine.state, folded)[:3]:
                self.wrong(f"a restarted daemon stands otherwise than one that had gone on: {text}")

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            self.ledger.look()
            self.rings.look()

    async def _until_rest(self, end: float) -> None:
        """Until nothing is open any more; from time to time a person does what waits for a person."""
        tidy_at = self.loop.time() + (300 if self.plan.quick else 1800)
        not_before = self.loop.time() + 60
        left = QUIET_S[self.plan.quick]
        while left > 0 and self.loop.time() < end:
            await asyncio.sleep(LOOK_EVERY_S)
            left -= LOOK_EVERY_S if self.runtime is not None else 0
            rested, self.at_rest = self.at_rest, self._rests()
            if rested and self.at_rest and self.loop.time() >= max(not_before, self.twins_until()):
                return
            if self.loop.time() >= tidy_at:
                await self.people.tidy_up()
                tidy_at = self.loop.time() + 200

    def twins_until(self) -> float:
        """Until when a late twin of a ticket or an entry may still be looked for, s."""
        late = [one.at for one in self.services.asked if one.makes and one.trouble in AMBIGUOUS]
        late += [one.at for one in self.services.asked if one.trouble == "late"]
        return max(late) + 16 * 60 if late else 0.0

    def _rests(self) -> bool:
        """Whether nothing is open, and nothing is under way."""
        if self.runtime is None or self.outbox is None or self.outbox.unfinished():
            return False
        state = self.runtime.engine.state
        if any(one.live or (one.state == "resolved" and not one.due_close) for one in state.incidents.rows.values()):
            return False
        if any(one.state == "open" and not one.shadow for one in state.deliveries.rows.values()):
            return False
        if any(one.open and one.name != "Watchdog" for one in state.alerts.rows.values()):
            return False
        return not self.disk.read("SELECT 1 FROM outbox WHERE state IN ('waiting', 'sending', 'dead') LIMIT 1")


async def _received(runtime: Runtime, alerts: list[ParsedAlert]) -> None:
    await Life.reaches("intake-read")
    await runtime.intake(alerts)
    await Life.reaches("intake-answer")
