"""What is said about an incident: the picture that everybody is shown, its title, and the page.

Alert text is hostile: it is cleaned of control and direction characters here, once, before it
reaches any sink. Markup is the sink's to escape.
"""

from itertools import islice

from daemon.core.changes import near
from daemon.core.enrich import labels_of, service_entry
from daemon.core.model.alert import RANK, Alert
from daemon.core.model.change import Change
from daemon.core.model.ids import public_id
from daemon.core.model.incident import Incident, IncidentService
from daemon.core.model.silence import silence_id
from daemon.core.policy import Policy
from daemon.core.state import State
from daemon.core.view import MEMBERS_SHOWN, ChangeView, IncidentView, MemberView, ServiceView

TITLE_CHARS_MAX = 100
MEMBERS_LOOKED_AT = 1000
SERVICES_SHOWN = 100
HOLDS_SHOWN = 3
_UNSAFE = dict.fromkeys((*range(32), *range(127, 160), *range(8203, 8208), *range(8234, 8239)))
_UNSAFE |= dict.fromkeys((*range(8288, 8304), 65279, *range(55296, 57344)))
_UNSAFE |= {9: " ", 10: " ", 13: " ", 0x2028: " ", 0x2029: " "}


def clean(text: str, chars_max: int = 300) -> str:
    """One line without control, zero-width or direction characters, at most so long."""
    text = " ".join(text[: chars_max * 4].translate(_UNSAFE).split())
    return shorten(text, chars_max)


def shorten(text: str, chars_max: int) -> str:
    """Cuts a text to length, and shows that it did."""
    return text if len(text) <= chars_max else text[: max(chars_max - 1, 0)].rstrip() + "…"


def picture(state: State, policy: Policy, incident_id: int, now_ms: int, link_base: str = "") -> IncidentView:
    """The incident as it stands. Raises KeyError when there is none."""
    incident = state.incidents.rows[incident_id]
    rows = state.incident_services(incident_id)
    members = worst_members(state, incident)
    shown = [_member(state, member, now_ms) for member in members[:MEMBERS_SHOWN]]
    lead = members[0] if members else None
    services = tuple(_service(policy, row) for row in rows[:SERVICES_SHOWN])
    cause = likely_cause(policy, rows)
    summary = shown[0].summary if shown else ""
    return IncidentView(
        id=public_id(incident.id),
        ref=incident.ref,
        title=_what(incident, lead, rows, cause),
        state=incident.state,
        generation=incident.generation,
        priority=incident.priority,
        impact=incident.impact,
        urgency=incident.urgency,
        derivation=clean(incident.derivation),
        owner=clean(incident.owner),
        environment=clean(incident.environment),
        cause=cause,
        opened_at=incident.opened_at,
        acknowledged_at=incident.acknowledged_at,
        acknowledged_by=clean(incident.acknowledged_by),
        resolved_at=incident.resolved_at,
        resolved_by=clean(incident.resolved_by),
        closed_at=incident.closed_at,
        merged_into=public_id(state.root(incident.id)) if incident.merged_into else "",
        cleared=incident.cleared,
        itself=bool(incident.self_cause),
        firing=incident.firing,
        ended=incident.ended,
        held=incident.held,
        services=services,
        members=tuple(shown),
        summary=summary,
        link=f"{link_base}/incidents/{public_id(incident.id)}" if link_base else "",
        told=tuple(sorted({one.sink for one in state.incident_deliveries(incident.id) if one.state == "open"})),
        version=incident.version,
        changes=changes_shown(state, policy, [row.service for row in rows[:SERVICES_SHOWN]], incident.opened_at),
        holds=_holds(state, members) if incident.held else (),
    )


def changes_shown(state: State, policy: Policy, services: list[str], opened_at: int) -> tuple[ChangeView, ...]:
    """The changes that an incident of these services may come from, the likeliest first."""
    if not state.changes.rows:
        return ()
    names = list(dict.fromkeys(filter(None, services)))
    return tuple(_change(change) for change in near(state, policy, names, opened_at))


def _change(change: Change) -> ChangeView:
    return ChangeView(
        id=clean(change.name, 60),
        at=change.at,
        service=clean(change.service, 60),
        environment=clean(change.environment, 60),
        summary=clean(change.summary),
        url=_link(change.url),
        source=clean(change.source, 60),
    )


def _holds(state: State, members: list[Alert]) -> tuple[str, ...]:
    """Why members are held, in words: a silence goes by its comment."""
    reasons = dict.fromkeys(reason for member in members if not member.end for reason in member.held)
    return tuple(_hold(state, reason) for reason in list(reasons)[:HOLDS_SHOWN])


def _hold(state: State, reason: str) -> str:
    kind, _, name = reason.partition(" ")
    silence = state.silences.rows.get(silence_id(name))
    if silence is None:
        return clean(reason, 100)
    about = silence.comment or silence.matchers
    return f'{kind} "{clean(about, 60)}"'


def worst_members(state: State, incident: Incident) -> list[Alert]:
    """The worst members first, out of as many as may be looked at without holding everybody up."""
    alerts = state.alerts.rows
    numbers = [n for one in state.family(incident.id) for n in islice(state.member_ids.get(one, ()), MEMBERS_LOOKED_AT)]
    members = [alerts[number] for number in numbers[:MEMBERS_LOOKED_AT]]
    members.sort(key=lambda one: (bool(one.end), one.id != incident.lead, -RANK[one.severity], one.id))
    return members


