"""The outbox: carries rows to sinks, durably, in order, and without one sink holding up another.

A row is judged anew, rendered, marked as *sending* (on disk before the socket opens), sent, and
concluded together with the record by which the engine hears of it. What is decided about a row is
in `outbox_rules`; here is only the doing. Rows come from `Runtime.on_sends`, after the batch that
made them was committed.
"""

import asyncio
import contextlib
import random
from collections.abc import Callable, Coroutine, Iterable
from functools import partial
from typing import Any

from msgspec.structs import replace

from daemon import log, metrics
from daemon import outbox_orders as orders
from daemon import outbox_rules as rules
from daemon.batching import NotDurable
from daemon.core.records import AnyRecord, CommandGiven, DeliveryFailed
from daemon.outbox_attempts import Attempts
from daemon.outbox_ends import Ends, measure
from daemon.outbox_lanes import Lane, Lanes, Queue, QueueKey, Sinks, queue_key
from daemon.outbox_notices import Notices
from daemon.outbox_twins import Twins
from daemon.runtime import Runtime
from daemon.store.base import OutboxRow
from sinks.base import Http, Reason

TICK_S = 5.0
"""How often is looked for what is overdue, dead letters that have become void, and late twins."""


class Outbox:
    """One per daemon. `luck` is for the jitter only."""

    def __init__(
        self,
        runtime: Runtime,
        sinks: Sinks,
        http: Http,
        timing: rules.Timing,
        luck: random.Random,
        style: orders.Style | None = None,
    ) -> None:
        self._runtime, self._timing = runtime, timing
        style = style or orders.Style()
        self._queues: dict[QueueKey, Queue] = {}
        self._lanes = Lanes(sinks, timing)
        self._where: dict[int, QueueKey] = {}
        self._after: dict[int, dict[QueueKey, None]] = {}
        self._tasks: dict[asyncio.Task[None], None] = {}
        self._started = self._stopping = False
        self._early: list[OutboxRow] = []
        self._notices = Notices(runtime, timing)
        self._twins = Twins(runtime, timing, http, style)
        self._attempts = Attempts(runtime, timing, http, style, luck)
        self._ends = Ends(runtime, self._notices, self._twins)

    # ---- from outside ---------------------------------------------------------------------------------
    def start(self, rows: Iterable[OutboxRow]) -> None:
        """Takes up what the store held, each row as a crash may have left it; after `Runtime.start`."""
        self._started = True
        now = self._runtime.now_ms()
        taken, self._early = self._early, []
        for row in sorted(rows, key=lambda row: row.send.id):
            lane = self._lane(row)
            if row.state == "dead":
                self._ends.remember(row)
            elif row.state in ("done", "superseded"):
                self._twins.watch(row, now)
            elif lane is None:
                taken.append(row)
            else:
                as_left = rules.recovered(row, lane.sink.idempotency, now)
                if as_left.state == "unsure" and rules.held_when_unclear(as_left, lane.sink.idempotency):
                    self._ends.remember(as_left)
                    if row.state != "unsure":
                        self._spawn(self._ends.conclude(as_left, "failed"), f"send {row.send.id}")
                else:
                    taken.append(as_left)
        self._notices.start()
        self.add(taken)
        self._spawn(self._ticking(), "outbox ticks")

    def add(self, rows: Iterable[OutboxRow]) -> None:
        """Takes rows that have just been committed (`Runtime.on_sends`); before `start` they are only kept."""
        if not self._started:
            self._early.extend(rows)
            return
        now = self._runtime.now_ms()
        touched: dict[QueueKey, None] = {}
        for row in rows:
            if row.state == "shadow" or row.send.shadow:
                continue
            key = queue_key(row)
            self._queues.setdefault(key, Queue(key)).add(row, now)
            self._where[row.send.id] = key
            if row.send.after:
                self._after.setdefault(row.send.after, {})[key] = None
            self._notices.expect(row)
            touched[key] = None
        for key in touched:
            self._wake(key)

    def set_sinks(self, sinks: Sinks, timing: rules.Timing, style: orders.Style) -> None:
        """Another configuration: from here on rows go to these sinks. Conversations under way end as they began."""
        self._timing = timing
        self._notices.timing, self._twins.timing, self._twins.style = timing, timing, style
        self._attempts.timing, self._attempts.style = timing, style
        self._lanes.retire()
        self._lanes = Lanes(sinks, timing)
        metrics.CIRCUIT_OPEN.clear()  # Every sink is tried again: what was wrong may have been the configuration.
        for queue in self._queues.values():
            queue.armed = 0
        for key in list(self._queues):
            self._wake(key)

    def clock_stepped(self, by: int) -> None:
        """Engine time has jumped by so many ms (`Runtime.on_step`): every wait here is as long as it was.

        Above all what may lag at a sink still may: an absence is not settled because a clock was set.
        """
        unclear = [row for queue in self._queues.values() for row in queue.shift(by)]
        self._lanes.shift(by)
        self._twins.shift(by)
        self._notices.shift(by)
        if unclear:
            self._spawn(self._write(unclear), "outbox clock")

    async def _write(self, rows: list[OutboxRow]) -> None:
        with contextlib.suppress(NotDurable):
            await self._runtime.write_outbox(rows)

    async def stop(self, grace_s: float) -> None:
        """Begins nothing more and waits that long for what is under way; the rest is taken up at the next start."""
        self._stopping = True
        working = [task for task in self._tasks if task.get_name().startswith("send")]
        if working:
            await asyncio.wait(working, timeout=grace_s)
        left = list(self._tasks)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    # ---- what a person does with dead letters -----------------------------------------------------------
    async def retry(self, row: OutboxRow, actor: str) -> str:
        """Tries a dead letter again, rendered anew; why that cannot be, "" when it is under way. Raises NotDurable.

        What an attempt with an unclear outcome may have made is looked for first.
        """
        number, lane = row.send.id, self._lane(row)
        if number in self._where:
            return "it is being tried already"
        if lane is None:
            return f"there is no sink {row.send.sink!r} in the configuration any more; add it again, or drop this"
        if row.send.delivery not in self._runtime.engine.state.deliveries.rows:
            return "its incident has been closed, so nothing is left to say; drop it"
        fresh = rules.revived(row, lane.sink.idempotency, self._runtime.now_ms())
        self._where[number] = queue_key(row)
        try:
            await self._runtime.submit(self._noted(row, actor, "tried again"), [fresh])
        except NotDurable:
            del self._where[number]
            raise
        self._ends.revive(row)
        self.add([fresh])
        return ""

    async def drop(self, row: OutboxRow, actor: str, reason: str) -> str:
        """Ends a dead letter that nobody needs any more; why that cannot be, "" when it is done. Raises NotDurable."""
        if row.send.id in self._where:
            return "it is being tried again"
        now = self._runtime.now_ms()
        ended = DeliveryFailed(now, row.send.id, Reason.DROPPED.value, reason)
        await self._runtime.submit([ended, *self._noted(row, actor, f"dropped: {reason}")], [rules.dropped(row, now)])
        self._ends.revive(row)
        self._release(row.send.id)
        for key, queue in self._queues.items():
            if any(waiting.send.delivery == row.send.delivery for waiting in queue.rows.values()):
                self._wake(key)
        return ""

    def _noted(self, row: OutboxRow, actor: str, what: str) -> list[AnyRecord]:
        """A line in the timeline, while the incident is in the state."""
        state, send = self._runtime.engine.state, row.send
        delivery = state.deliveries.get(send.delivery)
        incident = state.root(delivery.incident) if delivery is not None else 0
        if incident not in state.incidents.rows:
            return []
        text = f"{send.action} of {send.purpose} at {send.sink}: {what}"
        return [CommandGiven(self._runtime.now_ms(), "", actor, "note", incident, {"text": text})]

    def unfinished(self) -> int:
        """How many rows are not finished."""
        return len(self._where)

    def observe(self) -> None:
        """Sets the gauges; called when metrics are read."""
        rows = [row for queue in self._queues.values() for row in queue.rows.values()]
        measure([*rows, *self._ends.failed.values()], self._runtime.now_ms())

    # ---- whose turn it is -------------------------------------------------------------------------------
    def _lane(self, row: OutboxRow) -> Lane | None:
        return self._lanes.of(row, self._runtime.engine.state)

    def _undone(self, number: int) -> bool:
        """Whether a row that others wait for is still to come: not done, or dead-lettered."""
        return number in self._where or self._ends.is_dead(number)

    def _judge(self, queue: Queue, row: OutboxRow) -> rules.Verdict:
        lane = self._lane(row)
        if lane is None:
            return "send"
        state = self._runtime.engine.state
        return rules.verdict(row, lane.sink.idempotency, state, queue.younger(row), self._ends.failed)

    def _wake(self, key: QueueKey) -> None:
        """Finds out whose turn it is in a queue, and puts that row into its lane once its time has come."""
        queue = self._queues.get(key)
        if queue is None or queue.busy or self._stopping:
            return
        picked = queue.pick(self._undone, self._judge)
        queue.armed = picked[0].send.id if picked else 0
        if picked is None:
            return
        row, verdict = picked
        lane = self._lane(row)
        delay = row.next_at - self._runtime.now_ms()
        if lane is None or verdict in ("drop", "lost"):
            self._work(queue, partial(self._set_aside, queue, row, verdict))
        elif delay > 0:
            asyncio.get_running_loop().call_later(delay / 1000, self._wake, key)
        else:
            lane.put(queue.rank, row.send.id, key)
            self._pump(lane)

    def _pump(self, lane: Lane) -> None:
        """Begins as much as the lane may have under way."""
        while not self._stopping:
            wait = lane.wait(self._runtime.now_ms())
            if wait is None:
                return
            if wait > 0:
                asyncio.get_running_loop().call_later(wait / 1000, self._pump, lane)
                return
            taken = lane.take(self._queues)
            if taken is None:
                return
            queue, row = taken
            verdict = self._judge(queue, row)
            if verdict not in ("send", "look", "end"):
                self._wake(queue.key)
                continue
            lane.in_flight += 1
            lane.circuit.begins()
            self._work(queue, partial(self._converse, queue, lane, row, verdict))

    def _work(self, queue: Queue, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """One piece of work on a queue at a time; then the next."""
        queue.busy = True

        async def working() -> None:
            pause = 0.0
            try:
                await work()
            except Exception as error:  # noqa: BLE001
                # A bug. The row must neither be lost nor be tried without a pause.
                log.OUTBOX_FAILED(sink=queue.key[0], row=queue.armed, error=f"{type(error).__name__}: {error}")
                pause = self._timing.retry_max / 1000
            queue.busy = False
            if not queue.rows:
                self._queues.pop(queue.key, None)
            asyncio.get_running_loop().call_later(pause, self._wake, queue.key)

        self._spawn(working(), f"send {queue.armed}")

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks[task] = None
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.pop(task, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.OUTBOX_FAILED(sink="", row=0, error=f"{type(error).__name__}: {error}")

    # ---- one row ------------------------------------------------------------------------------------------
    async def _converse(self, queue: Queue, lane: Lane, row: OutboxRow, verdict: rules.Verdict) -> None:
        """Carries the row out at its sink, and concludes it."""
        try:
            if verdict == "look":
                queue.looks += 1
                step = await self._attempts.look(lane, row, queue.looks, wanted=self._wanted(lane, row))
            else:
                queue.looks = 0
                step = await self._attempts.deliver(lane, row, "resolve" if verdict == "end" else None)
        except Exception:
            lane.circuit.unclear()
            raise
        finally:
            lane.in_flight -= 1
        self._pump(lane)
        await self._conclude(queue, step)

    def _wanted(self, lane: Lane, row: OutboxRow) -> bool:
        """Whether an unsure create would be sent, were it certain that it is not there."""
        certain, state = replace(row, state="waiting", unsure_at=0), self._runtime.engine.state
        return rules.verdict(certain, lane.sink.idempotency, state, (), self._ends.failed) == "send"

    async def _set_aside(self, queue: Queue, row: OutboxRow, verdict: rules.Verdict) -> None:
        """Ends a row that is not sent: nobody wants it any more, or nobody can take it."""
        if verdict == "drop":
            await self._conclude(queue, rules.Step(rules.dropped(row, self._runtime.now_ms()), "failed"))
            return
        if verdict == "lost":
            detail = "its incident was closed before the sink had answered"
        else:
            detail = f"there is no sink {row.send.sink!r} in the configuration any more; add it again and retry"
        dead = replace(row, state="dead", reason=Reason.GAVE_UP.value, detail=detail)
        await self._conclude(queue, rules.Step(dead, "failed"))

    async def _conclude(self, queue: Queue, step: rules.Step) -> None:
        """Writes down what became of the row, and lets those go on who waited for it."""
        row, number = step.row, step.row.send.id
        if not step.told:
            # If it cannot be written, the disk goes on saying "sending", which is the more careful of the two.
            await self._write([queue.returned(row)])
            return
        await self._ends.conclude(row, step.told)
        queue.rows.pop(number, None)
        self._where.pop(number, None)
        if row.state != "dead":
            self._release(number)

    def _release(self, number: int) -> None:
        for key in self._after.pop(number, ()):
            self._wake(key)

    # ---- from time to time ------------------------------------------------------------------------------
    async def _ticking(self) -> None:
        while not self._stopping:
            await asyncio.sleep(TICK_S)
            try:
                await self._tick()
            except NotDurable:
                continue  # All of it is found again at the next tick.

    async def _tick(self) -> None:
        now = self._runtime.now_ms()
        heads = {queue.armed for queue in self._queues.values()}
        await self._notices.tick(now, heads.__contains__, self._where.__contains__)
        for row in self._ends.forget():
            self._release(row.send.id)
        for row in self._twins.due(now):
            lane = self._lane(row)
            if lane is not None and not lane.looking_back:
                lane.looking_back = True
                self._spawn(self._look_back(lane, row), f"twins {row.send.id}")

    async def _look_back(self, lane: Lane, row: OutboxRow) -> None:
        try:
            await self._twins.look(lane.sink, row)
        finally:
            lane.looking_back = False
