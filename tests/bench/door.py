"""The door alone, as a process: HTTP, authentication, parsing, and nobody behind. `python -m tests.bench.door PORT`."""

import asyncio
import sys
import time

import uvloop

from daemon.core.model.alert import ParsedAlert
from daemon.core.model.change import ParsedChange
from daemon.listening import Listener, bind
from daemon.settings.limits import Limits
from daemon.sources.body import Receive, Scope, Send
from daemon.sources.http import Intake
from daemon.sources.senders import Source


class Nowhere:
    """A receiver that lets everything fall."""

    def now_ms(self) -> int:
        """Wall time."""
        return int(time.time() * 1000)

    async def within(self, alerts: list[ParsedAlert], open_max: int) -> list[ParsedAlert]:
        """All of them."""
        return alerts

    async def intake(self, alerts: list[ParsedAlert]) -> None:
        """Nothing."""

    async def acknowledge(self, key: bytes, actor: str) -> None:
        """Nothing."""

    async def changes(self, changes: list[ParsedChange]) -> None:
        """Nothing."""

    async def dead_letter(self, source: str, reason: str, raw: bytes) -> None:
        """Nothing."""


async def serve(port: int) -> None:
    """Answers until it is told to stop."""
    limits = Limits(alerts_per_second_max=10_000_000, alerts_burst_max=100_000_000)
    intake = Intake({"prometheus": Source("prometheus", "alertmanager")}, Nowhere(), limits)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/-/ready":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b""})
            return
        scope["stranger"] = ""
        await intake(scope, receive, send)

    await Listener(app, bind("127.0.0.1", port), limits).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.Loop) as runner:
        runner.run(serve(int(sys.argv[1])))
