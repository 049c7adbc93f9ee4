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
from tests.simulation.life import Life
from tests.simulation.loop import NeverReturns, VirtualLoop

TIMEOUT_S = 10.0
LATE_S = 150.0
"""So long after its sender gave up a request may still be carried out."""
TROUBLES = ("refused", "no_connection", "throttled", "error", "error_after", "hang", "hang_after", "late", "reset",
            "reset_after", "slow")  # fmt: skip
"""What can go wrong with one request. `…_after`: it was carried out; late: it is, after its sender gave up.
Only on order: rejected."""


class Spell(NamedTuple):
    """Bad weather between us and one service."""

    service: str
    begin: float
    end: float
    troubles: tuple[str, ...]
    share: float


class _Asked:
    """As much of aiohttp's request as the models look at."""

    def __init__(self, request: Request, found: dict[str, str]) -> None:
        url = URL(request.url)
        self.method, self.path, self.path_qs = request.method, url.path, url.path_qs
        self.query, self.match_info = url.query, found
        self.headers = CIMultiDict(request.headers)
        self._body = request.body

    async def read(self) -> bytes:
        """The body."""
        return self._body


class Services:
    """The four services, each under its name as host."""

    def __init__(self, loop: VirtualLoop, luck: Random, spells: list[Spell]) -> None:
        self.loop, self.luck, self.spells = loop, luck, spells
        self.pagerduty = FakePagerDuty(clock=loop.time)
        self.jira = FakeJira(clock=loop.time, lag_s=20.0)
        self.statuspage = FakeStatuspage(clock=loop.time, lag_s=5.0)
        self.webhook = FakeWebhook(clock=loop.time)
        self.all: dict[str, Fake] = {
            "pagerduty": self.pagerduty,
            "jira": self.jira,
            "statuspage": self.statuspage,
            "webhook": self.webhook,
        }
        self._routes = {name: [_compiled(route) for route in fake.routes()] for name, fake in self.all.items()}

    async def act(self, request: Request) -> Response:
        """The service carries the request out."""
        url = URL(request.url)
        for method, path, handler in self._routes[url.host or ""]:
            match = path.fullmatch(url.path)
            if match and method == request.method:
                answer = await handler(_Asked(request, match.groupdict()))
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
    parts = re.split(r"\{(\w+)(?::([^}]*))?\}", route.path)
    pattern = re.escape(parts[0])
    for name, expression, rest in zip(parts[1::3], parts[2::3], parts[3::3], strict=True):
        pattern += f"(?P<{name}>{expression or '[^/]+'})" + re.escape(rest)
    return route.method, re.compile(pattern), route.handler


class Network:
    """`sinks.base.Http` of one life of the daemon."""

    def __init__(self, services: Services, life: Life) -> None:
        self._services, self._life = services, life
        self.timeout_s = 10.0

    async def request(self, request: Request) -> Response:
        """Sends one request through the weather. Raises HttpError."""
        try:
            self._life.passes("before-send")
            response = await self._through(request)
            self._life.passes("after-send")
        except NeverReturns:
            await asyncio.Event().wait()
            raise AssertionError from None
        return response

    async def _through(self, request: Request) -> Response:
        services = self._services
        trouble = services.trouble(URL(request.url).host or "")
        await asyncio.sleep(services.luck.uniform(0.005, 0.3) if trouble != "slow" else services.luck.uniform(2, 9))
        match trouble:
            case "refused":
                raise HttpError(Reason.UNREACHABLE, "refused", sent=False)
            case "no_connection":
                await asyncio.sleep(TIMEOUT_S)
                raise HttpError(Reason.TIMEOUT, "no connection", sent=False)
            case "throttled":
                return Response(429, {"retry-after": str(services.luck.randint(1, 90))}, b"slow down")
            case "rejected":
                return Response(400, {}, b"this is not what we take")
            case "error":
                return Response(services.luck.choice((500, 502, 503)), {}, b"oops")
            case "hang":
                await asyncio.sleep(TIMEOUT_S)
                raise HttpError(Reason.TIMEOUT, "no answer", sent=True)
            case "late":
                services.loop.call_later(TIMEOUT_S + services.luck.uniform(0, LATE_S), self._act_late, request)
                await asyncio.sleep(TIMEOUT_S)
                raise HttpError(Reason.TIMEOUT, "no answer", sent=True)
            case "reset":
                raise HttpError(Reason.UNREACHABLE, "reset", sent=True)
        response = await services.act(request)
        match trouble:
            case "error_after":
                return Response(500, {}, b"oops")
            case "hang_after":
                await asyncio.sleep(TIMEOUT_S)
                raise HttpError(Reason.TIMEOUT, "no answer", sent=True)
            case "reset_after":
                raise HttpError(Reason.UNREACHABLE, "reset", sent=True)
        return response

    def _act_late(self, request: Request) -> None:
        """Whatever has become of the daemon in the meantime."""
        asyncio.Task(self._services.act(request), loop=self._services.loop)
