"""How many alerts each source has open, known without counting at every request.

What is known is a bound: the last count, and what may have been opened since. Far below the limit
every alert is taken for a new one; near it only those that are. At the limit is counted again, in
slices that leave the event loop to others, and never for more than a twentieth of the time. What
waits to be folded is not counted, so that a source may get over its limit by as much as the queue holds.
"""

import asyncio
import time
from collections.abc import Sequence

from daemon.core.model.alert import ParsedAlert
from daemon.core.state import State

SHARE = 20
SLICE = 2_000
"""Alerts that are looked at before others get their turn: about a millisecond."""


class OpenAlerts:
    """The open alerts of each source in a state."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._bound: dict[str, int] | None = None
        self._again_at = 0.0
        self._counting = asyncio.Lock()

    async def within(self, alerts: list[ParsedAlert], limit: int) -> list[ParsedAlert]:
        """The alerts of one source without those that would open one more while it has `limit` open ones."""
        if not alerts:
            return alerts
        source = alerts[0].source
        bound = (await self._count() if self._bound is None else self._bound).get(source, 0) + len(alerts)
        if bound <= limit // 2 and self._bound is not None:
            self._bound[source] = bound
            return alerts
        fresh = self._fresh(alerts)
        room = await self._room(source, len(fresh), limit)
        if room >= len(fresh):
            return alerts
        refused = set(fresh[room:])
        return [alert for alert in alerts if alert.key not in refused or not alert.firing]

    def _fresh(self, alerts: Sequence[ParsedAlert]) -> list[bytes]:
        """The keys of those that would open an alert, in their order."""
        rows, by_key = self._state.alerts.rows, self._state.by_key
        found: dict[bytes, None] = {}
        for alert in alerts:
            if alert.firing and alert.key not in found:
                known = rows.get(by_key.get(alert.key, 0))
                if known is None or not known.open:
                    found[alert.key] = None
        return list(found)

    async def _room(self, source: str, wanted: int, limit: int) -> int:
        """How many of the wanted ones may be opened; they are counted as if they were."""
        known = await self._count() if self._bound is None else self._bound
        if known.get(source, 0) + wanted > limit and time.monotonic() >= self._again_at:
            known = await self._count()
        room = max(0, min(wanted, limit - known.get(source, 0)))
        known[source] = known.get(source, 0) + room
        return room

    async def _count(self) -> dict[str, int]:
        async with self._counting:
            if self._bound is not None and time.monotonic() < self._again_at:
                return self._bound  # Somebody else has counted meanwhile.
            began = time.monotonic()
            counts: dict[str, int] = {}
            rows = self._state.alerts.rows
            for place, number in enumerate(list(rows)):
                if place % SLICE == SLICE - 1:
                    await asyncio.sleep(0)
                alert = rows.get(number)
                if alert is not None and alert.open:
                    counts[alert.source] = counts.get(alert.source, 0) + 1
            now = time.monotonic()
            self._bound, self._again_at = counts, now + SHARE * (now - began)
            return counts
