"""How rows end: what the engine is told, in the transaction that ends them, and what is remembered of them."""

import asyncio
from collections import Counter
from collections.abc import Sequence

from daemon import log, metrics
from daemon import outbox_rules as rules
from daemon.batching import NotDurable
from daemon.core.records import AnyRecord, Delivered, DeliveryFailed
from daemon.outbox_notices import Notices
from daemon.outbox_twins import Twins
from daemon.runtime import Runtime
from daemon.store.base import OutboxRow
from sinks.base import Reason


class Ends:
    """failed: delivery -> its create (or reopen) that was dead-lettered, or held as unclear."""

    def __init__(self, runtime: Runtime, notices: Notices, twins: Twins) -> None:
        self._runtime, self._notices, self._twins = runtime, notices, twins
        self.failed: dict[int, OutboxRow] = {}

    async def conclude(self, row: OutboxRow, told: rules.Told) -> None:
        """Makes row and record durable together, however long the store takes: what was done is not done again."""
        while True:
            try:
                await self._runtime.submit(self._records(row, told), [row])
                break
            except NotDurable as refusal:
                await asyncio.sleep(refusal.retry_after_s)
        self._say(row, told)
        if row.state in ("dead", "unsure"):
            self.remember(row)
        else:
            self._twins.watch(row, self._runtime.now_ms())

    def remember(self, row: OutboxRow) -> None:
        """A create that failed keeps back what comes after it; any dead letter is an incident about samband."""
        if row.send.action in rules.MAKES:
            self.failed[row.send.delivery] = row
        if row.state == "dead":
            self._notices.remember(row)

    def revive(self, row: OutboxRow) -> None:
        """It is tried again, or nobody wants it any more: it keeps nothing back, and nobody is told of it."""
        known = self.failed.get(row.send.delivery)
        if known is not None and known.send.id == row.send.id:
            del self.failed[row.send.delivery]
        self._notices.forget(row.send.id)

    def is_dead(self, number: int) -> bool:
        """Whether that create was dead-lettered (what was held as unclear will not become clearer)."""
        return any(row.send.id == number and row.state == "dead" for row in self.failed.values())

    def forget(self) -> list[OutboxRow]:
        """Forgets the failures whose incident has left the state, and returns them."""
        deliveries = self._runtime.engine.state.deliveries.rows
        gone = [row for number, row in self.failed.items() if number not in deliveries]
        for row in gone:
            del self.failed[row.send.delivery]
        return gone

    def _records(self, row: OutboxRow, told: rules.Told) -> list[AnyRecord]:
        now, number = self._runtime.now_ms(), row.send.id
        if told == "delivered":
            return [Delivered(now, number, row.ref)]
        if row.state == "superseded":
            return [DeliveryFailed(now, number, Reason.DROPPED.value, "no longer wanted")]
        report = DeliveryFailed(now, number, row.reason, row.detail)
        return [report, *self._notices.dead(row, now)] if row.state == "dead" else [report]

    def _say(self, row: OutboxRow, told: rules.Told) -> None:
        send, now = row.send, self._runtime.now_ms()
        if told == "delivered":
            log.SENT(sink=send.sink, action=send.action, purpose=send.purpose, key=send.key, ref=row.ref)
            metrics.DELIVERY_SECONDS.labels(send.sink).observe(max(0, now - send.at) / 1000)
        elif row.state == "superseded":
            metrics.SENDS.labels(send.sink, send.action, "superseded", "").inc()
        elif row.state == "dead":
            log.SEND_DEAD(sink=send.sink, action=send.action, key=send.key, reason=row.reason, detail=row.detail)
            metrics.DEAD_LETTERS.labels("sink", row.reason).inc()


def measure(rows: Sequence[OutboxRow], now: int) -> None:
    """Sets the gauges of what is not finished."""
    metrics.OUTBOX_ROWS.clear()
    metrics.OUTBOX_OLDEST.clear()
    counts = Counter((row.send.sink, row.state) for row in rows)
    for (sink, state), number in counts.items():
        metrics.OUTBOX_ROWS.labels(sink, state).set(number)
    oldest: dict[str, int] = {}
    for row in rows:
        if row.state != "dead":
            oldest[row.send.sink] = min(oldest.get(row.send.sink, now), row.send.at)
    for sink, at in oldest.items():
        metrics.OUTBOX_OLDEST.labels(sink).set((now - at) / 1000)
