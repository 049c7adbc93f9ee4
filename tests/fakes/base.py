"""What all fakes have in common: a server on a real socket, faults on order, and a record of what came."""

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any, Self

from aiohttp import web

from tests.fakes.faults import Fault, misbehave
from tests.fakes.schemas import violations_of


class Fake:
    """A service. Use as an async context manager, or call `start` and `stop`.

    requests: method, path, headers and body of everything that came (faults included).
    violations: what was sent against the vendor's schema; a test asserts that there is none.
    faults: misbehaviours to come, see `tests.fakes.faults`.
    clock: monotonic seconds, for lag and rate; a test may put its own in.
    """

    name = "fake"

    def __init__(self, *, port: int = 0, clock: Callable[[], float] = time.monotonic) -> None:
        self.requests: list[dict[str, Any]] = []
        self.violations: list[str] = []
        self.faults: list[Fault] = []
        self.clock = clock
        self.on_event: Callable[[str], None] = lambda line: None
        self._port = port
        self._runner: web.AppRunner | None = None
        self._stopped = asyncio.Event()

    def routes(self) -> list[web.RouteDef]:
        """The service's routes."""
        raise NotImplementedError

    def objects(self, key: str) -> list[Any]:
        """What the service holds under a key of ours, oldest first, ended ones included."""
        raise NotImplementedError

    def open_objects(self, key: str) -> list[Any]:
        """Those of them that are not ended."""
        raise NotImplementedError

    def keys(self) -> list[str]:
        """All keys of ours that the service holds something under."""
        raise NotImplementedError

    def doubles(self) -> list[str]:
        """Keys under which there is more than one object that was not marked as a twin."""
        return [key for key in self.keys() if len(self.objects(key)) > 1]

    def state(self) -> Any:
        """Everything that the service holds, for people and other processes."""
        return {key: [vars(one) for one in self.objects(key)] for key in self.keys()}

    @property
    def url(self) -> str:
        """Base address, without the slash at its end."""
        return f"http://127.0.0.1:{self._port}"

    def misbehave(self, kind: str, **how: Any) -> None:
        """Orders a fault."""
        self.faults.append(Fault(kind, **how))

    def sent(self, method: str = "", path: str = "") -> list[dict[str, Any]]:
        """The requests that came by this method, with this in their path."""
        return [one for one in self.requests if one["method"].startswith(method) and path in one["path"]]

    def check_schema(self, schema: str, body: Any) -> str:
        """What is wrong with a request, "" when nothing is; kept in `violations` as well."""
        wrong = violations_of(schema, body)
        if wrong:
            self.violations.append(f"{schema}: {wrong}")
        return wrong

    def say(self, line: str) -> None:
        """Tells whoever watches what happened."""
        self.on_event(f"{self.name}: {line}")

    async def start(self) -> None:
        """Begins to listen (on a free port when none was given)."""
        app = web.Application(middlewares=[self._middleware], client_max_size=4 << 20)
        app.add_routes([web.get("/_fake", self._show), web.post("/_fake/faults", self._order), *self.routes()])
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port, reuse_address=True)
        await site.start()
        self._port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Stops; what hangs is cut off. What it holds stays, and it may be started again on its port."""
        self._stopped.set()
        if self._runner is not None:
            await self._runner.cleanup()
        self._runner, self._stopped = None, asyncio.Event()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @web.middleware
    async def _middleware(self, request: web.Request, handler: Any) -> web.StreamResponse:
        if request.path.startswith("/_fake"):
            answer: web.StreamResponse = await handler(request)
            return answer
        body = await request.read()
        self.requests.append(
            {
                "method": request.method,
                "path": request.path_qs,
                "headers": {name.lower(): value for name, value in request.headers.items()},
                "body": body.decode("utf-8", "replace"),
            }
        )
        fault = next((one for one in self.faults if one.fits(request)), None)
        if fault is None:
            answer = await handler(request)
            return answer
        fault.times -= 1
        self.faults = [one for one in self.faults if one.times > 0]
        return await misbehave(fault, request, handler, self._stopped)

    async def _show(self, request: web.Request) -> web.Response:
        """GET /_fake: what it holds, for other processes."""
        shown = {"objects": self.state(), "doubles": self.doubles(), "violations": self.violations}
        return web.json_response(shown | {"requests": len(self.requests)}, dumps=lambda o: json.dumps(o, default=str))

    async def _order(self, request: web.Request) -> web.Response:
        """POST /_fake/faults: orders a fault from outside; the body has the fields of `Fault`."""
        try:
            self.faults.append(Fault(**await request.json()))
        except (TypeError, ValueError) as error:
            return web.json_response({"error": str(error)}, status=400)
        return web.json_response({"faults": len(self.faults)}, status=201)


async def json_of(request: web.Request) -> Any:
    """The body as JSON, None when it is none."""
    try:
        return json.loads(await request.read())
    except ValueError:
        return None
