"""From the start of the process until it is ready, with 100,000 alerts open, after a `kill -9`."""

import asyncio
import socket
import statistics
import time
from pathlib import Path

import pytest

from tests.bench.servers import Server, samband, start
from tests.bench.table import Line, Table, spread
from tests.bench.test_open import MANY, fill

pytestmark = pytest.mark.bench

PART = "Recovery: from the start to ready, after kill -9"
ROUNDS = 5
READY_S_AT_MOST = 1.5
LOOK_EVERY_S = 0.002


async def test_recovery(tmp_path: Path, table: Table) -> None:
    async with samband(tmp_path / "empty") as server:
        empty = [await restart(server) for _ in range(ROUNDS)]
    async with samband(tmp_path / "full") as server:
        await fill(server, 0, MANY)
        full = [await restart(server) for _ in range(ROUNDS)]
    took, used = ([one[place] for one in full] for place in (0, 1))
    table.add(
        Line(PART, "nothing open (imports, configuration)", shown([one for one, _ in empty])),
        Line(PART, "the same, CPU", shown([one for _, one in empty])),
        Line(
            PART,
            f"{MANY:,} open",
            shown(took),
            goal=f"≤ {READY_S_AT_MOST:g} s",
            met=statistics.median(took) <= READY_S_AT_MOST,
        ),
        Line(PART, "the same, CPU", shown(used)),
    )
    table.check()


async def restart(server: Server) -> tuple[float, float]:
    """Kills it and starts it again; seconds until it says that it is ready, and of CPU."""
    await server.process.kill()
    began = time.perf_counter()
    starting = asyncio.ensure_future(start(server.process))
    await asyncio.sleep(LOOK_EVERY_S)
    while not ready(server.port):
        assert not starting.done() or starting.exception() is None, starting.exception()
        await asyncio.sleep(LOOK_EVERY_S)
    took = time.perf_counter() - began, server.cpu_s()
    await starting
    return took


def ready(port: int) -> bool:
    """Whether it answers 200 to `GET /-/ready`."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as asked:
            asked.sendall(b"GET /-/ready HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
            return asked.recv(100).startswith(b"HTTP/1.1 200")
    except OSError:
        return False


def shown(seconds: list[float]) -> str:
    """The median and the spread."""
    return f"{statistics.median(seconds):.2f} s ({spread(seconds)})"
