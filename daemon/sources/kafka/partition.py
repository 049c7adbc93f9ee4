"""What is known of one partition that is read: how far, since when, and whether it is worth reading on. Pure.

Times are engine time, ms since 1970, where nothing else is said.
"""

from collections import deque
from hashlib import blake2b
from typing import NamedTuple, Protocol

from daemon.core.model.stream import Position, StreamKey

LEVEL_MS = 10_000
"""A partition is level while a fetch answered less than this ago has shown nothing that is not taken in."""
WINDOW, WINDOW_MIN = 100, 20
"""Of so many last messages, and of at least so many, more than half must have been readable."""


class Message(Protocol):
    """What a consumer hands over."""

    @property
    def offset(self) -> int:
        """Its place in the partition."""
        ...

    @property
    def timestamp(self) -> int:
        """The producer's or the broker's, ms; -1 without."""
        ...

    @property
    def key(self) -> bytes | None:
        """What partitions it."""
        ...

    @property
    def value(self) -> bytes | None:
        """What it says; None for a tombstone."""
        ...

    @property
    def headers(self) -> tuple[tuple[str, bytes], ...]:
        """What is said about it."""
        ...


class Seen(NamedTuple):
    """A message that was read: its offset, digest and timestamp."""

    offset: int
    digest: bytes
    at: int


def seen(message: Message) -> Seen:
    """What to remember of a message, so that another one in its place is noticed."""
    digest = blake2b(digest_size=12)
    for part in (message.key, message.value):
        digest.update(b"-" if part is None else b"%d:" % len(part))
        digest.update(part or b"")
    digest.update(b"%d" % message.timestamp)
    return Seen(message.offset, digest.digest(), message.timestamp)


class Partition:
    """One partition.

    next: offset to be read next. done: everything before it is durable, with what it led to. said_behind:
    what the engine was told last, None before. stopped: why it is not read on, "" while it is.
    """

    def __init__(self, key: StreamKey, position: Position) -> None:
        self.key = key
        self.next, self.taken = position.next_offset, position.taken
        self.done = position.next_offset
        self.watermark = -1
        self.level_at = position.level_at
        self.said_behind: bool | None = None
        self.stopped = ""
        self.fetched_at = 0
        self.anchor = Seen(position.seen_offset, position.seen_digest, position.seen_at)
        self.newest = self.anchor
        self._waits: Seen | None = None
        self._answer: tuple[int, int] | None = None
        self._heard = self.level_at
        self._outcomes: deque[bool] = deque(maxlen=WINDOW)
        self._failed = self._clean = 0

    # ---- positions -------------------------------------------------------------------------------
    def position(self) -> Position:
        """How far it has been read, as it is to be kept."""
        return Position(self.next, self.taken, self.level_at, *self.anchor)

    def passed(self, message: Message) -> None:
        """The message, and all before it, is read; it becomes the newest that is known."""
        self.next, self.taken = message.offset + 1, 0

    def remember(self, message: Message) -> None:
        """The last message that was read of a fetch."""
        self.newest = seen(message)
        if self.anchor.offset < 0:
            self.anchor = self.newest

    def confirm(self) -> None:
        """A look at the log is about to be made: what was read until now stands or falls with it."""
        self._waits = self.newest

    def confirmed(self) -> None:
        """The log is still the one that the anchor was read from, and so is all that was read until the look."""
        if self._waits is not None:
            self.anchor, self._waits = self._waits, None

    # ---- time ----------------------------------------------------------------------------------------
    def received(self, timestamp: int, now: int) -> int:
        """When a message reached the log: its timestamp, as far as that can be.

        It was not there when everything had been read, and is there now: so far a producer's clock may be wrong.
        """
        return min(max(timestamp, self.level_at), now) if timestamp >= 0 else now

    def heard(self, received: int) -> int:
        """The same, never earlier than for a message that stands before it."""
        self._heard = max(self._heard, received)
        return self._heard

    def answered(self, watermark: int, at: int) -> None:
        """A fetch was answered at `at`, when the partition ended at `watermark`."""
        self.watermark, self.fetched_at = watermark, at
        if self._answer is None or self.done >= watermark:
            self._answer = (watermark, at)
        self.reached(self.done)

    def reached(self, done: int) -> None:
        """Everything before `done` is durable."""
        self.done = done
        if self._answer is not None and done >= self._answer[0]:
            self.level_at = max(self.level_at, self._answer[1])
            self._answer = None

    def behind(self, now: int) -> bool:
        """Whether something may stand in it that was appended some time ago and is not taken in."""
        return bool(self.stopped) or now - self.level_at > LEVEL_MS

    @property
    def lag(self) -> int:
        """How many messages are not taken in, as far as is known."""
        return max(0, self.watermark - self.done)

    # ---- is it worth reading on -----------------------------------------------------------------------
    def judge(self, readable: bool) -> bool:
        """Notes whether a message could be read; False when too many of the last could not, this one among them."""
        if readable and not self._failed:
            self._clean = min(self._clean + 1, WINDOW)
            return True
        if self._clean:
            self._outcomes.extend([True] * self._clean)
            self._clean = 0
        if len(self._outcomes) == WINDOW:
            self._failed -= not self._outcomes[0]
        self._outcomes.append(readable)
        self._failed += not readable
        if not self._failed:
            self._clean = len(self._outcomes)
            self._outcomes.clear()
        return readable or len(self._outcomes) < WINDOW_MIN or self._failed * 2 <= len(self._outcomes)

    def start_over(self) -> None:
        """Whatever could not be read before is forgotten."""
        self._outcomes.clear()
        self._failed = self._clean = 0
