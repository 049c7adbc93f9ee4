"""Which sinks an incident goes to: the policies, on the incident."""

from itertools import islice

from daemon.core.context import Context
from daemon.core.model.incident import Incident
from daemon.core.policy import Hours, Rule, SinkInfo
from daemon.core.priority import voice


def values_of(ctx: Context, incident: Incident) -> dict[str, list[str]]:
    """What the conditions of policies see of an incident: of what may notify. `tier` is the best of its services."""
    rows = ctx.state.incident_services(incident.id)
    firing = [row for row in rows if row.loud] or rows
    services = [row.service for row in firing]
    environments = list(dict.fromkeys(row.environment for row in firing))
    tiers = sorted({row.tier for row in firing if row.tier})
    return {
        "priority": [voice(incident)],
        "owner": [incident.owner],
        "tier": [str(tier) for tier in tiers[:1]],
        "service": services,
        "services": services,
        "environment": environments,
        "environments": environments,
    }


def sinks_for(ctx: Context, incident: Incident) -> list[tuple[SinkInfo, Hours | None]]:
    """The sinks that the policies name for the incident now, with the hours in which a pager may ring.

    The first policy that matches acts; of the default policies every one that matches. An incident
    about samband itself never goes to the sink that it is about.
    """
    found: dict[str, tuple[SinkInfo, Hours | None]] = {}
    for rule in rules_for(ctx, incident):
        for name in rule.to:
            sink = ctx.policy.sinks.get(name)
            if sink is not None and name != incident.self_sink:
                found.setdefault(name, (sink, rule.hours))
    return list(found.values())


def rules_for(ctx: Context, incident: Incident) -> list[Rule]:
    """The policies that act on the incident now."""
    values = values_of(ctx, incident)
    matching = (rule for rule in ctx.policy.rules if rule.when.matches(values))
    return list(matching if ctx.policy.default_rules else islice(matching, 1))
