"""How alerts find their incident: the protocol of a correlator, and the choice among the evidence.

A correlator finds candidates through indexes, never by a scan, and says for each incident how
strongly the alert belongs there (0 to 1000), and why, in words that people read.
"""

from collections.abc import Iterable, Sequence
from typing import Protocol

import msgspec

from daemon.core.model.alert import Alert
from daemon.core.model.catalogue import Catalogue
from daemon.core.model.incident import Incident, IncidentService


class Evidence(msgspec.Struct, frozen=True, gc=False):
    """Why an alert belongs to an incident. strength: 0 to 1000. facts: the particulars, for `explain`."""

    incident: int
    strength: int
    reason: str
    facts: str


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


def fresh(row: IncidentService, at: int, gap: int) -> bool:
    """Whether what the incident has of this service is near enough in time to an alert that began `at`.

    A condition is fresh for `FRESH` after it began, as long as it fires; an event for `gap` after
    its last occurrence. Both by the senders' time.
    """
    if row.last_event and abs(at - row.last_event) <= gap:
        return True
    return bool(row.last_began) and any(row.firing) and abs(at - row.last_began) <= FRESH


def severe(incident: Incident) -> bool:
    """A P1 or P2 speaks for its own services as long as it is open and they fire."""
    return incident.priority in ("P1", "P2")


def sufficient(found: Iterable[Evidence], strength: int) -> list[Evidence]:
    """The best evidence per incident that is strong enough; the strongest first, then the older incident."""
    best: dict[int, Evidence] = {}
    for one in found:
        if one.strength >= strength and (one.incident not in best or one.strength > best[one.incident].strength):
            best[one.incident] = one
    return sorted(best.values(), key=lambda one: (-one.strength, one.incident))
