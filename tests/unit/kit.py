"""Scripts for the engine: `Play` folds alerts and commands at given seconds and shows what came of it."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from correlators.labels import Labels
from correlators.topology import Topology
from daemon.core.communication import picture
from daemon.core.effects import Changes, Noted, Reply, Send
from daemon.core.engine import Engine
from daemon.core.model.alert import Alert, ParsedAlert, alert_key
from daemon.core.model.catalogue import Catalogue, Service
from daemon.core.model.incident import Incident
from daemon.core.policy import Hours, Policy, Rule, SinkInfo, SourceInfo, Timing
from daemon.core.records import (
    AlertSeen,
    AnyRecord,
    CommandGiven,
    Delivered,
    Refreshed,
    Resumed,
)
from daemon.settings.matchers import Matchers

T0 = 1_780_000_000_000
SINKS = {
    "pager": SinkInfo("pager", "pager"),
    "desk": SinkInfo("desk", "ticket", reopens=True),
    "page": SinkInfo("page", "status_page"),
    "hook": SinkInfo("hook", "message"),
}


class Priorities:
    """A condition on the priority alone; a real Matcher in shape, without RE2."""

    def __init__(self, *priorities: str) -> None:
        self.priorities = priorities
        self.text = f'priority=~"{"|".join(priorities)}"'

    def matches(self, values: Mapping[str, Sequence[str]]) -> bool:
        """Whether the incident has one of them."""
        return any(value in self.priorities for value in values["priority"])


ALL = Priorities("P1", "P2", "P3", "P4", "P5")
NOW = (0, 0, 0, 0, 0)
AT_ONCE = Timing(
    first_page=NOW, ticket=NOW, resolve_after=NOW, priority_down_after=NOW, comment_every=0, acknowledge_lapses=NOW
)


def policy(services: Mapping[str, Service] | None = None, **changes: Any) -> Policy:
    """A policy with everything at its default and all sinks for every priority; `changes` replace fields."""
    base = Policy(
        digest="test",
        mode="live",
        timing=Timing(),
        catalogue=Catalogue.of(services or {}),
        correlators=(Labels(), Topology()),
        gap=60_000,
        strength=500,
        labels=("service", "environment", "cluster"),
        never_across=(),
        severity={"page": "critical"},
        service_labels=("service", "app", "job"),
        team_labels=("team",),
        collectors=("node-exporter", "kube-state-metrics", "blackbox", "cadvisor", "pushgateway"),
        sources={"lab": SourceInfo("staging")},
        sinks=SINKS,
        rules=(Rule(ALL, ("pager", "desk", "hook")),),
        default_rules=False,
        matcher=Matchers,
        fallback_team="platform",
        fallback_tier=0,
        green_after=900_000,
    )
    return msgspec.structs.replace(base, **changes)


def services(**tiers: int) -> dict[str, Service]:
    """Services by name with a tier and a team of the same name."""
    return {name: Service(name, team=f"{name}-team", tier=tier) for name, tier in tiers.items()}


@dataclasses.dataclass
class Play:
    """Folds one step after the other; times are seconds after T0."""

    policy: Policy
    engine: Engine = dataclasses.field(init=False)
    sent: list[Send] = dataclasses.field(default_factory=list)
    notes: list[Noted] = dataclasses.field(default_factory=list)
    folds: list[tuple[list[AnyRecord], int, bytes]] = dataclasses.field(default_factory=list)
    deliver: bool = True

    def __post_init__(self) -> None:
        self.engine = Engine(self.policy)
        self.fold([Resumed(T0, epoch=T0 // 1000, gap=0)], 0)

    def fold(self, records: Sequence[AnyRecord], at: float) -> Changes:
        """One batch; sends are answered as delivered in a batch of their own."""
        now = T0 + int(at * 1000)
        changes = self.engine.fold(list(records), now)
        self.folds.append((list(records), now, changes.digest))
        assert not changes.quarantined, changes.quarantined
        self.notes += [effect for effect in changes.effects if isinstance(effect, Noted)]
        sends = [effect for effect in changes.effects if isinstance(effect, Send)]
        self.sent += sends
        if sends and self.deliver:
            self.fold([Delivered(now, send.id, f"ref-{send.id}") for send in sends if not send.shadow], at)
        return changes

    def see(self, at: float, *alerts: ParsedAlert) -> list[Alert]:
        """Alerts received at `at`; the alerts that they concern now."""
        self.fold([AlertSeen(T0 + int(at * 1000), alert) for alert in alerts], at)
        state = self.engine.state
        return [state.alerts.rows[state.by_key[one.key]] for one in alerts if one.key in state.by_key]

    def say(self, at: float, verb: str, incident: Incident, actor: str = "bo") -> Reply:
        """A person's command."""
        record = CommandGiven(T0 + int(at * 1000), f"{verb}-{at}", actor, verb, incident.id)
        return self.fold([record], at).replies[0]

    def wait(self, at: float) -> None:
        """Nothing but time, up to `at`."""
        self.fold([], at)

    def refresh(self, record: Refreshed) -> None:
        """The refresh buffer."""
        self.fold([record], (record.at - T0) / 1000)

    def incidents(self) -> list[Incident]:
        """Those that were not merged away, oldest first."""
        return [one for _, one in sorted(self.engine.state.incidents.rows.items()) if not one.merged_into]

    def only(self) -> Incident:
        """The single incident there is."""
        (incident,) = self.incidents()
        return incident

    def shown(self, incident: Incident) -> Any:
        """Its picture."""
        return picture(self.engine.state, self.policy, incident.id, self.engine.now_ms)

    def acts(self, sink: str) -> list[str]:
        """What was sent to a sink, as "action purpose@seconds"."""
        return [f"{one.action} {one.purpose}@{(one.at - T0) / 1000:g}" for one in self.sent if one.sink == sink]


def alert(
    name: str = "Down",
    service: str = "shop",
    severity: str = "critical",
    *,
    firing: bool = True,
    resource: str = "r1",
    start: float | None = None,
    end: float | None = None,
    source: str = "scripts",
    environment: str = "",
    replica: str = "",
    emitter: str = "prom-1",
    event: bool = False,
    invented_end: bool = False,
    **labels: str,
) -> ParsedAlert:
    """A parsed alert; times are seconds after T0. Identity: name, service, resource, labels."""
    identity = msgspec.json.encode([name, service, resource, environment, labels])
    return ParsedAlert(
        source=source,
        key=alert_key(source, identity),
        name=name,
        firing=firing,
        severity=severity,
        service=service,
        resource=resource,
        environment=environment,
        labels=msgspec.json.encode(labels, order="sorted"),
        annotations=b'{"summary":"it is down"}',
        starts_at=None if start is None else T0 + int(start * 1000),
        ends_at=None if end is None else T0 + int(end * 1000),
        replica=replica,
        emitter=emitter,
        invented_end=invented_end,
        event=event,
    )


__all__ = ["ALL", "AT_ONCE", "NOW", "SINKS", "T0", "Hours", "Play", "Priorities", "alert", "policy", "services"]
