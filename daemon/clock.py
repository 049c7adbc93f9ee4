"""The two clocks of the machine, and engine time made of them.

Engine time runs with the boot clock, which nobody can set and which goes on while the machine
sleeps. It is drawn gently to the wall clock, jumps forward with it when that jumps by more than
two seconds, and never goes back: when the wall clock does, engine time runs slower until it is met.
"""

import time
from typing import NamedTuple, Protocol

SLEW_MAX_MS = 2_000
"""A difference to the wall clock up to this is slewed; a larger one, when it comes at once, is a step."""

SLEW_PART = 10
"""While it is slewed engine time runs a tenth faster or slower."""


class Clock(Protocol):
    """What the machine says. Both in ms."""

    def wall_ms(self) -> int:
        """Milliseconds since 1970 UTC; may be set by anybody, in any direction."""
        ...

    def elapsed_ms(self) -> int:
        """Milliseconds since some instant, never set, sleep of the machine included."""
        ...


class SystemClock:
    """The real clocks (Linux)."""

    def wall_ms(self) -> int:
        """See `Clock.wall_ms`."""
        return time.time_ns() // 1_000_000

    def elapsed_ms(self) -> int:
        """See `Clock.elapsed_ms`."""
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000


class Step(NamedTuple):
    """A jump of the wall clock, ms: `wall` by how much it jumped, `engine` by how much engine time followed."""

    wall: int
    engine: int


class EngineTime:
    """Engine time. `last_ms`: where it stood when the daemon before this one last wrote, 0 if never.

    It starts at the wall clock, or at `last_ms` when that is later; `gap` is what lies between, ms.
    """

    def __init__(self, clock: Clock, last_ms: int) -> None:
        self._clock = clock
        self._wall, self._elapsed = clock.wall_ms(), clock.elapsed_ms()
        self._now = max(self._wall, last_ms)
        self._credit = 0
        self.gap = self._now - last_ms if last_ms else 0

    @property
    def offset(self) -> int:
        """Engine time less wall clock, as they were at the last look, ms."""
        return self._now - self._wall

    def now_ms(self) -> int:
        """Engine time: it goes on with every millisecond (or nearly: a tenth may be left out), and never back.

        A jump of the wall clock is left for `step` to find.
        """
        elapsed = self._clock.elapsed_ms()
        passed = elapsed - self._elapsed
        if passed > 0:
            self._elapsed = elapsed
            self._wall += passed
            self._now += passed
            if self._now != self._wall:
                self._slew(passed)
        return self._now

    def step(self) -> Step | None:
        """Compares with the wall clock, and follows it if it jumped; None if it did not.

        Engine time moves along with a jump forward; after a jump back it goes on, slower.
        """
        before = self.now_ms()
        jumped = self._clock.wall_ms() - self._wall
        self._wall += jumped
        if abs(jumped) <= SLEW_MAX_MS:
            return None
        self._now = max(before, self._wall)
        return Step(jumped, self._now - before)

    def _slew(self, passed: int) -> None:
        """Moves towards the wall clock, by at most a tenth of the time that has passed (what is over is kept)."""
        self._credit += passed
        limit = self._credit // SLEW_PART
        self._credit %= SLEW_PART
        self._now += max(-limit, min(limit, self._wall - self._now))
