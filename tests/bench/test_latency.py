"""From the POST to the sink's socket: idle, and beside 5,000 alerts a second; and what one sync of the disk takes."""

import asyncio
import contextlib
import dataclasses
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.bench.load import alert, length_of, post, requests, send, stamp
from tests.bench.servers import Server, alertmanager, samband
from tests.bench.table import Line, Table, milliseconds, percentile

pytestmark = pytest.mark.bench

PART = "POST → the sink's socket, each alert an incident of its own"
SAMPLES, BLOCKS, PAUSE_S, GIVE_UP_S, WARM_UP = 200, 4, 0.02, 20.0, 10
BACKGROUND, PER_REQUEST, REQUESTS_PER_S = 10_000, 1_000, 5
PROBE = "Probe"
ROUTING_KEY = "0123456789abcdef0123456789abcdef"

_ANSWER = b'{"status":"success","message":"Event processed","dedup_key":"k"}'
_ACCEPTED = b"HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(_ANSWER)


class Socket(asyncio.Protocol):
    """A sink's socket: notes when the first request came whole that names a probe, and says yes (202) to all."""

    def __init__(self, waiting: dict[bytes, "asyncio.Future[float]"]) -> None:
        self._waiting, self._request = waiting, bytearray()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        now = time.perf_counter()
        self._request += data
        while (length := length_of(self._request)) is not None and len(self._request) >= length:
            for name, came in self._waiting.items():
                if name in self._request[:length] and not came.done():
                    came.set_result(now)
            del self._request[:length]
            assert self._transport is not None
            self._transport.write(_ACCEPTED + _ANSWER)


class Probes:
    """Sends alerts that concern nothing else, one at a time, and measures until the sink's socket has them."""

    def __init__(self) -> None:
        self.waiting: dict[bytes, asyncio.Future[float]] = {}
        self.port = 0
        self._number = 0

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """The socket is open meanwhile."""
        server = await asyncio.get_running_loop().create_server(lambda: Socket(self.waiting), "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield
        finally:
            server.close()

    async def once(self, server: Server) -> float:
        """Seconds from before the POST until the sink has read all of what it brought about."""
        self._number += 1
        service, now = f"probe-{self._number:06d}", time.time()
        one = alert(
            1_000_000 + self._number, stamp(now), stamp(now + 3600), name=PROBE, service=service, severity="critical"
        )
        came = self.waiting[service.encode()] = asyncio.get_running_loop().create_future()
        began = time.perf_counter()
        await send(server.port, [post([one])], 1)
        async with asyncio.timeout(GIVE_UP_S):
            arrived: float = await came
        del self.waiting[service.encode()]
        return arrived - began


class Disk:
    """The cost of one append of 4 KiB with fdatasync where samband has its file, sample by sample."""

    def __init__(self, folder: Path) -> None:
        self._path, self.costs = folder / "sync", list[float]()

    def sync(self) -> None:
        """One more sample."""
        with self._path.open("ab", buffering=0) as file:
            file.write(b"x" * 4096)
            began = time.perf_counter()
            os.fdatasync(file.fileno())
            self.costs.append(time.perf_counter() - began)


@contextlib.asynccontextmanager
async def background(server: Server) -> AsyncIterator[None]:
    """It gets 5,000 repeats a second: 10,000 alerts in turn, as several Prometheus servers send them."""
    flow = [body for turn in range(5) for body in requests(range(BACKGROUND), PER_REQUEST, turn)]
    await send(server.port, flow[: BACKGROUND // PER_REQUEST], 1)

    async def drive() -> None:
        began, sent = time.monotonic(), 0
        while True:
            await send(server.port, [flow[sent % len(flow)]], 1)
            sent += 1
            await asyncio.sleep(max(0.0, began + sent / REQUESTS_PER_S - time.monotonic()))

    task = asyncio.create_task(drive())
    try:
        await asyncio.sleep(1)
        yield
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@dataclasses.dataclass
class Found:
    """Seconds from POST to socket of both, and of one sync meanwhile."""

    ours: list[float]
    theirs: list[float]
    sync: list[float]


async def compare(probes: Probes, ours: Server, theirs: Server, folder: Path, *, busy: bool) -> Found:
    """Blocks of probes to each in turn; busy: with the background, which only the one that is measured gets."""
    found, disk = Found([], [], []), Disk(folder)
    for block in range(BLOCKS):
        both = [(ours, found.ours), (theirs, found.theirs)]
        for server, took in both if block % 2 else reversed(both):
            async with background(server) if busy else contextlib.nullcontext():
                for _ in range(SAMPLES // BLOCKS):
                    took.append(await probes.once(server))
                    disk.sync()
                    await asyncio.sleep(PAUSE_S)
    found.sync = disk.costs
    return found


def pagerduty(port: int) -> dict[str, object]:
    """A native sink: one sync between the POST and the socket."""
    return {"type": "pagerduty", "url": f"http://127.0.0.1:{port}", "routing_key": ROUTING_KEY}


def webhook(port: int) -> dict[str, object]:
    """One that cannot deduplicate: the mark *sending* is a sync of its own."""
    return {"type": "webhook", "url": f"http://127.0.0.1:{port}/hook"}


SINKS = {"native": (pagerduty, 1), "other": (webhook, 2)}


@pytest.mark.parametrize("kind", list(SINKS))
async def test_from_the_post_to_the_sink(tmp_path: Path, table: Table, kind: str) -> None:
    probes, (sink, syncs) = Probes(), SINKS[kind]
    async with probes.listening():
        receiver: dict[str, object] = {"webhook_configs": [{"url": f"http://127.0.0.1:{probes.port}/hook"}]}
        # Alertmanager's own way to say that each alert is a group; what the background is about goes nowhere.
        only_probes = {
            "receiver": "nobody",
            "routes": [
                {
                    "receiver": "test",
                    "matchers": [f'alertname="{PROBE}"'],
                    "group_by": ["..."],
                    "group_wait": "0s",
                }
            ],
        }
        changes = {
            "sinks": {"sink": sink(probes.port)},
            "policies": [{"when": 'services=~"probe-.*"', "to": ["sink"]}],
            "timing": {"first_page": "0s", "ticket": "0s"},
        }
        async with (
            alertmanager(tmp_path / "alertmanager", receiver, **only_probes) as theirs,
            samband(tmp_path / "samband", **changes) as ours,
        ):
            for server in (ours, theirs) * WARM_UP:
                await probes.once(server)
            for where, busy in (("idle", False), ("beside 5,000 alerts/s", True)):
                found = await compare(probes, ours, theirs, tmp_path, busy=busy)
                note(table, f"{kind} sink, {where}", found, syncs)
    table.check()


def note(table: Table, what: str, found: Found, syncs: int) -> None:
    """p50 and p99 of both, and whether samband's p50 is Alertmanager's and so many syncs at most."""
    p50, sync = percentile(found.ours, 50), percentile(found.sync, 50)
    theirs = percentile(found.theirs, 50)
    allowed = theirs + syncs * sync
    goal = f"p50 ≤ Alertmanager's + {syncs} fsync of {sync * 1e3:.2f} ms = {allowed * 1e3:.2f} ms"
    ratio = f"p50 {p50 / theirs:.2f}×, p99 {percentile(found.ours, 99) / percentile(found.theirs, 99):.2f}×"
    shown = f"{milliseconds(found.ours)} ms", f"{milliseconds(found.theirs)} ms"
    table.add(Line(PART, f"{what}, p50 / p99", *shown, ratio, goal, p50 <= allowed))
