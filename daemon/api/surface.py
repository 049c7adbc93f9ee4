"""What the API reads and acts through, handed in by the composition root."""

import time
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, TypeVar

from fastapi import Header, Query

from daemon.access import Keys
from daemon.api.history import History
from daemon.outbox import Outbox
from daemon.runtime import Runtime
from daemon.sources.senders import Source

SLICE_S = 0.002
"""So long a listing may hold the event loop before others get their turn."""

LIMIT_DEFAULT, LIMIT_MAX = 1000, 1000
KEY_LENGTH_MAX = 200

Limit = Annotated[int, Query(ge=1, le=LIMIT_MAX)]
Cursor = Annotated[str, Query(max_length=64, description="`next` of the page before")]
Words = Annotated[str, Query(max_length=1000, description="One value, or several with commas")]
Key = Annotated[
    str, Header(alias="idempotency-key", max_length=KEY_LENGTH_MAX, description="The same key again acts once")
]

T = TypeVar("T")


@dataclass
class Surface:
    """The daemon as the API sees it. sources: name -> type, of what is configured now; senders: how they are read."""

    runtime: Runtime
    history: History
    sources: Mapping[str, str]
    link_base: str
    version: str
    started_ms: int
    keys: Keys
    outbox: Outbox
    senders: Mapping[str, Source] = field(default_factory=dict)


class Pace:
    """Tells a loop when it has held the event loop for its slice."""

    __slots__ = ("_until",)

    def __init__(self) -> None:
        self._until = time.perf_counter() + SLICE_S

    @property
    def tired(self) -> bool:
        """Whether others should have their turn now (`await asyncio.sleep(0)`), after which it starts anew."""
        now = time.perf_counter()
        if now < self._until:
            return False
        self._until = now + SLICE_S
        return True


def newest_first(rows: Mapping[int, T], before: int) -> Iterator[int]:
    """The ids of a table from the newest down, those below `before` only (0: all)."""
    numbers = sorted(rows)
    end = bisect_left(numbers, before) if before else len(numbers)
    yield from reversed(numbers[:end])
