"""What would happen to an alert now: the engine itself decides, on a throw-away copy of what it concerns."""

from collections.abc import Sequence

import msgspec

from daemon.core.communication import clean
from daemon.core.considering import Considered, considered
from daemon.core.context import Context
from daemon.core.dedup import Seen, newest, see
from daemon.core.engine import Engine
from daemon.core.enrich import environment_of, labels_of, service_of, severity_of, tier_of
from daemon.core.explaining import About, Others, Prioritised, about, prioritised
from daemon.core.explaining_people import People, called, people
from daemon.core.explaining_waits import HeldBy, Next, held, waits
from daemon.core.model.alert import Alert, ParsedAlert
from daemon.core.model.incident import Delivery, Incident
from daemon.core.policy import Policy
from daemon.core.records import AlertSeen
from daemon.core.scratch import scratch
from daemon.core.state import State
from daemon.core.view_json import rfc3339
from daemon.core.wording import counted, listed, when

EXAMPLES = 3


class Subject(msgspec.Struct, frozen=True):
    """What samband makes of the alert."""

    text: list[str]
    name: str
    source: str
    severity: str
    service: str
    resource: str
    environment: str
    tier: int | None


class Known(msgspec.Struct, frozen=True):
    """What deduplication makes of it. outcome: as the metric of alerts counts it. alike: open alerts that match."""

    text: list[str]
    outcome: str
    key: str
    generation: int
    alike: int


class Home(msgspec.Struct, frozen=True):
    """Where it goes. how: new, joins, returns, stays, none. incident: the one that it would be in; id "" if new."""

    text: list[str]
    how: str
    incident: About | None
    reason: str
    strength: int
    merges: list[str]


class Told(msgspec.Struct, frozen=True):
    """What sinks would be told because of it."""

    text: list[str]


class Foretold(msgspec.Struct, frozen=True):
    """The whole, as of `at`. Everything from `told` on is how the incident would stand then; null without one."""

    at: str
    alert: Subject
    known: Known
    considered: Others
    home: Home
    held: HeldBy
    told: Told
    prioritised: Prioritised | None
    people: People | None
    next: Next | None


def foretell(
    state: State, policy: Policy, parsed: ParsedAlert, now_ms: int, alike: Sequence[Alert] = (), count: int = 0
) -> Foretold:
    """What would happen to the alert if it arrived now. Changes nothing.

    alike: some of the `count` open alerts that match the question, to name them. Raises RuntimeError
    when the engine fails on it.
    """
    known = newest(state, parsed.key)
    parsed = _as_its_sender(known, parsed)
    seen, alert = _seen(state, policy, parsed, now_ms)
    looks = seen.outcome in ("opened", "continued") and alert.severity != "none"
    items = considered(Context(state, policy, now_ms), [alert], ()) if looks else []
    before = scratch(state, _concerned(state, items, alert), [parsed.key, *state.apart_keys.get(parsed.key, ())])
    after, alert = _folded(before, policy, parsed, now_ms)
    ctx = Context(after, policy, now_ms)
    incident = after.incident_of(alert)
    home = _home(ctx, state, alert, incident, seen, items)
    return Foretold(
        at=rfc3339(now_ms),
        alert=_subject(policy, parsed, alert),
        known=_known(ctx, parsed, seen, known.severity if known is not None else "", alike, count),
        considered=_considered(looks and home.how != "returns", items),
        home=home,
        held=held(ctx, [alert]) if alert.held else HeldBy(["No silence or window holds it."], []),
        told=_told(ctx, state, incident, alert),
        prioritised=prioritised(ctx, incident) if incident is not None else None,
        people=people(ctx, incident, told=False) if incident is not None else None,
        next=waits(ctx, incident, list(after.members(incident.id))) if incident is not None else None,
    )


# ---- the engine, on copies ---------------------------------------------------------------------
def _as_its_sender(current: Alert | None, parsed: ParsedAlert) -> ParsedAlert:
    """Where the alert fires already, the question is about its next repeat: it comes from where it came from."""
    if current is None or current.end:
        return parsed
    return msgspec.structs.replace(
        parsed,
        emitter=current.emitter,
        replica=next(iter(current.replicas), ""),
        resource=current.resource,
        starts_at=None if current.event else current.heard_start or None,
    )


