"""The estate of the tests: a catalogue, and what its monitoring sends when it breaks."""

import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.integration.samband import Sinks

BATCH = 64
"""So many alerts Prometheus 2.x puts into one request."""

SHOP: Mapping[str, dict[str, Any]] = {
    "web": {"team": "storefront", "tier": 2, "depends_on": ["checkout", "catalog"]},
    "catalog": {"team": "storefront", "tier": 2, "depends_on": ["search", "inventory"]},
    "search": {"team": "storefront", "tier": 3},
    "checkout": {"team": "payments", "tier": 1, "component": "Checkout", "depends_on": ["orders", "payments"]},
    "payments": {"team": "payments", "tier": 1, "component": "Payments", "depends_on": ["orders-db", "fraud"]},
    "fraud": {"team": "payments", "tier": 2},
    "orders": {"team": "orders", "tier": 2, "depends_on": ["orders-db", "inventory"]},
    "inventory": {"team": "orders", "tier": 2, "depends_on": ["orders-db"]},
    "shipping": {"team": "orders", "tier": 3, "depends_on": ["orders"]},
    "invoices": {"team": "orders", "tier": 2, "depends_on": ["orders-db"]},
    "orders-db": {"team": "databases", "tier": 1},
}
"""Eleven services that hang together."""

OFFICE: Mapping[str, dict[str, Any]] = {
    "portal": {"team": "office", "tier": 1, "depends_on": ["payroll", "directory"]},
    "payroll": {"team": "office", "tier": 2, "depends_on": ["staff-db"]},
    "directory": {"team": "office", "tier": 2, "depends_on": ["staff-db"]},
    "staff-db": {"team": "databases", "tier": 2},
}
"""Four others, which only the name service connects with the shop, as it connects everything."""

LONELY: Mapping[str, dict[str, Any]] = {f"batch-{n:02d}": {"team": "data", "tier": 2} for n in range(8)}
"""Services that nothing hangs on."""

HUB = "name-service"
FILLERS: Mapping[str, dict[str, Any]] = {f"internal-{n:02d}": {"team": "data", "tier": 3} for n in range(40)}

TIMING = {
    "first_page": "3s",
    "ticket": "0s",
    "resolve_after": "1s",
    "priority_down_after": "0s",
    "comment_every": "0s",
}
DELIVERY = {
    "timeout": "5s",
    "retry_first": "100ms",
    "retry_max": "1s",
    "give_up_after": "10m",
    "circuit_pause": "1s",
    "settle": "3s",
}


def services() -> dict[str, dict[str, Any]]:
    """All services; every one but the lonely ones asks the name service."""
    hanging = {**SHOP, **OFFICE, **FILLERS}
    found = {name: {**one, "depends_on": [*one.get("depends_on", []), HUB]} for name, one in hanging.items()}
    return {**found, **LONELY, HUB: {"team": "data", "tier": 1}}


def configuration(sinks: Sinks, /, **changes: Any) -> dict[str, Any]:
    """A configuration with this estate, short waits, and everything of P1 and P2 published at once."""
    return {
        "login": "open",
        "store": {"type": "sqlite", "path": "state/samband.db"},
        "sources": {"prometheus": {"type": "alertmanager"}, "scripts": {"type": "native"}},
        "services": services(),
        "sinks": sinks.config(),
        "policies": [
            {"when": 'priority=~"P1|P2"', "to": ["pager", "desk", "page"]},
            {"when": 'priority=~"P3|P4"', "to": ["desk"]},
        ],
        "status_page": {"publish": "auto", "green_after": "3s"},
        "timing": TIMING,
        "delivery": DELIVERY,
        **changes,
    }


def alert(name: str, severity: str, **labels: str) -> dict[str, Any]:
    """One alert that fires now, as Prometheus puts it."""
    now = datetime.now(UTC)
    return {
        "labels": {"alertname": name, "severity": severity, **labels},
        "annotations": {"summary": f"{name} at {' '.join(labels.values())}"},
        "startsAt": _stamp(now),
        "endsAt": _stamp(now + timedelta(minutes=4)),
        "generatorURL": "http://prometheus.example:9090/graph?g0.expr=up",
    }


def again(alerts: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same alerts at the next resend: they still fire."""
    return [one | {"endsAt": _stamp(datetime.now(UTC) + timedelta(minutes=4))} for one in alerts]


def over(alerts: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same alerts when what they were about is over."""
    return [one | {"endsAt": _stamp(datetime.now(UTC))} for one in alerts]


def outage(names: Sequence[str], count: int) -> list[dict[str, Any]]:
    """So many critical alerts of these services, each service in turn, as evaluations bring them."""
    rounds = math.ceil(count / len(names))
    told = [
        alert(f"Broken{turn}", "critical", service=name, instance=f"{name}-{turn}:9000")
        for turn in range(rounds)
        for name in names
    ]
    return told[:count]


def batches(alerts: Sequence[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """The alerts in the requests that Prometheus makes of them."""
    for begin in range(0, len(alerts), BATCH):
        yield list(alerts[begin : begin + BATCH])


def _stamp(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
