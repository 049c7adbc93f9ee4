"""The HTTP server: uvicorn with httptools, on a socket that is bound before anything else is touched."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from typing import Any

import uvicorn

KEEP_ALIVE_S = 330
"""Idle connections stay: Prometheus posts every minute over one, and would lose alerts on one that just closes."""

GRACE_S = 10
"""So long a request under way may take when the daemon stops."""


class ListenError(Exception):
    """The address cannot be listened on; the text says why and what to do."""


def bind(host: str, port: int) -> socket.socket:
    """A bound socket. Raises ListenError."""
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        bound = socket.socket(family, kind, protocol)
    except OSError as error:
        raise ListenError(f"listen: {where}: {error.strerror or error}") from None
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except OSError as error:
        bound.close()
        raise ListenError(f"listen: {where}: {error.strerror or error}; stop who listens there, or change it") from None
    return bound


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: the composition root has its own."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leaves signals alone."""
        yield


class Listener:
    """Serves one ASGI application on a bound socket from `start` to `stop`."""

    def __init__(self, app: Any, bound: socket.socket) -> None:
        self._socket = bound
        self._server = _Server(
            uvicorn.Config(
                app,
                http="httptools",
                loop="none",
                ws="none",
                lifespan="off",
                interface="asgi3",
                access_log=False,
                log_config=None,
                server_header=False,
                proxy_headers=False,
                timeout_keep_alive=KEEP_ALIVE_S,
                timeout_graceful_shutdown=GRACE_S,
            )
        )
        self.task: asyncio.Task[None] | None = None

    @property
    def address(self) -> str:
        """host:port as it is listened on."""
        host, port = self._socket.getsockname()[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    async def start(self) -> None:
        """Returns when connections are answered."""
        self.task = asyncio.create_task(self._server.serve([self._socket]), name="http")
        while not self._server.started:
            if self.task.done():
                await self.task
                raise ListenError(f"listen: {self.address}: the server did not start")
            await asyncio.sleep(0.005)

    async def stop(self) -> None:
        """Takes no more connections, and waits for requests under way, `GRACE_S` at most."""
        self._server.should_exit = True
        if self.task is not None:
            await self.task
        self._socket.close()
