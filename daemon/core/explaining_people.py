"""Why these people and sinks: the owner's rule, the policies that act, and every object at a sink."""

import msgspec

from daemon.core.communication import clean
from daemon.core.context import Context
from daemon.core.delivery import SUMMARY, must_page
from daemon.core.enrich import owner_of
from daemon.core.model.incident import Delivery, Incident
from daemon.core.policy import Rule
from daemon.core.routing import rules_for
from daemon.core.view_json import rfc3339_or_none
from daemon.core.wording import listed, when


class Acting(msgspec.Struct, frozen=True):
    """A policy that acts. number: its place among the configured ones, from 1; 0 for a default policy."""

    number: int
    when: str
    to: list[str]
    in_hours: bool | None


class Object(msgspec.Struct, frozen=True):
    """One object at a sink. state: as `DeliveryState`. until: how long it waits. shadow: not sent."""

    sink: str
    kind: str
    purpose: str
    team: str
    state: str
    confirmed: bool
    reference: str | None
    until: str | None
    shadow: bool
    text: str


class People(msgspec.Struct, frozen=True):
    """Who has it, and who is told. owner_by: what named the owner: a person, a label, catalogue, source or fallback."""

    text: list[str]
    owner: str
    owner_by: str
    policies: list[Acting]
    deliveries: list[Object]


def people(ctx: Context, incident: Incident, *, told: bool = True) -> People:
    """Why these people and sinks. told: the sentences go through the objects at sinks as well."""
    named_by, sentence = _owner(ctx, incident)
    rules = rules_for(ctx, incident) if incident.live else []
    policies = [_acting(ctx, rule) for rule in rules]
    objects = [_object(ctx, incident, one) for one in ctx.state.incident_deliveries(incident.id)]
    text = [sentence]
    if incident.acknowledged_by:
        text.append(f"{clean(incident.acknowledged_by)} acknowledged it, {when(incident.acknowledged_at, ctx.now)}.")
    text += [_acting_words(ctx, rule, one) for rule, one in zip(rules, policies, strict=True)]
    if incident.live and not any(one.to for one in policies):
        text.append("No policy that names a sink matches it: nobody is told.")
    if incident.firing and not incident.notifiable:
        text.append("All its firing alerts are held: nobody is told of anything new.")
    if ctx.policy.mode == "shadow":
        text.append("mode: shadow: everything is decided and recorded, and nothing is sent.")
    if incident.told_priority:
        text.append(f"People have been told of {incident.told_priority}, and of {listed(_cleaned(incident.told))}.")
    if incident.self_sink:
        text.append(f"It is about {clean(incident.self_sink)}, and so never goes there.")
    if told:
        text += [one.text for one in objects]
    return People(text, clean(incident.owner), named_by, policies, objects)


def _cleaned(words: tuple[str, ...]) -> list[str]:
    return [clean(word, 60) for word in words]


def _owner(ctx: Context, incident: Incident) -> tuple[str, str]:
    owner = clean(incident.owner, 60)
    if incident.assigned:
        return "person", f"{owner} owns it: a person assigned it."
    lead = ctx.state.alerts.get(incident.lead)
    if lead is None:
        return "", f"{owner} owns it."
    team, rule = owner_of(ctx.policy, lead.service, lead.labels, lead.source)
    service = clean(lead.service, 60)
    if team != incident.owner:
        return (
            "earlier",
            f"{owner} owns it, as an earlier alert or configuration said; by now it would be {team}.",
        )
    if rule == "catalogue":
        return rule, f"{owner} owns it: the team of {service} in the catalogue."
    if rule == "source":
        return rule, f"{owner} owns it: the team of the source {clean(lead.source, 60)}."
    if rule:
        return f"label {rule}", f"{owner} owns it: the label {rule} of {clean(lead.name, 60)} says so."
    return "fallback", f"{owner} owns it: the fallback, since no label and no entry of the catalogue names a team."


# ---- policies ----------------------------------------------------------------------------------
def _acting(ctx: Context, rule: Rule) -> Acting:
    number = 0 if ctx.policy.default_rules else next(n for n, one in enumerate(ctx.policy.rules, 1) if one is rule)
    return Acting(number, rule.when.text, list(rule.to), rule.hours.at(ctx.now) if rule.hours else None)


def _acting_words(ctx: Context, rule: Rule, one: Acting) -> str:
    which = f"Policy {one.number}, the first that matches" if one.number else "The default policy"
    words = f"{which} ({one.when}), names {listed(one.to)}" if one.to else f"{which} ({one.when}), names no sink"
    if rule.hours is None:
        return words + "."
    if one.in_hours:
        return f"{words}; a pager may ring in its hours, which is now."
    start = rule.hours.next_start(ctx.now)
    return f"{words}; a pager may ring in its hours only" + (f", again from {when(start, ctx.now)}." if start else ".")


# ---- objects -----------------------------------------------------------------------------------
def _object(ctx: Context, incident: Incident, one: Delivery) -> Object:
    shadow = " (shadow: not sent)" if one.shadow else ""
    return Object(
        sink=one.sink,
        kind=one.kind,
        purpose=one.purpose,
        team=clean(one.team),
        state=one.state,
        confirmed=one.confirmed,
        reference=clean(one.ref) or None,
        until=rfc3339_or_none(one.due_send),
        shadow=one.shadow,
        text=f"{called(one)} at {one.sink}{shadow}: {_object_words(ctx, incident, one)}.",
    )


def called(one: Delivery) -> str:
    """What people call the object."""
    if one.purpose.startswith("raise-"):
        return f"Page again (raise {one.purpose[6:]})"
    if one.purpose == SUMMARY:
        return "Summary of the open incidents"
    return {"pager": "Page", "ticket": "Ticket", "status_page": "Status page entry", "message": "Message"}[one.kind]


def _object_words(ctx: Context, incident: Incident, one: Delivery) -> str:
    match one.state:
        case "waiting" if one.calendar:
            return f"waits for its hours, until {when(one.due_send, ctx.now)}"
        case "waiting":
            unless = "" if must_page(one, incident) else ", and dropped if all is clear or held by then"
            return f"held back until {when(one.due_send, ctx.now)}, so that related alerts join it{unless}"
        case "draft":
            return f"a draft, which waits for a person: samband incidents publish {incident.ref}"
        case "open" if one.shadow:
            return "would have been made"
        case "closed" if one.purpose == SUMMARY:
            return "sent" if one.confirmed else "asked for, not confirmed yet"
        case "open":
            made = f"made, as {clean(one.ref, 60)}" if one.ref else "made"
            return made if one.confirmed else "asked for, not confirmed yet"
        case "closed":
            return "ended"
        case "dropped":
            return "dropped before it was sent"
