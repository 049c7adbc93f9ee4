"""What is held and why, and what happens next: every deadline that is armed, in words."""

from collections.abc import Iterator, Sequence

import msgspec

from daemon.core.communication import clean
from daemon.core.context import Context
from daemon.core.delivery import must_page
from daemon.core.explaining_people import called
from daemon.core.model.alert import Alert
from daemon.core.model.incident import Delivery, Incident
from daemon.core.model.silence import Silence, silence_id
from daemon.core.view_json import rfc3339, rfc3339_or_none
from daemon.core.wording import counted, listed, when

NAMES = 3


class Held(msgspec.Struct, frozen=True):
    """One reason why alerts may not notify. alerts: how many of those looked at."""

    reason: str
    kind: str
    matchers: str
    comment: str
    created_by: str
    ends_at: str | None
    alerts: int
    examples: list[str]


class HeldBy(msgspec.Struct, frozen=True):
    """What is held and why."""

    text: list[str]
    items: list[Held]


class Due(msgspec.Struct, frozen=True):
    """Something that happens at `at` unless something else happens before."""

    at: str
    text: str


class Next(msgspec.Struct, frozen=True):
    """What happens next, the soonest first."""

    text: list[str]
    items: list[Due]


# ---- held --------------------------------------------------------------------------------------
def held(ctx: Context, alerts: Sequence[Alert]) -> HeldBy:
    """Why some of these firing alerts may not notify."""
    groups: dict[str, list[Alert]] = {}
    for alert in alerts:
        for reason in alert.held:
            groups.setdefault(reason, []).append(alert)
    items = [_held(ctx, reason, ones) for reason, ones in groups.items()]
    if not items:
        return HeldBy(["Nothing is held."], [])
    return HeldBy([_held_words(ctx, one) for one in items], items)


def _silence(ctx: Context, reason: str) -> Silence | None:
    return ctx.state.silences.get(silence_id(reason.rpartition(" ")[2]))


def _held(ctx: Context, reason: str, alerts: Sequence[Alert]) -> Held:
    silence = _silence(ctx, reason)
    return Held(
        reason=reason,
        kind=silence.kind if silence is not None else reason.partition(" ")[0],
        matchers=clean(silence.matchers) if silence is not None else "",
        comment=clean(silence.comment) if silence is not None else "",
        created_by=clean(silence.created_by) if silence is not None else "",
        ends_at=rfc3339_or_none(silence.ends_at) if silence is not None else None,
        alerts=len(alerts),
        examples=[clean(one.name, 60) for one in alerts[:NAMES]],
    )


def _held_words(ctx: Context, one: Held) -> str:
    silence = _silence(ctx, one.reason)
    many = "is" if one.alerts == 1 else "are"
    names = listed(one.examples) + (f" and {one.alerts - NAMES} more" if one.alerts > NAMES else "")
    words = f"{counted(one.alerts, 'alert')} ({names}) {many} held by {one.reason}"
    if silence is None:
        return words + "."
    said = f'"{one.comment}", ' if one.comment else ""
    by = f"by {one.created_by}, " if one.created_by else ""
    until = when(silence.ends_at, ctx.now)
    return f"{words} ({said}{by}{one.matchers}) until {until}; what still fires then goes on by itself."


# ---- next --------------------------------------------------------------------------------------
def waits(ctx: Context, incident: Incident, members: Sequence[Alert]) -> Next:
    """Every wait that runs for the incident, and what comes at its end."""
    found = [
        *_of_incident(incident),
        *(due for one in ctx.state.incident_deliveries(incident.id) for due in _of_delivery(incident, one)),
        *_of_silences(ctx, members),
        *_of_members(ctx, members),
    ]
    found.sort()
    items = [Due(rfc3339(at), f"{when(at, ctx.now)}: {text}.") for at, text in found]
    return Next([one.text for one in items] or [_nothing(incident)], items)


def _nothing(incident: Incident) -> str:
    if incident.cleared:
        return "No wait runs: all is clear, but nobody has seen this P1, so it stays open until a person resolves it."
    if incident.state == "resolved":
        return "No wait runs: it stays as it is until a person closes it, or an alert fires again."
    return "No wait runs: it goes on when an alert fires or ends, or when a person acts."


def _of_incident(incident: Incident) -> Iterator[tuple[int, str]]:
    unseen = "; a P1 that certainly nobody has seen stays open" if incident.priority == "P1" else ""
    words = {
        "due_settle": "its priority and its messages are brought in line with its alerts",
        "due_resolve": f"it is resolved, if nothing fires again{unseen}",
        "due_priority": "its priority falls to that of the worst alert that fires then",
        "due_ack_lapse": "the acknowledgement ends unless there is activity; what still fires rings again",
        "due_reopen": "it is opened again if alerts still fire",
        "due_close": "it is closed, and leaves for history",
    }
    for field, text in words.items():
        if due := getattr(incident, field):
            yield due, text


def _of_delivery(incident: Incident, one: Delivery) -> Iterator[tuple[int, str]]:
    what = called(one).lower()
    if one.due_send:
        unless = "" if must_page(one, incident) else ", if something that may notify still fires"
        yield one.due_send, f"the {what} leaves for {one.sink}{unless}"
    if one.due_update:
        ends = one.kind == "status_page" and not incident.live
        yield one.due_update, f"the {what} at {one.sink} is {'closed' if ends else 'updated, if there is news'}"


def _of_silences(ctx: Context, members: Sequence[Alert]) -> Iterator[tuple[int, str]]:
    for reason in dict.fromkeys(reason for one in members if not one.end for reason in one.held):
        silence = _silence(ctx, reason)
        if silence is not None:
            yield silence.ends_at, f"{reason} ends; what it alone holds and still fires goes on"


def _of_members(ctx: Context, members: Sequence[Alert]) -> Iterator[tuple[int, str]]:
    """Stale alerts and events: when samband looks whether they are over."""
    for stale, what in ((True, "stale alert"), (False, "event")):
        ones = [
            one
            for one in members
            if not one.end and one.due_end and (one.status(ctx.now) == "stale" if stale else one.event)
        ]
        if ones:
            due = min(one.due_end for one in ones)
            are = "is" if len(ones) == 1 else "are"
            yield due, f"samband looks whether {counted(len(ones), what)}, not mentioned since, {are} over"
