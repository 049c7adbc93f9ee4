"""What waits for the next batch: submissions in their order, and the refresh buffer beside them."""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from daemon.access import Issued
from daemon.core.effects import Reply
from daemon.core.records import AlertSeen, AnyRecord, Contact, Refresh, Refreshed
from daemon.store.base import DeadLetter, OutboxRow

Replies = list[Reply | None]


class NotDurable(Exception):
    """It cannot be made durable now: answer 503 with Retry-After. Sent again, what landed is recognised.

    reason: full (queue), store (nothing can be committed), stopping.
    """

    def __init__(self, reason: str, retry_after_s: int) -> None:
        super().__init__(reason)
        self.reason, self.retry_after_s = reason, retry_after_s


class Submission:
    """What one sender wants to be durable, and the future that is set when all of it is.

    rows, letters, tokens: written with the last of the records; gone: dead letters that are removed
    with it. patient: waits for a store that is in trouble, instead of being told so.
    """

    __slots__ = ("done", "gone", "letters", "patient", "records", "replies", "rows", "taken", "tokens")

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
    ) -> None:
        self.done, self.records, self.rows, self.letters, self.patient = done, records, rows, letters, patient
        self.tokens, self.gone = tokens, gone
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


class Queue:
    """Submissions in the order of their arrival; knows which alert keys wait in it. `count` is of records."""

    def __init__(self) -> None:
        self.count = 0
        self._keys: dict[bytes, int] = {}
        self._waiting: deque[Submission] = deque()

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def add(self, submission: Submission) -> None:
        """Takes it in: at the end, or, if it has no records, before everybody else."""
        if not submission.records:
            self._waiting.appendleft(submission)
            return
        self._waiting.append(submission)
        self.count += len(submission.records)
        for record in submission.records:
            if type(record) is AlertSeen:
                self._keys[record.alert.key] = self._keys.get(record.alert.key, 0) + 1

    def holds(self, key: bytes) -> bool:
        """Whether an alert of that key waits, so that another one must stand behind it."""
        return key in self._keys

    def take(self, limit: int, before: int) -> tuple[list[AnyRecord], list[Part]]:
        """The next records, at most `limit`, and whose they are; `before` is the place of the first in the batch."""
        records: list[AnyRecord] = []
        parts: list[Part] = []
        while self._waiting and len(records) < limit:
            first = self._waiting[0]
            stretch = first.records[first.taken : first.taken + limit - len(records)]
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
    """Unchanged repeats and emitters' contacts since the last `take`: at most one of each per alert and emitter."""

    def __init__(self) -> None:
        self.since = 0
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

    def take(self, at: int) -> Refreshed:
        """Everything, as the record that goes first in its batch; the buffer is empty then."""
        contacts = [Contact(emitter, first, last) for emitter, (first, last) in self._contacts.items()]
        record = Refreshed(at, list(self._refreshes.values()), contacts)
        self._refreshes.clear()
        self._contacts.clear()
        return record
