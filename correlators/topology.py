"""Near in the catalogue: services at most two steps apart are one thing while the first is fresh.

A hub (a registry, a shared network) is near to everything and so says nothing: it is never walked
through, reached or left. Alerts about a hub itself are joined by its label only.
"""

from collections.abc import Iterable

from daemon.core.correlation import CERTAIN, FAINT, FRESH, Evidence, View, compatible, condition_age, event_age, quiet
from daemon.core.model.alert import Alert
from daemon.core.model.catalogue import Catalogue
from daemon.core.model.incident import IncidentService

FADE = {1: 2000, 2: 1000}
"""Strength at age 0 by steps; it fades to 0 at the gap, and is capped at 1000. So a neighbour's event
is full evidence for half a gap, and sufficient (500) for three quarters of it, two steps away for half."""
HUB_TIMES, HUB_DEGREE_MIN = 3, 16
"""A hub has more neighbours than three times the catalogue's 90th percentile, and more than 16."""


class Near:
    """Another service, how many steps away, and the way there in words."""

    __slots__ = ("service", "steps", "way")

    def __init__(self, service: str, steps: int, way: str) -> None:
        self.service, self.steps, self.way = service, steps, way


class Topology:
    """Evidence from services that are one or two steps away and no hubs."""

    name = "topology"
    version = 1

    def __init__(self) -> None:
        self._catalogue: Catalogue | None = None
        self._near: dict[str, list[Near]] = {}
        self._hub = 0

    def propose(self, alert: Alert, view: View, now_ms: int) -> Iterable[Evidence]:
        """Evidence for every live incident that has fresh alerts of a service nearby."""
        if not alert.service:
            return
        if view.catalogue is not self._catalogue:
            self._take(view.catalogue)
        environment, present = alert.environment, view.present
        for near in self._around(alert.service):
            if (near.service, environment) not in present:
                continue
            for row in view.services(near.service, environment):
                if compatible(row.extra, alert.extra):
                    found = self._judge(alert, row, near, view)
                    if found is not None:
                        yield found

    def _judge(self, alert: Alert, row: IncidentService, near: Near, view: View) -> Evidence | None:
        at, fade = alert.decides_at, FADE[near.steps]
        condition, event = condition_age(row, at), event_age(row, at)
        if condition is None and (event is None or event > view.gap):
            return None
        if condition is not None and not alert.event:
            return Evidence(row.incident, CERTAIN, near.way, f"{condition // 1000} s apart")
        strength, awake = 0, not quiet(view.incident(row.incident), at, view.gap)
        if condition is not None:
            most, scale = (CERTAIN, fade) if awake else (FAINT, fade // 2)
            strength = min(most, scale * (FRESH - condition) // FRESH)
        if event is not None and event <= view.gap and awake:
            strength = max(strength, min(CERTAIN, fade * (view.gap - event) // max(view.gap, 1)))
        if not strength:
            return None
        age = condition if condition is not None else event or 0
        return Evidence(row.incident, strength, near.way, f"{age // 1000} s apart", awake)

    # ---- the neighbourhood, worked out once per catalogue and service ---------------------------
    def _take(self, catalogue: Catalogue) -> None:
        degrees = sorted(len(others) for others in catalogue.neighbours.values())
        self._hub = max(HUB_DEGREE_MIN, HUB_TIMES * degrees[len(degrees) * 9 // 10]) if degrees else 0
        self._catalogue, self._near = catalogue, {}

    def _around(self, service: str) -> list[Near]:
        known = self._near.get(service)
        if known is None:
            known = self._near[service] = self._walk(service)
        return known

    def _walk(self, service: str) -> list[Near]:
        found: dict[str, Near] = {}
        for one in self._next_to(service):
            found[one] = Near(one, 1, f"{one} is next to {service}")
        for one in list(found):
            for two in self._next_to(one):
                if two != service and two not in found:
                    found[two] = Near(two, 2, f"{two} and {service} are both next to {one}")
        return list(found.values())

    def _next_to(self, service: str) -> list[str]:
        neighbours = self._catalogue.neighbours if self._catalogue is not None else {}
        others = neighbours.get(service, ())
        if len(others) > self._hub:
            return []
        return [other for other in others if len(neighbours[other]) <= self._hub]
