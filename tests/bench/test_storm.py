"""100,000 alerts at once: what people get, when, and what it costs; beside Alertmanager with a group per service."""

import dataclasses
import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from aiohttp import web

from tests.bench.load import alert, post, send, stamp
from tests.bench.servers import Server, alertmanager, get, samband
from tests.bench.table import Line, Table, milliseconds
from tests.fakes.base import Fake
from tests.fakes.jira import FakeJira
from tests.fakes.pagerduty import FakePagerDuty
from tests.integration.samband import until

pytestmark = pytest.mark.bench

ALERTS, SERVICES, BATCH, CONNECTIONS = 100_000, 500, 64, 64
P1, P2 = 50, 200
"""Services below the first number are of tier 1 (P1), below the second of tier 2 (P2: a page too), the rest P3."""
PART = f"A storm: {ALERTS:,} critical alerts of {SERVICES} services at once"
PAGE_WITHIN_S = 30.0
"""From the alert that made the incident P1; here from the first byte of the storm."""
ALL_WITHIN_S = 180.0


@dataclasses.dataclass
class Storm:
    """What a storm did to a server. Times are seconds from its first byte.

    took: of each answer; accepted_s: when the last came. told: when each notification came; sent: their bytes.
    """

    took: list[float]
    accepted_s: float
    told: list[float]
    sent: int
    rss: int
    peak: int
    cpu_s: float


def name(number: int) -> str:
    """Of a service."""
    return f"service-{number:03d}"


def bodies() -> list[bytes]:
    """The storm: each service in turn."""
    now = time.time()
    starts, ends = stamp(now), stamp(now + 3600)
    texts = [
        alert(number, starts, ends, name=f"Down{number % 10}", service=name(number % SERVICES), severity="critical")
        for number in range(ALERTS)
    ]
    return [post(texts[first : first + BATCH]) for first in range(0, ALERTS, BATCH)]


async def storm(server: Server, told: list[float], sent: Callable[[], int], enough: Callable[[], bool]) -> Storm:
    """Sends it, and returns when people have been told enough. told: on the clock of `time.perf_counter`."""
    made = bodies()
    await server.quiet()
    server.forget_peak()
    rss, cpu, began = server.rss(), server.cpu_s(), time.perf_counter()
    took = await send(server.port, made, CONNECTIONS)
    accepted = time.perf_counter() - began
    await until(enough, "everybody has been told", ALL_WITHIN_S)
    await server.quiet()
    times = [one - began for one in told]
    return Storm(took, accepted, times, sent(), rss, server.peak(), server.cpu_s() - cpu)


