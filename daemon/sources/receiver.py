"""Where the intake paths hand over what they have read, and how they learn that it cannot be kept now."""

from collections.abc import Awaitable
from typing import Protocol

import msgspec

from daemon.core.model.alert import ParsedAlert
from daemon.core.model.change import ParsedChange
from daemon.core.model.stream import Position, Positions, StreamKey
from daemon.core.records import AnyRecord


class Unavailable(Exception):
    """It cannot be made durable now: 503, to be sent again after `retry_after_s`."""

    def __init__(self, retry_after_s: float, reason: str) -> None:
        super().__init__(reason)
        self.retry_after_s, self.reason = retry_after_s, reason


class Letter(msgspec.Struct, frozen=True):
    """What could not be read: by whom it came, why not, and its bytes."""

    source: str
    reason: str
    raw: bytes


class Haul(msgspec.Struct):
    """What was read from logs at one go, and how far they have been read with it: kept as a whole or not at all.

    received: for each alert when it reached its log, ms. records: come before the alerts.
    """

    positions: dict[StreamKey, Position] = {}
    alerts: list[ParsedAlert] = []
    received: list[int] = []
    letters: list[Letter] = []
    records: list[AnyRecord] = []


class LogReceiver(Protocol):
    """Where sources that read logs hand over."""

    def now_ms(self) -> int:
        """Engine time."""
        ...

    def positions(self) -> Positions:
        """How far every log has been read: to be asked before reading begins."""
        ...

    def streams(self) -> list[tuple[str, str]]:
        """The logs that the engine takes to be read: source and `Stream.name`."""
        ...

    def said(self, cause: str, about: str) -> bool:
        """Whether a condition about samband itself (`SelfNoticed`) has begun and not ended."""
        ...

    async def within(self, alerts: list[ParsedAlert], open_max: int) -> list[ParsedAlert]:
        """See `Receiver.within`."""
        ...

    def follow(self, haul: Haul) -> Awaitable[object]:
        """Takes it, in the order of calls, or raises Unavailable at once; durable when the awaitable is done.

        The awaitable raises Unavailable when samband stops before, or the store refuses it for good.
        """
        ...


class Receiver(Protocol):
    """Where alerts go. All calls return when it is durable, and raise Unavailable when it cannot be."""

    def now_ms(self) -> int:
        """Engine time."""
        ...

    async def within(self, alerts: list[ParsedAlert], open_max: int) -> list[ParsedAlert]:
        """The alerts without those that are new while their source has `open_max` open ones."""
        ...

    async def intake(self, alerts: list[ParsedAlert]) -> None:
        """Takes the alerts of one request."""
        ...

    async def acknowledge(self, key: bytes, actor: str) -> None:
        """Acknowledges the incident that the firing alert of this key is in; nothing when there is none."""
        ...

    async def changes(self, changes: list[ParsedChange]) -> None:
        """Takes the changes of one request."""
        ...

    async def dead_letter(self, source: str, reason: str, raw: bytes) -> None:
        """Keeps what a known sender sent and could not be read."""
        ...
