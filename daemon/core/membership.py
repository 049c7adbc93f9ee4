"""Who is a member of what: joining, counting, leaving, and merging two incidents into one."""

from daemon.core.context import Context, Home
from daemon.core.correlation import CERTAIN, Evidence
from daemon.core.dedup import forget
from daemon.core.enrich import team_of, tier_of
from daemon.core.model.alert import RANK, Alert
from daemon.core.model.incident import Incident, IncidentService
from daemon.core.priority import cell_of


def open_incident(ctx: Context, alert: Alert) -> Incident:
    """A new incident for an alert that no evidence joins to another."""
    state = ctx.state
    incident = Incident(state.new_id(), state.next_number, "open", ctx.now, alert.environment)
    state.next_number += 1
    state.incidents.add(incident)
    ctx.note(incident.id, "opened", f"by {alert.name}")
    ctx.count("incidents_opened")
    leave_homes(ctx)
    return incident


def join(ctx: Context, alert: Alert, incident: Incident, evidence: Evidence | None, before: Alert | None) -> None:
    """Makes the alert a member. `before` is the ended episode of its key, replaced if it was in here."""
    state = ctx.state
    if before is not None and before.incident and state.root(before.incident) == incident.id:
        _replace(ctx, before, alert)
    alert = state.alerts.edit(alert.id)
    incident = state.incidents.edit(incident.id)
    alert.incident = incident.id
    if evidence is not None:
        alert.reason, alert.facts, alert.strength = evidence.reason, evidence.facts, evidence.strength
    else:
        alert.reason = "opened it"
    state.link(state.member_ids, incident.id, alert.id)
    if evidence is None or evidence.wakes:
        heard(incident, alert)
    _count_in(ctx, alert, incident)


def home_of(ctx: Context, alert: Alert, evidence: Evidence) -> Home | None:
    """Where the alert has just gone, for its like; None where each of them has to be counted by itself."""
    incident = ctx.state.root(alert.incident)
    row = ctx.state.row_of.get((incident, *service_key(alert)))
    if row is None or alert.event:
        return None
    return Home(alert, evidence, incident, row)


def follow(ctx: Context, alert: Alert, home: Home) -> None:
    """Makes a new episode a member where its like has just gone. A storm is counted once, not alert by alert."""
    first = home.first
    alert.incident, alert.cell = home.incident, first.cell
    alert.reason, alert.facts, alert.strength = first.reason, first.facts, first.strength
    # The same texts: kept once, they take 200 bytes less in each alert of a storm.
    alert.service, alert.environment, alert.extra = first.service, first.environment, first.extra
    if alert.name == first.name:
        alert.name = first.name
    ctx.state.put(ctx.state.member_ids[home.incident], alert.id, None)
    if not home.waiting:
        ctx.crowded.append(home)
    home.waiting += 1


def count_followers(ctx: Context) -> None:
    """Counts those who wait; to be called before anybody looks at counts."""
    for home in ctx.crowded:
        count, home.waiting = home.waiting, 0
        first = home.first
        incident, row = ctx.state.incidents.edit(home.incident), ctx.state.services.edit(home.row)
        incident.firing += count
        incident.version += count
        incident.cells[first.cell] += count
        row.firing[RANK[first.severity]] += count
        if first.held:
            incident.held += count
        else:
            incident.loud[first.cell] += count
            row.loud += count
        if home.evidence.wakes:
            incident.heard += count
    ctx.crowded.clear()


def leave_homes(ctx: Context) -> None:
    """Something has changed, or time has passed: everybody has to look for a home anew."""
    if ctx.crowded:
        count_followers(ctx)
    ctx.homes.clear()


def heard(incident: Incident, alert: Alert) -> None:
    """A join that is activity: it belongs to the incident's rhythm."""
    at = alert.decides_at
    incident.first_heard = min(incident.first_heard or at, at)
    incident.last_heard = max(incident.last_heard, at)
    incident.heard += 1


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
    _count_in(ctx, alert, ctx.state.incidents.edit(ctx.state.root(alert.incident)))


def _count_in(ctx: Context, alert: Alert, incident: Incident) -> None:
    alert.cell = cell = cell_of(ctx, alert)
    incident.cells[cell] += 1
    incident.firing += 1
    if alert.held:
        incident.held += 1
    else:
        incident.loud[cell] += 1
    row = service_row(ctx, incident, alert, make=True)
    if row is not None:
        alert.service, alert.environment, alert.extra = row.service, row.environment, row.extra  # The same texts.
        if incident.live:
            _be_evidence(ctx, row)
        if not any(row.firing) or (not row.loud and not alert.held):
            incident.shape += 1
        row.firing[RANK[alert.severity]] += 1
        row.loud += not alert.held
        row.touched = ctx.now
        if alert.event:
            at = max(alert.decides_at, alert.heard_start)
            row.first_event = min(row.first_event or at, at)
            row.last_event = max(row.last_event, at)
        else:
            rose = alert.raised_at > alert.began_at
            row.last_began = max(row.last_began, alert.raised_at if rose else alert.decides_at)
    incident.version += 1
    ctx.touched[incident.id] = None


