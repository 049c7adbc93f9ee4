"""Who sends alerts: Prometheus servers that repeat what is true, scripts that say it once, and notices.

What is true is drawn beforehand: conditions with their episodes. Everything ends before the quiet
time, so that at its end nothing may be open anywhere.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from random import Random
from typing import Any, NamedTuple

from daemon.sources.formats.alertmanager import Alertmanager
from daemon.sources.formats.base import Context, Parsed
from daemon.sources.formats.native import Native
from tests.simulation.loop import VirtualLoop

SERVICES = ("shop", "shop", "payments", "orders-db", "search", "reports", "mail", "unknown-thing", "")
SEVERITIES = ("critical", "critical", "error", "warning", "info", "page", "none", "Ärger", "")
KEEP_RESOLVED_S = 900.0


class Condition(NamedTuple):
    """Something that is wrong from time to time: (from, to) in seconds of the world.

    gone_at: from then on nobody mentions it any more, not even its end.
    """

    name: str
    service: str
    resource: str
    severity: str
    environment: str
    episodes: tuple[tuple[float, float], ...]
    worse_at: float
    gone_at: float = 1e9


def draw_conditions(luck: Random, number: int, until: float, *, quick: bool, vanish: bool) -> list[Condition]:
    """Conditions in bursts: a few outages that several services feel, and noise in between."""
    outages = [luck.uniform(0, until * 0.6) for _ in range(luck.randint(1, 3))]
    lengths, pauses = ((5, 20, 60, 200, 500), (2, 15, 60, 300)) if quick else ((20, 200, 900, 3000), (5, 60, 400, 2000))
    found = []
    for index in range(number):
        begin = luck.choice(outages) + luck.uniform(0, 40) if luck.random() < 0.7 else luck.uniform(0, until * 0.8)
        if luck.random() < 0.3:
            begin = float(round(begin))  # So that things happen at the same instant.
        first, episodes = begin, []
        for _ in range(luck.choice((1, 1, 1, 2, 3))):
            end = min(begin + luck.choice(lengths) * luck.uniform(0.5, 1.5), until)
            if end - begin < 3:
                break
            episodes.append((begin, end))
            begin = end + luck.choice(pauses) * luck.uniform(0.5, 1.5)
        environment = luck.choice(("production", "production", "production", "staging"))
        condition = Condition(
            name=f"Down{index % 7}",
            service=luck.choice(SERVICES),
            resource=f"r{index}",
            severity=luck.choice(SEVERITIES),
            environment=environment,
            episodes=tuple(episodes),
            worse_at=luck.uniform(first, until) if luck.random() < 0.2 else until,
            gone_at=luck.uniform(first, until) if vanish and luck.random() < 0.4 else 1e9,
        )
        found.append(condition)
    return found


def rfc3339(at_ms: float) -> str:
    """A time as senders write it."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat().replace("+00:00", "Z")


class Way:
    """How messages reach the daemon: perhaps late, perhaps again, perhaps overtaking each other.

    deliver: hands alerts to the daemon; True once they were acknowledged. wall_ms: the sender's clock.
    edge: asked before each message, how long it is on its way, s.
    """

    def __init__(
        self,
        loop: VirtualLoop,
        luck: Random,
        wall_ms: Callable[[], float],
        deliver: Callable[[str, Parsed], Awaitable[bool]],
        received_ms: Callable[[], int],
        *,
        edge: Callable[[], float] = lambda: 0.0,
        lag: float = 0.0,
        copies: float = 0.0,
        copy_s: float = 60.0,
    ) -> None:
        self.loop, self.luck, self.wall_ms = loop, luck, wall_ms
        self._deliver, self._received_ms = deliver, received_ms
        self._edge = edge
        self._lag, self._copies, self._copy_s = lag, copies, copy_s

    async def send(self, source: str, body: bytes, parser: Any, client: str = "") -> bool:
        """Sends a body; True once it was acknowledged."""
        if self._lag and self.luck.random() < 0.5:
            await asyncio.sleep(self.luck.uniform(0, self._lag))
        if wait := self._edge():
            await asyncio.sleep(wait)
        done = await self._arrive(source, body, parser, client)
        if self._copies and self.luck.random() < self._copies:
            late = self._late(source, body, parser, client, self.luck.uniform(0, self._copy_s))
            asyncio.Task(late, loop=self.loop)
        return done

    async def _late(self, source: str, body: bytes, parser: Any, client: str, after: float) -> None:
        await asyncio.sleep(after)
        await self._arrive(source, body, parser, client)

    async def _arrive(self, source: str, body: bytes, parser: Any, client: str) -> bool:
        context = Context(source, self._received_ms(), client=client, resolves=False if source == "notices" else None)
        return await self._deliver(source, parser.parse(body, context))


