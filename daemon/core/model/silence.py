"""Silences and one-off maintenance windows: why alerts may not notify, from when, until when."""

from typing import Literal

import msgspec

SilenceKind = Literal["silence", "maintenance"]


class Term(msgspec.Struct, frozen=True, array_like=True):
    """One matcher, as Alertmanager's API spells it."""

    name: str
    value: str
    is_regex: bool
    is_equal: bool


class Silence(msgspec.Struct, gc=False, array_like=True):
    """While it is active, matching alerts are held: correlated and counted, but nobody is told.

    matchers: the terms in Alertmanager's syntax, as the compiler takes them. ends_at: its end, set
    back when a person expires it. active: alerts are held by it now. due_change: its start or end.
    due_remind: when its end is announced to those whose alerts it still holds, 0 for never.
    """

    id: int
    kind: SilenceKind
    matchers: str
    terms: tuple[Term, ...]
    starts_at: int
    ends_at: int
    created_by: str
    comment: str
    updated_at: int
    active: bool = False
    due_change: int = 0
    due_remind: int = 0

    @property
    def uuid(self) -> str:
        """Its id as clients of the compatible API expect one."""
        return silence_uuid(self.id)

    @property
    def reason(self) -> str:
        """What stands in an alert's `held`."""
        return f"{self.kind} {self.uuid}"

    def status(self, now_ms: int) -> str:
        """pending, active or expired."""
        if now_ms >= self.ends_at:
            return "expired"
        return "active" if now_ms >= self.starts_at else "pending"


def silence_uuid(number: int) -> str:
    """An id in the form of a UUID (version 4, variant 1 in its fixed digits)."""
    return f"{number >> 32:08x}-{number >> 16 & 0xFFFF:04x}-4000-8000-{number & 0xFFFF:012x}"


def silence_id(uuid: str) -> int:
    """The inverse of `silence_uuid`; 0 for what is no UUID of ours."""
    parts = uuid.split("-")
    if [len(part) for part in parts] != [8, 4, 4, 4, 12] or parts[2:4] != ["4000", "8000"]:
        return 0
    try:
        number = int(parts[0], 16) << 32 | int(parts[1], 16) << 16 | int(parts[4], 16)
    except ValueError:
        return 0
    return number if silence_uuid(number) == uuid else 0
