"""Senders whose alerts bear a name of their own each, and who note what was answered, and on which connection."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import aiohttp

from tests.counterparts.process import free_port
from tests.integration.estate import alert
from tests.integration.samband import Samband

SERVICES = ("web", "catalog", "checkout", "orders", "portal", "batch-01", "batch-02", "batch-03")


@dataclass
class Answer:
    """One answer. port: the sender's own; names: of the alerts that were asked for."""

    port: int
    status: int
    names: Sequence[str]


@dataclass
class Load:
    """What was sent and answered so far. Every name is a word that stands nowhere else."""

    samband: Samband
    answers: list[Answer] = field(default_factory=list)
    _next: int = 0

    @property
    def accepted(self) -> list[str]:
        """The names of all alerts that were answered with a 2xx."""
        return [name for one in self.answers if one.status < 300 for name in one.names]

    async def send(self, requests: int, size: int, senders: int = 3) -> None:
        """So many requests with so many new alerts each, by so many senders side by side.

        A sender stops when nobody answers any more.
        """
        waiting = [[self._name() for _ in range(size)] for _ in range(requests)]
        await asyncio.gather(*(self._sender(waiting) for _ in range(senders)))

    def _name(self) -> str:
        self._next += 1
        return f"Probe{self._next:06d}x"

    async def _sender(self, waiting: list[list[str]]) -> None:
        port = free_port()
        connector = aiohttp.TCPConnector(limit=1, local_addr=("127.0.0.1", port))
        limit = aiohttp.ClientTimeout(total=60)
        async with aiohttp.ClientSession(connector=connector, timeout=limit) as session:
            while waiting:
                names = waiting.pop(0)
                body = [_alert(name) for name in names]
                try:
                    async with session.post(f"{self.samband.url}/api/v2/alerts", json=body) as answer:
                        self.answers.append(Answer(port, answer.status, names))
                except (aiohttp.ClientError, TimeoutError):
                    return


def _alert(name: str) -> dict[str, object]:
    service = SERVICES[int(name[5:11]) % len(SERVICES)]
    return alert(name, ("critical", "warning")[int(name[5:11]) % 2], service=service, instance=f"{service}-1")
