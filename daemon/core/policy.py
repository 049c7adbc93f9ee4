"""The policy: everything that decides, compiled from the configuration by `daemon.assembly`.

Durations are ms. Per-priority values are tuples of five, P1 first. It holds no secret.
"""

from bisect import bisect_right
from collections.abc import Callable, Mapping
from typing import Literal

import msgspec

from daemon.core.correlation import Correlator
from daemon.core.matching import Matcher
from daemon.core.model.catalogue import Catalogue
from daemon.core.model.incident import Kind

SECOND, MINUTE, HOUR, DAY = 1_000, 60_000, 3_600_000, 86_400_000

PerPriority = tuple[int, int, int, int, int]


class Timing(msgspec.Struct, frozen=True):
    """The table of section 9 (`timing:`), and what stands under it. 0 in `acknowledge_lapses`: off."""

    first_page: PerPriority = (15 * SECOND, 45 * SECOND, 3 * MINUTE, 3 * MINUTE, 3 * MINUTE)
    ticket: PerPriority = (0, 0, 3 * MINUTE, 15 * MINUTE, 15 * MINUTE)
    acknowledge_lapses: PerPriority = (30 * MINUTE, 60 * MINUTE, 8 * HOUR, 0, 0)
    resolve_after: PerPriority = (10 * MINUTE, 10 * MINUTE, 5 * MINUTE, 5 * MINUTE, 5 * MINUTE)
    priority_down_after: PerPriority = (15 * MINUTE,) * 5
    lapse_after: int = 15 * MINUTE
    lapse_after_gap: int = 60 * MINUTE
    event_expires: int = 4 * HOUR
    reopen_window: int = 60 * MINUTE
    comment_every: int = 15 * MINUTE
    close_after: int = 24 * HOUR


class Hours(msgspec.Struct, frozen=True):
    """Intervals in which something holds: `starts[i] <= t < ends[i]`, sorted, disjoint.

    Expanded outside core from calendars and time zones for the time in question.
    """

    starts: tuple[int, ...] = ()
    ends: tuple[int, ...] = ()

    def at(self, now_ms: int) -> bool:
        """Whether it holds at that time."""
        index = bisect_right(self.starts, now_ms) - 1
        return index >= 0 and now_ms < self.ends[index]

    def next_start(self, now_ms: int) -> int:
        """The next start after `now_ms`, 0 when the table ends before it."""
        index = bisect_right(self.starts, now_ms)
        return self.starts[index] if index < len(self.starts) else 0


class Rule(msgspec.Struct, frozen=True):
    """One policy: incidents that match `when` go to the sinks `to`.

    hours: for pagers, when it may ring (None: always); outside, the page waits for their next start.
    """

    when: Matcher
    to: tuple[str, ...]
    hours: Hours | None = None


class SinkInfo(msgspec.Struct, frozen=True):
    """What deciding needs to know of a sink. A kind without a sink stands under its kind's name.

    reports: acknowledgements come back from it. approve: a person must publish (status pages).
    virtual: there is no such sink; replay shows what would have gone to one.
    """

    name: str
    kind: Kind
    reopens: bool = False
    reports: bool = False
    approve: bool = False
    virtual: bool = False


class SourceInfo(msgspec.Struct, frozen=True):
    """What deciding needs to know of a source: the environment and owner of alerts that have none ("" for none)."""

    environment: str = ""
    team: str = ""


class Policy(msgspec.Struct, frozen=True):
    """The whole. `rules`: which of them act is said in `routing`.

    default_rules: True when no `policies:` stand in the configuration; then every matching rule acts.
    matcher: compiles a condition in Alertmanager's syntax (RE2, outside core); the same text, the same answer.
    severity: their word (lower case) -> ours. collectors: label values that name no service.
    """

    digest: str
    mode: Literal["live", "shadow"]
    timing: Timing
    catalogue: Catalogue
    correlators: tuple[Correlator, ...]
    gap: int
    strength: int
    labels: tuple[str, ...]
    never_across: tuple[str, ...]
    severity: Mapping[str, str]
    service_labels: tuple[str, ...]
    team_labels: tuple[str, ...]
    collectors: tuple[str, ...]
    sources: Mapping[str, SourceInfo]
    sinks: Mapping[str, SinkInfo]
    rules: tuple[Rule, ...]
    default_rules: bool
    matcher: Callable[[str], Matcher]
    fallback_team: str
    fallback_tier: int
    green_after: int
