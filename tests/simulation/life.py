"""One run of the daemon, from its start to its death: what is cut off when it dies, and where it dies.

A death takes nothing back and lets nothing more out: from that instant on no commit reaches the
store and no request leaves. Failpoints stand in the ports (intake, store, sinks, socket, log), not
in the product. A life can also be frozen, as a process that is stopped: what it would do then
waits, and may go on when another life has taken its place.
"""

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from typing import Any, NamedTuple, TypeVar

from tests.simulation.loop import NeverReturns, VirtualLoop

T = TypeVar("T")

about: ContextVar[str] = ContextVar("about", default="")
"""The key of the object that the running conversation with a sink is about."""

_current: ContextVar["Life | None"] = ContextVar("life", default=None)


class Death(NamedTuple):
    """Where a life ends: at the `turn`-th passing of a failpoint, at one sink ("": at any)."""

    point: str
    turn: int = 1
    sink: str = ""


class Dead(Exception):
    """The daemon died before it answered."""


class Silent(Exception):
    """The daemon did not answer in time."""


class Life:
    """dies_at: None for no such end. on_pass: called with every failpoint that is passed, its sink, and the key of
    the object there ("" for none); on_death: likewise with the one at which it died.
    """

    def __init__(self, loop: VirtualLoop, dies_at: Death | tuple[str, int] | None = None) -> None:
        self.alive = True
        self.ended = asyncio.Event()
        self.over: asyncio.Future[None] = loop.create_future()
        self.how = ""
        self.on_pass: Callable[[str, str, str], None] = lambda point, sink, key: None
        self.on_death: Callable[[str, str, str], None] = lambda point, sink, key: None
        self.frozen_until = 0.0
        self._loop = loop
        self._dies_at = Death(*dies_at) if dies_at is not None else None
        self._turns = 0
        self._tasks: dict[asyncio.Task[Any], None] = {}

    def end(self, how: str) -> None:
        """Everything that belongs to this life stops where it stands."""
        if self.alive:
            self.alive, self.how = False, how
            self.ended.set()
            self.over.set_result(None)
            self._loop.call_soon(self._bury)

    def _bury(self) -> None:
        for task in list(self._tasks):
            task.cancel()

    # ---- failpoints ------------------------------------------------------------------------------------
    def meets(self, point: str, sink: str = "", key: str = "") -> bool:
        """A failpoint is passed, or this was the last thing that the life did; whether it lives on."""
        if self.alive:
            self.on_pass(point, sink, key)
            at = self._dies_at
            if at is not None and at.point == point and at.sink in ("", sink):
                self._turns += 1
                if self._turns == at.turn:
                    self.on_death(point, sink, key)
                    self.end(f"died at {point}" + (f" of {sink}" if sink else ""))
        return self.alive

    def passes(self, point: str, sink: str = "", key: str = "") -> None:
        """A failpoint. Raises NeverReturns when it was the last thing that this life did."""
        if not self.meets(point, sink, key):
            raise NeverReturns

    @staticmethod
    async def reaches(point: str, sink: str = "", key: str = "") -> None:
        """A failpoint in a task of the current life; does not return when that has ended."""
        life = _current.get()
        if life is not None and not life.meets(point, sink, key):
            await asyncio.Event().wait()

    @staticmethod
    def current() -> "Life | None":
        """The life that is running now."""
        return _current.get()

    # ---- a stopped process -------------------------------------------------------------------------------
    def freeze(self, seconds: float) -> None:
        """It does nothing that can be seen from outside for so long."""
        self.frozen_until = self._loop.time() + seconds

    def left(self) -> float:
        """For how long it is frozen still, s."""
        return max(0.0, self.frozen_until - self._loop.time())

    async def thawed(self) -> None:
        """Returns when it is not frozen."""
        if left := self.left():
            await asyncio.sleep(left)

    # ---- what belongs to it ------------------------------------------------------------------------------
    def begin(self, work: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        """Runs something as a part of this life; so is everything that it begins in turn."""
        token = _current.set(self)
        try:
            return self._loop.create_task(work)
        finally:
            _current.reset(token)

    async def ask(self, work: Coroutine[Any, Any, T], patience: float | None = None) -> T:
        """Asks the daemon from outside. Raises Dead when it dies before it answers, and Silent after `patience` s."""
        task = self.begin(work)
        awaited: list[asyncio.Future[Any]] = [task, self.over]
        await asyncio.wait(awaited, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
        if not self.alive or not task.done():
            task.add_done_callback(lambda done: done.cancelled() or done.exception())
            raise Silent if self.alive else Dead
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
