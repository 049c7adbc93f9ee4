"""The world behind the socket: the services' models in this process, and a network in between that misbehaves."""

import asyncio
import re
from collections.abc import Callable, Coroutine
from random import Random
from typing import Any, NamedTuple

from multidict import CIMultiDict
from yarl import URL

from sinks.base import HttpError, Reason, Request, Response
from tests.fakes.base import Fake
from tests.fakes.jira import FakeJira
from tests.fakes.pagerduty import FakePagerDuty
from tests.fakes.statuspage import FakeStatuspage
from tests.fakes.webhook import FakeWebhook
from tests.simulation.buzzer import FakeBuzzer
from tests.simulation.coverage import FAULTS
from tests.simulation.life import Life, about
from tests.simulation.loop import VirtualLoop

TIMEOUT_S = 10.0
LATE_S = 150.0
"""So long after its sender gave up a request may still be carried out."""
TROUBLES = tuple(fault for fault in FAULTS if fault)
AMBIGUOUS = ("error", "error_after", "hang", "hang_after", "late", "reset", "reset_after", "garbage", "unavailable")
"""After these the sender cannot know whether its request was carried out."""
HOSTS = {"pager": "pagerduty", "desk": "jira", "page": "statuspage", "hook": "webhook", "buzzer": "buzzer",
         "second": "webhook2"}  # fmt: skip
"""Sink -> the host that its requests go to."""
SINK_OF = {host: sink for sink, host in HOSTS.items()}


class Spell(NamedTuple):
    """Bad weather between us and one service."""

    service: str
    begin: float
    end: float
    troubles: tuple[str, ...]
    share: float


class Asked(NamedTuple):
    """A request as it went through the network: when, from which sink, and what befell it ("" for nothing)."""

    at: float
    sink: str
    request: Request
    trouble: str

    @property
    def makes(self) -> bool:
        """Whether it asks for a new object at a sink that is read back."""
        return self.request.method == "POST" and self.request.url.endswith(("/issue", "/incidents"))


class _Incoming:
    """As much of aiohttp's request as the models look at."""

    def __init__(self, request: Request, url: URL, found: dict[str, str]) -> None:
        self.method, self.path, self.path_qs = request.method, url.path, url.path_qs
        self.query, self.match_info = url.query, found
        self.headers = CIMultiDict(request.headers)
        self._body = request.body

    async def read(self) -> bytes:
        """The body."""
        return self._body


class Services:
    """The services, each under its name as host. asked: everything that went through the network."""

    def __init__(self, loop: VirtualLoop, luck: Random, spells: list[Spell]) -> None:
        self.loop, self.luck, self.spells = loop, luck, spells
        self.pagerduty = FakePagerDuty(clock=loop.time)
        self.jira = FakeJira(clock=loop.time, lag_s=20.0)
        self.statuspage = FakeStatuspage(clock=loop.time, lag_s=5.0)
        self.webhook, self.webhook2 = FakeWebhook(clock=loop.time), FakeWebhook(clock=loop.time)
        self.buzzer = FakeBuzzer(clock=loop.time)
        self.all: dict[str, Fake] = {
            "pagerduty": self.pagerduty,
            "jira": self.jira,
            "statuspage": self.statuspage,
            "webhook": self.webhook,
            "webhook2": self.webhook2,
            "buzzer": self.buzzer,
        }
        self.asked: list[Asked] = []
        self.last: dict[tuple[str, str], str] = {}
        self.late = False
        self._routes = {name: [_compiled(route) for route in fake.routes()] for name, fake in self.all.items()}

    async def act(self, request: Request) -> Response:
        """The service carries the request out."""
        url = URL(request.url)
        for method, path, handler in self._routes[url.host or ""]:
            match = path.fullmatch(url.path) if method == request.method else None
            if match:
                answer = await handler(_Incoming(request, url, match.groupdict()))
                body = answer.body
                headers = {name.lower(): value for name, value in answer.headers.items()}
                return Response(answer.status, headers, body if isinstance(body, bytes) else b"")
        return Response(404, {}, b"")

    def trouble(self, service: str) -> str:
        """What goes wrong with a request now, "" for nothing."""
        now = self.loop.time()
        for spell in self.spells:
            if spell.service == service and spell.begin <= now < spell.end and self.luck.random() < spell.share:
                return self.luck.choice(spell.troubles)
        return ""


