"""What waits for the next batch: submissions in their order, the refresh buffer beside them, how far logs are read."""

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from daemon.access import Issued
from daemon.core.effects import Reply
from daemon.core.engine import Engine
from daemon.core.model.alert import ParsedAlert
from daemon.core.model.stream import Position, Positions, StreamKey, decode_positions, encode_positions
from daemon.core.records import AlertSeen, AnyRecord, Contact, Refresh, Refreshed
from daemon.store.base import DeadLetter, OutboxRow

Replies = list[Reply | None]


class NotDurable(Exception):
    """It cannot be made durable now: answer 503 with Retry-After. Sent again, what landed is recognised.

    reason: full (queue), store (nothing can be committed), refused (the store cannot write it), stopping.
    """

    def __init__(self, reason: str, retry_after_s: int) -> None:
        super().__init__(reason)
        self.reason, self.retry_after_s = reason, retry_after_s


class Submission:
    """What one sender wants to be durable, and the future that is set when all of it is.

    rows, letters, tokens: written with the last of the records; gone: dead letters that are removed
    with it. patient: waits for a store that is in trouble, instead of being told so. positions: of the
    logs that it was read from, None when it came from none; then it goes into one batch, as a whole and
    in its turn.
    """

    __slots__ = ("done", "gone", "letters", "patient", "positions", "records", "replies", "rows", "taken", "tokens")

    def __init__(
        self,
        done: "asyncio.Future[Replies]",
        records: Sequence[AnyRecord] = (),
        rows: Sequence[OutboxRow] = (),
        letters: Sequence[DeadLetter] = (),
        tokens: Sequence[Issued] = (),
        *,
        gone: Sequence[int] = (),
        patient: bool = False,
        positions: Positions | None = None,
    ) -> None:
        self.done, self.records, self.rows, self.letters, self.patient = done, records, rows, letters, patient
        self.tokens, self.gone, self.positions = tokens, gone, positions
        self.replies: Replies = [None] * len(records)
        self.taken = 0

    def settle(self) -> None:
        """Gives the sender the replies, if nobody has answered before."""
        if not self.done.done():
            self.done.set_result(self.replies)

    def refuse(self, error: NotDurable) -> None:
        """Tells the sender that it is not durable, if nobody has answered before."""
        if not self.done.done():
            self.done.set_exception(error)
            self.done.exception()  # Marked as seen: a sender that went away is no fault of ours.


class Part(NamedTuple):
    """A stretch of a submission in a batch: `start` is its first record's place there, `size` how many.

    offset: the first record's place in the submission.
    """

    submission: Submission
    offset: int
    start: int
    size: int

    @property
    def records(self) -> Sequence[AnyRecord]:
        """The records of the stretch."""
        return self.submission.records[self.offset : self.offset + self.size]

    @property
    def last(self) -> bool:
        """Whether the submission ends with it."""
        return self.offset + self.size == len(self.submission.records)

    def settle(self, replies: Sequence[Reply]) -> None:
        """After the commit: takes its own out of the batch's replies; the last part answers the sender."""
        for reply in replies:
            place = reply.index - self.start
            if 0 <= place < self.size:
                self.submission.replies[self.offset + place] = reply
        if self.last:
            self.submission.settle()


INSTANT_MS = 20
"""What comes within so long, while something waits, is of one instant: a storm is settled once, not per request."""


