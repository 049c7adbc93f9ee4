"""A deterministic event loop on virtual time.

Nothing waits: when no callback is ready, time jumps to the next timer. There are no threads and no
sockets: what is handed to an executor runs on the loop itself, after `executor_delay()` seconds of
virtual time. The same program on the same seed therefore takes the same steps, in the same order.
It is a loop of its own, and not asyncio's with another selector, because the loop's own work is a
large part of what a world costs.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context, copy_context
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any, TypeVar

T = TypeVar("T")


class Standstill(RuntimeError):
    """Nothing is ready and no timer runs: whoever waits would wait for ever."""


class NeverReturns(Exception):
    """Raised by what an executor runs: its caller never hears of it again, as after a death."""


class Handle:
    """A callback to come; `asyncio.Handle` and `TimerHandle` in one."""

    __slots__ = ("_args", "_callback", "_context", "_when", "done")

    def __init__(self, callback: Callable[..., object], args: Any, context: Context | None, when: float) -> None:
        self._callback, self._args, self._when = callback, args, when
        self._context = context if context is not None else copy_context()
        self.done = False

    def cancel(self) -> None:
        """It will not be called."""
        self.done = True

    def cancelled(self) -> bool:
        """Whether it will not be called (any more)."""
        return self.done

    def when(self) -> float:
        """Its time."""
        return self._when

    def run(self) -> None:
        """Calls it, unless it was cancelled."""
        if not self.done:
            self.done = True
            self._context.run(self._callback, *self._args)


if TYPE_CHECKING:
    # What is left out here is what has to do with sockets, processes and signals.
    class _Loop(asyncio.SelectorEventLoop):
        def __init__(self) -> None: ...

else:
    _Loop = asyncio.AbstractEventLoop


class VirtualLoop(_Loop):
    """The loop. `time()` is virtual seconds since it was made.

    holding: asked when something is handed to the executor, it gives what says for how long its caller
    is held up. troubles: what nobody has caught.
    """

    def __init__(self) -> None:
        self.executor_delay: Callable[[], float] = lambda: 0.0
        self.holding: Callable[[], Callable[[], float]] = lambda: lambda: 0.0
        self.troubles: list[str] = []
        self._now = 0.0
        self._ready: deque[Handle] = deque()
        self._timers: list[tuple[float, int, Handle]] = []
        self._turn = 0
        self._factory: Any = None

    # ---- time and callbacks --------------------------------------------------------------------------
    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._now

    def call_soon(  # type: ignore[override]
        self, callback: Any, *args: Any, context: Context | None = None
    ) -> Any:
        """See asyncio."""
        handle = Handle(callback, args, context, self._now)
        self._ready.append(handle)
        return handle

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Any, *args: Any, context: Context | None = None
    ) -> Any:
        """See asyncio."""
        return self.call_at(self._now + delay, callback, *args, context=context)

    def call_at(  # type: ignore[override]
        self, when: float, callback: Any, *args: Any, context: Context | None = None
    ) -> Any:
        """See asyncio. Timers of the same instant are called in the order in which they were set."""
        handle = Handle(callback, args, context, when)
        self._turn += 1
        heappush(self._timers, (when, self._turn, handle))
        return handle

    def step(self) -> None:
        """Calls what is ready; when nothing is, time jumps to the next timer. Raises Standstill."""
        ready, timers = self._ready, self._timers
        while timers and (timers[0][0] <= self._now or timers[0][2].done):
            handle = heappop(timers)[2]
            if not handle.done:
                ready.append(handle)
        if not ready:
            if not timers:
                raise Standstill("nothing is ready and no timer runs")
            self._now = timers[0][0]
            return
        for _ in range(len(ready)):
            ready.popleft().run()

    # ---- futures and tasks ---------------------------------------------------------------------------
    def create_future(self) -> "asyncio.Future[Any]":
        """See asyncio."""
        return asyncio.Future(loop=self)

    def create_task(  # type: ignore[override]
        self, work: Coroutine[Any, Any, T] | Generator[Any, None, T], *, name: str | None = None, **how: Any
    ) -> "asyncio.Task[T]":
        """See asyncio."""
        if self._factory is None:
            return asyncio.Task(work, loop=self, name=name, **how)
        task: asyncio.Task[T] = self._factory(self, work, name=name, **how)
        return task

    def set_task_factory(self, factory: Any) -> None:
        """See asyncio."""
        self._factory = factory

    def run_in_executor(  # type: ignore[override]
        self, executor: object, func: Callable[..., T], *args: Any
    ) -> "asyncio.Future[T]":
        """Runs `func` on the loop, `executor_delay()` virtual seconds from now, or once its caller is not held."""
        future: asyncio.Future[T] = self.create_future()
        held = self.holding()

        def run() -> None:
            if future.cancelled():
                return
            if (left := held()) > 0:
                self.call_later(left, run)
                return
            try:
                future.set_result(func(*args))
            except NeverReturns:
                return
            except Exception as error:  # noqa: BLE001  (handed to whoever waits)
                future.set_exception(error)

        self.call_later(self.executor_delay(), run)
        return future

    # ---- what asyncio asks of a loop -------------------------------------------------------------------
    def get_debug(self) -> bool:
        """Never."""
        return False

    def is_running(self) -> bool:
        """Whoever can ask runs on it."""
        return True

    def is_closed(self) -> bool:
        """Never: it has nothing to close."""
        return False

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Notes what nobody has caught."""
        error = context.get("exception")
        self.troubles.append(f"{context['message']}: {type(error).__name__}: {error}")


def run_virtual(main: Callable[[VirtualLoop], Coroutine[Any, Any, T]]) -> T:
    """Runs `main(loop)` on a fresh virtual loop to its end, and cancels what it left behind.

    Raises what `main` raises, and Standstill when it can never end.
    """
    loop = VirtualLoop()
    asyncio._set_running_loop(loop)
    try:
        task = loop.create_task(main(loop))
        try:
            _until(loop, task)
            return task.result()
        finally:
            while left := [one for one in asyncio.all_tasks(loop) if not one.done()]:
                for one in left:
                    one.cancel()
                _until(loop, asyncio.gather(*left, return_exceptions=True))
    finally:
        asyncio._set_running_loop(None)


def _until(loop: VirtualLoop, awaited: "asyncio.Future[Any]") -> None:
    step = loop.step
    while not awaited.done():
        step()
