"""A batch on its way to disk: what goes into it, what the fold made of it, and who waits for it."""

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

from daemon import log, metrics
from daemon.batching import NotDurable, Part, Submission
from daemon.core.effects import Changes, Noted, Reply, Row, Send
from daemon.core.engine import Engine
from daemon.core.records import AlertSeen, AnyRecord, encode_records
from daemon.store.base import Batch, DeadLetter, OutboxRow


class Load(NamedTuple):
    """What goes into one batch: samband's own records first, then those of senders.

    until: what is due by then is fired with it. base, rows: see `Batch`. letters: in place of what the
    store refused. alone: nothing else is at stake when it is refused. turned_away: whose things cannot
    be written, told once something else could be.
    """

    own: Sequence[AnyRecord]
    parts: Sequence[Part]
    until: int
    base: list[bytes] | None = None
    rows: Sequence[Row] = ()
    letters: Sequence[DeadLetter] = ()
    alone: bool = False
    turned_away: Sequence[Submission] = ()

    @property
    def records(self) -> list[AnyRecord]:
        """All records, in the order in which they are folded."""
        return [*self.own, *(record for part in self.parts for record in part.records)]

    def pieces(self, refusal: str, now_ms: int) -> list["Load"]:
        """The same in smaller pieces, in order, after the store has refused it whole. There must be parts.

        Down to one record: that is set aside as a dead letter, and what came with it is tried without
        it. Down to what came with it: its sender is told that it cannot be made durable.
        """
        if self.own or self.base or self.rows or len(self.parts) > 1 or self.parts[0].size > 1:
            first, rest = ([], list(self.parts)) if self.own or self.base or self.rows else _halved(self.parts)
            before = min(self.until, _begin(rest, self.until + 1) - 1)
            head = Load(self.own, first, before, self.base, self.rows)
            return [head, Load((), _placed(rest, 0), self.until)]
        (part,) = self.parts
        if not part.size:
            return [Load((), (), self.until, letters=self.letters, turned_away=[part.submission])]
        (record,) = part.records
        if not self.alone:
            # What is due before it may be at fault as well, and what is due after it.
            return [Load((), (), record.at - 1), self._replace(until=record.at, alone=True), Load((), (), self.until)]
        part.submission.replies[part.offset] = Reply(0, "invalid", SET_ASIDE)
        letter = set_aside(record, f"the store refused it: {refusal}", now_ms)
        return [self._replace(parts=[Part(part.submission, part.offset + 1, 0, 0)], letters=[letter])]


SET_ASIDE = "samband could not carry this out; it is set aside"


def _halved(parts: Sequence[Part]) -> tuple[list[Part], list[Part]]:
    """Two halves with as many records, or parts without any, in each; a part may stand in both."""
    left = sum(part.size or 1 for part in parts) // 2
    first: list[Part] = []
    for place, part in enumerate(parts):
        if (part.size or 1) > left:
            rest = [part._replace(offset=part.offset + left, size=part.size - left)] if left else [part]
            first += [part._replace(size=left)] if left else []
            return first, [*rest, *parts[place + 1 :]]
        first.append(part)
        left -= part.size or 1
    return first, []


def _placed(parts: Sequence[Part], start: int) -> list[Part]:
    """The parts, told where their records stand in a batch of their own."""
    placed = []
    for part in parts:
        placed.append(part._replace(start=start))
        start += part.size
    return placed


def _begin(parts: Sequence[Part], otherwise: int) -> int:
    """When the first record of these parts was received."""
    return next((part.records[0].at for part in parts if part.size), otherwise)


class Flight:
    """One batch. `changes` is None when nothing was folded; `landed` is set when it is durable.

    sends: its new outbox rows, those of shadow mode included.
    """

    def __init__(self, batch: Batch, changes: Changes | None, parts: Sequence[Part]) -> None:
        self.batch, self.changes, self.parts = batch, changes, parts
        self.landed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.sends = [_outbox_row(effect) for effect in _effects(changes) if isinstance(effect, Send)]
        last = [part.submission for part in parts if part.last]
        batch.outbox = [*self.sends, *(row for one in last for row in one.rows)]
        batch.dead_letters = [*batch.dead_letters, *(letter for one in last for letter in one.letters)]
        batch.letters_gone = [number for one in last for number in one.gone]
        batch.tokens = [token for one in last for token in one.tokens]

    def settle(self) -> None:
        """It is durable: everybody is answered."""
        replies = self.changes.replies if self.changes is not None else []
        for part in self.parts:
            part.settle(replies)
        if not self.landed.done():
            self.landed.set_result(None)

    def refuse(self, error: NotDurable, *, everybody: bool) -> None:
        """It is not durable (yet): who waits is told, the patient only with `everybody`."""
        for part in self.parts:
            if everybody or not part.submission.patient:
                part.submission.refuse(error)
        self.disown(error)

    def disown(self, error: NotDurable) -> None:
        """Nobody may rest on it: who only repeated what it holds is told to come again."""
        if not self.landed.done():
            self.landed.set_exception(error)
            self.landed.exception()


def folded(batch: Batch, engine: Engine, records: list[AnyRecord], until: int) -> Changes:
    """Folds the records and everything due by `until`, and enters what came of it into the batch."""
    changes = engine.fold(records, until)
    batch.now_ms = until  # What was folded up to: records that came at the same instant may be in the next batch.
    batch.next_id, batch.next_number = engine.state.next_id, engine.state.next_number
    batch.records, batch.count, batch.digest = encode_records(records), len(records), changes.digest
    batch.rows = changes.changed
    batch.timeline = [effect for effect in changes.effects if isinstance(effect, Noted)]
    batch.dead_letters = _quarantined(records, changes, engine.now_ms)
    return changes


def _effects(changes: Changes | None) -> Sequence[object]:
    return changes.effects if changes is not None else ()


def _outbox_row(send: Send) -> OutboxRow:
    return OutboxRow(send, "shadow" if send.shadow else "waiting", next_at=send.at)


def _quarantined(records: Sequence[AnyRecord], changes: Changes, now_ms: int) -> list[DeadLetter]:
    """Records that raised in the engine: kept, so that they can be looked at and given in again."""
    letters = []
    for one in changes.quarantined:
        if one.index >= 0:
            letters.append(set_aside(records[one.index], f"quarantined: {one.reason}", now_ms))
        else:
            log.QUARANTINED(index=one.index, reason=one.reason)
            metrics.QUARANTINED.inc()
    return letters


def set_aside(record: AnyRecord, reason: str, now_ms: int) -> DeadLetter:
    """The dead letter of a record that could not be carried out."""
    log.QUARANTINED(record=type(record).__name__, reason=reason)
    metrics.QUARANTINED.inc()
    metrics.DEAD_LETTERS.labels("source", "quarantined").inc()
    source = record.alert.source if isinstance(record, AlertSeen) else "samband"
    return DeadLetter(now_ms, source, reason, encode_records([record]))
