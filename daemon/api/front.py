"""The one ASGI application that listens: intake, the daemon's own paths, and everything else behind access.

Only `/-/healthy` and `/-/ready` answer anybody, and they say nothing.
"""

from collections.abc import Awaitable, Callable

import orjson

from daemon import metrics
from daemon.access import Access, foreign_page, presented
from daemon.sources.answers import Answer, failure
from daemon.sources.body import Receive, Scope, Send
from daemon.sources.http import Intake

Asgi = Callable[[Scope, Receive, Send], Awaitable[None]]

PLAIN = (b"content-type", b"text/plain; charset=utf-8")


class Front:
    """Dispatches. Handed in: the parts, and what the daemon's own paths ask.

    healthy: it can go on. ready: it takes alerts and can make them durable. reload: reads the
    configuration again and returns what is wrong with it ("" when it is in force). observe: sets the
    gauges that are only worked out when somebody looks.
    """

    def __init__(
        self,
        intake: Intake,
        api: Asgi,
        access: Access,
        *,
        healthy: Callable[[], bool],
        ready: Callable[[], bool],
        reload: Callable[[], Awaitable[str]],
        observe: Callable[[], Awaitable[None]],
    ) -> None:
        self.access = access
        self._intake, self._api = intake, api
        self._healthy, self._ready, self._reload, self._observe = healthy, ready, reload, observe

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request. Anything but HTTP is refused by the server before."""
        method, path = scope["method"], scope["path"]
        if Intake.handles(method, path):
            await self._intake(scope, receive, send)
        elif path.startswith("/-/") or path == "/metrics":
            await (await self._own(method, path, scope)).send(send)
        elif actor := self.access.actor(scope["headers"]):
            scope["actor"] = actor
            await self._api(scope, receive, send)
        else:
            await self._refuse(scope).send(send)

    async def _own(self, method: str, path: str, scope: Scope) -> Answer:
        match path, method:
            case "/-/healthy", "GET" | "HEAD":
                return _plain(200, b"healthy\n") if self._healthy() else _plain(503, b"unhealthy\n")
            case "/-/ready", "GET" | "HEAD":
                return _plain(200, b"ready\n") if self._ready() else _plain(503, b"not ready\n")
            case "/metrics", "GET" | "HEAD":
                if not self.access.may_scrape(scope["headers"]):
                    return self._refuse(scope)
                await self._observe()
                return Answer(200, metrics.exposition(), ((b"content-type", metrics.CONTENT_TYPE.encode()),))
            case "/-/reload", "POST" | "PUT":
                if not self.access.actor(scope["headers"]):
                    return self._refuse(scope)
                problems = await self._reload()
                return failure(422, problems) if problems else Answer(200, orjson.dumps({"reloaded": True}))
            case (("/-/healthy" | "/-/ready" | "/metrics" | "/-/reload"), _):
                return failure(405, f"{method[:20]} is not answered here")
            case _:
                return failure(404, "there is nothing here")

    def _refuse(self, scope: Scope) -> Answer:
        """401 without a fitting token; 403 where none is needed, and a foreign web page asked."""
        if self.access.open and presented(scope["headers"]) is None:
            return failure(403, foreign_page(scope["headers"]) or "refused")
        return failure(401, "a token is needed: Authorization: Bearer TOKEN (operator.token beside the store)")


def _plain(status: int, text: bytes) -> Answer:
    return Answer(status, text, (PLAIN,))
