"""A daemon's HTTP side on a real socket: real store, runtime and server; only the outbox is left out."""

import contextlib
import random
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from daemon import wiring
from daemon.access import Access, Keys
from daemon.access.origin import Network
from daemon.api import app as api
from daemon.api.front import Front
from daemon.api.history import History
from daemon.api.observe import observe_state
from daemon.api.surface import Surface
from daemon.clock import SystemClock
from daemon.core.policy import Policy
from daemon.http_client import HttpClient
from daemon.listening import Listener, bind
from daemon.outbox import Outbox
from daemon.outbox_rules import Timing
from daemon.runtime import Runtime
from daemon.settings.limits import Limits
from daemon.sources.http import Intake
from daemon.sources.senders import Source
from daemon.store.queries import Queries, reading
from daemon.store.sqlite import SqliteStore
from sinks.base import Sink
from tests.unit.kit import policy as make_policy

OPERATOR = "operator-token-0123456789"
OPEN = {"prometheus": Source("prometheus", "alertmanager"), "scripts": Source("scripts", "native")}


class NoSinks:
    """A configuration without any."""

    def get(self, name: str, team: str) -> Sink:
        """See `outbox_lanes.Sinks`."""
        raise KeyError(name)


@dataclass
class Served:
    """What a test holds: the address, a client, and the parts behind them."""

    url: str
    client: aiohttp.ClientSession
    runtime: Runtime
    intake: Intake
    queries: Queries
    reloads: list[str]
    keys: Keys
    surface: Surface

    async def ask(
        self, method: str, path: str, body: bytes | None = None, **headers: str
    ) -> tuple[int, Any, Mapping[str, str]]:
        """Status, body (as JSON where it is) and header fields."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if body is not None:
            named.setdefault("content-type", "application/json")
        async with self.client.request(method, self.url + path, data=body, headers=named) as response:
            raw = await response.read()
            kind = response.headers.get("content-type", "")
            return response.status, await response.json() if raw and "json" in kind else raw, response.headers


@contextlib.asynccontextmanager
async def served(
    folder: Path,
    *,
    sources: Mapping[str, Source] | None = None,
    open_: bool = True,
    policy: Policy | None = None,
    body_bytes_max: int = 1 << 20,
    limits: Limits | None = None,
    proxies: tuple[Network, ...] = (),
) -> AsyncIterator[Served]:
    """Starts it on a free port, and stops it in the daemon's own order."""
    wanted = OPEN if sources is None else sources
    path = folder / "samband.db"
    runtime = await Runtime.open(policy or make_policy(), SqliteStore(path, build="test"), SystemClock())
    await runtime.start()
    queries = Queries(reading(path))
    bounds = limits or Limits(body_bytes_max=body_bytes_max)
    keys = Keys(OPERATOR)
    intake = Intake(wanted, wiring.Receiver(runtime), bounds, keys)
    types = {one.name: one.type for one in wanted.values()}
    http = HttpClient(1)
    outbox = Outbox(runtime, NoSinks(), http, Timing(), seeded())
    surface = Surface(runtime, History(queries), types, "https://s.example", "1", 1_000, keys, outbox, wanted)
    reloads: list[str] = []

    async def reload() -> str:
        reloads.append("asked")
        return "" if len(reloads) == 1 else "samband.yaml:1:1: mode: wrong"

    front = Front(
        intake,
        api.build(surface),
        Access(
            keys,
            open_=open_,
            loopback=open_,
            proxies=proxies,
            sources={one.name: one.tokens for one in wanted.values()},
        ),
        healthy=lambda: True,
        ready=lambda: runtime.healthy,
        reload=reload,
        observe=lambda: observe_state(runtime),
    )
    listener = Listener(front, bind("127.0.0.1", 0), bounds)
    await listener.start()
    try:
        async with aiohttp.ClientSession() as client:
            yield Served(f"http://{listener.address}", client, runtime, intake, queries, reloads, keys, surface)
    finally:
        await listener.stop()
        await http.close()
        with contextlib.suppress(Exception):
            await runtime.stop()


def seeded() -> random.Random:
    """Luck that is the same each time."""
    return random.Random(7)
