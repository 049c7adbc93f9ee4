"""Where reading a partition begins, and what is said when that is not where it ended."""

from typing import Any, NamedTuple

from aiokafka import TopicPartition

from daemon.core.model.stream import Position, StreamKey
from daemon.sources.kafka.connection import Link, answer
from daemon.sources.kafka.partition import seen

AGAIN_MS = 600_000
"""In a log that was cut short reading goes on so far before the last message that is known: clocks differ."""


class Extent(NamedTuple):
    """What the log holds: from `first` on, and before `end`."""

    first: int
    end: int


class Beginning(NamedTuple):
    """Where to begin; `lost` says what cannot be read any more, "" when nothing is missing."""

    position: Position
    lost: str = ""


async def extents(link: Link, places: list[TopicPartition]) -> dict[TopicPartition, Extent]:
    """What each partition holds now. Raises what aiokafka raises."""
    if not places:
        return {}
    first = await answer(link.keeper.beginning_offsets(places))
    end = await answer(link.keeper.end_offsets(places))
    return {place: Extent(first[place], end[place]) for place in places}


async def at_first(link: Link, place: TopicPartition, extent: Extent, *, latest: bool, now: int) -> Beginning:
    """Without a stored position. latest: what is there already is none of ours."""
    if not latest:
        return Beginning(Position(extent.first))
    position = Position(extent.end, level_at=now)
    if extent.end > extent.first:
        last = await link.record_at(place, extent.end - 1)
        if last is not None and last.offset == extent.end - 1:
            known = seen(last)
            position = Position(extent.end, 0, now, *known)
    return Beginning(position)


async def again(link: Link, key: StreamKey, stored: Position, extent: Extent) -> Beginning:
    """After a pause: at the stored position, if the log still has it and still is the same log."""
    place = TopicPartition(key.topic, key.partition)
    if stored.next_offset > extent.end or not await same(link, place, stored, extent):
        return await _elsewhere(link, place, key, stored, extent)
    if stored.next_offset < extent.first:
        text = (
            f"{key.source}: {key.name} had been read up to offset {stored.next_offset} and begins at {extent.first} by"
            f" now: messages {stored.next_offset} to {extent.first - 1} were deleted unread (retention);"
            f" reading goes on at {extent.first}"
        )
        return Beginning(_at(stored, extent.first), text)
    return Beginning(stored)


async def same(link: Link, place: TopicPartition, stored: Position, extent: Extent) -> bool:
    """Whether the message that was read last still stands where it stood. True when that cannot be told.

    Compaction and retention take single messages away, and leave the others where they are.
    """
    if not extent.first <= stored.seen_offset < extent.end:
        return True
    found = await link.record_at(place, stored.seen_offset)
    return found is None or found.offset != stored.seen_offset or seen(found).digest == stored.seen_digest


async def _elsewhere(link: Link, place: TopicPartition, key: StreamKey, stored: Position, extent: Extent) -> Beginning:
    """The log has not what it had. One that was cut short goes on where it was cut; one made anew is read whole."""
    first = await link.record_at(place, extent.first) if extent.end > extent.first else None
    read = f"{key.source}: {key.name} had been read up to offset {stored.next_offset}"
    if first is not None and 0 <= first.timestamp <= stored.seen_at:
        since = max(0, stored.seen_at - AGAIN_MS)
        found: dict[TopicPartition, Any] = await answer(link.keeper.offsets_for_times({place: since}))
        at = found[place].offset if found.get(place) is not None else extent.end
        text = f"{read} and has not what was read there: the log was cut short; reading goes on at offset {at}"
        return Beginning(_at(stored, at), text)
    text = (
        f"{read} and holds {extent.first} to {extent.end - 1} now: the topic was deleted and made again, and what had"
        f" not been read of the old one is lost; the new one is read from its beginning, offset {extent.first}"
    )
    return Beginning(_at(stored, extent.first), text)


def _at(stored: Position, offset: int) -> Position:
    """Another place, where nothing is known of what stands before it."""
    return Position(offset, level_at=stored.level_at)