def _member(state: State, alert: Alert, now_ms: int) -> MemberView:
    notes = labels_of(state.annotations.get(alert.id) or b"{}")
    return MemberView(
        key=alert.key.hex(),
        name=clean(alert.name),
        status=alert.status(now_ms),
        severity=alert.severity,
        service=clean(alert.service),
        resource=clean(alert.resource),
        environment=clean(alert.environment),
        summary=clean(notes.get("summary") or notes.get("message") or notes.get("description") or ""),
        starts_at=alert.starts_at,
        held=alert.held,
        reason=alert.reason,
        facts=clean(alert.facts),
        strength=alert.strength,
        url=_link(notes.get("url", "")),
        runbook_url=_link(notes.get("runbook_url", "")),
    )


def _link(text: str) -> str:
    """Only links that a browser may follow safely."""
    text = clean(text, 2000)
    return text if text.startswith(("https://", "http://")) and " " not in text else ""


def _service(policy: Policy, row: IncidentService) -> ServiceView:
    entry = service_entry(policy, row.service)
    return ServiceView(
        name=clean(row.service),
        environment=clean(row.environment),
        firing=sum(row.firing),
        ended=row.ended,
        tier=row.tier,
        team=clean(row.team),
        component=entry.component,
        runbook=entry.runbook,
    )


def likely_cause(policy: Policy, rows: list[IncidentService]) -> str:
    """The service that most of the others depend on, directly or not; "" when none stands out.

    Those that have recovered count too: a cause that is mended first was the cause all the same.
    Dependence, not order in time: "A came first" is right little more often than a coin.
    """
    names = list(dict.fromkeys(row.service for row in rows[:SERVICES_SHOWN] if row.service))
    if len(names) < 3:
        return ""
    counts = dict.fromkeys(names, 0)
    for name in names:
        for other in _depends_on(policy, name):
            if other in counts and other != name:
                counts[other] += 1
    best = max(names, key=lambda name: counts[name])
    if counts[best] * 2 < len(names) - 1 or list(counts.values()).count(counts[best]) > 1:
        return ""
    return f"{clean(best)}: {counts[best]} of {len(names)} depend on it"


def _depends_on(policy: Policy, name: str) -> set[str]:
    found: set[str] = set()
    todo = [name]
    while todo and len(found) < SERVICES_SHOWN:
        entry = service_entry(policy, todo.pop())
        for other in (*entry.depends_on, *entry.runs_on):
            if other not in found:
                found.add(other)
                todo.append(other)
    return found


def _what(incident: Incident, lead: Alert | None, rows: list[IncidentService], cause: str) -> str:
    """What is wrong, in the fewest words: the worst alert, where, how many."""
    if lead is None:
        return "No alert"
    where = lead.service or lead.resource
    text = clean(lead.name, 60) + (f" on {clean(where, 40)}" if where else "")
    if cause and cause.split(":", 1)[0] != clean(where, 40):
        text += f", likely {cause.split(':', 1)[0]}"
    total = incident.firing + incident.ended
    services = len({row.service for row in rows if row.service})
    if total > 1:
        text += f": {total} alerts" + (f", {services} services" if services > 1 else "")
    return text


def title(view: IncidentView) -> str:
    """The page's first line, at most 100 characters: what is cut is never the priority or the reference."""
    room = TITLE_CHARS_MAX - len(view.priority) - len(view.ref) - 4
    return f"{view.priority} {shorten(view.title, room)} ({view.ref})"


def page(view: IncidentView, now_ms: int, offset_minutes: int = 0, zone: str = "UTC") -> str:
    """The page (section 10). A line that has nothing to say is left out."""
    lines = [title(view)]
    lines += _line("SINCE", _since(view, now_ms, offset_minutes, zone))
    lines += _line("EFFECT", _effect(view))
    lines += _line("LIKELY", view.cause)
    lines += _line("CHANGED", "; ".join(_changed(view, one, offset_minutes) for one in view.changes))
    lines += _line("WHY", view.derivation)
    lines += _line("DO", "; ".join(_runbooks(view)))
    lines += _line("WHO", view.owner)
    if view.held:
        why = f" ({', '.join(view.holds)})" if view.holds else ""
        lines += _line("HELD", f"{view.held} of the {view.firing}{why}")
    lines += _line("LINK", view.link)
    return "\n".join(lines)


def _line(word: str, text: str) -> list[str]:
    return [f"{word:<8}{text}"] if text else []


def _since(view: IncidentView, now_ms: int, offset_minutes: int, zone: str) -> str:
    seconds = (view.opened_at // 1000 + offset_minutes * 60) % 86_400
    clock = f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d} {zone}"
    minutes = max(now_ms - view.opened_at, 0) // 60_000
    lasted = f", {minutes} min" if minutes else ""
    if not view.firing:
        return f"{clock}{lasted}, all clear"
    return f"{clock}{lasted}"


def _changed(view: IncidentView, change: ChangeView, offset_minutes: int) -> str:
    what = " ".join(filter(None, (change.id, change.service)))
    if change.summary:
        what += f": {shorten(change.summary, 80)}"
    seconds = (change.at // 1000 + offset_minutes * 60) % 86_400
    minutes = abs(view.opened_at - change.at) // 60_000
    side = "before" if change.at <= view.opened_at else "after"
    return f"{what}, {seconds // 3600:02d}:{seconds // 60 % 60:02d}, {minutes} min {side}"


def _effect(view: IncidentView) -> str:
    if view.summary:
        return view.summary
    return ", ".join(f"{one.name} ({one.firing})" for one in view.services[:5] if one.name and one.firing)


def _runbooks(view: IncidentView) -> list[str]:
    found = [one.runbook_url for one in view.members if one.runbook_url]
    found += [one.runbook for one in view.services if one.runbook]
    return list(dict.fromkeys(found))[:2]
