"""How sinks reach the world: the aiohttp side of `sinks.base.Http`.

Its one judgement is whether a request that got no answer may have reached the service. Until the
first byte of the request is written it certainly did not (refused, no such host, TLS, time-out while
connecting); from then on it may have, whatever went wrong.
"""

import asyncio
import ssl
from types import SimpleNamespace
from typing import Any, Self

import aiohttp
from yarl import URL

from sinks.base import HttpError, Reason, Request, Response

BODY_BYTES_MAX = 1 << 20
"""An answer is read this far; what comes after is not wanted by anybody."""

_CHUNK_BYTES = 64 * 1024
_IDLE_S = 5.0
"""Idle connections are closed after this: services close theirs later, and a POST on a connection that
is just being closed by the other side ends as "perhaps delivered"."""


class HttpClient:
    """One client for all sinks: a pool of connections, one time-out per request, no redirects, no cookies.

    Redirects are answered as they are (3xx): following one would carry credentials to elsewhere.
    Use as an async context manager, or call `close`.
    """

    def __init__(self, timeout_s: float, *, user_agent: str = "samband", tls: ssl.SSLContext | None = None) -> None:
        """`timeout_s` bounds each request, from the look-up of the name to the last byte; it may be set anew.

        Must be called with a running loop.
        """
        trace = aiohttp.TraceConfig()
        trace.on_request_headers_sent.append(_mark_sent)
        self.timeout_s = timeout_s
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=0, ssl=tls if tls is not None else True, keepalive_timeout=_IDLE_S, enable_cleanup_closed=False
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            trace_configs=[trace],
            headers={"User-Agent": user_agent},
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes all connections."""
        await self._session.close()

    async def request(self, request: Request) -> Response:
        """Sends one request and reads the answer, cut at `BODY_BYTES_MAX`. Raises HttpError."""
        progress, timeout_s = _Progress(), self.timeout_s
        try:
            url = URL(request.url)
            async with self._session.request(
                request.method,
                url,
                headers=dict(request.headers),
                data=request.body or None,
                timeout=aiohttp.ClientTimeout(total=timeout_s),
                allow_redirects=False,
                trace_request_ctx=progress,
            ) as answer:
                body = await _read(answer)
                headers = {name.lower(): value for name, value in answer.headers.items()}
                return Response(answer.status, headers, body)
        except TimeoutError:
            phase = "no answer" if progress.sent else "no connection"
            raise HttpError(
                Reason.TIMEOUT, f"{phase} from {_host(request.url)} within {timeout_s:g} s", sent=progress.sent
            ) from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            # ValueError: a URL or header that cannot be written. Texts of errors are not passed on whole:
            # some name the URL, and URLs of webhooks are secrets.
            raise HttpError(Reason.UNREACHABLE, f"{_host(request.url)}: {_what(error)}", sent=progress.sent) from None


class _Progress:
    """What became of one request so far."""

    __slots__ = ("sent",)

    def __init__(self) -> None:
        self.sent = False


async def _mark_sent(session: aiohttp.ClientSession, context: SimpleNamespace, params: Any) -> None:
    """Called right before the request's first byte is written."""
    context.trace_request_ctx.sent = True


async def _read(answer: aiohttp.ClientResponse) -> bytes:
    """The body up to the limit. The connection is dropped rather than drained when more comes."""
    parts: list[bytes] = []
    size = 0
    while size < BODY_BYTES_MAX:
        part = await answer.content.read(min(_CHUNK_BYTES, BODY_BYTES_MAX - size))
        if not part:
            return b"".join(parts)
        parts.append(part)
        size += len(part)
    answer.close()
    return b"".join(parts)


def _host(url: str) -> str:
    """Host and port of a URL; its path and query may be secret."""
    try:
        parsed = URL(url)
    except ValueError:
        return "an unreadable URL"
    return f"{parsed.host}:{parsed.port}" if parsed.host else "a URL without a host"


def _what(error: Exception) -> str:
    """What went wrong, in words that hold neither path nor header."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return f"certificate not accepted ({error.certificate_error})"
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"{type(error).__name__}: {error.os_error.strerror or type(error.os_error).__name__}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return type(error).__name__


async def settle(client: HttpClient) -> None:
    """Lets the transports of a closed client finish (TLS needs a turn of the loop)."""
    await asyncio.sleep(0)
    await client.close()
