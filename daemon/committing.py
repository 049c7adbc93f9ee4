"""The writer's side of the runtime: one thread that commits, retries identically, and tidies up."""

import asyncio
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from math import inf
from time import perf_counter
from typing import TypeVar

from daemon import log, metrics
from daemon.store.base import Batch, Fenced, Store, StoreError

T = TypeVar("T")

PATIENCE_S = 5.0
"""Nothing committed for so long: whoever waits is told, and the emergency notice leaves."""
RETRY_FIRST_S, RETRY_MAX_S = 0.05, 2.0
IDLE_S = 5.0
"""After so long without a commit everything is moved out of the log files; a lease is prolonged that often."""
SWITCH_INTERVAL_S = 0.0005
"""CPython's threads trade the GIL badly: with the default of 5 ms a commit beside decoding waits for ages."""
FATAL = frozenset({"fenced", "refused", "schema", "locked", "gone_back"})
"""Reasons that no retry mends."""


class Committer:
    """Commits batches one after the other in a thread of its own.

    on_stalled: called with a text when nothing could be committed for `PATIENCE_S`; on_relief: when
    a batch landed after that.
    """

    def __init__(self, store: Store, on_stalled: Callable[[str], None], on_relief: Callable[[], None]) -> None:
        self.stalled = False
        self._store = store
        self._on_stalled, self._on_relief = on_stalled, on_relief
        self._thread = ThreadPoolExecutor(1, "samband-store")
        self._trouble = "the disk does not answer"
        self._failing = ""
        self._tidy = True
        self._tidied_at = 0.0
        self._tidying: asyncio.Future[None] | None = None
        self._lost: StoreError | None = None
        sys.setswitchinterval(SWITCH_INTERVAL_S)

    async def commit(self, batch: Batch) -> None:
        """Returns when the batch is durable, however long that takes. Raises Fenced, and StoreError(refused)."""
        loop = asyncio.get_running_loop()
        started = perf_counter()
        watch = loop.call_later(PATIENCE_S, self._stall)
        pause = RETRY_FIRST_S
        try:
            while not await self._try(batch):
                await asyncio.sleep(pause)
                pause = min(pause * 2, RETRY_MAX_S)
        finally:
            watch.cancel()
        metrics.COMMIT_SECONDS.observe(perf_counter() - started)
        metrics.LAST_COMMIT_TIMESTAMP.set_to_current_time()
        self._tidy = False
        if self._failing:
            self._failing = ""
            log.COMMIT_WORKS_AGAIN(seq=batch.seq)
        if self.stalled:
            self.stalled = False
            self._on_relief()

    async def _try(self, batch: Batch) -> bool:
        try:
            await self._do(lambda: self._store.commit(batch))
            return True
        except StoreError as error:
            metrics.COMMIT_FAILURES.labels(error.reason).inc()
            self._trouble = str(error)
            if error.reason in FATAL:
                (log.FENCED if isinstance(error, Fenced) else log.COMMIT_FAILED)(reason=error.reason, text=str(error))
                raise
            if error.reason != self._failing:
                self._failing = error.reason
                log.COMMIT_FAILED(reason=error.reason, text=str(error), seq=batch.seq)
            return False

    def _stall(self) -> None:
        self.stalled = True
        self._on_stalled(self._trouble)

    def tidy(self, idle: bool) -> None:
        """Lets the store keep house behind the commits, unless it is at it or has nothing to do.

        Raises Fenced when it was found then that another daemon has taken the store.
        """
        if self._lost is not None:
            raise self._lost
        now = asyncio.get_running_loop().time()
        # Who holds a lease has something to do without a commit, too.
        done = self._tidy and (self._store.held_s() == inf or now - self._tidied_at < IDLE_S)
        if done or (self._tidying is not None and not self._tidying.done()):
            return
        self._tidy, self._tidied_at = idle, now
        self._tidying = asyncio.ensure_future(self._keep_house(idle))

    async def _keep_house(self, idle: bool) -> None:
        try:
            await self._do(lambda: self._store.tidy(idle))
        except Fenced as error:
            log.FENCED(reason=error.reason, text=str(error))
            self._lost = error
        except StoreError as error:
            # Nothing is lost: the next commit meets the same trouble, and is retried.
            log.COMMIT_FAILED(reason=error.reason, text=f"housekeeping: {error}")

    def held_s(self) -> float:
        """See `Store.held_s`."""
        return self._store.held_s()

    async def close(self) -> None:
        """Closes the store, once what runs in the thread has ended."""
        if self._tidying is not None:
            await self._tidying
        await self._do(self._store.close)
        self._thread.shutdown(wait=False)

    async def _do(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)
