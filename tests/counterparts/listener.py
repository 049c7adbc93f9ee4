"""Two small servers of our own: one that writes down what it is sent, one whose gauges Prometheus scrapes."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Self

from aiohttp import web


@dataclass(frozen=True)
class Request:
    """One request as it came in."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    at: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def json(self) -> Any:  # the test knows what it expects
        """The body, read as JSON."""
        return json.loads(self.body)


class _Server:
    """An HTTP server on a free port of loopback."""

    def __init__(self) -> None:
        self.url = ""
        self._runner: web.ServerRunner | None = None

    async def __aenter__(self) -> Self:
        self._runner = web.ServerRunner(web.Server(self._answer))
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    @property
    def address(self) -> str:
        """Host and port, as Prometheus wants a target."""
        return self.url.removeprefix("http://")

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        raise NotImplementedError


class Listener(_Server):
    """Writes down every request and answers with `status`, which a test may change."""

    def __init__(self, status: int = 200) -> None:
        super().__init__()
        self.status = status
        self.requests: list[Request] = []
        self._heard = asyncio.Condition()

    async def wait_for(self, wanted: Callable[[Request], bool], within_s: float = 30.0) -> Request:
        """The first request that is wanted, among those that came and those that come."""

        def first() -> Request | None:
            return next((request for request in self.requests if wanted(request)), None)

        async with self._heard:
            try:
                found = await asyncio.wait_for(self._heard.wait_for(first), within_s)
            except TimeoutError:
                raise TimeoutError(f"not among {len(self.requests)} requests in {within_s:g} s") from None
        assert found is not None
        return found

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        heard = Request(request.method, request.path_qs, dict(request.headers), await request.read())
        async with self._heard:
            self.requests.append(heard)
            self._heard.notify_all()
        return web.Response(status=self.status)


class Gauges(_Server):
    """What Prometheus scrapes: a sample per line, set by the test, as in `gauges.set('errors{service="a"}', 1)`."""

    def __init__(self) -> None:
        super().__init__()
        self._samples: dict[str, float] = {}

    def set(self, sample: str, value: float) -> None:
        """Give a sample, a name with its labels, this value from the next scrape on."""
        self._samples[sample] = value

    def remove(self, sample: str) -> None:
        """Let a sample vanish, as when what it measured is gone."""
        del self._samples[sample]

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        text = "".join(f"{sample} {value:g}\n" for sample, value in self._samples.items())
        return web.Response(text=text, content_type="text/plain", charset="utf-8")
