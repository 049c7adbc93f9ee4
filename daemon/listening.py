"""The HTTP server: uvicorn with httptools, on a socket that is bound before anything else is touched."""

import asyncio
import contextlib
import resource
import socket
import ssl
from collections.abc import Iterator
from typing import Any

import uvicorn

from daemon.connection import Connection, Doorkeeper
from daemon.settings.limits import LIMITS, Limits
from daemon.settings.sections import Tls

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


def raise_file_limit() -> None:
    """As many open files as this process may have: each connection is one, and the store needs its own."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(ValueError, OSError):  # Where that is not allowed, the old limit stays.
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def certificate(tls: Tls | None) -> ssl.SSLContext | None:
    """What answers over TLS, None without `tls:`. Raises ListenError when certificate and key cannot be used."""
    if tls is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    load_certificate(context, tls)
    return context


def load_certificate(context: ssl.SSLContext, tls: Tls) -> None:
    """Connections from now on get this certificate. Raises ListenError; what was in force then stays."""
    # Tried apart first: a key that does not fit would leave the new certificate behind without one.
    for one in (ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), context):
        try:
            # Without a callback OpenSSL would ask for a passphrase on the terminal.
            one.load_cert_chain(tls.cert_file, tls.key_file, password=lambda: "")
        except (OSError, ssl.SSLError) as error:
            text = getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error)
            remedy = "give a certificate and its own key, as PEM, the key without a passphrase"
            raise ListenError(f"tls: {tls.cert_file}, {tls.key_file}: {text}; {remedy}") from None


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: the composition root has its own."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leaves signals alone."""
        yield


class Listener:
    """Serves one ASGI application on a bound socket from `start` to `stop`.

    `keeper.limits` may be set anew at any time.
    """

    def __init__(
        self, app: Any, bound: socket.socket, limits: Limits = LIMITS, tls: ssl.SSLContext | None = None
    ) -> None:
        self._socket, self.tls = bound, tls
        self.keeper = Doorkeeper(limits)
        self._server = _Server(
            uvicorn.Config(
                app,
                http=self.keeper.protocol(Connection),
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
                ssl_context_factory=None if tls is None else lambda config, default: tls,
            )
        )
        self.task: asyncio.Task[None] | None = None

    @property
    def address(self) -> str:
        """host:port as it is listened on."""
        host, port = self._socket.getsockname()[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    @property
    def url(self) -> str:
        """The address with its scheme."""
        return f"{'http' if self.tls is None else 'https'}://{self.address}"

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
