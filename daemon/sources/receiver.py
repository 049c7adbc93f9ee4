"""Where the intake paths hand over what they have read, and how they learn that it cannot be kept now."""

from typing import Protocol

from daemon.core.model.alert import ParsedAlert
from daemon.core.model.change import ParsedChange


class Unavailable(Exception):
    """It cannot be made durable now: 503, to be sent again after `retry_after_s`."""

    def __init__(self, retry_after_s: float, reason: str) -> None:
        super().__init__(reason)
        self.retry_after_s, self.reason = retry_after_s, reason


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
