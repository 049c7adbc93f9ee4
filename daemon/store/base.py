"""What the runtime and the outbox ask of a store: one transaction per batch, and recovery from `live`.

The protocol is synchronous: exactly one writer thread calls `commit`, in order.
"""

from collections.abc import Iterable, Sequence
from typing import Literal, Protocol

import msgspec

from daemon.access import Issued
from daemon.core.effects import Noted, Row, Send

OutboxState = Literal["waiting", "sending", "done", "unsure", "dead", "superseded", "shadow"]


class OutboxRow(msgspec.Struct, gc=False):
    """One row of the outbox as it stands. `send` never changes; the rest is the outbox's own.

    attempts: tries so far. next_at: not before then (engine time). first_try_at: 0 before the first.
    unsure_at: when the attempt with the unclear outcome was made, 0 for none. reason, detail: of
    the last failure (secrets masked). ref: the object's name at the sink, once known.
    """

    send: Send
    state: OutboxState
    attempts: int = 0
    next_at: int = 0
    first_try_at: int = 0
    unsure_at: int = 0
    reason: str = ""
    detail: str = ""
    ref: str = ""
    done_at: int = 0


class DeadLetter(msgspec.Struct, frozen=True):
    """What was authenticated and could not be read: kept as raw bytes with its reason."""

    at: int
    source: str
    reason: str
    raw: bytes


class Batch(msgspec.Struct):
    """What one transaction writes. Immutable once handed to `commit`, which may repeat it identically.

    seq: the batch's own; the store holds seq - 1 before it. records: the journal's form of the
    inputs, count of them, and the digest of what they changed (b"" when only the outbox moved: then
    no journal row is made). policy, mode: in force while it was folded. rows: changed entities.
    outbox, tokens: rows as they are to be from now on (new and changed). base: a copy of the engine's state
    as it was before this batch, so that folding again can start there: parts of MessagePack, each a
    list of [kind, id, image, extra] (None: no copy). letters_gone: dead letters that are done with.
    """

    scope: str
    epoch: int
    seq: int
    now_ms: int
    policy: str
    mode: str
    next_id: int
    next_number: int
    records: bytes = b""
    count: int = 0
    digest: bytes = b""
    rows: Sequence[Row] = ()
    outbox: Sequence[OutboxRow] = ()
    timeline: Sequence[Noted] = ()
    dead_letters: Sequence[DeadLetter] = ()
    letters_gone: Sequence[int] = ()
    tokens: Sequence[Issued] = ()
    positions: bytes = b""
    base: Sequence[bytes] | None = None


class LiveRow(msgspec.Struct, frozen=True):
    """One row of `live`, as recovery reads it."""

    kind: int
    id: int
    image: bytes
    extra: bytes


class Recovered(msgspec.Struct):
    """The state of the scope after `claim`: where the journal stands, and everything that lives.

    epoch: the new one. seq, now_ms, policy, mode: of the last batch (0 and "" in a new store).
    live: read as it is iterated, once, before the first commit; a damaged row raises StoreError.
    outbox: rows that are not done, and those done of late of which a twin may still turn up.
    base_at: `now_ms` of the newest base, 0 for none.
    comparable: that copy was made by this build, so folding from it again must give its digests.
    """

    epoch: int
    seq: int
    now_ms: int
    next_id: int
    next_number: int
    policy: str
    mode: str
    live: Iterable[LiveRow]
    outbox: list[OutboxRow]
    positions: bytes = b""
    base_at: int = 0
    comparable: bool = False


class StoreError(Exception):
    """The store could not do it. `reason` is a metric label:

    busy, full, read_only, down (may pass by itself), damaged (needs a person), refused (the batch
    itself cannot be written), fenced, locked (another daemon has it), schema (needs `db upgrade`),
    gone_back (it has lost commits; what it has can only be loaded by a start).
    """

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


class Locked(StoreError):
    """Another daemon has the store; `pid` is its process, 0 if it is on another machine or could not be read."""

    def __init__(self, text: str, pid: int = 0) -> None:
        super().__init__("locked", text)
        self.pid = pid


class CommitUnknown(StoreError):
    """The transaction may or may not be on disk: commit the identical batch again, the store tells."""


class Fenced(StoreError):
    """Another daemon has taken the scope: stop, and write nothing more."""

    def __init__(self, text: str) -> None:
        super().__init__("fenced", text)


class Store(Protocol):
    """A store. `commit` is all or nothing, and durable when it returns."""

    def claim(self, scope: str, wall_ms: int) -> Recovered:
        """Takes the scope with a new epoch: max(any before + 1, unix seconds, that of the last id + 1).

        Raises StoreError.
        """
        ...

    def commit(self, batch: Batch) -> None:
        """Writes the batch; sets (epoch, seq) by compare-and-set last before COMMIT.

        A batch that is already there (same epoch and seq) is a success, so that an unclear outcome
        is settled by the identical batch. Raises Fenced; CommitUnknown; or StoreError, after which
        nothing of it is there.
        """
        ...

    def tidy(self, idle: bool) -> None:
        """Housekeeping between commits, some ms at most; `idle`: nothing is waiting. Raises StoreError."""
        ...

    def held_s(self) -> float:
        """Seconds for which at least nobody else can take the scope. May be asked from any thread.

        A request that can last longer must not begin: a successor may repeat it.
        """
        ...

    def close(self) -> None:
        """Closes; whatever `commit` returned from stays."""
        ...
