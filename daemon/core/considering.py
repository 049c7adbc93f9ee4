"""What correlation makes of an alert now: every correlator's evidence, and why it does or does not suffice.

Reads only. The rules are those that the engine joins by: the correlators themselves, `refusal`, `sufficient`.
"""

from collections.abc import Container, Iterator, Sequence
from typing import Literal

import msgspec

from daemon.core.communication import clean
from daemon.core.context import Context
from daemon.core.correlate import Refusal, StillView, refusal
from daemon.core.correlation import FRESH, OLDEST, Evidence, compatible, condition_age, event_age, quiet
from daemon.core.model.alert import Alert
from daemon.core.model.ids import public_id
from daemon.core.model.incident import Incident, IncidentService
from daemon.core.wording import lasting

ITEMS_MAX = 20

Verdict = Literal[Refusal, "weak", "environment", "labels", "old_start", "not_fresh", "quiet", "far"]


class Considered(msgspec.Struct, frozen=True):
    """One live incident that was looked at. service: the one by which it is near.

    correlator: who gave the evidence, "" when nobody did. strength: 0 to 1000. wakes: see `Evidence`.
    verdict: why it does not suffice, "" when it does.
    """

    incident: str
    ref: str
    priority: str
    service: str
    correlator: str
    strength: int
    reason: str
    facts: str
    wakes: bool
    verdict: Verdict
    text: str


def considered(ctx: Context, alerts: Sequence[Alert], own: Container[int]) -> list[Considered]:
    """The live incidents near these alerts, but for `own`: those with evidence first, the strongest before."""
    best: dict[tuple[int, str], tuple[Alert, Evidence]] = {}
    for alert in alerts:
        for name, one in _proposed(ctx, alert):
            known = best.get((one.incident, name))
            if one.incident not in own and (known is None or one.strength > known[1].strength):
                best[one.incident, name] = (alert, one)
    found = [_judged(ctx, alert, name, one) for (_, name), (alert, one) in best.items()]
    found.sort(key=lambda one: (bool(one.verdict), -one.strength, one.incident, one.correlator))
    spoken = {incident for incident, _ in best}
    silent = {row.incident: _silent(ctx, alert, row) for alert, row in _nearby(ctx, alerts, own, spoken)}
    found += sorted(silent.values(), key=lambda one: one.incident, reverse=True)
    return found[:ITEMS_MAX]


def _proposed(ctx: Context, alert: Alert) -> Iterator[tuple[str, Evidence]]:
    if ctx.now - alert.decides_at <= OLDEST:
        view = StillView(ctx)
        for correlator in ctx.policy.correlators:
            for one in correlator.propose(alert, view, ctx.now):
                yield correlator.name, one


def _nearby(
    ctx: Context, alerts: Sequence[Alert], own: Container[int], spoken: Container[int]
) -> Iterator[tuple[Alert, IncidentService]]:
    """Rows of other live incidents about the alerts' services, or services next to them, without evidence."""
    near: dict[str, Alert] = {}
    for alert in alerts:
        for service in ctx.policy.catalogue.neighbours.get(alert.service, ()):
            near.setdefault(service, alert)
    near |= {alert.service: alert for alert in alerts if alert.service}
    incidents = ctx.state.incidents.rows
    for row in ctx.state.services.rows.values():
        if row.service in near and row.incident not in spoken and row.incident not in own:
            incident = incidents.get(row.incident)
            if incident is not None and incident.live:
                yield near[row.service], row


# ---- verdicts ----------------------------------------------------------------------------------
def _judged(ctx: Context, alert: Alert, correlator: str, one: Evidence) -> Considered:
    """Evidence was given: is it enough?"""
    incident = ctx.state.incidents.rows[one.incident]
    verdict: Verdict = refusal(ctx, alert, one.incident)
    if not verdict and one.strength < ctx.policy.strength:
        verdict = "weak"
    says = f"{one.reason} ({one.facts})" if one.facts else one.reason
    if verdict == "weak":
        text = f"{says}: strength {one.strength} of 1000, and {ctx.policy.strength} is needed"
        if quiet(incident, alert.decides_at, ctx.policy.gap):
            text += f"; {_quiet_words(incident, alert)}"
    elif verdict:
        text = f"{says}, but {_REFUSED[verdict].format(names=', '.join(ctx.policy.never_across))}"
    else:
        text = f"{says}: strength {one.strength} of 1000, which is enough"
        if not one.wakes:
            asleep = quiet(incident, alert.decides_at, ctx.policy.gap)
            text += " to join, but connects no incidents"
            text += f": {_quiet_words(incident, alert)}" if asleep else ""
    return _considered(incident, alert.service, correlator, one, verdict, text)


def _silent(ctx: Context, alert: Alert, row: IncidentService) -> Considered:
    """No correlator gave evidence: why not?"""
    incident = ctx.state.incidents.rows[row.incident]
    verdict: Verdict = refusal(ctx, alert, incident.id)
    at, gap = alert.decides_at, ctx.policy.gap
    age = event_age(row, at)
    fresh = condition_age(row, at) is not None or (age is not None and age <= gap)
    shown = any(one.id == row.id for one in StillView(ctx).services(row.service, row.environment))
    if verdict:
        text = _REFUSED[verdict].format(names=", ".join(ctx.policy.never_across))
    elif row.environment != alert.environment:
        verdict, text = "environment", f"another environment, {row.environment} and not {alert.environment}"
    elif not compatible(row.extra, alert.extra):
        names = [name for name in ctx.policy.labels if name not in ("service", "environment")]
        verdict, text = "labels", f"{', '.join(names)} differs"
    elif ctx.now - at > OLDEST:
        verdict, text = "old_start", "an alert that began more than a day ago is no evidence by time"
    elif not fresh or not shown:
        verdict, text = "not_fresh", _stale_words(row, at, gap)
    elif quiet(incident, at, gap):
        verdict, text = "quiet", _quiet_words(incident, alert)
    else:
        verdict, text = "far", f"{row.service} and {alert.service} are not near enough in the catalogue (or are hubs)"
    return _considered(incident, row.service, "", Evidence(incident.id, 0, "", ""), verdict, text)


def _considered(
    incident: Incident, service: str, correlator: str, one: Evidence, verdict: Verdict, text: str
) -> Considered:
    return Considered(
        incident=public_id(incident.id),
        ref=incident.ref,
        priority=incident.priority,
        service=clean(service),
        correlator=correlator,
        strength=one.strength,
        reason=clean(one.reason),
        facts=clean(one.facts),
        wakes=one.wakes,
        verdict=verdict,
        text=clean(f"{incident.ref} ({incident.priority}): {text}.", 500),
    )


def _stale_words(row: IncidentService, at: int, gap: int) -> str:
    if row.last_began and any(row.firing):
        apart = lasting(abs(at - row.last_began))
        return f"nothing fresh: {row.service} began there {apart} apart, and is evidence for {lasting(FRESH)}"
    if row.last_event:
        apart = lasting(event_age(row, at) or 0)
        return f"nothing fresh: its events of {row.service} are {apart} away, and are evidence for {lasting(gap)}"
    return f"nothing of {row.service} fires there any more"


def _quiet_words(incident: Incident, alert: Alert) -> str:
    since = lasting(max(alert.decides_at - incident.last_heard, 0))
    return f"{incident.ref} had been quiet for {since}, longer than its rhythm allows"


_REFUSED: dict[str, str] = {
    "over": "it is over",
    "itself": "it is about samband itself",
    "old": "it is older than a day, and takes only alerts that it has had",
    "never_across": "a label of never_across ({names}) differs",
    "apart": "a person has said that they are not one thing",
}
