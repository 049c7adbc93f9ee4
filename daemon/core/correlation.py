"""How alerts find their incident: the protocol of a correlator, and the choice among the evidence.

A correlator finds candidates through indexes, never by a scan, and says for each incident how
strongly the alert belongs there (0 to 1000), and why, in words that people read.
"""

from collections.abc import Container, Iterable, Sequence
from typing import Protocol

import msgspec

from daemon.core.model.alert import Alert
from daemon.core.model.catalogue import Catalogue
from daemon.core.model.incident import Incident, IncidentService


class Evidence(msgspec.Struct, frozen=True, gc=False):
    """Why an alert belongs to an incident. strength: 0 to 1000. facts: the particulars, for `explain`.

    wakes: the join is activity. Otherwise it neither merges incidents nor keeps this one awake.
    """

    incident: int
    strength: int
    reason: str
    facts: str
    wakes: bool = True


class View(Protocol):
    """What a correlator may look at: state as it is before the alert joins anything. Read only."""

    @property
    def catalogue(self) -> Catalogue:
        """The catalogue in force."""
        ...

    @property
    def gap(self) -> int:
        """`correlation.gap`, ms."""
        ...

    @property
    def labels(self) -> Sequence[str]:
        """`correlation.labels`."""
        ...

    @property
    def present(self) -> Container[tuple[str, str]]:
        """The (service, environment) of which there are rows; asking it first is cheaper than `services`."""
        ...

    def incident(self, number: int) -> Incident:
        """An incident by its id."""
        ...

    def services(self, service: str, environment: str) -> Iterable[IncidentService]:
        """The rows of live incidents about that service in that environment, oldest incident first."""
        ...


class Correlator(Protocol):
    """One way of finding that two alerts are one thing. `version` counts when its answers change."""

    name: str
    version: int

    def propose(self, alert: Alert, view: View, now_ms: int) -> Iterable[Evidence]:
        """Evidence for live incidents; the order does not matter. `alert` has joined nothing yet."""
        ...


# ---- evidence, and the choice among it ---------------------------------------------------------
FRESH = 30 * 60_000
"""How long an alert that will be resolved is fresh as evidence after it began or its severity rose, ms."""
OLDEST = 24 * 3_600_000
"""A start older than this is no evidence by time, and an incident older takes only keys it has had, ms."""
CERTAIN = 1000
FAINT = 600
"""Evidence from an incident that has gone quiet: enough to join, not to wake it."""
RHYTHM_JOINS = 5
"""With fewer joins an incident has no rhythm of its own yet."""
RHYTHM_TIMES = 24
"""An incident is quiet after this many times its mean distance between joins (within half to all of the gap)."""


def event_age(row: IncidentService, at: int) -> int | None:
    """How far `at` lies from the occurrences of this row's events, ms; None without events."""
    if not row.last_event:
        return None
    return max(0, at - row.last_event, row.first_event - at)


def condition_age(row: IncidentService, at: int) -> int | None:
    """How far `at` lies from the begin of this row's youngest condition, ms; None unless one fires and is fresh."""
    if not row.last_began or not any(row.firing):
        return None
    age = abs(at - row.last_began)
    return age if age <= FRESH else None


def quiet(incident: Incident, at: int, gap: int) -> bool:
    """Whether the incident has been silent for longer than its own rhythm allows.

    A fixed gap is brittle: bursts of a thousand alerts and trickles of five need different ones. So
    the pause allowed comes from the incident itself, `RHYTHM_TIMES` its mean distance between joins,
    held between half the gap and the gap; three quarters of the gap while there are too few joins.
    Only joins that are activity count, else one standing alert would keep an incident awake for ever.
    """
    if incident.heard < RHYTHM_JOINS:
        allowed = gap * 3 // 4
    else:
        mean_times = RHYTHM_TIMES * (incident.last_heard - incident.first_heard) // (incident.heard - 1)
        allowed = max(gap // 2, min(gap, mean_times))
    return at - incident.last_heard > allowed


def compatible(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    """Whether the further labels (cluster, say) are equal, or absent in one."""
    return one == other or all(not a or not b or a == b for a, b in zip(one, other, strict=False))


def severe(incident: Incident) -> bool:
    """A P1 or P2 speaks for its own services as long as they fire."""
    return incident.priority in ("P1", "P2")


def sufficient(found: Sequence[Evidence], strength: int) -> list[Evidence]:
    """The best evidence per incident that is strong enough; the strongest first, then the older incident."""
    if len(found) <= 1:
        return [one for one in found if one.strength >= strength]
    best: dict[int, Evidence] = {}
    for one in found:
        known = best.get(one.incident)
        if one.strength >= strength and (known is None or one.strength > known.strength):
            best[one.incident] = one
    return sorted(best.values(), key=lambda one: (-one.strength, one.incident))
