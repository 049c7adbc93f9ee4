"""One run of the daemon, from its start to its death: what is cut off when it dies, and where it dies.

A death takes nothing back and lets nothing more out: from that instant on no commit reaches the
store and no request leaves. Failpoints stand in the ports (store and socket), not in the product.
"""

import asyncio
from collections.abc import Coroutine
from contextvars import ContextVar
from typing import Any, TypeVar

from tests.simulation.loop import NeverReturns, VirtualLoop

T = TypeVar("T")

FAILPOINTS = (
    "before-commit",
    "after-commit",
    "before-mark",
    "after-mark",
    "before-send",
    "after-send",
    "before-delivered",
    "after-delivered",
)
"""Between any two steps of an alert's way and of a delivery's way."""

_current: ContextVar["Life | None"] = ContextVar("life", default=None)


class Dead(Exception):
    """The daemon died before it answered."""


class Life:
    """dies_at: failpoint and its how-manieth passing at which this life ends; None for no such end."""

    def __init__(self, loop: VirtualLoop, dies_at: tuple[str, int] | None = None) -> None:
        self.alive = True
        self.ended = asyncio.Event()
        self.how = ""
        self._loop, self._dies_at = loop, dies_at
        self._passed = dict.fromkeys(FAILPOINTS, 0)
        self._tasks: dict[asyncio.Task[Any], None] = {}

    def end(self, how: str) -> None:
        """Everything that belongs to this life stops where it stands."""
        if self.alive:
            self.alive, self.how = False, how
            self.ended.set()
            self._loop.call_soon(self._bury)

    def _bury(self) -> None:
        for task in list(self._tasks):
            task.cancel()

    def passes(self, name: str) -> None:
        """A failpoint. Raises NeverReturns when it was the last thing that this life did."""
        if self.alive:
            self._passed[name] += 1
            if self._dies_at == (name, self._passed[name]):
                self.end(f"at {name} {self._passed[name]}")
        if not self.alive:
            raise NeverReturns

    def begin(self, work: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        """Runs something as a part of this life; so is everything that it begins in turn."""
        token = _current.set(self)
        try:
            return self._loop.create_task(work)
        finally:
            _current.reset(token)

    async def ask(self, work: Coroutine[Any, Any, T]) -> T:
        """Asks the daemon from outside. Raises Dead when it dies before it answers."""
        task, ended = self.begin(work), self._loop.create_task(self.ended.wait())
        await asyncio.wait([task, ended], return_when=asyncio.FIRST_COMPLETED)
        ended.cancel()
        if not self.alive or not task.done():
            task.add_done_callback(lambda done: done.cancelled() or done.exception())
            raise Dead
        return task.result()

    @staticmethod
    def of_tasks(loop: asyncio.AbstractEventLoop, work: Any, **how: Any) -> "asyncio.Task[Any]":
        """The loop's task factory: a task belongs to the life that began it."""
        task: asyncio.Task[Any] = asyncio.Task(work, loop=loop, **how)
        life = _current.get()
        if life is not None:
            life._tasks[task] = None
            task.add_done_callback(lambda done: life._tasks.pop(done, None))
            if not life.alive:
                task.cancel()
        return task