class Receiver(Fake):
    """Alertmanager's webhook: counts the bytes and the groups."""

    name = "receiver"

    def __init__(self) -> None:
        super().__init__()
        self.told: list[float] = []
        self.size = self.alerts = 0

    def routes(self) -> list[web.RouteDef]:
        """One."""
        return [web.post("/hook", self._take)]

    async def _take(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.told.append(time.perf_counter())
        self.size += len(body)
        self.alerts += len(json.loads(body)["alerts"])
        self.requests.clear()  # They are large.
        return web.Response()


async def at_alertmanager(folder: Path) -> tuple[Storm, int]:
    """With its default waits, a group per service; and how many alerts it told of."""
    async with Receiver() as receiver:
        to: dict[str, object] = {"webhook_configs": [{"url": f"{receiver.url}/hook"}]}
        async with alertmanager(folder, to, group_by=["service"]) as server:
            found = await storm(server, receiver.told, lambda: receiver.size, lambda: len(receiver.told) >= SERVICES)
    return found, receiver.alerts


def configuration(pager: FakePagerDuty, desk: FakeJira) -> dict[str, object]:
    """Pages for P1 and P2 after their default waits, a ticket for each incident at once."""
    tiers = [1 if number < P1 else 2 if number < P2 else 3 for number in range(SERVICES)]
    return {
        "services": {name(number): {"tier": tier, "team": "ops"} for number, tier in enumerate(tiers)},
        "sinks": {
            "pager": {"type": "pagerduty", "url": pager.url, "routing_key": pager.routing_key},
            "desk": {"type": "jira", "url": desk.url, "project": "OPS", "user": "bot@example.org", "token": "t"},
        },
        "policies": [
            {"when": 'priority=~"P1|P2"', "to": ["pager", "desk"]},
            {"when": 'priority=~"P3|P4|P5"', "to": ["desk"]},
        ],
        "timing": {"ticket": "0s"},
    }


async def at_samband(folder: Path) -> tuple[Storm, FakePagerDuty, FakeJira, list[float], int]:
    """The storm, both services, when the pages of P1 rang, and how many alerts fire in incidents afterwards."""
    pager, desk, told, rang = FakePagerDuty(), FakeJira(), list[float](), list[float]()

    def note(line: str) -> None:
        told.append(time.perf_counter())
        if "RINGS" in line and "[critical]" in line:
            rang.append(told[-1])

    pager.on_event = desk.on_event = note

    def sent() -> int:
        return sum(len(one["body"]) for fake in (pager, desk) for one in fake.requests)

    def enough() -> bool:
        return len(pager.pages) >= P2 and len(desk.issues) >= SERVICES

    async with pager, desk, samband(folder, **configuration(pager, desk)) as server:
        found = await storm(server, told, sent, enough)
        began = told[0] - found.told[0]
        page = json.loads(await get(f"{server.url}/api/v1/incidents"))
        assert page["next"] is None
        firing = sum(one["alerts"]["firing"] for one in page["items"])
    for fake in (pager, desk):
        assert fake.violations == []
        assert fake.doubles() == []
    return found, pager, desk, [one - began for one in rang], firing


async def test_storm(tmp_path: Path, table: Table) -> None:
    theirs, told_of = await at_alertmanager(tmp_path / "alertmanager")
    ours, pager, desk, rang, firing = await at_samband(tmp_path / "samband")
    assert firing == ALERTS
    late = max(rang)
    table.add(
        Line(PART, "alerts in incidents afterwards; in notifications", f"{firing:,}", f"{told_of:,}"),
        Line(PART, "pages (P1 and P2) and tickets; notifications", f"{len(pager.pages)} + {len(desk.issues)}",
             f"{len(theirs.told)}", goal="one of each per incident",
             met=(len(pager.pages), len(desk.issues)) == (P2, SERVICES)),
        Line(PART, "bytes sent to them", f"{ours.sent / 2**20:.1f} MiB", f"{theirs.sent / 2**20:.1f} MiB",
             f"{ours.sent / theirs.sent:.2f}×"),
        Line(PART, "first page of a P1; first notification", f"{min(rang):.1f} s", f"{min(theirs.told):.1f} s"),
        Line(PART, "last page of a P1; last notification", f"{late:.1f} s", f"{max(theirs.told):.1f} s",
             goal=f"≤ {PAGE_WITHIN_S:g} s", met=len(rang) == P1 and late <= PAGE_WITHIN_S),
        Line(PART, "all accepted after", f"{ours.accepted_s:.1f} s", f"{theirs.accepted_s:.1f} s",
             f"{ours.accepted_s / theirs.accepted_s:.2f}×"),
        Line(PART, "answers, p50 / p99", f"{milliseconds(ours.took)} ms", f"{milliseconds(theirs.took)} ms"),
        Line(PART, "CPU, everything", f"{ours.cpu_s:.1f} s", f"{theirs.cpu_s:.1f} s",
             f"{ours.cpu_s / theirs.cpu_s:.2f}×"),
        Line(PART, "RSS at its peak", f"{ours.peak >> 20} MiB", f"{theirs.peak >> 20} MiB",
             f"{ours.peak / theirs.peak:.2f}×", "≤ 1×", ours.peak <= theirs.peak),
    )  # fmt: skip
    table.check()
