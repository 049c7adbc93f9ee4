"""How fast each source may send: a bucket of tokens per source, one token an alert."""

from collections.abc import Callable, Collection

from daemon.settings.limits import Limits
from daemon.sources.body import BodyError

OVER_RETRY_S = 60.0
"""A source with too many open alerts comes again so much later: some have to end first."""


class Rates:
    """What each source may still send. clock: seconds that never go back. limits may be set anew at any time.

    How many alerts a request holds shows only when it was read, so a request is let in while
    anything is left, and what it was over is owed by the next.
    """

    def __init__(self, clock: Callable[[], float], limits: Limits) -> None:
        self.limits = limits
        self._clock = clock
        self._left: dict[str, tuple[float, float]] = {}

    def admit(self, source: str) -> None:
        """Raises BodyError 429, with the time to wait, while the source may not send."""
        left, rate = self._now(source), self.limits.alerts_per_second_max
        if left <= 0:
            text = f"the source {source} is over {rate} alerts a second (limits.alerts_per_second_max)"
            raise BodyError(429, text, (1 - left) / rate)

    def spend(self, source: str, alerts: int) -> None:
        """The source has sent so many alerts."""
        self._left[source] = (self._now(source) - alerts, self._clock())

    def keep(self, sources: Collection[str]) -> None:
        """Forgets all others."""
        self._left = {name: left for name, left in self._left.items() if name in sources}

    def _now(self, source: str) -> float:
        full = float(self.limits.alerts_burst_max)
        left, at = self._left.get(source, (full, 0.0))
        return min(full, left + (self._clock() - at) * self.limits.alerts_per_second_max)
