"""Same labels: alerts about one service, in one environment, are one thing while the first is fresh."""

from collections.abc import Iterable

from daemon.core.correlation import CERTAIN, FAINT, Evidence, View, compatible, condition_age, event_age, quiet, severe
from daemon.core.model.alert import Alert
from daemon.core.model.incident import IncidentService


class Labels:
    """Service present and equal, environment equal, the other `correlation.labels` equal or absent in one."""

    name = "labels"
    version = 1

    def propose(self, alert: Alert, view: View, now_ms: int) -> Iterable[Evidence]:
        """Evidence for every live incident that has fresh alerts of the alert's own service, or is P1 or P2."""
        if not alert.service:
            return
        for row in view.services(alert.service, alert.environment):
            if compatible(row.extra, alert.extra):
                found = self._judge(alert, row, view)
                if found is not None:
                    yield found

    def _judge(self, alert: Alert, row: IncidentService, view: View) -> Evidence | None:
        incident = view.incident(row.incident)
        condition = condition_age(row, alert.decides_at)
        awake = (condition is not None and not alert.event) or not quiet(incident, alert.decides_at, view.gap)
        age = event_age(row, alert.decides_at)
        if condition is not None or (age is not None and age <= view.gap):
            strength = CERTAIN if awake else FAINT
        elif severe(incident) and any(row.firing):
            strength, awake = CERTAIN, False
        else:
            return None
        return Evidence(row.incident, strength, f"same service {alert.service}", _facts(condition, age), awake)


def _facts(condition: int | None, event: int | None) -> str:
    age = condition if condition is not None else event
    return "it still fires there" if age is None else f"{age // 1000} s apart"
