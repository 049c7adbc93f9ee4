"""Idempotency keys: the same key gets the same answer, also while the first request is still under way."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable

from daemon.core.effects import Reply

KEPT_MAX = 10_000


class Acts:
    """The newest answers by key. What fails (not durable) is forgotten, so that it can be tried again."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, asyncio.Task[Reply]] = OrderedDict()

    async def once(self, key: str, command: Callable[[], Awaitable[Reply]]) -> Reply:
        """The answer of the first call with this key. Raises what the command raises."""
        task = self._known.get(key)
        if task is None:
            task = asyncio.ensure_future(self._run(command))
            self._known[key] = task
            while len(self._known) > KEPT_MAX:
                self._known.popitem(last=False)
        try:
            return await asyncio.shield(task)
        except Exception:
            self._known.pop(key, None)
            raise

    @staticmethod
    async def _run(command: Callable[[], Awaitable[Reply]]) -> Reply:
        return await command()
