"""The one ASGI application that listens: intake, the daemon's own paths, and everything else behind access.

Only `/-/healthy` and `/-/ready` answer anybody, and they say nothing.
"""

from collections.abc import Awaitable, Callable
from urllib.parse import parse_qs

import orjson

from daemon import metrics
from daemon.access import Access, Arrival
from daemon.access.door import Verdict
from daemon.access.keys import COOKIE, SESSION_SECONDS
from daemon.sources.answers import Answer, am_method, am_not_found, failure, unavailable
from daemon.sources.body import Body, BodyError, ClientGone, Message, Receive, Scope, Send
from daemon.sources.http import Intake
from daemon.sources.nesting import too_deep

Asgi = Callable[[Scope, Receive, Send], Awaitable[None]]

PLAIN = (b"content-type", b"text/plain; charset=utf-8")
HOME = b"/api/v1/incidents"
"""Where a browser goes that has logged in."""
SHORT_BODY_BYTES_MAX = 4 * 1024 * 1024
"""Bodies beside the intake are short: what a person says about an incident, or a pipeline about its changes."""


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
        came = self.access.arrival(scope)
        scope["client"], scope["scheme"], scope["stranger"] = (came.client, 0), came.scheme, came.stranger
        if Intake.handles(method, path):
            await self._intake(scope, receive, send)
            return
        verdict = self.access.judge(method, path, scope["headers"], came)
        if verdict.status:
            await _refused(method, path, verdict).send(send)
        elif path.startswith("/-/") or path in ("/metrics", "/login"):
            await (await self._own(method, path, scope, came)).send(send)
        elif verdict.caller is not None:
            scope["actor"], scope["role"] = verdict.caller.name, verdict.caller.role
            await self._ask_api(scope, receive, send)

    async def _ask_api(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Reads the body within the limits, and hands it to the API whole."""
        if scope["method"] in ("GET", "HEAD", "DELETE"):
            await self._api(scope, receive, send)
            return
        announced = next((value for name, value in scope["headers"] if name == b"content-length"), b"")
        with Body(self._intake.limits, self._intake.buffered, announced.decode("latin-1")) as body:
            try:
                raw = await body.read(receive, SHORT_BODY_BYTES_MAX)
                if too_deep(raw, depth := self._intake.limits.nesting_depth_max):
                    raise BodyError(400, f"nested more deeply than {depth} levels (limits.nesting_depth_max)")
            except ClientGone:
                return
            except BodyError as error:
                if error.retry_after_s:
                    await unavailable(error.retry_after_s, error.text, error.status).send(send)
                else:
                    await failure(error.status, error.text).send(send)
                return
            await self._api(scope, _given(raw, receive), send)

    async def _own(self, method: str, path: str, scope: Scope, came: Arrival) -> Answer:
        match path:
            case "/-/healthy":
                return _plain(200, b"healthy\n") if self._healthy() else _plain(503, b"unhealthy\n")
            case "/-/ready":
                return _plain(200, b"ready\n") if self._ready() else _plain(503, b"not ready\n")
            case "/login":
                return self._log_in(scope, came)
            case "/metrics":
                await self._observe()
                return Answer(200, metrics.exposition(), ((b"content-type", metrics.CONTENT_TYPE.encode()),))
            case _:
                problems = await self._reload()
                return failure(422, problems) if problems else Answer(200, orjson.dumps({"reloaded": True}))

    def _log_in(self, scope: Scope, came: Arrival) -> Answer:
        """A link that works once becomes a session of the local operator."""
        given = parse_qs(scope["query_string"].decode("latin-1")).get("code", [""])
        session = self.access.keys.sessions.redeem(given[0])
        if not session:
            return failure(403, "this link has been used, or is too old: start samband again, or use operator.token")
        flags = f"; Max-Age={SESSION_SECONDS:.0f}; Path=/; HttpOnly; SameSite=Strict"
        cookie = COOKIE + b"=" + session.encode() + flags.encode() + (b"; Secure" if came.scheme == "https" else b"")
        headers = ((b"location", HOME), (b"set-cookie", cookie), (b"cache-control", b"no-store"))
        return Answer(303, b"", (*headers, (b"referrer-policy", b"no-referrer")))


def _refused(method: str, path: str, verdict: Verdict) -> Answer:
    if "/api/v2/" in path and verdict.status == 404:
        return am_not_found(path)
    if "/api/v2/" in path and verdict.status == 405:
        return am_method(method, ",".join(verdict.allowed))
    return failure(verdict.status, verdict.text)


def _given(raw: bytes, receive: Receive) -> Receive:
    """Hands out the body at once; after it whatever comes (the sender that goes away)."""
    waiting: list[Message] = [{"type": "http.request", "body": raw, "more_body": False}]

    async def next_message() -> Message:
        return waiting.pop() if waiting else await receive()

    return next_message


def _plain(status: int, text: bytes) -> Answer:
    return Answer(status, text, (PLAIN,))
