"""One connection of the server: uvicorn's protocol, within limits that uvicorn does not have.

A sender that opens a connection and says nothing, that never ends its head, or whose head is
endless, is answered or cut off; one that goes on sending what nobody reads is cut off in the end.
"""

import asyncio
import logging
from collections.abc import Sequence
from functools import partial
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from daemon import metrics
from daemon.settings.limits import Limits
from daemon.sources.answers import AT_ONCE

LINGER_S = 3.0
"""So long a sender may finish a body that was answered before its end, so that it gets to read the answer."""


class Doorkeeper:
    """The limits of all connections of a server."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.logger = logging.getLogger("samband.connections")
        # uvicorn warns of every request that is no HTTP: any stranger could fill the log.
        self.logger.setLevel(logging.ERROR)

    def protocol(self, kind: "type[Connection]") -> Any:
        """The protocol as uvicorn wants it."""
        return partial(kind, keeper=self)


class Connection(HttpToolsProtocol):
    """One connection."""

    def __init__(self, *given: Any, keeper: Doorkeeper, **named: Any) -> None:
        super().__init__(*given, **named)
        self.logger = keeper.logger
        self._keeper = keeper
        self._timer: asyncio.TimerHandle | None = None
        self._silent = True
        self._loose_bytes = 0

    # ---- what the transport says -----------------------------------------------------------------
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Somebody has connected."""
        super().connection_made(transport)
        if len(self.connections) > self._keeper.limits.connections_max:
            self._cut_off(503, b"too many connections; come again", b"retry-after: 5\r\n")
        else:
            self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone."""
        self._expect_nothing()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Something came."""
        if self.transport.is_closing():
            return
        self._silent = False
        self._loose_bytes += len(data)
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._loose_bytes > self._keeper.limits.head_bytes_max:
            most = self._keeper.limits.head_bytes_max
            self._cut_off(431, f"request line and header fields are longer than {most} bytes".encode())
        elif self._loose_bytes and self._timer is None and self._idle():
            self._expect_head()

    # ---- what the parser says --------------------------------------------------------------------
    def on_headers_complete(self) -> None:
        """The head of a request is there."""
        self._loose_bytes = 0
        self._expect_nothing()
        super().on_headers_complete()
        if self.cycle.keep_alive:
            self.scope["extensions"] = {AT_ONCE: partial(self._answer_at_once, self.cycle)}  # type: ignore[dict-item]
        else:
            self.cycle.transport = _Lingering(self)  # type: ignore[assignment]

    def _answer_at_once(self, cycle: RequestResponseCycle, fields: Sequence[tuple[bytes, bytes]], body: bytes) -> bool:
        """A whole 200 in one piece: uvicorn looks through each field of it, and writes twice.

        False, with nothing done, where uvicorn's own way has to be gone. The fields must be ours, not a sender's.
        """
        if cycle.disconnected or cycle.response_started or not cycle.keep_alive or self.flow.write_paused:
            return False
        lines = [_FINE]
        for name, value in (*self.server_state.default_headers, *fields):
            lines += (name, b": ", value, b"\r\n")
        lines += (b"\r\n", body)
        cycle.response_started = cycle.response_complete = True
        cycle.waiting_for_100_continue = False
        self.transport.write(b"".join(lines))
        cycle.message_event.set()
        cycle.on_response()
        return True

    def on_body(self, body: bytes) -> None:
        """A part of its body is."""
        self._loose_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """It is there whole."""
        self._loose_bytes = 0
        super().on_message_complete()
        self.cycle.more_body = False
        if self._idle():
            # It was answered before: what came since has stopped uvicorn's own timer.
            self._expect_nothing()
            self._unset_keepalive_if_required()
            if not self.cycle.keep_alive:
                self.transport.close()
                return
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def on_response_complete(self) -> None:
        """It is answered; perhaps before all of it had come."""
        super().on_response_complete()
        self.linger()

    def linger(self) -> bool:
        """Waits a little for the rest of a body that was answered before its end; whether there is any."""
        if self.transport.is_closing() or not self._idle() or not self.cycle.more_body:
            return False
        self._expect_nothing()
        self._timer = self.loop.call_later(LINGER_S, self.transport.close)
        return True

    # ---- limits --------------------------------------------------------------------------------------
    def _idle(self) -> bool:
        """Whether no request is under way."""
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is None or cycle.response_complete

    def _expect_head(self) -> None:
        self._expect_nothing()
        self._timer = self.loop.call_later(self._keeper.limits.head_seconds_max, self._late)

    def _expect_nothing(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _late(self) -> None:
        if self._silent:
            metrics.CONNECTIONS_CUT.labels("silent").inc()
            self.transport.close()
        else:
            seconds = self._keeper.limits.head_seconds_max
            self._cut_off(408, f"the head of the request was not complete within {seconds} s".encode())

    def _cut_off(self, status: int, text: bytes, more: bytes = b"") -> None:
        """Answers what can be answered outside of a request, and closes."""
        metrics.CONNECTIONS_CUT.labels(str(status)).inc()
        self._expect_nothing()
        if self._idle() and not self.transport.is_closing():
            body = b'{"error":"%b"}' % text
            head = b"HTTP/1.1 %d %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\n" % (
                status,
                _PHRASES[status],
                len(body),
            )
            self.transport.write(head + more + b"connection: close\r\n\r\n" + body)
        self.transport.close()


class _Lingering:
    """The transport of a connection that ends with its answer: not before the sender had a chance to read it.

    Closing while something is unread resets the connection, and the answer with it.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.write = connection.transport.write

    def close(self) -> None:
        """The answer is written."""
        if not self._connection.linger():
            self._connection.transport.close()


_FINE = b"HTTP/1.1 200 OK\r\n"
_PHRASES = {
    408: b"Request Timeout",
    431: b"Request Header Fields Too Large",
    503: b"Service Unavailable",
}
