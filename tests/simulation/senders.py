"""Who sends alerts: Prometheus servers that repeat what is true, and scripts that say it once.

What is true is drawn beforehand: conditions with their episodes. Everything ends before the quiet
time, so that at its end nothing may be open anywhere.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from random import Random
from typing import Any, NamedTuple

from daemon.core.model.alert import ParsedAlert
from daemon.sources.formats.alertmanager import Alertmanager
from daemon.sources.formats.base import Context
from daemon.sources.formats.native import Native
from tests.simulation.loop import VirtualLoop

Intake = Callable[[list[ParsedAlert]], Awaitable[bool]]
"""Hands alerts to the daemon; True once they were acknowledged."""

SERVICES = ("shop", "payments", "orders-db", "search", "reports", "mail", "unknown-thing", "")
RESEND_S, KEEP_RESOLVED_S = 60.0, 900.0


class Condition(NamedTuple):
    """Something that is wrong from time to time: (from, to) in seconds of the world."""

    name: str
    service: str
    resource: str
    severity: str
    environment: str
    episodes: tuple[tuple[float, float], ...]
    worse_at: float


def draw_conditions(luck: Random, number: int, until: float) -> list[Condition]:
    """Conditions in bursts: a few outages that several services feel, and noise in between."""
    outages = [luck.uniform(0, until * 0.8) for _ in range(luck.randint(1, 4))]
    found = []
    for index in range(number):
        begin = luck.choice(outages) + luck.uniform(0, 120) if luck.random() < 0.7 else luck.uniform(0, until * 0.9)
        episodes = []
        for _ in range(luck.choice((1, 1, 1, 2, 3))):
            end = min(begin + luck.choice((20, 200, 900, 3000)) * luck.uniform(0.5, 1.5), until)
            if end - begin < 5:
                break
            episodes.append((begin, end))
            begin = end + luck.choice((5, 60, 400, 2000)) * luck.uniform(0.5, 1.5)
        service = luck.choice(SERVICES)
        severity = luck.choice(("critical", "error", "warning", "info", "page", "none", "Ärger", ""))
        environment = luck.choice(("production", "production", "production", "staging"))
        worse_at = luck.uniform(begin, until) if luck.random() < 0.2 else until
        found.append(
            Condition(f"Down{index % 7}", service, f"r{index}", severity, environment, tuple(episodes), worse_at)
        )
    return found


def _rfc3339(at_ms: float) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat().replace("+00:00", "Z")


class Prometheus:
    """A server (or one of a pair) that evaluates every 15 s and repeats every minute."""

    def __init__(self, loop: VirtualLoop, luck: Random, wall_ms: Callable[[], float], intake: Intake, replica: str):
        self._loop, self._luck, self._wall_ms, self._intake, self._replica = loop, luck, wall_ms, intake, replica
        self._sent: dict[tuple[str, int], tuple[float, bool]] = {}

    async def run(self, conditions: list[Condition], until: float) -> None:
        """Sends until the end of the world; its Watchdog fires all the time."""
        conditions = [*conditions, Condition("Watchdog", "", "watchdog", "none", "", ((0.0, until * 2),), until * 2)]
        await asyncio.sleep(self._luck.uniform(0, 15))
        while self._loop.time() < until:
            due = [found for condition in conditions for found in self._due(condition)]
            if due:
                self._luck.shuffle(due)
                body = json.dumps([alert for _, alert, _ in due]).encode()
                context = Context("prometheus", int(self._wall_ms()))
                if await self._intake(Alertmanager().parse(body, context).alerts):
                    now = self._loop.time()
                    self._sent |= {key: (now, firing) for key, _, firing in due}
            await asyncio.sleep(15)

    def _due(self, condition: Condition) -> list[tuple[tuple[str, int], dict[str, Any], bool]]:
        now, found = self._loop.time(), []
        for index, (begin, end) in enumerate(condition.episodes):
            firing = begin <= now < end
            if now < begin or now > end + KEEP_RESOLVED_S:
                continue
            key = (condition.resource, index)
            at, was_firing = self._sent.get(key, (-1e9, True))
            if not firing and at < begin - 1e8:
                continue  # It ended between two evaluations.
            if now - at >= RESEND_S or was_firing != firing:
                found.append((key, self._alert(condition, begin, end, firing), firing))
        return found

    def _alert(self, condition: Condition, begin: float, end: float, firing: bool) -> dict[str, Any]:
        world = self._wall_ms() - self._loop.time() * 1000
        now = self._loop.time()
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
            "annotations": {"summary": f"{condition.name} since {begin:.0f}\u202e"},
            "startsAt": _rfc3339(world + begin * 1000),
            "endsAt": _rfc3339(world + (now + 4 * RESEND_S if firing else end) * 1000),
            "generatorURL": "http://prometheus.example/graph?g0",
        }


class Script:
    """Says each thing once, until it is acknowledged; sometimes twice, late, out of order, or garbled."""

    def __init__(self, loop: VirtualLoop, luck: Random, wall_ms: Callable[[], float], intake: Intake) -> None:
        self._loop, self._luck, self._wall_ms, self._intake = loop, luck, wall_ms, intake

    async def run(self, condition: Condition) -> None:
        """Sends what there is to say of one condition."""
        for begin, end in condition.episodes:
            await self._until(begin)
            firing = self._alert(condition, begin, None)
            await self._say(firing)
            while self._luck.random() < 0.4:
                await self._until(min(end, self._loop.time() + self._luck.uniform(1, 300)))
                await self._say(firing)
            await self._until(end)
            over = self._alert(condition, begin, end)
            await self._say(over)
            if self._luck.random() < 0.3:
                await self._until(self._loop.time() + self._luck.uniform(0, 60))
                await self._say(*self._luck.sample([firing, over], 2))
                await self._say(over)

    async def _say(self, *alerts: dict[str, Any]) -> None:
        items: list[Any] = list(alerts)
        if self._luck.random() < 0.2:
            items.insert(self._luck.randint(0, len(items)), self._luck.choice(_GARBLED))
        while True:
            parsed = Native().parse(json.dumps(items).encode(), Context("scripts", int(self._wall_ms())))
            if await self._intake(parsed.alerts):
                return
            await self._until(self._loop.time() + self._luck.uniform(1, 20))

    async def _until(self, at: float) -> None:
        await asyncio.sleep(max(0.0, at - self._loop.time()))

    def _alert(self, condition: Condition, begin: float, end: float | None) -> dict[str, Any]:
        world = self._wall_ms() - self._loop.time() * 1000
        alert = {
            "name": condition.name,
            "status": "firing" if end is None else "resolved",
            "severity": condition.severity,
            "service": condition.service,
            "resource": condition.resource,
            "environment": condition.environment,
            "starts_at": _rfc3339(world + begin * 1000),
        }
        if end is not None:
            alert["ends_at"] = _rfc3339(world + end * 1000)
        return {name: value for name, value in alert.items() if value}


_GARBLED: list[Any] = [
    {},
    17,
    {"name": ""},
    {"name": "Garbled", "status": "perhaps"},
    {"name": "Garbled", "labels": {"a": {"b": 1}}},
    {"name": "Garbled", "starts_at": "yesterday"},
]