class Prometheus:
    """A server (or one of a pair) that evaluates every 15 s and repeats after `resend` s.

    trouble: (from, to, what), what being cut (nothing reaches us), restart (it forgets, and alerts with
    `for` are silent until `to`) or death.
    """

    def __init__(
        self, way: Way, name: str, replica: str, resend: float, trouble: tuple[tuple[float, float, str], ...] = ()
    ) -> None:
        self._way, self._name, self._replica, self._resend, self._trouble = way, name, replica, resend, trouble
        self._sent: dict[tuple[str, int], tuple[float, bool]] = {}
        self._restarted_at = -1.0

    async def run(self, conditions: list[Condition], until: float) -> None:
        """Sends until the end of the world; its Watchdog fires all the time."""
        always = ((0.0, until * 2),)
        watchdog = Condition("Watchdog", "", f"watchdog-{self._name}", "none", "", always, until * 2)
        loop, pending = self._way.loop, False
        await asyncio.sleep(self._way.luck.uniform(0, 15))
        while loop.time() < until:
            now = loop.time()
            troubles = [(begin, end, what) for begin, end, what in self._trouble if begin <= now < end]
            if any(what == "death" for _, _, what in troubles):
                return
            cut = any(what == "cut" for _, _, what in troubles)
            waits = self._restarts(now)
            due = [] if cut else [one for item in (watchdog, *conditions) for one in self._due(item, waits)]
            if due and not pending:
                self._way.luck.shuffle(due)
                body = json.dumps([alert for _, alert, _ in due]).encode()
                if await self._way.send("prometheus", body, Alertmanager()):
                    self._sent.update({key: (now, firing) for key, _, firing in due})
            await asyncio.sleep(max(0.0, 15 - (loop.time() - now)))

    def _restarts(self, now: float) -> bool:
        """Whether alerts with `for` are silent because it has restarted."""
        for begin, end, what in self._trouble:
            if what == "restart" and begin <= now:
                if self._restarted_at < begin:
                    self._restarted_at = begin
                    self._sent.clear()
                if now < end:
                    return True
        return False

    def _due(self, condition: Condition, waits: bool) -> list[tuple[tuple[str, int], dict[str, Any], bool]]:
        now = self._way.loop.time()
        found: list[tuple[tuple[str, int], dict[str, Any], bool]] = []
        if now >= condition.gone_at or (waits and condition.name != "Watchdog"):
            return found
        for index, (begin, end) in enumerate(condition.episodes):
            if now < begin or now > end + KEEP_RESOLVED_S:
                continue
            firing = now < end
            key = (condition.resource, index)
            at, was_firing = self._sent.get(key, (-1e9, False))
            if not firing and at < 0:
                continue  # It ended before it was ever sent (since the restart).
            if now - at >= self._resend or was_firing != firing:
                found.append((key, self._alert(condition, begin, end, firing), firing))
        return found

    def _alert(self, condition: Condition, begin: float, end: float, firing: bool) -> dict[str, Any]:
        now = self._way.loop.time()
        world = self._way.wall_ms() - now * 1000
        begin = max(begin, min(self._restarted_at, end))
        severity = "critical" if now >= condition.worse_at else condition.severity
        labels = {
            "alertname": condition.name,
            "service": condition.service,
            "instance": condition.resource,
            "env": condition.environment,
            "severity": severity,
            "replica": self._replica,
        }
        return {
            "labels": {name: value for name, value in labels.items() if value},
            "annotations": {"summary": f"{condition.name} since {begin:.0f}\u202e, now {now:.0f}"},
            "startsAt": rfc3339(world + begin * 1000),
            "endsAt": rfc3339(world + (now + 4 * self._resend if firing else end) * 1000),
            "generatorURL": f"http://{self._name}.example/graph?g0",
        }


class Script:
    """Says each thing once, until it is acknowledged; sometimes twice, late, out of order, or garbled."""

    def __init__(self, way: Way, source: str = "scripts", *, garbled: bool = False) -> None:
        self._way, self._source, self._garbled, self._luck = way, source, garbled, way.luck

    async def run(self, condition: Condition) -> None:
        """Sends what there is to say of one condition."""
        for begin, end in condition.episodes:
            await self._until(begin)
            firing = self._alert(condition, begin, None)
            await self._say(firing)
            while self._luck.random() < 0.4:
                await self._until(min(end, self._way.loop.time() + self._luck.uniform(1, 100)))
                severity = "critical" if self._way.loop.time() >= condition.worse_at else condition.severity
                await self._say(firing | ({"severity": severity} if severity else {}))
            if self._source == "notices":
                continue
            await self._until(end)
            over = self._alert(condition, begin, end)
            await self._say(over)
            if self._luck.random() < 0.3:
                await self._until(self._way.loop.time() + self._luck.uniform(0, 60))
                await self._say(*self._luck.sample([firing, over], 2))
                await self._say(over)

    async def _say(self, *alerts: dict[str, Any]) -> None:
        items: list[Any] = list(alerts)
        if self._garbled and self._luck.random() < 0.3:
            items.insert(self._luck.randint(0, len(items)), self._luck.choice(_GARBLED))
        body, done = json.dumps(items).encode(), False
        while not done:
            done = await self._way.send(self._source, body, Native(), client="10.0.0.7")
            if not done:
                await asyncio.sleep(self._luck.uniform(1, 20))

    async def _until(self, at: float) -> None:
        await asyncio.sleep(max(0.0, at - self._way.loop.time()))

    def _alert(self, condition: Condition, begin: float, end: float | None) -> dict[str, Any]:
        world = self._way.wall_ms() - self._way.loop.time() * 1000
        alert = {
            "name": condition.name,
            "status": "firing" if end is None else "resolved",
            "severity": condition.severity,
            "service": condition.service,
            "resource": condition.resource,
            "environment": condition.environment,
            "starts_at": rfc3339(world + begin * 1000),
        }
        if end is not None:
            alert["ends_at"] = rfc3339(world + end * 1000)
        return {name: value for name, value in alert.items() if value}


_GARBLED: list[Any] = [
    {},
    17,
    {"name": ""},
    {"name": "Garbled", "status": "perhaps"},
    {"name": "Garbled", "labels": {"a": {"b": 1}}},
    {"name": "Garbled", "starts_at": "yesterday"},
]
