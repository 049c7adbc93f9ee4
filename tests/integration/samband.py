"""The daemon under test: a real process with a real configuration file, asked over HTTP and the command line."""

import asyncio
import contextlib
import inspect
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import aiohttp

from tests.counterparts.process import LOOK_EVERY_S, Process, free_port
from tests.fakes.base import Fake
from tests.fakes.jira import FakeJira
from tests.fakes.pagerduty import FakePagerDuty
from tests.fakes.statuspage import FakeStatuspage

WITHIN_S = 60.0
"""Generous, because a shared machine may be busy; nothing waits for it when all is well."""


async def until(what: Callable[[], Any], says: str, within_s: float = WITHIN_S) -> Any:
    """Asks again and again (`what` may be a coroutine function) until the answer is true, and returns it."""
    deadline = time.monotonic() + within_s
    while True:
        answer = what()
        found = await answer if inspect.isawaitable(answer) else answer
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within_s:g} s: {says}; the last answer was {found!r}")
        await asyncio.sleep(LOOK_EVERY_S)


@dataclass
class Sinks:
    """The three services that are told: a pager, a desk for tickets, a public page."""

    pager: FakePagerDuty = field(default_factory=FakePagerDuty)
    desk: FakeJira = field(default_factory=FakeJira)
    page: FakeStatuspage = field(default_factory=FakeStatuspage)

    async def __aenter__(self) -> Self:
        for one in self.all:
            await one.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        for one in self.all:
            await one.stop()

    @property
    def all(self) -> tuple[Fake, Fake, Fake]:
        """The three of them."""
        return self.pager, self.desk, self.page

    def config(self) -> dict[str, Any]:
        """`sinks:` of the configuration."""
        return {
            "pager": {"type": "pagerduty", "url": self.pager.url, "routing_key": self.pager.routing_key},
            "desk": {"type": "jira", "url": self.desk.url, "project": "OPS", "user": "bot@example.org", "token": "t"},
            "page": {"type": "statuspage", "url": self.page.url, "page": self.page.page, "token": self.page.token},
        }

    def requests(self) -> int:
        """How many requests have come to any of them."""
        return sum(len(one.requests) for one in self.all)

    def in_order(self) -> None:
        """Fails when one of them was told what its vendor refuses, or holds two objects for one key."""
        for one in self.all:
            assert one.violations == [], one.name
            assert one.doubles() == [], one.name


class Samband(Process):
    """One daemon with its configuration and store in a folder. `start` after `kill` is a restart on the same store."""

    def __init__(self, folder: Path, config: dict[str, Any]) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.config = folder / "samband.yaml"
        command = [sys.executable, "-m", "daemon.cli", "run", "--config", str(self.config)]
        super().__init__(command, folder, f"{self.url}/-/ready")
        # JSON is YAML, and cannot be indented wrongly.
        self.config.write_text(json.dumps({"listen": f"127.0.0.1:{port}", **config}))

    @property
    def events(self) -> list[dict[str, Any]]:
        """What it has logged: JSON lines, because nobody watches on a terminal."""
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]

    async def ask(self, method: str, path: str, body: object = None, *, token: str = "") -> tuple[int, Any]:
        """Status and answer (as JSON where it is). Raises what aiohttp raises when nobody answers."""
        headers = {"authorization": f"Bearer {token}"} if token else {}
        limit = aiohttp.ClientTimeout(total=30)
        async with (
            aiohttp.ClientSession(timeout=limit) as session,
            session.request(method, self.url + path, json=body, headers=headers) as answer,
        ):
            is_json = "json" in answer.headers.get("content-type", "")
            return answer.status, await answer.json() if is_json else await answer.text()

    async def get(self, path: str) -> Any:
        """The answer to a GET that must succeed."""
        status, answer = await self.ask("GET", path)
        assert status == 200, f"GET {path}: {status} {answer}"
        return answer

    async def all_of(self, path: str) -> list[Any]:
        """Every item of a listing, page after page."""
        items: list[Any] = []
        cursor = ""
        while True:
            page = await self.get(f"{path}?limit=500&cursor={cursor}")
            items += page["items"]
            cursor = page["next"] or ""
            if not cursor:
                return items

    async def incidents(self, *states: str) -> list[dict[str, Any]]:
        """The incidents in these states, oldest first; without any: all but those merged into another."""
        found = [one for one in await self.all_of("/api/v1/incidents") if one["merged_into"] is None]
        return [one for one in reversed(found) if not states or one["state"] in states]

    async def alerts(self) -> list[dict[str, Any]]:
        """Every alert that it lists."""
        return await self.all_of("/api/v1/alerts")

    async def send(self, alerts: Sequence[dict[str, Any]], path: str = "/api/v2/alerts") -> bool:
        """Posts alerts once, as Prometheus does; whether they were answered with a 2xx."""
        with contextlib.suppress(aiohttp.ClientError, TimeoutError):
            status, _ = await self.ask("POST", path, list(alerts))
            return status < 300
        return False

    async def cli(self, *arguments: str) -> tuple[int, str]:
        """Runs `samband …` against this daemon: exit code, and what it printed (stderr after stdout)."""
        command = [sys.executable, "-m", "daemon.cli", *arguments, "--config", str(self.config)]
        running = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        said, complained = await running.communicate()
        assert running.returncode is not None
        return running.returncode, said.decode() + complained.decode()
