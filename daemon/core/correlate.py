"""Step 4: the alert finds its incident; and where it connects two, they become one."""

from collections.abc import Container, Iterable, Sequence
from heapq import nlargest
from typing import Literal

from daemon.core import membership
from daemon.core.context import Context
from daemon.core.correlation import CERTAIN, FRESH, OLDEST, Evidence, severe, sufficient
from daemon.core.enrich import labels_of
from daemon.core.handover import hand_over
from daemon.core.lifecycle import after
from daemon.core.model.alert import Alert
from daemon.core.model.catalogue import Catalogue
from daemon.core.model.incident import Incident, IncidentService
from daemon.core.outcome import reopen
from daemon.core.policy import MINUTE
from daemon.core.state import State

SELF_SOURCE = "samband"
"""The source of alerts that samband raises about itself."""
CANDIDATES_MAX = 64
"""How many rows of one service a correlator is shown: the newest."""
LATE = 10 * MINUTE
"""How much later than its start an alert may arrive and still find fresh evidence."""


class StateView:
    """What correlators see: the state before the alert joins anything."""

    def __init__(self, ctx: Context) -> None:
        self._state: State = ctx.state
        self._now = ctx.now
        self.catalogue: Catalogue = ctx.policy.catalogue
        self.gap: int = ctx.policy.gap
        self.labels: Sequence[str] = ctx.policy.labels
        self.present: Container[tuple[str, str]] = ctx.state.of_service

    def incident(self, number: int) -> Incident:
        """An incident by its id."""
        return self._state.incidents.rows[number]

    def services(self, service: str, environment: str) -> Iterable[IncidentService]:
        """Rows of live incidents about that service in that environment that may be evidence, by id.

        A row untouched for longer than it is fresh speaks only if its incident is P1 or P2. Others
        are taken out of the index here, and put back when they are touched, or the priority rises.
        """
        key = (service, environment)
        numbers = self._state.of_service.get(key)
        if not numbers:
            return ()
        rows, incidents = self._state.services.rows, self._state.incidents.rows
        oldest = self._now - LATE
        found, stale = [], []
        for number in numbers:
            row = rows[number]
            fresh = row.touched >= oldest - (FRESH if row.last_began else self.gap)
            if fresh or severe(incidents[row.incident]):
                found.append(row)
            else:
                stale.append(number)
        for number in stale:
            self._retire(key, number)
        if len(found) > CANDIDATES_MAX:
            found = nlargest(CANDIDATES_MAX, found, key=_row_id)
        if len(found) > 1:
            found.sort(key=_row_id)
        return found

    def _retire(self, key: tuple[str, str], number: int) -> None:
        self._state.unlink(self._state.of_service, key, number)


class StillView(StateView):
    """The same for those who only want to know: it leaves the index as it is."""

    def _retire(self, key: tuple[str, str], number: int) -> None:
        pass


def _row_id(row: IncidentService) -> int:
    return row.id


def find_home(ctx: Context, alert: Alert, before: Alert | None) -> None:
    """Joins the alert to an incident, or opens one for it. Severity `none` opens and joins nothing.

    `before` is the ended episode of its key. An alert that continues goes back where it was.
    """
    if alert.severity == "none" and not alert.incident:
        return
    if (before is not None or alert.incident) and _goes_back(ctx, alert, before):
        return
    subject = _subject(ctx, alert)
    home = ctx.homes.get(subject) if subject is not None else None
    if home is not None:
        if before is None:
            membership.follow(ctx, alert, home)
        else:
            membership.join(ctx, alert, ctx.state.incidents.rows[home.incident], home.evidence, before)
        return
    membership.count_followers(ctx)
    found = [] if alert.source == SELF_SOURCE else _evidence(ctx, alert)
    if not found:
        incident = membership.open_incident(ctx, alert)
        if alert.source == SELF_SOURCE:
            labels = labels_of(alert.labels)
            incident.self_cause, incident.self_sink = labels["cause"], labels["sink"]
        membership.join(ctx, alert, incident, None, before)
        return
    first = found[0]
    survivor = ctx.state.incidents.rows[first.incident]
    for other in found[1:] if first.wakes else ():
        if not other.wakes:
            continue
        survivor = merge(ctx, survivor, ctx.state.incidents.rows[other.incident], other)
    membership.join(ctx, alert, survivor, first, before)
    if subject is not None and survivor.id == first.incident:
        home = membership.home_of(ctx, alert, first)
        if home is not None:
            ctx.homes[subject] = home


def _subject(ctx: Context, alert: Alert) -> object:
    """Alerts of the same subject at the same instant have the same evidence, and count for the same; None where
    more than that decides.
    """
    if ctx.state.apart_keys and alert.key in ctx.state.apart_keys:
        return None
    if ctx.policy.never_across and any(name != "environment" for name in ctx.policy.never_across):
        return None
    if alert.event or alert.source == SELF_SOURCE:
        return None
    return alert.service, alert.environment, alert.extra, alert.decides_at, alert.severity, not alert.held


def _where_it_was(ctx: Context, alert: Alert, before: Alert | None) -> Incident | None:
    """The incident that has had this key: a live one, or one resolved less than the reopen window ago."""
    incident = ctx.state.incident_of(alert)
    if incident is None and before is not None:
        incident = ctx.state.incident_of(before)
    if incident is None or incident.state == "closed":
        return None
    if incident.live or alert.incident:
        return incident
    since = alert.decides_at - incident.resolved_at
    return incident if since <= ctx.policy.timing.reopen_window else None


