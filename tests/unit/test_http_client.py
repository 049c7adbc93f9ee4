"""The HTTP client against real sockets: what a request that got no answer may have done."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from daemon.http_client import BODY_BYTES_MAX, HttpClient
from sinks.base import HttpError, Reason, Request, Response

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[str]:
    """A server on a free port; yields host:port."""
    tasks: list[asyncio.Task[None]] = []

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.append(task)
        try:
            await handler(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            return
        finally:
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    try:
        host, port = server.sockets[0].getsockname()[:2]
        yield f"{host}:{port}"
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()


async def ask(url: str, body: bytes = b"{}", timeout_s: float = 5.0) -> Response:
    async with HttpClient(timeout_s) as client:
        return await client.request(Request("POST", url, {"Authorization": "Bearer hunter2"}, body))


def answering(raw: bytes, seen: list[bytes] | None = None) -> Handler:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if seen is not None:
            seen.append(head)
        writer.write(raw)
        await writer.drain()

    return handler


def failure(url: str, timeout_s: float = 5.0) -> HttpError:
    async def main() -> HttpError:
        with pytest.raises(HttpError) as caught:
            await ask(url, timeout_s=timeout_s)
        return caught.value

    return asyncio.run(main())


def test_an_answer_comes_whole_with_lower_case_headers_and_without_following_redirects() -> None:
    seen: list[bytes] = []
    raw = b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nRetry-After: 7\r\nContent-Length: 2\r\n\r\nok"

    async def main() -> Response:
        async with serving(answering(raw, seen)) as place:
            return await ask(f"http://{place}/x?y=1")

    response = asyncio.run(main())
    assert (response.status, response.body, response.headers["retry-after"]) == (302, b"ok", "7")
    assert seen[0].startswith(b"POST /x?y=1 HTTP/1.1")
    assert b"Bearer hunter2" in seen[0]


def test_an_answer_is_cut_at_the_limit() -> None:
    raw = b"HTTP/1.1 200 OK\r\nContent-Length: 3000000\r\n\r\n" + b"x" * 3_000_000

    async def main() -> Response:
        async with serving(answering(raw)) as place:
            return await ask(f"http://{place}/")

    assert len(asyncio.run(main()).body) == BODY_BYTES_MAX


def test_refused_connections_and_unknown_hosts_were_certainly_not_sent() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for url in (f"http://127.0.0.1:{port}/secret", "http://no-such-host.invalid/secret", "http://", "nonsense"):
        error = failure(url)
        assert (error.sent, error.reason) == (False, Reason.UNREACHABLE), url
        assert "secret" not in error.detail


def test_a_time_out_while_connecting_was_certainly_not_sent() -> None:
    # A listening socket whose queue is full answers no further handshake.
    with socket.socket() as full, contextlib.ExitStack() as others:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        place = full.getsockname()
        for _ in range(4):
            other = others.enter_context(socket.socket())
            other.setblocking(False)
            other.connect_ex(place)
        error = failure(f"http://{place[0]}:{place[1]}/", timeout_s=0.3)
    assert (error.sent, error.reason) == (False, Reason.TIMEOUT)


def test_tls_that_fails_was_certainly_not_sent() -> None:
    async def speaks_plainly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()

    async def main() -> HttpError:
        async with serving(speaks_plainly) as place:
            with pytest.raises(HttpError) as caught:
                await ask(f"https://{place}/")
            return caught.value

    error = asyncio.run(main())
    assert (error.sent, error.reason) == (False, Reason.UNREACHABLE)


def test_silence_after_the_request_may_have_been_sent() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await asyncio.sleep(60)

    async def main() -> HttpError:
        async with serving(silent) as place, HttpClient(60) as client:
            client.timeout_s = 0.3
            with pytest.raises(HttpError) as caught:
                await client.request(Request("POST", f"http://{place}/"))
            return caught.value

    error = asyncio.run(main())
    assert (error.sent, error.reason) == (True, Reason.TIMEOUT)
    assert "within 0.3 s" in error.detail


@pytest.mark.parametrize(
    "raw",
    [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", b"nonsense\r\n\r\n"],
    ids=["closed", "half an answer", "no HTTP"],
)
def test_a_broken_answer_may_have_been_sent(raw: bytes) -> None:
    async def main() -> HttpError:
        async with serving(answering(raw)) as place:
            with pytest.raises(HttpError) as caught:
                await ask(f"http://{place}/token-in-path")
            return caught.value

    error = asyncio.run(main())
    assert error.sent
    assert "token" not in error.detail
    assert "hunter2" not in error.detail
