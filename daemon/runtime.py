"""Batch in, fold, commit, reply: the one task that alternates folding and committing.

While the writer thread commits a batch, the event loop reads sockets; what queued meanwhile is the
next batch. Nobody is answered, and nothing is sent, before the batch that it rests on is on disk.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from itertools import repeat

from daemon import log, metrics
from daemon.access import Issued
from daemon.batching import NotDurable, Part, Places, Queue, RefreshBuffer, Replies, Submission
from daemon.carrying import Carrier
from daemon.clock import Clock, EngineTime
from daemon.committing import IDLE_S, Committer
from daemon.core.effects import Changes, Row
from daemon.core.engine import Engine
from daemon.core.model.alert import ParsedAlert
from daemon.core.model.stream import Positions
from daemon.core.policy import Policy
from daemon.core.records import AnyRecord, ClockStepped, PolicyChanged, Resumed
from daemon.core.state import ALERT, State
from daemon.flight import Flight, Load
from daemon.snapshot import base_parts
from daemon.store.base import Batch, DeadLetter, OutboxRow, Recovered, Store, StoreError

__all__ = ["NotDurable", "Runtime"]

RECORDS_MAX = 10_000
"""Records of senders that may wait; commands and the outbox's reports may fill as much again."""
BATCH_RECORDS_MAX = 1_000
"""Records in one batch: a fold then blocks the event loop for some 10 ms."""
REFRESHES_MAX, REFRESH_AGE_MAX_MS = 1_000, 5_000
LOOK_EVERY_S = 10.0
"""At least so often the clocks are compared, and a machine that slept is noticed."""
BASE_EVERY_MS = 86_400_000


