"""Reading a request's body: counted while it is read, and again while it is unpacked."""

import asyncio
import zlib
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import zstandard

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

BODY_BYTES_MAX = 16 * 1024 * 1024
"""Default of `limits.body_bytes_max`: bytes of one body, after decompression too."""

BODY_SECONDS_MAX = 30.0
"""How long a sender may take for one body."""

ENCODINGS = ("gzip", "deflate", "zstd", "identity")


class BodyError(Exception):
    """The body cannot be had. status: the answer; text: for the sender."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status, self.text = status, text


class ClientGone(Exception):
    """The sender closed the connection before its body was complete; nobody waits for an answer."""


async def read_body(receive: Receive, limit: int) -> bytes:
    """The whole body. Raises BodyError 413 as soon as it is longer than `limit`, 408 when it does not come."""
    message = await receive()
    if message["type"] == "http.disconnect":
        raise ClientGone
    body: bytes = message.get("body", b"")
    if not message.get("more_body"):
        if len(body) > limit:
            raise _too_large(limit)
        return body
    try:
        async with asyncio.timeout(BODY_SECONDS_MAX):
            return await _read_rest(receive, body, limit)
    except TimeoutError:
        raise BodyError(408, f"the body was not complete within {BODY_SECONDS_MAX:.0f} s") from None


async def _read_rest(receive: Receive, first: bytes, limit: int) -> bytes:
    parts, size = [first], len(first)
    while size <= limit:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        part = message.get("body", b"")
        parts.append(part)
        size += len(part)
        if not message.get("more_body"):
            break
    if size > limit:
        raise _too_large(limit)
    return b"".join(parts)


def unpack(body: bytes, encoding: str, limit: int) -> bytes:
    """The body without its Content-Encoding. Raises BodyError: 413 beyond `limit`, 415 unknown, 400 damaged."""
    for name in reversed([part.strip().lower() for part in encoding.split(",")]):
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
    return BodyError(413, f"the body is longer than {limit} bytes; send fewer alerts in one request")