def _goes_back(ctx: Context, alert: Alert, before: Alert | None) -> bool:
    """Whether it went back to the incident that has had this key."""
    back = _where_it_was(ctx, alert, before)
    if back is not None:
        _return(ctx, alert, back, before)
    elif alert.incident:
        _leave(ctx, alert)
    return back is not None


def _return(ctx: Context, alert: Alert, incident: Incident, before: Alert | None) -> None:
    if alert.incident:
        row = ctx.state.alerts.edit(alert.id)
        _uncount_end(ctx, row, incident)
        membership.count_in(ctx, row)
    else:
        same = Evidence(incident.id, CERTAIN, "same alert again", f"episode {alert.generation} of its key")
        membership.join(ctx, alert, incident, same, before)
    if not incident.live:
        reopen(ctx, ctx.state.incidents.edit(incident.id), f"{alert.name} fires again")


def _leave(ctx: Context, alert: Alert) -> None:
    """The incident that it was in has been closed, and is only still here because a sink has to be told."""
    row = ctx.state.alerts.edit(alert.id)
    incident = ctx.state.root(row.incident)
    _uncount_end(ctx, row, ctx.state.incidents.rows[incident])
    ctx.state.unlink(ctx.state.member_ids, row.incident, row.id)
    row.incident = 0


def _uncount_end(ctx: Context, alert: Alert, incident: Incident) -> None:
    ctx.state.incidents.edit(incident.id).ended -= 1
    row = membership.service_row(ctx, incident, alert, make=False)
    if row is not None:
        row.ended -= 1


def _evidence(ctx: Context, alert: Alert) -> list[Evidence]:
    if ctx.now - alert.decides_at > OLDEST:
        return []
    view = StateView(ctx)
    found: list[Evidence] = []
    for correlator in ctx.policy.correlators:
        found.extend(correlator.propose(alert, view, ctx.now))
    return [one for one in sufficient(found, ctx.policy.strength) if not refusal(ctx, alert, one.incident)]


Refusal = Literal["", "over", "itself", "old", "never_across", "apart"]


def refusal(ctx: Context, alert: Alert, number: int) -> Refusal:
    """Why no evidence whatever joins the alert to this incident: it is over, about samband itself, older than a
    day, differs in a label of `never_across`, or a person has said that they are apart; "" when it may.
    """
    incident = ctx.state.incidents.rows[number]
    if not incident.live:
        return "over"
    if incident.self_cause:
        return "itself"
    if ctx.now - incident.opened_at > OLDEST:
        return "old"
    if _forbidden(ctx, alert, incident):
        return "never_across"
    return "apart" if _said_apart(ctx, alert, incident) else ""


def _said_apart(ctx: Context, alert: Alert, incident: Incident) -> bool:
    """Whether a person has said that this alert is not part of what the incident holds."""
    for other in ctx.state.apart_keys.get(alert.key, ()):
        known = ctx.state.alerts.rows.get(ctx.state.by_key.get(other, 0))
        if known is not None and ctx.state.root(known.incident) == incident.id:
            return True
    return False


def _forbidden(ctx: Context, alert: Alert, incident: Incident) -> bool:
    """Whether a label of `never_across` differs between the alert and the incident's first firing member."""
    if not ctx.policy.never_across:
        return False
    if alert.environment != incident.environment and "environment" in ctx.policy.never_across:
        return True
    names = [name for name in ctx.policy.never_across if name != "environment"]
    if not names:
        return False
    lead = ctx.state.alerts.rows.get(incident.lead)
    if lead is None:
        return False
    return any(value_of(alert, name) != value_of(lead, name) for name in names)


def value_of(alert: Alert, name: str) -> str:
    """The value of a label or native field of an alert, "" for none; a field wins over a label of its name."""
    if name in ("service", "resource", "environment", "severity", "source"):
        return str(getattr(alert, name))
    if name == "alertname":
        return alert.name
    return labels_of(alert.labels).get(name, "")


# ---- merging -----------------------------------------------------------------------------------
def merge(ctx: Context, one: Incident, other: Incident, evidence: Evidence, chosen: int = 0) -> Incident:
    """Makes two incidents one and returns the survivor: the acknowledged one, else the older.

    Two that different teams have acknowledged, or that a person has split, are only proposed for
    merging. chosen: a person says which one survives; then there is nothing to propose.
    """
    if one.id == other.id:
        return one
    older, newer = (one, other) if one.id < other.id else (other, one)
    by_teams = one.acknowledged_at and other.acknowledged_at and one.owner != other.owner
    if not chosen and (by_teams or ctx.state.said_apart(one.id, other.id)):
        ctx.note(one.id, "merge-proposed", f"{other.ref} looks like the same thing: {evidence.reason}")
        return one
    newer_wins = chosen == newer.id if chosen else newer.acknowledged_at and not older.acknowledged_at
    survivor, loser = (newer, older) if newer_wins else (older, newer)
    membership.leave_homes(ctx)
    survivor, loser = ctx.state.incidents.edit(survivor.id), ctx.state.incidents.edit(loser.id)
    membership.merge_members(ctx, survivor, loser)
    loser.state = after(loser.state, "merge")
    loser.merged_into = survivor.id
    for due in ("due_settle", "due_resolve", "due_priority", "due_ack_lapse", "due_reopen", "due_close"):
        ctx.state.arm(loser, due, 0)
    hand_over(ctx, survivor, loser)
    loser.version += 1
    survivor.version += 1
    ctx.touched[survivor.id] = None
    ctx.touched.pop(loser.id, None)
    ctx.note(survivor.id, "merged", f"took in {loser.ref}: {evidence.reason}")
    ctx.note(loser.id, "merged", f"into {survivor.ref}: {evidence.reason}")
    ctx.count("incidents_merged")
    return survivor