class Runtime:
    """One scope's engine and store, and the task between them. Make it with `open`, then `start` it.

    engine: to be read between awaits. on_committed: called with each batch and its changes (None
    when only the outbox moved) once it is durable; on_sends: with its new outbox rows. on_emergency:
    called with cause and text when samband cannot do its job; on_relief: with the cause, when it
    can again. on_step: called with the ms by which engine time has just jumped. recovered: what the
    store held at the start; its `outbox` are the rows not yet done. positions: how far the logs have
    been read that sources follow, as it is on disk or soon will be.
    """

    def __init__(self, engine: Engine, store: Store, clock: Clock, recovered: Recovered, scope: str) -> None:
        self.engine, self.recovered = engine, recovered
        self.on_committed: Callable[[Batch, Changes | None], None] = lambda batch, changes: None
        self.on_sends: Callable[[list[OutboxRow]], None] = lambda rows: None
        self.on_emergency: Callable[[str, str], None] = lambda cause, text: None
        self.on_relief: Callable[[str], None] = lambda cause: None
        self.on_step: Callable[[int], None] = lambda by: None
        self._base_at = recovered.base_at
        self._time = EngineTime(clock, recovered.now_ms)
        self._committer = Committer(store, self._on_stalled, lambda: self.on_relief("store"))
        self._queue, self._buffer, self._places = Queue(), RefreshBuffer(), Places(recovered.positions)
        self.positions: Positions = self._places.known
        self._carrier = Carrier(
            engine, self._committer, recovered, scope, self._places, self._landed, self._buffer.forget
        )
        self._policy: tuple[Policy, asyncio.Future[Replies]] | None = None
        self._own: list[AnyRecord] = []
        self._wake = asyncio.Event()
        self._reworded: set[int] = set()
        self._stopping = False
        self._task: asyncio.Task[None] | None = None

    @classmethod
    async def open(cls, policy: Policy, store: Store, clock: Clock, scope: str = "default") -> "Runtime":
        """Claims the scope and reads its state; nothing runs before `start`. Raises StoreError."""

        def claim() -> tuple[Recovered, State]:
            found = store.claim(scope, clock.wall_ms())
            try:
                return found, State.load(found.live, found.next_id, found.next_number)
            except (KeyError, ValueError) as error:
                text = f"`live` is not what was written ({error}); run `samband db check`, then `samband db restore`"
                raise StoreError("damaged", text) from error

        recovered, state = await asyncio.get_running_loop().run_in_executor(None, claim)
        return cls(Engine(policy, state, recovered.now_ms), store, clock, recovered, scope)

    async def start(self) -> None:
        """Folds, before anything else, that the daemon resumed; then begins to work. Raises StoreError."""
        recovered, policy, now = self.recovered, self.engine.policy, self._time.now_ms()
        changed = (recovered.policy, recovered.mode) != (policy.digest, policy.mode)
        self._own = [Resumed(now, recovered.epoch, self._time.gap)]
        if changed:
            self._own.append(PolicyChanged(now, policy.digest, policy.mode, recovered.mode))
        base_wanted = recovered.seq > 0 and (changed or not recovered.comparable or self._base_is_old(now))
        await self._turn(await base_parts(self.engine.state) if base_wanted else None)
        if not recovered.seq:
            self._base_at = now  # Folding again starts at the empty store.
        state = self.engine.state
        log.RECOVERED(
            alerts=len(state.alerts.rows),
            incidents=len(state.incidents.rows),
            sends=sum(row.state not in ("done", "superseded") for row in recovered.outbox),
            gap_s=self._time.gap // 1000,
        )
        self._task = asyncio.create_task(self._run(), name="runtime")

    # ---- what others ask --------------------------------------------------------------------------
    @property
    def healthy(self) -> bool:
        """Whether what is accepted can be made durable."""
        return not self._committer.stalled and self._task is not None and not self._task.done()

    def held_s(self) -> float:
        """See `Store.held_s`."""
        return self._committer.held_s()

    def now_ms(self) -> int:
        """Engine time."""
        return self._time.now_ms()

    async def submit(self, records: Sequence[AnyRecord], rows: Sequence[OutboxRow] = ()) -> Replies:
        """Folds the records, and writes the outbox rows with them, in one transaction when they fit into one batch.

        Returns when they are durable, with the reply to each record that has one. Raises NotDurable.
        """
        self._admit(len(records), 2 * RECORDS_MAX)
        return await self._add(records, rows)

    async def intake(self, alerts: Sequence[ParsedAlert]) -> None:
        """Takes alerts in; returns when everything that the answer rests on is durable. Raises NotDurable.

        Unchanged repeats wait in the refresh buffer: what they rest on is the state that they repeat,
        and that is durable once the batch in flight is.
        """
        self._admit(len(alerts), RECORDS_MAX)
        fresh = self._sifted(alerts, repeat(0))
        if fresh:
            await self._add(fresh)
        elif self._carrier.flight is not None:
            await asyncio.shield(self._carrier.flight.landed)

    def follow(
        self,
        positions: Positions,
        alerts: Sequence[ParsedAlert] = (),
        received: Sequence[int] = (),
        letters: Sequence[DeadLetter] = (),
        records: Sequence[AnyRecord] = (),
    ) -> Awaitable[object]:
        """Takes in what was read from logs and the positions behind it, in one transaction and in the order of calls.

        received: when each alert reached its log. records: folded first. Positions behind nothing but unchanged
        repeats may reach the disk some seconds later. Raises NotDurable at once when nothing was taken; what was
        taken is durable when the returned awaitable is done, however long that takes.
        """
        self._admit(len(alerts) + len(records), RECORDS_MAX)
        fresh = [*records, *self._sifted(alerts, received)]
        if fresh or letters or not alerts or self._queue.follows:
            positions = {**self._buffer.positions, **positions}
            self._buffer.positions.clear()
            return self._add(fresh, letters=letters, patient=True, positions=positions)
        self._buffer.positions.update(positions)
        return asyncio.sleep(0)

    def _sifted(self, alerts: Sequence[ParsedAlert], received: Iterable[int]) -> list[AnyRecord]:
        """The alerts that change something; the others go into the refresh buffer."""
        buffer, buffered = self._buffer, len(self._buffer)
        now = self._queue.instant(self._time.now_ms())
        fresh = buffer.sift(self.engine, self._queue, alerts, received, now)
        if len(fresh) < len(alerts):
            metrics.REPEATS.inc(len(alerts) - len(fresh))
            metrics.REFRESH_BUFFERED.set(len(buffer))
            if not buffered or len(buffer) >= REFRESHES_MAX:
                self._wake.set()  # The loop sleeps until it is old, which it did not know of; or it is full.
        return fresh

    async def write_outbox(self, rows: Sequence[OutboxRow]) -> None:
        """Makes the rows durable, in order with everything else; waits as long as that takes.

        They must not be changed in place afterwards. Raises NotDurable only when samband stops.
        """
        await self._add(rows=rows, patient=True)

    async def dead_letter(self, letter: DeadLetter) -> None:
        """Makes the letter durable. Raises NotDurable."""
        self._admit(1, RECORDS_MAX)
        await self._add(letters=[letter])

    async def drop_letter(self, number: int) -> None:
        """Removes a dead letter that is done with; returns when that is durable. Raises NotDurable."""
        self._admit(1, RECORDS_MAX)
        await self._add(gone=[number])

    async def write_token(self, token: Issued) -> None:
        """Makes a token durable, issued or revoked. Raises NotDurable."""
        self._admit(1, 2 * RECORDS_MAX)
        await self._add(tokens=[token])

    async def reload(self, policy: Policy) -> None:
        """Another policy, from a barrier between two batches on; returns when that is durable."""
        before = self._policy
        self._policy = (policy, asyncio.get_running_loop().create_future())
        if before is not None and not before[1].done():
            before[1].set_result([])
        self._wake.set()
        await self._policy[1]

    async def wait(self) -> None:
        """Returns when the runtime has stopped. Raises Fenced or StoreError when it had to."""
        if self._task is not None:
            await asyncio.shield(self._task)

    async def stop(self) -> None:
        """Takes nothing more in, makes durable what was accepted, and closes the store. Raises as `wait`."""
        self._stopping = True
        self._wake.set()
        try:
            if self._task is not None:
                await self._task
        finally:
            await self._committer.close()

    # ---- admission ----------------------------------------------------------------------------------
    def _admit(self, count: int, limit: int) -> None:
        if self._stopping:
            raise NotDurable("stopping", 5)
        if self._committer.stalled:
            raise NotDurable("store", 5)
        if self._queue.count and self._queue.count + count > limit:
            metrics.QUEUE_FULL.inc()
            raise NotDurable("full", 1)

    def _add(
        self,
        records: Sequence[AnyRecord] = (),
        rows: Sequence[OutboxRow] = (),
        letters: Sequence[DeadLetter] = (),
        tokens: Sequence[Issued] = (),
        *,
        gone: Sequence[int] = (),
        patient: bool = False,
        positions: Positions | None = None,
    ) -> "asyncio.Future[Replies]":
        if self._task is None or self._task.done():
            raise NotDurable("stopping", 5)
        done: asyncio.Future[Replies] = asyncio.get_running_loop().create_future()
        self._queue.add(
            Submission(done, records, rows, letters, tokens, gone=gone, patient=patient, positions=positions)
        )
        metrics.QUEUE_RECORDS.set(self._queue.count)
        self._wake.set()
        return done

    def _on_stalled(self, text: str) -> None:
        """Whoever waits to be answered is told to come again; the batch in flight goes on being retried."""
        refusal = NotDurable("store", 5)
        self._queue.refuse(refusal, everybody=False)
        if self._carrier.flight is not None:
            self._carrier.flight.refuse(refusal, everybody=False)
        log.EMERGENCY(cause="store", text=text)
        self.on_emergency("store", text)

    # ---- the loop -----------------------------------------------------------------------------------
    async def _run(self) -> None:
        try:
            while not self._stopping:
                await self._until_work()
                await self._turn(await self._new_base())
            while self._work_waits():
                await self._turn()
            await self._turn(rows=self._unwritten())
        finally:
            refusal = NotDurable("stopping", 5)
            self._queue.refuse(refusal, everybody=True)
            if self._carrier.flight is not None:
                self._carrier.flight.refuse(refusal, everybody=True)

    def _work_waits(self) -> bool:
        now, due = self._time.now_ms(), self.engine.next_due()
        return bool(self._queue or self._own or self._policy or (due and due <= now) or self._ripe(now, due))

    def _ripe(self, now: int, due: int) -> bool:
        """Whether the refresh buffer goes along with the next batch: before a deadline, it must."""
        count = len(self._buffer)
        old = now - self._buffer.since >= REFRESH_AGE_MAX_MS
        return count > 0 and (count >= REFRESHES_MAX or old or self._stopping or 0 < due <= now)

    async def _until_work(self) -> None:
        loop = asyncio.get_running_loop()
        idle_at = loop.time() + IDLE_S
        self._look_at_clocks()
        while not (self._stopping or self._work_waits()):
            self._wake.clear()
            timer = loop.call_later(self._pause(), self._wake.set)
            await self._wake.wait()
            timer.cancel()
            self._look_at_clocks()
            if loop.time() >= idle_at:
                self._committer.tidy(idle=True)

    def _pause(self) -> float:
        """Seconds until something may be due: a deadline, the age of the buffer, or a look at the clocks."""
        now, due = self._time.now_ms(), self.engine.next_due()
        waits = [LOOK_EVERY_S]
        if due:
            waits.append((due - now) / 1000)
        if self._buffer:
            waits.append((self._buffer.since + REFRESH_AGE_MAX_MS - now) / 1000)
        return max(0.001, min(waits))

    def _look_at_clocks(self) -> None:
        step = self._time.step()
        metrics.CLOCK_OFFSET.set(self._time.offset / 1000)
        if step is not None:
            metrics.CLOCK_STEPS.inc()
            log.CLOCK_STEPPED(by_s=step.wall / 1000, engine_by_s=step.engine / 1000)
            self._own.append(ClockStepped(self._time.now_ms(), step.engine))
            if step.engine:
                self.on_step(step.engine)

    def _base_is_old(self, now: int) -> bool:
        return now - self._base_at >= BASE_EVERY_MS

    async def _new_base(self) -> list[bytes] | None:
        """A copy of the state before another policy folds on, and daily."""
        if self._policy is None and not self._base_is_old(self._time.now_ms()):
            return None
        return await base_parts(self.engine.state)

    # ---- one turn: take, fold, commit, answer ---------------------------------------------------------
    async def _turn(self, base: list[bytes] | None = None, rows: Sequence[Row] = ()) -> None:
        load = self._take(base, rows)
        if load is not None:
            await self._carrier.carry(load)

    def _landed(self, flight: Flight) -> None:
        batch, changes = flight.batch, flight.changes
        if batch.base is not None:
            self._base_at = batch.now_ms
        if changes is not None:
            metrics.count_decisions(changes.counts)
            self._reworded.difference_update(row.id for row in batch.rows)
        self._committer.tidy(idle=False)
        flight.settle()
        self.on_committed(batch, changes)
        if flight.sends:
            self.on_sends(flight.sends)

    def _take(self, base: list[bytes] | None, rows: Sequence[Row]) -> Load | None:
        """What the next batch is made of; None when there is nothing to do."""
        engine, now, due = self.engine, self._time.now_ms(), self.engine.next_due()
        parts: list[Part] = []
        own = self._own_records(now, due, parts)
        _, of_senders = self._queue.take(BATCH_RECORDS_MAX, len(own))
        parts += of_senders
        metrics.QUEUE_RECORDS.set(self._queue.count)
        left = self._queue.next_at()
        until = now if left is None else max(engine.now_ms, min(now, left - 1))
        work = own or parts or rows or base or 0 < due <= until
        return Load(own, parts, until, base, rows) if work else None

    def _own_records(self, now: int, due: int, parts: list[Part]) -> list[AnyRecord]:
        """What goes first in the batch: another policy, the refresh buffer, a clock that stepped, the start."""
        records: list[AnyRecord] = []
        if self._policy is not None:
            policy, done = self._policy
            self._policy = None
            before = self.engine.policy.mode
            self.engine.set_policy(policy)
            # Dated back to the last fold, so that no deadline stands between the barrier and the record.
            records.append(PolicyChanged(self.engine.now_ms, policy.digest, policy.mode, before))
            parts.append(Part(Submission(done, patient=True), 0, 0, 0))
        if self._ripe(now, due):
            # Likewise: a lapse that is due by now must not fire before what was heard in time.
            self._places.move([self._buffer.positions])
            refreshed = self._buffer.take(self.engine.now_ms)
            self._reworded.update(one.alert for one in refreshed.refreshes if one.annotations)
            records.append(refreshed)
            metrics.REFRESH_BUFFERED.set(0)
        records += self._own
        self._own = []
        return records

    def _unwritten(self) -> list[Row]:
        """Alerts of which `live` has older annotations: written at a clean stop."""
        images = ((number, self.engine.state.image(ALERT, number)) for number in sorted(self._reworded))
        return [Row(ALERT, number, *image) for number, image in images if image is not None]
