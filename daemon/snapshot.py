"""A copy of the engine's whole state, from which the journal can be folded again."""

import asyncio

import msgspec

from daemon.core.state import State

PART_ROWS = 500

_encode = msgspec.msgpack.Encoder().encode


async def base_parts(state: State) -> list[bytes]:
    """The state in parts, each a MessagePack list of [kind, id, image, extra]. See `store.base.Batch.base`.

    Taken from memory and not from `live`, since refreshed leases and contacts stand in memory only.
    Sockets are served between parts; nothing may be folded meanwhile.
    """
    wanted = [(kind, number) for kind, table in state.tables().items() for number in sorted(table.rows)]
    parts = []
    for start in range(0, len(wanted), PART_ROWS):
        images = [(kind, number, state.image(kind, number)) for kind, number in wanted[start : start + PART_ROWS]]
        parts.append(_encode([(kind, number, *image) for kind, number, image in images if image is not None]))
        await asyncio.sleep(0)
    return parts
