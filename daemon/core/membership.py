"""Who is a member of what: joining, counting, leaving, and merging two incidents into one."""

from daemon.core.context import Context
from daemon.core.correlation import Evidence
from daemon.core.dedup import forget
from daemon.core.enrich import service_entry, team_of, tier_of
from daemon.core.model.alert import RANK, Alert
from daemon.core.model.incident import Incident, IncidentService
from daemon.core.priority import cell_of


def open_incident(ctx: Context, alert: Alert) -> Incident:
    """A new incident for an alert that no evidence joins to another."""
    state = ctx.state
    incident = Incident(state.new_id(), state.next_number, "open", ctx.now, alert.environment)
    state.next_number += 1
    incident.last_join = ctx.now
    state.incidents.add(incident)
    ctx.note(incident.id, "opened", f"by {alert.name}")
    ctx.count("incidents_opened")
    return incident


def join(ctx: Context, alert: Alert, incident: Incident, evidence: Evidence | None, before: Alert | None) -> None:
    """Makes the alert a member. `before` is the ended episode of its key, replaced if it was in here."""
    state = ctx.state
    if before is not None and before.incident and state.root(before.incident) == incident.id:
        _replace(ctx, before, alert)
    alert = state.alerts.edit(alert.id)
    alert.incident = incident.id
    if evidence is not None:
        alert.reason, alert.facts, alert.strength = evidence.reason, evidence.facts, evidence.strength
    else:
        alert.reason = "opened it"
    state.link(state.member_ids, incident.id, alert.id)
    state.incidents.edit(incident.id).last_join = ctx.now
    count_in(ctx, alert)


def _replace(ctx: Context, before: Alert, alert: Alert) -> None:
    incident = ctx.state.incidents.edit(ctx.state.root(before.incident))
    incident.ended -= 1
    if incident.lead == before.id:
        incident.lead = alert.id
    row = service_row(ctx, incident, before, make=False)
    if row is not None:
        row.ended -= 1
    forget(ctx, before)


def count_in(ctx: Context, alert: Alert) -> None:
    """Counts a firing member. The alert must have been opened with `edit`."""
    incident = ctx.state.incidents.edit(ctx.state.root(alert.incident))
    alert.cell = cell_of(ctx, alert)
    incident.cells = _add(incident.cells, alert.cell, 1)
    incident.firing += 1
    if alert.held:
        incident.held += 1
    else:
        incident.notifiable += 1
    row = service_row(ctx, incident, alert, make=True)
    if row is not None:
        row.firing = _add(row.firing, RANK[alert.severity], 1)
        if alert.event:
            row.last_event = max(row.last_event, alert.decides_at, alert.heard_start)
        else:
            row.last_began = max(row.last_began, alert.decides_at)
    incident.version += 1
    ctx.touched[incident.id] = None


def count_out(ctx: Context, alert: Alert, severity: str, service: tuple[str, str, tuple[str, ...]]) -> None:
    """Takes a member out of the firing ones; severity and service are those it was counted under."""
    if alert.cell < 0:
        return
    incident = ctx.state.incidents.edit(ctx.state.root(alert.incident))
    incident.cells = _add(incident.cells, alert.cell, -1)
    alert.cell = -1
    incident.firing -= 1
    if alert.held:
        incident.held -= 1
    else:
        incident.notifiable -= 1
    row = _find_row(ctx, incident.id, *service)
    if row is not None:
        row.firing = _add(row.firing, RANK[severity], -1)
    incident.version += 1
    ctx.touched[incident.id] = None


def end_member(ctx: Context, alert: Alert) -> None:
    """A member's episode has ended: it is counted among the ended ones."""
    count_out(ctx, alert, alert.severity, service_key(alert))
    incident = ctx.state.incidents.edit(ctx.state.root(alert.incident))
    incident.ended += 1
    row = service_row(ctx, incident, alert, make=False)
    if row is not None:
        row.ended += 1


def service_key(alert: Alert) -> tuple[str, str, tuple[str, ...]]:
    """What its row in the incident goes by."""
    return alert.service, alert.environment, alert.extra


def service_row(ctx: Context, incident: Incident, alert: Alert, *, make: bool) -> IncidentService | None:
    """The incident's row for the alert's service, to be changed; made if need be."""
    row = _find_row(ctx, incident.id, *service_key(alert))
    if row is not None or not make:
        return row
    state = ctx.state
    row = state.services.add(
        IncidentService(state.new_id(), incident.id, alert.service, alert.environment, alert.extra)
    )
    row.tier = tier_of(ctx.policy, alert.service)
    row.team = team_of(ctx.policy, alert.service, alert.labels)
    row.first_seen = ctx.now
    state.link(state.service_ids, incident.id, row.id)
    if alert.service and incident.live:
        state.link(state.of_service, (alert.service, alert.environment), row.id)
    return row


def _find_row(
    ctx: Context, incident: int, service: str, environment: str, extra: tuple[str, ...]
) -> IncidentService | None:
    services = ctx.state.services
    candidates = ctx.state.of_service.get((service, environment)) if service else None
    own = ctx.state.service_ids.get(incident, {})
    smaller = candidates if candidates is not None and len(candidates) < len(own) else own
    for number in smaller:
        row = services.rows[number]
        if (
            row.incident == incident
            and row.service == service
            and row.environment == environment
            and row.extra == extra
        ):
            return services.edit(number)
    return None


def index_services(ctx: Context, incident: Incident) -> None:
    """Keeps the index of evidence to incidents that are live."""
    state = ctx.state
    for number in list(state.service_ids.get(incident.id, ())):
        row = state.services.rows[number]
        if not row.service:
            continue
        if incident.live:
            state.link(state.of_service, (row.service, row.environment), number)
        else:
            state.unlink(state.of_service, (row.service, row.environment), number)


def merge_members(ctx: Context, survivor: Incident, loser: Incident) -> None:
    """Moves counts and rows of `loser` over; its members follow by `merged_into`. Both opened with `edit`."""
    state = ctx.state
    survivor.cells = tuple(a + b for a, b in zip(survivor.cells, loser.cells, strict=True))
    survivor.firing += loser.firing
    survivor.ended += loser.ended
    survivor.held += loser.held
    survivor.notifiable += loser.notifiable
    survivor.last_join = max(survivor.last_join, loser.last_join)
    loser.cells, loser.firing, loser.ended, loser.held, loser.notifiable = (0,) * 9, 0, 0, 0, 0
    for number in list(state.service_ids.get(loser.id, ())):
        row = state.services.rows[number]
        state.unlink(state.service_ids, loser.id, number)
        into = _find_row(ctx, survivor.id, row.service, row.environment, row.extra)
        if into is None:
            state.services.edit(number).incident = survivor.id
            state.link(state.service_ids, survivor.id, number)
            continue
        into.firing = tuple(a + b for a, b in zip(into.firing, row.firing, strict=True))
        into.ended += row.ended
        into.last_began = max(into.last_began, row.last_began)
        into.last_event = max(into.last_event, row.last_event)
        state.unlink(state.of_service, (row.service, row.environment), number)
        state.services.remove(number)
    state.link(state.absorbed, survivor.id, loser.id)


def component_of(ctx: Context, service: str) -> str:
    """The status-page component of a service, "" for none."""
    return service_entry(ctx.policy, service).component


def _add(counts: tuple[int, ...], index: int, by: int) -> tuple[int, ...]:
    changed = list(counts)
    changed[index] += by
    return tuple(changed)