def _seen(state: State, policy: Policy, parsed: ParsedAlert, now_ms: int) -> tuple[Seen, Alert]:
    """What deduplication says, on a copy; and the alert as it would be."""
    current = newest(state, parsed.key)
    ctx = Context(scratch(state, [current.incident] if current else [], [parsed.key]), policy, now_ms)
    seen = see(ctx, parsed, newest(ctx.state, parsed.key))
    if seen.alert is None:
        raise RuntimeError(f"no alert came of the question: {seen.outcome}")
    return seen, seen.alert


def _concerned(state: State, items: Sequence[Considered], alert: Alert) -> list[int]:
    found = [int(one.incident, 16) for one in items]
    own = newest(state, alert.key)
    return [*found, own.incident] if own is not None and own.incident else found


def _folded(copy: State, policy: Policy, parsed: ParsedAlert, now_ms: int) -> tuple[State, Alert]:
    engine = Engine(policy, copy, now_ms)
    changes = engine.fold([AlertSeen(now_ms, parsed)], now_ms)
    if changes.quarantined:
        raise RuntimeError(f"the engine failed on it: {changes.quarantined[0].reason}")
    return copy, copy.alerts[copy.by_key[parsed.key]]


# ---- what it is, and whether it is known -------------------------------------------------------
def _subject(policy: Policy, parsed: ParsedAlert, alert: Alert) -> Subject:
    tier = tier_of(policy, alert.service)
    return Subject(
        text=[_severity_words(policy, parsed), _service_words(policy, parsed, alert, tier)],
        name=clean(alert.name),
        source=clean(alert.source),
        severity=alert.severity,
        service=clean(alert.service),
        resource=clean(alert.resource),
        environment=clean(alert.environment),
        tier=tier or None,
    )


def _severity_words(policy: Policy, parsed: ParsedAlert) -> str:
    word = clean(parsed.severity, 60)
    severity, known = severity_of(parsed.severity, policy)
    if severity == word:
        return f"Severity {severity}."
    if known:
        return f"Severity {severity}: {word!r} is mapped to it."
    return f"Severity {severity}: {f'{word!r} is not known' if word else 'none is given'}, which counts as {severity}."


def _service_words(policy: Policy, parsed: ParsedAlert, alert: Alert, tier: int) -> str:
    labels = labels_of(parsed.labels)
    named_by = "its field" if parsed.service else f"label {service_of(labels, policy)[1]}"
    if alert.service in policy.catalogue.services:
        entry = f"tier {tier}" if tier else "without a tier"
    else:
        entry = "not in the catalogue" + (f", so tier {tier} by fallback" if tier else "")
    what = f"Service {clean(alert.service, 60)} (from {named_by}, {entry})" if alert.service else "No service"
    source = environment_of(parsed.source, labels, alert.service, policy)[1]
    by = {"source": "the source's own", "catalogue": "from the catalogue", "default": "the default"}
    where = "its field" if parsed.environment else by.get(source, f"label {source}")
    return f"{what}; environment {clean(alert.environment, 60)} ({where})."


def _known(ctx: Context, parsed: ParsedAlert, seen: Seen, was: str, alike: Sequence[Alert], count: int) -> Known:
    alert = seen.alert
    text = [_known_words(ctx, seen, was)]
    others = [one for one in alike if one.key != parsed.key]
    rest = count - (len(alike) - len(others))
    if rest > 0:
        names = listed([_named(ctx, one) for one in others[:EXAMPLES]])
        more = f" and {rest - len(others[:EXAMPLES])} more" if rest > len(others[:EXAMPLES]) else ""
        verb = "has" if rest == 1 else "have"
        text.append(
            f"{counted(rest, 'open alert')} that {'matches' if rest == 1 else 'match'} {verb} other labels "
            f"beside, and so another key: {names}{more}."
        )
    return Known(text, seen.outcome, parsed.key.hex(), alert.generation if alert else 0, count)


def _named(ctx: Context, alert: Alert) -> str:
    return f"{clean(alert.name, 60)} on {clean(alert.resource or alert.service, 60)}"


def _known_words(ctx: Context, seen: Seen, was: str) -> str:
    """was: its severity so far."""
    alert, before = seen.alert, seen.before
    since = f" since {when(alert.starts_at, ctx.now)}" if alert is not None else ""
    match seen.outcome:
        case "opened" if before is None:
            return "No alert with exactly these labels is known: it would be a new one."
        case "opened" if before is not None:
            ended = when(before.ends_at, ctx.now)
            return f"Its key is known; the last episode ended at {ended}, so this would begin a new one."
        case "continued":
            return "Its key is known; its episode only lapsed, so it would be continued."
        case "repeated":
            return f"It fires already{since}: this would be a repeat, which changes nothing."
        case "changed" if alert is not None and alert.event:
            return f"It has occurred before{since}: this would be another occurrence of the same event."
        case "changed" if alert is not None and alert.severity != was:
            return f"It fires already{since}: this would change its severity from {was} to {alert.severity}."
        case "changed":
            return f"It fires already{since}: this would change it."
        case _:
            return f"It would be {seen.outcome}, and change nothing."