class Queue:
    """Submissions in the order of their arrival; knows which alert keys wait in it. `count` is of records."""

    def __init__(self) -> None:
        self.count = 0
        self._keys: dict[bytes, int] = {}
        self._waiting: deque[Submission] = deque()
        self._instant = 0

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def add(self, submission: Submission) -> None:
        """Takes it in: at the end, or, if it has neither records nor positions, before everybody else."""
        if not submission.records and submission.positions is None:
            self._waiting.appendleft(submission)
            return
        self._waiting.append(submission)
        self.count += len(submission.records)
        for record in submission.records:
            if type(record) is AlertSeen:
                self._keys[record.alert.key] = self._keys.get(record.alert.key, 0) + 1

    @property
    def follows(self) -> bool:
        """Whether positions wait in it, so that others must stand behind them."""
        return any(one.positions is not None for one in self._waiting)

    def instant(self, now: int) -> int:
        """When what comes `now` counts as received: with what waits already, if that is of the same instant."""
        if not self.count or now - self._instant >= INSTANT_MS:
            self._instant = now
        return self._instant

    def holds(self, key: bytes) -> bool:
        """Whether an alert of that key waits, so that another one must stand behind it."""
        return key in self._keys

    def take(self, limit: int, before: int) -> tuple[list[AnyRecord], list[Part]]:
        """The next records, at most `limit`, and whose they are; `before` is the place of the first in the batch."""
        records: list[AnyRecord] = []
        parts: list[Part] = []
        while self._waiting and len(records) < limit:
            first = self._waiting[0]
            room = limit - len(records)
            if first.positions is not None and len(first.records) > room:
                if records:
                    break
                room = len(first.records)
            stretch = first.records[first.taken : first.taken + room]
            parts.append(Part(first, first.taken, before + len(records), len(stretch)))
            records.extend(stretch)
            first.taken += len(stretch)
            if first.taken == len(first.records):
                self._waiting.popleft()
        self._forget(records)
        return records, parts

    def next_at(self) -> int | None:
        """When the first record that still waits was received; None when none waits."""
        return next((one.records[one.taken].at for one in self._waiting if one.records), None)

    def refuse(self, error: NotDurable, *, everybody: bool) -> None:
        """Turns away those who wait, the patient only with `everybody`; what they brought is dropped."""
        stay = deque(one for one in self._waiting if one.patient and not everybody)
        for submission in self._waiting:
            if everybody or not submission.patient:
                submission.refuse(error)
                self._forget(submission.records[submission.taken :])
        self._waiting = stay

    def _forget(self, records: Sequence[AnyRecord]) -> None:
        self.count -= len(records)
        if not self.count:
            self._keys.clear()
            return
        for record in records:
            if type(record) is AlertSeen:
                left = self._keys[record.alert.key] - 1
                if left:
                    self._keys[record.alert.key] = left
                else:
                    del self._keys[record.alert.key]


class RefreshBuffer:
    """Unchanged repeats and emitters' contacts since the last `take`: at most one of each per alert and emitter.

    positions: of logs in which nothing else was read meanwhile; they may be as late on disk as the rest.
    """

    def __init__(self) -> None:
        self.since = 0
        self.positions: dict[StreamKey, Position] = {}
        self._refreshes: dict[int, Refresh] = {}
        self._contacts: dict[int, tuple[int, int]] = {}

    def __len__(self) -> int:
        return len(self._refreshes)

    def add(self, refresh: Refresh, emitter: int) -> None:
        """Notes a repeat, and that the emitter (0: unknown) was heard with it."""
        if not self._refreshes:
            self.since = refresh.at
        self._refreshes[refresh.alert] = refresh
        if emitter:
            known = self._contacts.get(emitter)
            self._contacts[emitter] = (known[0] if known else refresh.at, refresh.at)

    def sift(
        self, engine: Engine, queue: Queue, alerts: Sequence[ParsedAlert], received: Iterable[int], now: int
    ) -> list[AnyRecord]:
        """Notes the unchanged repeats among the alerts, and returns the records of all others.

        received: as in `AlertSeen`, for each. A repeat behind a record of its key that waits is none.
        """
        fresh: list[AnyRecord] = []
        own: set[bytes] = set()
        repeat, contact_of, holds, known = engine.repeat, engine.contact_of, queue.holds, engine.state.by_key
        for parsed, heard in zip(alerts, received, strict=False):
            key = parsed.key
            refresh = repeat(parsed, now, heard) if key in known and key not in own and not holds(key) else None
            if refresh is None:
                own.add(key)
                fresh.append(AlertSeen(now, parsed, 0, heard))
            else:
                self.add(refresh, contact_of(parsed))
        return fresh

    def forget(self, first: int) -> None:
        """Drops the repeats of alerts with this id or a later one: there are no such alerts after all."""
        self._refreshes = {number: refresh for number, refresh in self._refreshes.items() if number < first}

    def take(self, at: int) -> Refreshed:
        """Everything, as the record that goes first in its batch; the buffer is empty then."""
        contacts = [Contact(emitter, first, last) for emitter, (first, last) in self._contacts.items()]
        record = Refreshed(at, list(self._refreshes.values()), contacts)
        self._refreshes.clear()
        self._contacts.clear()
        self.positions.clear()
        return record


class Places:
    """How far every log has been read, as it is to stand beside the next batch.

    Raises msgspec.DecodeError for bytes that are no positions.
    """

    def __init__(self, data: bytes) -> None:
        self.known, self.encoded = decode_positions(data), data

    def back_to(self, data: bytes) -> None:
        """As they were, encoded: what had moved them did not come on disk."""
        self.known.clear()
        self.known.update(decode_positions(data))
        self.encoded = data

    def move(self, moves: Iterable[Positions | None]) -> bytes:
        """The positions after these moves, in their order."""
        moved = False
        for positions in moves:
            if positions:
                self.known.update(positions)
                moved = True
        if moved:
            self.encoded = encode_positions(self.known)
        return self.encoded
