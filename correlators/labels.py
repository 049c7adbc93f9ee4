"""Same labels: alerts about one service, in one environment, are one thing while the first is fresh."""

from collections.abc import Iterable

from daemon.core.correlation import Evidence, View, fresh, severe
from daemon.core.model.alert import Alert

STRENGTH = 1000


class Labels:
    """Service present and equal, environment equal, the other `correlation.labels` equal or absent in one."""

    name = "labels"
    version = 1

    def propose(self, alert: Alert, view: View, now_ms: int) -> Iterable[Evidence]:
        """Evidence for every live incident that has fresh alerts of the alert's own service."""
        if not alert.service:
            return
        for row in view.services(alert.service, alert.environment):
            if not compatible(row.extra, alert.extra):
                continue
            if fresh(row, alert.decides_at, view.gap) or (any(row.firing) and severe(view.incident(row.incident))):
                yield Evidence(
                    row.incident, STRENGTH, f"same service {alert.service}", f"environment {alert.environment}"
                )


def compatible(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    """Whether the further labels are equal, or absent in one."""
    return all(not a or not b or a == b for a, b in zip(one, other, strict=False))
