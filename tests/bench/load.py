"""What is sent, and how: requests built beforehand, over keep-alive connections, each answer timed.

One alert has 10 labels, 3 annotations and about 860 bytes, as Prometheus sends it. A repeat has another
`endsAt` and another figure in its summary: real senders move both.
"""

import asyncio
import time
from collections.abc import Iterable, Sequence

SERVICES = 20

_PADDING = "x" * 108
_QUERY = "rate%%28errors%%5B5m%%5D%%29" * 5
_ALERT = (
    '{"labels":{"alertname":"%(name)s","service":"%(service)s","instance":"10.%(a)d.%(b)d.%(c)d:9100","job":"node",'
    '"severity":"%(severity)s","cluster":"eu-north-1","namespace":"shop","pod":"checkout-%(number)08d-x7f",'
    '"team":"payments","region":"se"},"annotations":{'
    '"summary":"The error rate of %(service)s is %(value)06.3f per cent, above five for ten minutes",'
    f'"description":"Requests to the service fail; see the dashboard for the rate by route {_PADDING}",'
    '"runbook_url":"https://runbooks.example.org/checkout/high-error-rate"},"startsAt":"%(starts)s","endsAt":"%(ends)s",'
    f'"generatorURL":"http://prometheus-1.example.org:9090/graph?g0.expr={_QUERY}"}}'
)


def stamp(at: float) -> str:
    """RFC 3339 with milliseconds, as Prometheus writes it."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at)) + f".{int(at % 1 * 1000):03d}Z"


def alert(
    number: int,
    starts: str,
    ends: str,
    turn: int = 0,
    *,
    name: str = "HighErrorRate",
    service: str = "",
    severity: str = "warning",
) -> str:
    """One alert as JSON. number: makes it distinct; turn: of its repeats, moves the figure in its summary."""
    return _ALERT % {
        "number": number,
        "name": name,
        "service": service or f"checkout-{number % SERVICES}",
        "severity": severity,
        "a": number >> 16 & 255,
        "b": number >> 8 & 255,
        "c": number & 255,
        "value": (number * 7 + turn * 13) % 100_000 / 1000,
        "starts": starts,
        "ends": ends,
    }


def post(alerts: Sequence[str]) -> bytes:
    """The HTTP request with these alerts."""
    body = f"[{','.join(alerts)}]".encode()
    head = (
        "POST /api/v2/alerts HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def requests(numbers: Iterable[int], batch: int, turn: int = 0, lead_s: float = 3600.0) -> list[bytes]:
    """Requests of `batch` alerts each. turn: 0 for new alerts, then one more with every repeat.

    lead_s: `endsAt` lies so far ahead. All start at the same second, so that a repeat is one.
    """
    ends = stamp(_BEGAN + lead_s + turn)
    texts = [alert(number, _STARTS, ends, turn) for number in numbers]
    return [post(texts[first : first + batch]) for first in range(0, len(texts), batch)]


_BEGAN = time.time()
_STARTS = stamp(_BEGAN)


class Refused(Exception):
    """The server answered something other than 200."""


class _Connection(asyncio.Protocol):
    """Sends one request after the other; a closed loop."""

    def __init__(self, waiting: list[bytes], took: list[float]) -> None:
        self._waiting, self._took = waiting, took
        self._answer = bytearray()
        self._began = 0.0
        self._transport: asyncio.Transport | None = None
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._next()

    def data_received(self, data: bytes) -> None:
        self._answer += data
        length = length_of(self._answer)
        if length is None or len(self._answer) < length:
            return
        if not self._answer.startswith(b"HTTP/1.1 200"):
            self._end(Refused(bytes(self._answer[:200])))
            return
        self._took.append(time.perf_counter() - self._began)
        del self._answer[:length]
        self._next()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(exc or ConnectionError("closed before the answer"))

    def _next(self) -> None:
        if not self._waiting:
            self._end()
            return
        assert self._transport is not None
        self._began = time.perf_counter()
        self._transport.write(self._waiting.pop())

    def _end(self, error: Exception | None = None) -> None:
        if not self.done.done():
            if error is None:
                self.done.set_result(None)
            else:
                self.done.set_exception(error)
        if self._transport is not None:
            self._transport.close()


def length_of(answer: bytes | bytearray) -> int | None:
    """How long the HTTP message is that begins here, head included; None while its head is not whole."""
    end = answer.find(b"\r\n\r\n")
    if end < 0:
        return None
    at = answer.lower().find(b"content-length:", 0, end)
    return end + 4 + (int(answer[at + 15 : answer.find(b"\r", at)]) if at >= 0 else 0)


async def send(port: int, bodies: Sequence[bytes], connections: int) -> list[float]:
    """Sends all requests over so many connections; the seconds that each answer took. Raises Refused."""
    waiting, took = list(reversed(bodies)), list[float]()
    loop = asyncio.get_running_loop()
    made = [
        await loop.create_connection(lambda: _Connection(waiting, took), "127.0.0.1", port)
        for _ in range(min(connections, len(bodies)))
    ]
    await asyncio.gather(*(one.done for _, one in made))
    return took
