"""The service catalogue: one immutable graph, content-addressed by the policy's digest."""

from collections.abc import Mapping

import msgspec


class Service(msgspec.Struct, frozen=True):
    """One entry. tier: 1 to 3, 0 when not given. depends_on, runs_on: names of other entries."""

    name: str
    team: str = ""
    tier: int = 0
    environment: str = ""
    hours: str = ""
    category: str = ""
    component: str = ""
    runbook: str = ""
    depends_on: tuple[str, ...] = ()
    runs_on: tuple[str, ...] = ()
    labels: Mapping[str, str] = {}


class Catalogue(msgspec.Struct, frozen=True):
    """Services by name and teams by name, with the undirected neighbours worked out once.

    neighbours: service -> the services that it depends on, runs on, or that do so with it,
    sorted. A name that is only mentioned (a machine, say) is a node like any other.
    """

    services: Mapping[str, Service] = {}
    neighbours: Mapping[str, tuple[str, ...]] = {}

    @staticmethod
    def of(services: Mapping[str, Service]) -> "Catalogue":
        """Builds the graph; the order of the input does not matter."""
        edges: dict[str, set[str]] = {}
        for service in services.values():
            for other in (*service.depends_on, *service.runs_on):
                if other != service.name:
                    edges.setdefault(service.name, set()).add(other)
                    edges.setdefault(other, set()).add(service.name)
        return Catalogue(services, {name: tuple(sorted(others)) for name, others in sorted(edges.items())})
