"""Reading a request's body: counted while it is read, and again while it is unpacked."""

import asyncio
import zlib
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import zstandard

from daemon.settings.limits import Limits

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

ENCODINGS = ("gzip", "deflate", "zstd", "identity")
CODINGS_MAX = 2
"""One body is compressed so often at most: each time more would be another bomb."""


class BodyError(Exception):
    """The body cannot be had. status: the answer; text: for the sender; retry_after_s: with 429 and 503."""

    def __init__(self, status: int, text: str, retry_after_s: float = 0.0) -> None:
        super().__init__(text)
        self.status, self.text, self.retry_after_s = status, text, retry_after_s


class ClientGone(Exception):
    """The sender closed the connection before its body was complete; nobody waits for an answer."""


class Buffered:
    """The bytes of all bodies in memory at one time, within `limits.bodies_bytes_max`."""

    def __init__(self) -> None:
        self.size = 0

    def take(self, size: int, limit: int) -> None:
        """Counts `size` bytes more. Raises BodyError 503 when that is too much for now."""
        if self.size + size > limit:
            raise BodyError(503, "too many bodies are being read at one time; send it again", 1.0)
        self.size += size

    def give_back(self, size: int) -> None:
        """They are gone."""
        self.size -= size


class Body:
    """One body, read within its limits and counted among all. Use it with `with`; what was counted is then given back.

    announced: the Content-Length, "" without.
    """

    def __init__(self, limits: Limits, buffered: Buffered, announced: str = "") -> None:
        self._limits, self._buffered, self._announced, self._size = limits, buffered, announced, 0

    def __enter__(self) -> "Body":
        return self

    def __exit__(self, *_: object) -> None:
        self._buffered.give_back(self._size)

    def count(self, size: int) -> None:
        """Counts what is held besides what was read. Raises BodyError 503."""
        self._buffered.take(size, self._limits.bodies_bytes_max)
        self._size += size

    async def read(self, receive: Receive, limit: int) -> bytes:
        """The whole body of at most `limit` bytes.

        Raises BodyError: 413 as soon as it is too long, 408 when it does not come, 503; and ClientGone.
        """
        limit = min(limit, self._limits.body_bytes_max)
        if self._announced.isdecimal() and int(self._announced[:20]) > limit:
            raise _too_large(limit)
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        first: bytes = message.get("body", b"")
        if len(first) > limit:
            raise _too_large(limit)
        self.count(len(first))
        if not message.get("more_body"):
            return first
        seconds = self._limits.body_seconds_max
        try:
            async with asyncio.timeout(seconds):
                return await self._read_rest(receive, first, limit)
        except TimeoutError:
            text = f"the body was not complete within {seconds} s (limits.body_seconds_max)"
            raise BodyError(408, text) from None

    async def _read_rest(self, receive: Receive, first: bytes, limit: int) -> bytes:
        parts, size = [first], len(first)
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            part = message.get("body", b"")
            size += len(part)
            if size > limit:
                raise _too_large(limit)
            self.count(len(part))
            parts.append(part)
            if not message.get("more_body"):
                return b"".join(parts)


def unpack(body: bytes, encoding: str, limit: int) -> bytes:
    """The body without its Content-Encoding. Raises BodyError: 413 beyond `limit`, 415 unknown, 400 damaged."""
    names = [part.strip().lower() for part in encoding[:200].split(",")]
    if len(names) > CODINGS_MAX:
        raise BodyError(415, f"more than {CODINGS_MAX} codings on top of each other; compress the body once")
    for name in reversed(names):
        match name:
            case "" | "identity":
                continue
            case "gzip" | "x-gzip":
                body = _inflate(body, 16 + zlib.MAX_WBITS, limit)
            case "deflate":
                # RFC 9110 means zlib's form; some senders leave its header out.
                zlib_header = body[:1] == b"\x78"
                body = _inflate(body, zlib.MAX_WBITS if zlib_header else -zlib.MAX_WBITS, limit)
            case "zstd":
                body = _unzstd(body, limit)
            case _:
                raise BodyError(
                    415,
                    f"Content-Encoding {name[:40]!r} is not known; use one of {', '.join(ENCODINGS)}",
                )
    return body


def _inflate(body: bytes, window: int, limit: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    while body:
        unpacker = zlib.decompressobj(window)
        try:
            parts.append(unpacker.decompress(body, limit + 1 - size))
        except zlib.error as error:
            raise BodyError(400, f"the compressed body is damaged: {error}") from None
        size += len(parts[-1])
        if size > limit:
            raise _too_large(limit)
        if not unpacker.eof:
            raise BodyError(400, "the compressed body ends early")
        body = unpacker.unused_data
    return b"".join(parts)


def _unzstd(body: bytes, limit: int) -> bytes:
    try:
        with zstandard.ZstdDecompressor(max_window_size=1 << 23).stream_reader(body, read_across_frames=True) as reader:
            plain = reader.read(limit + 1)
    except zstandard.ZstdError as error:
        raise BodyError(400, f"the compressed body is damaged: {error}") from None
    if len(plain) > limit:
        raise _too_large(limit)
    return plain


def _too_large(limit: int) -> BodyError:
    text = f"the body is longer than {limit} bytes (limits.body_bytes_max); send fewer alerts in one request"
    return BodyError(413, text)
