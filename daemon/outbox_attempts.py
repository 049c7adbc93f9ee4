"""One attempt at a sink: render, mark, send or look, and judge what came of it."""

import asyncio
import random

from msgspec.structs import replace

from daemon import log, metrics
from daemon import outbox_orders as orders
from daemon import outbox_rules as rules
from daemon.batching import NotDurable
from daemon.core.model.incident import Action
from daemon.outbox_lanes import Lane
from daemon.runtime import Runtime
from daemon.store.base import OutboxRow
from sinks.base import (
    Absent,
    Done,
    Found,
    Http,
    Order,
    Outcome,
    Reason,
    Reject,
    Retry,
    Unsure,
)

STALE_MS = 5_000
"""A mark that took longer (the store was in trouble) leaves an order that is out of date: it is judged anew."""
UNHELD_MS = 1_000
"""So soon is tried again what may not be sent because the store could be taken over meanwhile."""


class Attempts:
    """Carries single rows out. It knows nothing of queues."""

    def __init__(
        self, runtime: Runtime, timing: rules.Timing, http: Http, style: orders.Style, luck: random.Random
    ) -> None:
        self._runtime, self._http, self._luck = runtime, http, luck
        self.timing, self.style = timing, style

    async def deliver(self, lane: Lane, row: OutboxRow, action: Action | None) -> rules.Step:
        """Sends the row (as `action`, when that is not its own). It must be the turn of the row."""
        sink, now = lane.sink, self._runtime.now_ms()
        engine = self._runtime.engine
        order = orders.build(row, sink.idempotency, engine.state, engine.policy, now, self.style, action)
        sent = rules.marked(row, now)
        if row.attempts or sink.idempotency != "native":
            try:
                # Also makes durable all that the order was rendered from: commits keep their order.
                await self._runtime.write_outbox([sent])
            except NotDurable as refusal:
                lane.circuit.unclear()
                return rules.Step(replace(row, next_at=now + int(refusal.retry_after_s * 1000)))
            if (later := self._runtime.now_ms()) - now > STALE_MS:
                lane.circuit.unclear()
                return rules.Step(replace(row, next_at=later))
        if self._runtime.held_s() * 1000 < self.timing.timeout:
            # Whoever takes the scope over then may send the same, or what comes after it.
            lane.circuit.unclear()
            return rules.Step(replace(row, next_at=self._runtime.now_ms() + UNHELD_MS))
        started = asyncio.get_running_loop().time()
        outcome = await self._ask(lane, order)
        metrics.SEND_SECONDS.labels(sink.name).observe(asyncio.get_running_loop().time() - started)
        step = rules.after_attempt(
            sent, outcome, sink.idempotency, self._runtime.now_ms(), self.timing, self._luck.random()
        )
        self._settle(lane, outcome, step)
        _count(sink.name, order.action, outcome)
        return step

    async def look(self, lane: Lane, row: OutboxRow, looks: int, *, wanted: bool) -> rules.Step:
        """Looks whether an attempt whose outcome is unclear has arrived. looks: how often so far, from 1."""
        sink, now = lane.sink, self._runtime.now_ms()
        engine = self._runtime.engine
        order = orders.build(row, sink.idempotency, engine.state, engine.policy, now, self.style)
        try:
            found = await sink.find(order, self._http, now - row.unsure_at)
        except Exception as error:  # noqa: BLE001  (a sink of somebody else must not stop the outbox)
            found = Retry(Reason.BAD_ANSWER, _bug(sink.name, error))
        if isinstance(found, Retry):
            found = replace(found, detail=rules.masked(found.detail, sink.secrets))
        # The time of the question, not of the answer: a clock that was set meanwhile settles nothing.
        step = rules.after_look(row, found, wanted, looks, now, self.timing, self._luck.random())
        self._settle(lane, found, step)
        return step

    async def _ask(self, lane: Lane, order: Order) -> Outcome:
        try:
            outcome = await lane.sink.deliver(order, self._http)
        except Exception as error:  # noqa: BLE001  (likewise)
            return Unsure(Reason.BAD_ANSWER, _bug(lane.sink.name, error))
        if isinstance(outcome, Done):
            return outcome
        return replace(outcome, detail=rules.masked(outcome.detail, lane.sink.secrets))

    def _settle(self, lane: Lane, outcome: Outcome | Found | Absent, step: rules.Step) -> None:
        """What the outcome says about the sink as a whole."""
        now, circuit, name = self._runtime.now_ms(), lane.circuit, lane.sink.name
        if rules.counts_as_failure(outcome):
            if circuit.failed(now):
                log.CIRCUIT_OPENED(sink=name, reason=step.row.reason, detail=step.row.detail)
                metrics.CIRCUIT_OPEN.labels(name).set(1)
        elif circuit.worked():
            log.CIRCUIT_CLOSED(sink=name)
            metrics.CIRCUIT_OPEN.labels(name).set(0)
        if isinstance(outcome, Retry) and outcome.reason == Reason.THROTTLED:
            lane.paused_until = max(lane.paused_until, step.row.next_at)


def _bug(sink: str, error: Exception) -> str:
    """A sink raised, which it never should. What it says may hold anything, so only its kind is passed on."""
    log.SINK_RAISED(sink=sink, error=f"{type(error).__name__}: {error}")
    return f"bug in samband: {type(error).__name__}"


def _count(sink: str, action: str, outcome: Outcome) -> None:
    match outcome:
        case Done():
            metrics.SENDS.labels(sink, action, "done", "").inc()
        case Retry(reason, detail):
            metrics.SENDS.labels(sink, action, "retry", reason.value).inc()
            log.SEND_RETRIED(sink=sink, action=action, reason=reason.value, detail=detail)
        case Unsure(reason, detail):
            metrics.SENDS.labels(sink, action, "unsure", reason.value).inc()
            log.SEND_UNSURE(sink=sink, action=action, reason=reason.value, detail=detail)
        case Reject(reason):
            metrics.SENDS.labels(sink, action, "rejected", reason.value).inc()
