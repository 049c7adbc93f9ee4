"""Gauges that are only worked out when somebody reads `/metrics`, without holding the event loop."""

import asyncio

from daemon import metrics
from daemon.api.surface import Pace
from daemon.runtime import Runtime


async def observe_state(runtime: Runtime) -> None:
    """Counts alerts by status and incidents by state and priority."""
    state, now, pace = runtime.engine.state, runtime.now_ms(), Pace()
    statuses = dict.fromkeys(("firing", "stale", "resolved", "expired"), 0)
    for number in list(state.alerts.rows):
        alert = state.alerts.rows.get(number)
        if alert is not None:
            statuses[alert.status(now)] += 1
        if pace.tired:
            await asyncio.sleep(0)
    incidents: dict[tuple[str, str], int] = {}
    for number in list(state.incidents.rows):
        incident = state.incidents.rows.get(number)
        if incident is not None:
            key = (incident.state, incident.priority)
            incidents[key] = incidents.get(key, 0) + 1
        if pace.tired:
            await asyncio.sleep(0)
    for status, count in statuses.items():
        metrics.ALERTS.labels(status).set(count)
    metrics.INCIDENTS.clear()
    for (name, priority), count in incidents.items():
        metrics.INCIDENTS.labels(name, priority).set(count)
    metrics.EMITTERS.set(len(state.emitters.rows))
    metrics.READY.set(runtime.healthy)
