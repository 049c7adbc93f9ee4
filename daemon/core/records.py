"""What can happen: the closed union of records that the engine folds.

A record is what goes into the journal; folding the same records again gives the same decisions.
`at` is engine time in ms since 1970: when it was received, or when it was said.
"""

from typing import Literal

import msgspec

from daemon.core.model.alert import ParsedAlert
from daemon.core.model.change import ParsedChange
from daemon.core.model.silence import SilenceKind, Term


class Record(msgspec.Struct, frozen=True, array_like=True, tag=True, gc=False):
    """Base of all records."""

    at: int


class AlertSeen(Record, frozen=True, tag="alert"):
    """An alert was received and could be read. `line` is its place in a recording, 0 on the wire.

    received: when it reached a log that it was read from later, ms; 0 when it came straight to us.
    """

    alert: ParsedAlert
    line: int = 0
    received: int = 0


class Refresh(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What an unchanged repeat brings: a later end of the lease, perhaps other annotations (b"" if the same)."""

    alert: int
    at: int
    ends_at: int
    annotations: bytes


class Contact(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """An emitter (by id) was heard, first at `first_at` and last at `at`, without a long pause between."""

    emitter: int
    first_at: int
    at: int


class Refreshed(Record, frozen=True, tag="refreshed"):
    """The refresh buffer: unchanged repeats and emitters' contacts since the last one."""

    refreshes: list[Refresh]
    contacts: list[Contact]


class CommandGiven(Record, frozen=True, tag="command"):
    """A person or a program acted. `id` is the idempotency key: the same id again gets the same answer.

    verb: one of `acts.VERBS`. incident: its id, 0 for `create`. arguments: what the verb takes, as text.
    """

    id: str
    actor: str
    verb: str
    incident: int
    arguments: dict[str, str] = {}


class ChangeSeen(Record, frozen=True, tag="change"):
    """A change was reported."""

    change: ParsedChange


class SilencePut(Record, frozen=True, tag="silence"):
    """A silence is made, or (`silence` is not 0) changed. `id` is the idempotency key.

    matchers: the terms in Alertmanager's syntax, already known to compile.
    """

    id: str
    actor: str
    silence: int
    kind: SilenceKind
    matchers: str
    terms: tuple[Term, ...]
    starts_at: int
    ends_at: int
    comment: str


class SilenceExpired(Record, frozen=True, tag="unsilence"):
    """A person ends a silence now. `id` is the idempotency key."""

    id: str
    actor: str
    silence: int


class Delivered(Record, frozen=True, tag="delivered"):
    """The outbox row `send` is done; `ref` is the object's name at the sink."""

    send: int
    ref: str


class DeliveryFailed(Record, frozen=True, tag="failed"):
    """The outbox row `send` was given up (dead-lettered) for `reason` (sinks.base.Reason)."""

    send: int
    reason: str
    detail: str


class Overdue(Record, frozen=True, tag="overdue"):
    """The outbox row `send` was not done within its bound; it is still being tried."""

    send: int
    reason: str


class SelfNoticed(Record, frozen=True, tag="self"):
    """samband noticed something about itself: `firing` begins or ends the condition `cause` (at `sink`, "" if none).

    about: what else it concerns, so that each has a condition of its own.
    """

    cause: str
    sink: str
    text: str
    firing: bool
    about: str = ""


class StreamMoved(Record, frozen=True, tag="stream"):
    """A log that a source reads fell behind, is level with its end again, or is read no more (gone).

    stream: `Stream.name`. Said on such edges only.
    """

    source: str
    stream: str
    place: Literal["behind", "level", "gone"]


class Resumed(Record, frozen=True, tag="resumed"):
    """The daemon started: a new epoch, after `gap` ms in which nothing could be heard or done.

    Gives every lease its lead again, and collapses what became overdue meanwhile.
    """

    epoch: int
    gap: int


class ClockStepped(Record, frozen=True, tag="clock"):
    """The wall clock stepped by `by` ms against elapsed time: running waits move along, calendar times do not."""

    by: int


class PolicyChanged(Record, frozen=True, tag="policy"):
    """Another configuration is in force from here; `digest` names it, `mode` is its mode, `before` the one until then.

    before: "" when there was none, or it is not known.
    """

    digest: str
    mode: str
    before: str = ""


AnyRecord = (
    AlertSeen
    | Refreshed
    | CommandGiven
    | ChangeSeen
    | SilencePut
    | SilenceExpired
    | Delivered
    | DeliveryFailed
    | Overdue
    | SelfNoticed
    | StreamMoved
    | Resumed
    | ClockStepped
    | PolicyChanged
)

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[AnyRecord])


def encode_records(records: list[AnyRecord]) -> bytes:
    """The journal's form of a batch's records (MessagePack; the store compresses it)."""
    return _encoder.encode(records)


def decode_records(data: bytes) -> list[AnyRecord]:
    """The inverse of `encode_records`. Raises msgspec.DecodeError on bytes that are not records."""
    return _decoder.decode(data)