# ---- where it goes -----------------------------------------------------------------------------
def _considered(looks: bool, items: list[Considered]) -> Others:
    if not looks:
        return Others(["No evidence is looked at."], [])
    if not items:
        return Others(["No open incident is about its service or a neighbour of it."], [])
    return Others([one.text for one in items], items)


def _home(
    ctx: Context, state: State, alert: Alert, incident: Incident | None, seen: Seen, items: Sequence[Considered]
) -> Home:
    if incident is None:
        why = "Severity none is recorded, and opens nothing." if alert.severity == "none" else "It would open nothing."
        return Home([why], "none", None, "", 0, [])
    shown = about(ctx, incident)
    if state.incidents.get(incident.id) is None:
        shown = msgspec.structs.replace(shown, id="", ref="")
        return Home(["No evidence is enough: it would open a new incident."], "new", shown, "", 0, [])
    current = newest(state, alert.key)
    if seen.outcome not in ("opened", "continued"):
        return Home([f"It is in {incident.ref}, and stays there."], "stays", shown, alert.reason, alert.strength, [])
    if current is not None and state.root(current.incident) == incident.id:
        reopened = " and reopen it" if incident.generation > state.incidents[incident.id].generation else ""
        text = f"It would go back to {incident.ref}, where this alert has been before{reopened}."
        return Home([text], "returns", shown, alert.reason, alert.strength, [])
    merged = [
        one.ref
        for one in ctx.state.incidents.rows.values()
        if ctx.state.root(one.id) == incident.id != one.id and not state.incidents[one.id].merged_into
    ]
    facts = f", {clean(alert.facts, 80)}" if alert.facts else ""
    text = f"It would join {incident.ref}: {clean(alert.reason)} (strength {alert.strength}{facts})."
    connects = [f"It would connect incidents: {listed(merged)} would be merged into {incident.ref}."] if merged else []
    return Home([text, *connects], "joins", shown, alert.reason, alert.strength, merged)


# ---- who is told -------------------------------------------------------------------------------
def _told(ctx: Context, state: State, incident: Incident | None, alert: Alert) -> Told:
    """What the deliveries of its incident would be, less what they are."""
    if incident is None:
        return Told(["Nobody would be told."])
    quiet = bool(alert.held)
    objects = [one for number in ctx.state.family(incident.id) for one in ctx.state.incident_deliveries(number)]
    text = [told for one in objects if (told := _change(ctx, state, one, quiet))]
    if not text:
        return Told(["Nobody would be told anything new" + (": it is held." if quiet else ".")])
    if ctx.policy.mode == "shadow":
        text.append("mode: shadow: nothing of it would be sent.")
    return Told(text)


def _change(ctx: Context, state: State, one: Delivery, quiet: bool) -> str:
    """What would be different about an object, or what leaves anyway and would tell of the alert; "" for nothing."""
    known, what = state.deliveries.get(one.id), f"{called(one)} at {one.sink}"
    if known is None:
        return _new_words(ctx, one)
    if one.state != known.state:
        return f"{what} would be {one.state}."
    if one.due_send and one.due_send < known.due_send:
        return f"{what} would leave sooner: {when(one.due_send, ctx.now)}."
    if one.sends != known.sends:
        return f"{what} would be told now."
    if one.due_update and one.due_update != known.due_update:
        return f"{what} would be updated: {when(one.due_update, ctx.now)}."
    due = one.due_send or (one.due_update if one.kind in ("ticket", "message") else 0)
    if not due or quiet:
        return ""
    leaves = "leaves" if one.due_send else "is updated"
    return f"{what} {leaves} anyway, and would tell of it: {when(due, ctx.now)}."


def _new_words(ctx: Context, one: Delivery) -> str:
    match one.state:
        case "waiting":
            waits_for = "waits for its hours until" if one.calendar else "held back until"
            return f"{called(one)} at {one.sink}: {waits_for} {when(one.due_send, ctx.now)}."
        case "draft":
            return f"{called(one)} at {one.sink}: a draft, which a person publishes."
        case _:
            return f"{called(one)} at {one.sink}: at once."
