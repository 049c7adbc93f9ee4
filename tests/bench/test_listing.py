"""A listing of 100,000 alerts, page by page; Alertmanager gives all of them in one answer."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.bench.load import requests, send
from tests.bench.servers import Server, alertmanager, get, samband
from tests.bench.table import Line, Table
from tests.bench.test_open import MANY, fill

pytestmark = pytest.mark.bench

PART = f"A listing of {MANY:,} alerts"
PAGE = 1000
PEAK_AT_MOST = 0.1
"""Of the memory that Alertmanager's one answer takes: a page is a hundredth of it."""
POST_EVERY_S = 0.05


async def test_listing(tmp_path: Path, table: Table) -> None:
    async with samband(tmp_path / "samband") as server:
        await fill(server, 0, MANY)
        ours = await observed(server, pages)
    async with alertmanager(tmp_path / "alertmanager") as server:
        await fill(server, 0, MANY)
        theirs = await observed(server, whole)
    assert (ours.count, theirs.count) == (MANY, MANY)
    table.add(
        Line(PART, "all of it: time, bytes", f"{ours.took:.1f} s, {ours.size >> 20} MiB",
             f"{theirs.took:.1f} s, {theirs.size >> 20} MiB", f"{ours.took / theirs.took:.2f}×"),
        Line(PART, "CPU", f"{ours.cpu:.1f} s", f"{theirs.cpu:.1f} s", f"{ours.cpu / theirs.cpu:.2f}×"),
        Line(PART, "longest wait for one answer", f"{ours.longest * 1e3:.0f} ms", f"{theirs.longest * 1e3:.0f} ms"),
        Line(PART, "longest answer to a POST of one alert meanwhile", f"{ours.post * 1e3:.0f} ms",
             f"{theirs.post * 1e3:.0f} ms"),
        Line(PART, "RSS at its peak above that before", f"{ours.peak >> 20} MiB", f"{theirs.peak >> 20} MiB",
             f"{ours.peak / theirs.peak:.2f}×", f"≤ {PEAK_AT_MOST:g}×", ours.peak <= PEAK_AT_MOST * theirs.peak),
    )  # fmt: skip
    table.check()


class Observed:
    """A listing: how many alerts and bytes, seconds in all, of CPU, and of the longest answer; the peak of memory."""

    def __init__(self) -> None:
        self.count = self.size = self.peak = 0
        self.took = self.cpu = self.longest = self.post = 0.0

    async def ask(self, url: str) -> bytes:
        """One answer."""
        began = time.perf_counter()
        body = await get(url)
        self.longest = max(self.longest, time.perf_counter() - began)
        self.size += len(body)
        return body


Listing = Callable[[Server, Observed], Awaitable[None]]


async def pages(server: Server, found: Observed) -> None:
    """Page by page, as the cursor leads."""
    cursor: str | None = ""
    while cursor is not None:
        page = json.loads(await found.ask(f"{server.url}/api/v1/alerts?limit={PAGE}&cursor={cursor}"))
        found.count += len(page["items"])
        cursor = page["next"]


async def whole(server: Server, found: Observed) -> None:
    """The one answer that Alertmanager has; it is read in another thread, so that the POSTs go on."""
    body = await found.ask(f"{server.url}/api/v2/alerts")
    found.count = len(await asyncio.to_thread(json.loads, body))


async def observed(server: Server, listing: Listing) -> Observed:
    """The listing, while somebody posts one repeated alert twenty times a second."""
    found = Observed()
    await server.quiet()
    server.forget_peak()
    before, cpu, began = server.rss(), server.cpu_s(), time.perf_counter()
    ended = asyncio.Event()
    posting = asyncio.create_task(posts(server, found, ended))
    await listing(server, found)
    found.took, found.cpu = time.perf_counter() - began, server.cpu_s() - cpu
    found.peak = max(1, server.peak() - before)
    ended.set()
    await posting
    return found


async def posts(server: Server, found: Observed, ended: asyncio.Event) -> None:
    """Until the listing has ended; keeps the longest answer."""
    turn = 1
    while not ended.is_set():
        (took,) = await send(server.port, requests([0], 1, turn), 1)
        found.post, turn = max(found.post, took), turn + 1
        await asyncio.sleep(POST_EVERY_S)
