"""A deterministic asyncio event loop on virtual time.

Nothing waits: when no callback is ready, time jumps to the next timer. There are no threads:
what is handed to an executor runs on the loop itself, after `executor_delay()` seconds of virtual
time. The same program on the same seed therefore takes the same steps, in the same order.
"""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class Standstill(RuntimeError):
    """Nothing is ready and no timer runs: whoever waits would wait for ever."""


class NeverReturns(Exception):
    """Raised by what an executor runs: its caller never hears of it again, as after a death."""


class _JumpingSelector(selectors.SelectSelector):
    """Where the loop would block, time passes instead."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Returns at once; `timeout` seconds have then passed. Raises Standstill when it is None."""
        if timeout is None:
            raise Standstill("nothing is ready and no timer runs")
        if timeout > 0:
            self.now += timeout
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """The loop. `time()` is virtual seconds since the loop was made."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)
        self.executor_delay: Callable[[], float] = lambda: 0.0

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._jumping.now

    def run_in_executor(  # type: ignore[override]
        self, executor: object, func: Callable[..., T], *args: Any
    ) -> "asyncio.Future[T]":
        """Runs `func` on the loop, `executor_delay()` virtual seconds from now."""
        future: asyncio.Future[T] = self.create_future()

        def run() -> None:
            if future.cancelled():
                return
            try:
                future.set_result(func(*args))
            except NeverReturns:
                return
            except Exception as error:  # noqa: BLE001  (handed to whoever waits)
                future.set_exception(error)

        self.call_later(self.executor_delay(), run)
        return future


def run_virtual(main: Callable[[VirtualLoop], Coroutine[Any, Any, T]]) -> T:
    """Runs `main(loop)` on a fresh virtual loop to its end, and cancels what it left behind.

    Raises what `main` raises, and Standstill when it can never end.
    """
    loop = VirtualLoop()
    try:
        asyncio.set_event_loop(loop)
        return loop.run_until_complete(main(loop))
    finally:
        while left := asyncio.all_tasks(loop):
            for task in left:
                task.cancel()
            loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        asyncio.set_event_loop(None)
        loop.close()
