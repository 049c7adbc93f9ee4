"""A batch on its way to disk: what the fold made of it, and who waits for it."""

import asyncio
from collections.abc import Sequence

from daemon import log, metrics
from daemon.batching import NotDurable, Part
from daemon.core.effects import Changes, Noted, Send
from daemon.core.engine import Engine
from daemon.core.records import AlertSeen, AnyRecord, encode_records
from daemon.store.base import Batch, DeadLetter, OutboxRow


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
        if not self.landed.done():
            self.landed.set_exception(error)
            self.landed.exception()


def folded(batch: Batch, engine: Engine, records: list[AnyRecord], until: int) -> Changes:
    """Folds the records and everything due by `until`, and enters what came of it into the batch."""
    changes = engine.fold(records, until)
    batch.now_ms = engine.now_ms
    batch.next_id, batch.next_number = engine.state.next_id, engine.state.next_number
    batch.records, batch.count, batch.digest = encode_records(records), len(records), changes.digest
    batch.rows = changes.changed
    batch.timeline = [effect for effect in changes.effects if isinstance(effect, Noted)]
    batch.dead_letters = _set_aside(records, changes, engine.now_ms)
    return changes


def _effects(changes: Changes | None) -> Sequence[object]:
    return changes.effects if changes is not None else ()


def _outbox_row(send: Send) -> OutboxRow:
    return OutboxRow(send, "shadow" if send.shadow else "waiting", next_at=send.at)


def _set_aside(records: Sequence[AnyRecord], changes: Changes, now_ms: int) -> list[DeadLetter]:
    """Records that raised in the engine: kept, so that they can be looked at and given in again."""
    letters = []
    for one in changes.quarantined:
        log.QUARANTINED(index=one.index, reason=one.reason)
        metrics.QUARANTINED.inc()
        if one.index >= 0:
            record = records[one.index]
            source = record.alert.source if isinstance(record, AlertSeen) else "samband"
            letters.append(DeadLetter(now_ms, source, f"quarantined: {one.reason}", encode_records([record])))
            metrics.DEAD_LETTERS.labels("source", "quarantined").inc()
    return letters
