"""How a service misbehaves on order."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from aiohttp import web

KINDS = (
    "status",  # answers a status without acting
    "status_after",  # acts, and then answers a status all the same
    "hang",  # does not act, and never answers
    "hang_after",  # acts, and never answers
    "reset",  # does not act, and resets the connection
    "reset_after",  # acts, and resets the connection
    "cut",  # acts, and resets the connection in the middle of the answer
    "truncate",  # acts, and closes in good order before the announced end of the answer
    "garbage",  # acts, and answers 2xx with what is not JSON
    "slow",  # waits, then acts and answers
)


@dataclass
class Fault:
    """One misbehaviour. It hits the next `times` requests that fit method and path (a regular expression)."""

    kind: str
    status: int = 500
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str = ""
    seconds: float = 0.0
    method: str = ""
    path: str = ""
    times: int = 1

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"no such fault: {self.kind}; there are {', '.join(KINDS)}")

    def fits(self, request: web.Request) -> bool:
        """Whether this request is hit."""
        return (
            self.times > 0 and self.method in ("", request.method) and re.search(self.path, request.path_qs) is not None
        )


async def misbehave(
    fault: Fault,
    request: web.Request,
    act: Callable[[web.Request], Awaitable[web.StreamResponse]],
    stopped: asyncio.Event,
) -> web.StreamResponse:
    """Carries a fault out. `act` is what the service would do; `stopped` frees what hangs."""
    answer: web.StreamResponse | None = None
    if fault.kind == "slow":
        await asyncio.sleep(fault.seconds)
        return await act(request)
    if fault.kind in ("status_after", "hang_after", "reset_after", "cut", "truncate", "garbage"):
        answer = await act(request)
    if fault.kind in ("status", "status_after"):
        return web.Response(status=fault.status, headers=fault.headers, text=fault.body or None)
    if fault.kind in ("hang", "hang_after"):
        await stopped.wait()
        return _aborted(request)
    if fault.kind == "garbage" and answer is not None:
        return web.Response(status=200 if answer.status == 204 else answer.status, text="<html>so be it</html>")
    if fault.kind in ("cut", "truncate"):
        return await _half(request, answer, orderly=fault.kind == "truncate")
    return _aborted(request)


async def _half(request: web.Request, answer: web.StreamResponse | None, *, orderly: bool) -> web.StreamResponse:
    half = web.StreamResponse(status=answer.status if answer is not None else 200)
    half.content_length = 1000
    await half.prepare(request)
    await half.write(b'{"ok": tr')
    if request.transport is not None:
        if orderly:
            request.transport.close()
        else:
            request.transport.abort()
    return half


def _aborted(request: web.Request) -> web.Response:
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=500)
