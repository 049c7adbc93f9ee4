"""The protocol of a format: bytes in, normalised alerts out. Pure; one file per vendor.

A format reads no clock, no file and no configuration: what it needs to know stands in `Context`.
"""

from typing import Protocol

import msgspec

from daemon.core.model.alert import ParsedAlert
from daemon.settings.limits import LIMITS, Limits
from daemon.sources.formats.memory import Memory

RESOLVE_TIMEOUT_MS = 300_000
"""Alertmanager's `resolve_timeout`: the lease of a firing alert on its path that brought no end."""


class Context(msgspec.Struct, frozen=True):
    """What is known of a request beside its bytes.

    source: its configured name. received_ms: when it reached us, ms since 1970. client: address of
    the sender, "" in recordings. ignored: labels by which replicas differ, part of neither labels
    nor key. resolves: whether the source ends its alerts itself; None leaves it to the format.
    first: index of the first item, for a body that is a piece of a larger one. limits: of the labels
    and annotations of one alert. memory: of this source in this format, with these settings.
    """

    source: str
    received_ms: int
    client: str = ""
    ignored: tuple[str, ...] = ("prometheus_replica", "replica")
    resolve_timeout_ms: int = RESOLVE_TIMEOUT_MS
    resolves: bool | None = None
    first: int = 0
    limits: Limits = LIMITS
    memory: Memory = msgspec.field(default_factory=Memory)


class Rejected(msgspec.Struct, frozen=True):
    """An item that could not be read.

    reason: for the sender, names the field. code: a short word of a closed set, a metric label.
    raw: the item's bytes. status: the answer that a mirrored API gives for it, 0 where it has none.
    """

    index: int
    reason: str
    code: str
    raw: bytes = b""
    status: int = 0


class Parsed(msgspec.Struct, frozen=True):
    """What a body held. skewed: firing alerts whose past `ends_at` was ignored."""

    alerts: list[ParsedAlert]
    rejected: list[Rejected] = []
    skewed: int = 0


class Unreadable(Exception):
    """The body as a whole is not of this format.

    `text` says where and why, for the sender; `code` is a short word of a closed set, a metric label.
    """

    def __init__(self, text: str, code: str = "not_json", status: int = 400) -> None:
        super().__init__(text)
        self.text, self.code, self.status = text, code, status


class Format(Protocol):
    """One vendor's form. resolves: its senders end their alerts themselves; otherwise an alert is an event."""

    name: str
    resolves: bool

    def parse(self, body: bytes, context: Context) -> Parsed:
        """The alerts in a body. Bad items are reported, never raised. Raises Unreadable for the whole body."""
        ...
