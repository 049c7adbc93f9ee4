"""What the engine asks for, and what one fold returns."""

from typing import Literal

import msgspec

from daemon.core.model.incident import Action, Kind


class Send(msgspec.Struct, frozen=True, gc=False):
    """One thing that a sink is to be told: becomes an outbox row in the same transaction.

    id grows. delivery: the object concerned. purpose: page, ticket, entry, message, `raise-N`,
    update, resolve, … (together with incident and generation it makes `key`, the object's key at
    the sink). after: an outbox row that must be done first, 0 for none. What is sent is rendered
    when it is sent, from the newest committed state. rank: 1 (P1) to 5, for the order of sending.
    shadow: recorded, and never sent.
    """

    id: int
    at: int
    delivery: int
    incident: int
    generation: int
    sink: str
    kind: Kind
    action: Action
    purpose: str
    key: str
    rank: int
    after: int = 0
    shadow: bool = False


class Noted(msgspec.Struct, frozen=True, gc=False):
    """A line of an incident's timeline (append-only)."""

    incident: int
    at: int
    kind: str
    text: str
    actor: str = ""


Effect = Send | Noted


class Reply(msgspec.Struct, frozen=True, gc=False):
    """The answer to one record, by its index in the batch: what a command's sender is told.

    status: ok, conflict (the state forbids it), missing (no such incident), invalid.
    """

    index: int
    status: Literal["ok", "conflict", "missing", "invalid"]
    text: str = ""
    incident: int = 0


class Row(msgspec.Struct, frozen=True, gc=False):
    """A changed entity: its image, or None when it leaves `live` (then `history` holds its last image)."""

    kind: int
    id: int
    image: bytes | None
    extra: bytes = b""
    history: bytes | None = None


class Quarantined(msgspec.Struct, frozen=True, gc=False):
    """The record at `index` (or the deadline, -1) raised; it was undone and set aside."""

    index: int
    reason: str


class Changes(msgspec.Struct, gc=False):
    """The outcome of one fold; belongs into one transaction with the records that led to it."""

    effects: list[Effect]
    changed: list[Row]
    replies: list[Reply]
    quarantined: list[Quarantined]
    counts: dict[tuple[str, str], int]
    digest: bytes
    next_due: int