def _compiled(route: Any) -> tuple[str, "re.Pattern[str]", Callable[[Any], Coroutine[Any, Any, Any]]]:
    return route.method, _pattern(route.path), route.handler


_PATTERNS: dict[str, "re.Pattern[str]"] = {}


def _pattern(path: str) -> "re.Pattern[str]":
    if path not in _PATTERNS:
        parts = re.split(r"\{(\w+)(?::([^}]*))?\}", path)
        pattern = re.escape(parts[0])
        for name, expression, rest in zip(parts[1::3], parts[2::3], parts[3::3], strict=True):
            pattern += f"(?P<{name}>{expression or '[^/]+'})" + re.escape(rest)
        _PATTERNS[path] = re.compile(pattern)
    return _PATTERNS[path]


class Network:
    """`sinks.base.Http` of one life of the daemon."""

    def __init__(self, services: Services, life: Life) -> None:
        self._services, self._life = services, life
        self.timeout_s = 10.0

    async def request(self, request: Request) -> Response:
        """Sends one request through the weather. Raises HttpError."""
        host = URL(request.url).host or ""
        sink = SINK_OF[host]
        if self._life.frozen_until:
            await self._life.thawed()
        key = about.get()
        if not self._life.meets("before-send", sink, key):
            await asyncio.Event().wait()
        services = self._services
        trouble = services.trouble(host)
        services.asked.append(Asked(services.loop.time(), sink, request, trouble))
        try:
            return await self._through(request, trouble)
        finally:
            if self._life.frozen_until:
                await self._life.thawed()
            services.last[sink, key] = trouble
            if not self._life.meets("after-send", sink, key):
                await asyncio.Event().wait()

    async def _through(self, request: Request, trouble: str) -> Response:
        services = self._services
        luck = services.luck
        await asyncio.sleep(luck.uniform(0.005, 0.3) if trouble != "slow" else luck.uniform(2, 9))
        match trouble:
            case "refused":
                raise HttpError(Reason.UNREACHABLE, "refused", sent=False)
            case "no_connection":
                await asyncio.sleep(TIMEOUT_S)
                raise HttpError(Reason.TIMEOUT, "no connection", sent=False)
            case "hang" | "late":
                if trouble == "late":
                    services.loop.call_later(TIMEOUT_S + luck.uniform(0, LATE_S), self._act_late, request)
                await asyncio.sleep(TIMEOUT_S)
                raise HttpError(Reason.TIMEOUT, "no answer", sent=True)
            case "reset":
                raise HttpError(Reason.UNREACHABLE, "reset", sent=True)
            case "" | "slow":
                return await services.act(request)
        if (refusal := self._refusal(trouble)) is not None:
            return refusal
        response = await services.act(request)
        match trouble:
            case "error_after":
                return Response(500, {}, b"oops")
            case "garbage":
                return Response(200 if response.status == 204 else response.status, {}, b"<html>so be it</html>")
            case "hang_after":
                await asyncio.sleep(TIMEOUT_S)
                raise HttpError(Reason.TIMEOUT, "no answer", sent=True)
        raise HttpError(Reason.UNREACHABLE, "reset", sent=True)

    def _refusal(self, trouble: str) -> Response | None:
        """An answer without anything having been done."""
        luck = self._services.luck
        match trouble:
            case "throttled":
                return Response(429, {"retry-after": str(luck.randint(1, 90))}, b"slow down")
            case "throttled_bare":
                return Response(429, {}, b"slow down")
            case "unavailable":
                return Response(503, {"retry-after": str(luck.randint(1, 30))}, b"later")
            case "rejected":
                return Response(400, {}, b"this is not what we take")
            case "credentials":
                return Response(luck.choice((401, 403)), {}, b"who are you?")
            case "error":
                return Response(luck.choice((500, 502, 503)), {}, b"oops")
        return None

    def _act_late(self, request: Request) -> None:
        """Whatever has become of the daemon in the meantime."""

        async def acting() -> None:
            self._services.late = True
            await self._services.act(request)
            self._services.late = False

        asyncio.Task(acting(), loop=self._services.loop)