def _be_evidence(ctx: Context, row: IncidentService) -> None:
    """Puts the row into the index in which correlators look, if it is not there."""
    if row.service:
        group = ctx.state.of_service.get((row.service, row.environment))
        if group is None or row.id not in group:
            ctx.state.link(ctx.state.of_service, (row.service, row.environment), row.id)


def count_out(ctx: Context, alert: Alert, severity: str, service: tuple[str, str, tuple[str, ...]]) -> None:
    """Takes a member out of the firing ones; severity and service are those it was counted under."""
    if alert.cell < 0:
        return
    incident = ctx.state.incidents.edit(ctx.state.root(alert.incident))
    incident.cells[alert.cell] -= 1
    if alert.held:
        incident.held -= 1
    else:
        incident.loud[alert.cell] -= 1
    alert.cell = -1
    incident.firing -= 1
    row = _find_row(ctx, incident.id, *service)
    if row is not None:
        row.firing[RANK[severity]] -= 1
        row.loud -= not alert.held
        if not any(row.firing) or (not row.loud and not alert.held):
            incident.shape += 1
    incident.version += 1
    ctx.touched[incident.id] = None


def set_held(ctx: Context, alert: Alert, reasons: tuple[str, ...]) -> None:
    """Sets why the alert may not notify, and counts it anew if that made it silent or loud."""
    alert = ctx.state.alerts.edit(alert.id)
    if alert.cell >= 0 and bool(alert.held) != bool(reasons):
        key = service_key(alert)
        count_out(ctx, alert, alert.severity, key)
        alert.held = reasons
        count_in(ctx, alert)
    alert.held = reasons


def move(ctx: Context, alert: Alert, incident: Incident, reason: str) -> None:
    """Takes a member out of its incident and makes it one of another."""
    state = ctx.state
    alert = state.alerts.edit(alert.id)
    old = state.incidents.edit(state.root(alert.incident))
    if alert.end:
        old.ended -= 1
        row = service_row(ctx, old, alert, make=False)
        if row is not None:
            row.ended -= 1
    else:
        count_out(ctx, alert, alert.severity, service_key(alert))
    state.unlink(state.member_ids, alert.incident, alert.id)
    join(ctx, alert, incident, Evidence(incident.id, CERTAIN, reason, ""), None)
    if alert.end:
        end_member(ctx, alert)


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
    row.team = team_of(ctx.policy, alert.service, alert.labels, alert.source)
    state.own_row(row)
    return row


def _find_row(
    ctx: Context, incident: int, service: str, environment: str, extra: tuple[str, ...]
) -> IncidentService | None:
    number = ctx.state.row_of.get((incident, service, environment, extra))
    return ctx.state.services.edit(number) if number is not None else None


def index_services(ctx: Context, incident: Incident) -> None:
    """All rows of a live incident may be evidence (until correlation finds them stale), none of another."""
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
    survivor.cells = [a + b for a, b in zip(survivor.cells, loser.cells, strict=True)]
    survivor.firing += loser.firing
    survivor.ended += loser.ended
    survivor.held += loser.held
    survivor.loud = [a + b for a, b in zip(survivor.loud, loser.loud, strict=True)]
    survivor.first_heard = min(survivor.first_heard, loser.first_heard)
    survivor.last_heard = max(survivor.last_heard, loser.last_heard)
    survivor.heard += loser.heard
    survivor.shape += loser.shape + 1
    loser.cells, loser.loud, loser.firing, loser.ended, loser.held = [0] * 9, [0] * 9, 0, 0, 0
    for number in list(state.service_ids.get(loser.id, ())):
        row = state.services.rows[number]
        state.disown_row(row)
        into = _find_row(ctx, survivor.id, row.service, row.environment, row.extra)
        if into is None:
            moved = state.services.edit(number)
            moved.incident = survivor.id
            state.own_row(moved)
            continue
        into.firing = [a + b for a, b in zip(into.firing, row.firing, strict=True)]
        into.ended += row.ended
        into.loud += row.loud
        into.touched = max(into.touched, row.touched)
        into.last_began = max(into.last_began, row.last_began)
        into.first_event = min(into.first_event or row.first_event, row.first_event or into.first_event)
        into.last_event = max(into.last_event, row.last_event)
        state.unlink(state.of_service, (row.service, row.environment), number)
        state.services.remove(number)
    state.link(state.absorbed, survivor.id, loser.id)
