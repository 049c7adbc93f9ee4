"""What open alerts cost: memory for each, and time for the others, when there are a thousand or a hundred thousand."""

import contextlib
import statistics
from pathlib import Path

import pytest

from tests.bench.load import requests, send
from tests.bench.pairs import Side, ratios
from tests.bench.servers import Server, alertmanager, samband
from tests.bench.table import Line, Table, spread, times

pytestmark = pytest.mark.bench

MEMORY = "Memory per open alert (RSS at 100,000 less RSS at 10,000)"
FLAT = "CPU per alert by how many are open, batch 64"
FEW, MANY = 10_000, 100_000
KIB_AT_MOST = 3.0
OPEN = (1_000, 10_000, 100_000)
FLAT_AT_MOST = 1.2
SLICES, IN_SLICE, BATCH, CONNECTIONS = 9, 640, 64, 16
FILL_BATCH, FILL_CONNECTIONS = 1000, 2


async def fill(server: Server, first: int, last: int) -> None:
    """New alerts with these numbers."""
    for begin in range(first, last, 10_000):
        numbers = range(begin, min(last, begin + 10_000))
        await send(server.port, requests(numbers, FILL_BATCH), FILL_CONNECTIONS)


async def test_memory_per_open_alert(tmp_path: Path, table: Table) -> None:
    found = []
    for server_at in (samband(tmp_path / "samband"), alertmanager(tmp_path / "alertmanager")):
        async with server_at as server:
            await fill(server, 0, FEW)
            await server.quiet()
            before = server.rss()
            await fill(server, FEW, MANY)
            await server.quiet()
            found.append((server.rss() - before) / (MANY - FEW) / 1024)
    ours, theirs = found
    shown = f"{ours:.2f} KiB", f"{theirs:.2f} KiB"
    table.add(Line(MEMORY, "each", *shown, f"{ours / theirs:.2f}×", f"≤ {KIB_AT_MOST:g} KiB", ours <= KIB_AT_MOST))
    table.check()


async def test_cost_by_how_many_are_open(tmp_path: Path, table: Table) -> None:
    """Three servers, each with its own number of open alerts, in alternating slices."""
    async with contextlib.AsyncExitStack() as stack:
        servers = {}
        for count in OPEN:
            servers[count] = await stack.enter_async_context(samband(tmp_path / f"{count}"))
            await fill(servers[count], 0, count)
            await servers[count].quiet()
        for kind, sides in (("new", new(servers)), ("repeated", repeated(servers))):
            for number in range(SLICES + 2):
                for count in OPEN if number % 2 else reversed(OPEN):
                    await sides[count].slice(number, CONNECTIONS)
            note(table, kind, sides)
    table.check()


def new(servers: dict[int, Server]) -> dict[int, Side]:
    """Slices of alerts that were never seen; some thousand are added to those that are open."""

    def bodies(number: int) -> list[bytes]:
        first = 10 * MANY + number * IN_SLICE
        return requests(range(first, first + IN_SLICE), BATCH)

    return {count: Side(server, bodies, IN_SLICE) for count, server in servers.items()}


def repeated(servers: dict[int, Server]) -> dict[int, Side]:
    """Slices of those that are open, spread over all of them; four times as many, because they cost less."""
    size = 4 * IN_SLICE

    def side(count: int, server: Server) -> Side:
        def bodies(number: int) -> list[bytes]:
            return requests(
                (step * 7919 % count for step in range(number * size, (number + 1) * size)), BATCH, number + 1
            )

        return Side(server, bodies, size)

    return {count: side(count, server) for count, server in servers.items()}


def note(table: Table, kind: str, sides: dict[int, Side]) -> None:
    """A line for each number of open alerts; the goal is against the smallest."""
    for side in sides.values():
        side.close()
    few = sides[OPEN[0]]
    for count, side in sides.items():
        costs = [1e6 / rate for rate in side.per_cpu_s]
        shown = f"{statistics.median(costs):.1f} µs ({spread(costs, '.1f')})"
        what = f"{kind}, {count:,} open"
        if side is few:
            table.add(Line(FLAT, what, shown))
            continue
        found = ratios(few.per_cpu_s, side.per_cpu_s)
        met = statistics.median(found) <= FLAT_AT_MOST
        table.add(Line(FLAT, what, shown, "", times(found), f"≤ {FLAT_AT_MOST:g}× of {OPEN[0]:,}", met))
