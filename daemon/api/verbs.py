"""`POST /api/v1/incidents` and `POST /api/v1/incidents/{id}/{verb}`: the responder's verbs."""

from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import Response

from daemon.api import incidents, models
from daemon.api.acts import command, scoped
from daemon.api.models_acts import Act, Report
from daemon.api.replies import ACTS, REFUSALS, UNAVAILABLE, answer, no_incident, refusal
from daemon.api.surface import Key, Surface
from daemon.core.effects import Reply
from daemon.core.model.ids import parse_id
from daemon.settings.durations import parse_duration

VERBS: dict[str, tuple[str, tuple[str, ...]]] = {
    "ack": ("acknowledge", ()),
    "acknowledge": ("acknowledge", ()),
    "unack": ("unacknowledge", ()),
    "unacknowledge": ("unacknowledge", ()),
    "snooze": ("snooze", ("for",)),
    "hold": ("hold", ("reason",)),
    "resume": ("resume", ()),
    "assign": ("assign", ("team",)),
    "priority": ("priority", ("priority", "reason")),
    "note": ("note", ("text",)),
    "resolve": ("resolve", ()),
    "reopen": ("reopen", ()),
    "close": ("close", ()),
    "publish": ("publish", ()),
    "merge": ("merge", ("into",)),
    "split": ("split", ("alerts",)),
}
"""The verb of the path -> the verb of the command, and what it takes besides actor and note."""


class Unreadable(Exception):
    """The body does not fit the verb; the text says why."""


def mount(app: FastAPI, surface: Surface) -> None:
    """Adds the routes."""

    @app.post(
        "/api/v1/incidents", response_model=models.ActAnswer, responses=REFUSALS | UNAVAILABLE, tags=["incidents"]
    )
    async def create(request: Request, body: Report, idempotency_key: Key = "") -> Response:
        """Reports an incident: it opens at once, and stays until a person resolves it."""
        given = body.model_dump(exclude={"actor"})
        arguments = {name: value for name, value in given.items() if value}
        asks: str = request.scope["actor"]
        key = scoped(idempotency_key, asks, "create")
        reply = await command(surface, "create", 0, body.actor or asks, arguments, key)
        return await _answered(surface, reply, "")

    @app.post(
        "/api/v1/incidents/{incident}/{verb}", response_model=models.ActAnswer, responses=ACTS, tags=["incidents"]
    )
    async def act(
        request: Request, incident: str, verb: str, body: Act | None = None, idempotency_key: Key = ""
    ) -> Response:
        """Acts on an incident. Verbs: ack, unack, snooze, hold, resume, assign, priority, note, resolve, reopen,
        close, publish, merge, split; `acknowledge` and `unacknowledge` are ack and unack."""
        if verb not in VERBS:
            return refusal(404, f"there is no verb {verb[:40]!r}; there are {', '.join(VERBS)}")
        number = incidents.find(surface.runtime.engine.state, incident)
        said = body or Act()
        asks: str = request.scope["actor"]
        try:
            arguments = arguments_of(verb, said)
        except Unreadable as error:
            return refusal(422, str(error))
        if not number:
            return await _past(surface, incident)
        name = VERBS[verb][0]
        key = scoped(idempotency_key, asks, name, str(number))
        reply = await command(surface, name, number, said.actor or asks, arguments, key)
        return await _answered(surface, reply, incident)


def arguments_of(verb: str, said: Act) -> dict[str, str]:
    """What the command takes of the body, as texts. Raises Unreadable for what the verb does not know."""
    given: dict[str, Any] = said.model_dump(by_alias=True, exclude={"actor"})
    given = {name: value for name, value in given.items() if value}
    takes = VERBS[verb][1]
    for name in given:
        if name not in (*takes, "note"):
            raise Unreadable(f"{verb} takes no {name!r}; it takes {', '.join((*takes, 'note', 'actor'))}")
    if "alerts" in given:
        given["alerts"] = ",".join(given["alerts"])
    if "for" in given:
        try:
            given["for_ms"] = str(parse_duration(given.pop("for")))
        except ValueError as error:
            raise Unreadable(f"for: {error}") from None
    elif verb == "snooze":
        raise Unreadable("snooze needs 'for': how long, for example 30m")
    return given


async def _past(surface: Surface, name: str) -> Response:
    """An incident that has left memory can no longer be acted on."""
    reference, past = await surface.history.state_of(name, parse_id(name))
    return refusal(409, f"{reference} is {past}") if reference else no_incident(name)


async def _answered(surface: Surface, reply: Reply, name: str) -> Response:
    match reply.status:
        case "ok":
            return answer(200, {"text": reply.text, "incident": await _shown(surface, reply.incident)})
        case "conflict":
            return refusal(409, reply.text)
        case "missing":
            return await _past(surface, name)
        case _:
            return refusal(422, reply.text)


async def _shown(surface: Surface, number: int) -> dict[str, Any]:
    """The incident after the act: one that was closed has left memory."""
    if number in surface.runtime.engine.state.incidents.rows:
        return incidents.incident_json(surface, number)
    past = await surface.history.one("", number) or {}
    return {name: value for name, value in past.items() if name in models.IncidentItem.model_fields}
