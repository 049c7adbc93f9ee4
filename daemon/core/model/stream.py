"""A log that alerts are read from (a partition of a Kafka topic): how far it has been read, and what waits for it."""

from collections.abc import Mapping
from typing import NamedTuple

import msgspec


class Stream(msgspec.Struct, gc=False, array_like=True):
    """One log of a source, as the engine keeps it.

    name: topic/partition. behind: what was appended in the last seconds may not have been read yet, so
    that silence in it means nothing. What the store holds may be older: each start begins behind.
    """

    id: int
    source: str
    name: str
    behind: bool


class StreamKey(NamedTuple):
    """Names a log."""

    source: str
    topic: str
    partition: int

    @property
    def name(self) -> str:
        """As `Stream.name`."""
        return f"{self.topic}/{self.partition}"


class Position(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """How far a log has been read; it moves in the transaction of what that led to.

    next_offset: of the record to be read next. taken: so many items of that record are in already.
    level_at: everything appended before this (ms since 1970) lies before `next_offset`; 0 when unknown.
    seen_offset, seen_digest, seen_at: a record that was read, its digest and timestamp, by which a log
    that was truncated or made anew is noticed; -1, b"" and 0 before the first.
    """

    next_offset: int
    taken: int = 0
    level_at: int = 0
    seen_offset: int = -1
    seen_digest: bytes = b""
    seen_at: int = 0


Positions = Mapping[StreamKey, Position]

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[tuple[str, str, int, Position]]).decode


def encode_positions(positions: Positions) -> bytes:
    """The positions as they stand beside a batch (MessagePack)."""
    return _encode([(*key, position) for key, position in sorted(positions.items())]) if positions else b""


def decode_positions(data: bytes) -> dict[StreamKey, Position]:
    """The inverse of `encode_positions`. Raises msgspec.DecodeError on bytes that are none."""
    rows = _decode(data) if data else []
    return {StreamKey(source, topic, partition): found for source, topic, partition, found in rows}
