"""`/api/v1/silences` and `/api/v1/maintenance`: what holds alerts back, made with a look at what it would hold."""

from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import Response

from daemon.api import silences
from daemon.api.acts import scoped
from daemon.api.models_acts import NewSilence, SilenceAnswer, SilenceItem, SilenceList
from daemon.api.replies import ACTS, CONFLICT, MISSING, REFUSALS, UNAVAILABLE, answer, refusal, words
from daemon.api.surface import LIMIT_DEFAULT, Cursor, Key, Limit, Surface, Words, newest_first
from daemon.core.communication import clean
from daemon.core.effects import Reply
from daemon.core.model.ids import parse_id, public_id
from daemon.core.model.silence import Silence, SilenceKind
from daemon.core.view_json import rfc3339, rfc3339_or_none
from daemon.settings.durations import parse_duration
from daemon.settings.matchers import MatcherError
from daemon.sources.formats.common import parse_time

STATES = frozenset({"pending", "active", "expired"})
PLURAL: dict[SilenceKind, str] = {"silence": "silences", "maintenance": "maintenance"}


class Unclear(Exception):
    """The body does not say until when; the text says what is missing."""


def mount(app: FastAPI, surface: Surface) -> None:
    """Adds the routes of both kinds."""
    for kind in PLURAL:
        _reading(app, surface, kind)
        _writing(app, surface, kind)


def _reading(app: FastAPI, surface: Surface, kind: SilenceKind) -> None:
    name = PLURAL[kind]

    @app.get(
        f"/api/v1/{name}", response_model=SilenceList, responses=REFUSALS, tags=[name], operation_id=f"list_{name}"
    )
    async def list_holds(state: Words = "", limit: Limit = LIMIT_DEFAULT, cursor: Cursor = "") -> Response:
        """What holds alerts, will hold them, or has in the last 5 days; newest first."""
        wanted = words(state)
        if unknown := wanted - STATES:
            return refusal(422, f"state: {min(unknown)[:100]!r} is none of {', '.join(sorted(STATES))}")
        return answer(200, await _listing(surface, kind, wanted, limit, cursor))

    @app.get(
        f"/api/v1/{name}/{{id}}",
        response_model=SilenceItem,
        responses=REFUSALS | MISSING,
        tags=[name],
        operation_id=f"show_{kind}",
    )
    async def show_hold(id: str) -> Response:
        """One of them."""
        found = _find(surface, kind, id)
        if found is None:
            return _missing(kind, id)
        return answer(200, as_json(found, surface.runtime.now_ms(), (await silences.held_by(surface))[found.reason]))


def _writing(app: FastAPI, surface: Surface, kind: SilenceKind) -> None:
    name = PLURAL[kind]

    @app.post(
        f"/api/v1/{name}",
        response_model=SilenceAnswer,
        responses=REFUSALS | UNAVAILABLE | CONFLICT,
        tags=[name],
        operation_id=f"create_{kind}",
    )
    async def create_hold(request: Request, body: NewSilence, idempotency_key: Key = "") -> Response:
        """Holds the alerts that match: they join incidents and count, but nobody is told. A resolve always passes."""
        try:
            matchers = silences.compiled(body.matchers)
            starts_at, ends_at = _span(body, surface.runtime.now_ms(), kind)
        except MatcherError as error:
            return refusal(422, f"matchers: {error}")
        except Unclear as error:
            return refusal(422, str(error))
        count = await silences.matching(surface, matchers)
        if body.dry_run:
            text = f"{_alerts(count)} now and would be held until {rfc3339(ends_at)}"
            return answer(200, {"text": text, "matching": count, "silence": None})
        asks: str = request.scope["actor"]
        key = scoped(idempotency_key, asks, kind)
        terms, actor = silences.terms_of(matchers), body.actor or asks
        reply = await silences.put(
            surface, terms, starts_at, ends_at, actor=actor, comment=body.comment, kind=kind, key=key
        )
        return await _made(surface, kind, reply, count)

    @app.delete(
        f"/api/v1/{name}/{{id}}", response_model=SilenceAnswer, responses=ACTS, tags=[name], operation_id=f"end_{kind}"
    )
    async def end_hold(request: Request, id: str, idempotency_key: Key = "", actor: str = "") -> Response:
        """Ends it now: what it alone held and still fires goes on by itself."""
        found = _find(surface, kind, id)
        if found is None:
            return _missing(kind, id)
        asks: str = request.scope["actor"]
        held = (await silences.held_by(surface))[found.reason]
        key = scoped(idempotency_key, asks, "end", kind, str(found.id))
        reply = await silences.expire(surface, found, actor[:200] or asks, key)
        if reply.status != "ok":
            return refusal(409 if reply.status == "conflict" else 404, reply.text)
        text = f"{kind} {found.uuid} has ended; it held {held} alerts"
        return answer(200, {"text": text, "matching": held, "silence": as_json(found, surface.runtime.now_ms(), 0)})


async def _made(surface: Surface, kind: SilenceKind, reply: Reply, count: int) -> Response:
    if reply.status != "ok":
        return refusal(422, reply.text)
    found = silences.find(surface, reply.text)
    if found is None:
        return answer(200, {"text": f"{kind} {reply.text} was made, and is over", "matching": count, "silence": None})
    now = surface.runtime.now_ms()
    holding = (await silences.held_by(surface))[found.reason]
    until = f"until {rfc3339(found.ends_at)}"
    text = f"{kind} {found.uuid} holds {holding} alerts now, {until}"
    if found.status(now) == "pending":
        text = f"{kind} {found.uuid} begins at {rfc3339(found.starts_at)}, {until}; {_alerts(count)} now"
    return answer(200, {"text": text, "matching": count, "silence": as_json(found, now, holding)})


def _alerts(count: int) -> str:
    return "1 alert matches" if count == 1 else f"{count} alerts match"


def _span(body: NewSilence, now: int, kind: SilenceKind) -> tuple[int, int]:
    """Start and end, ms. Raises Unclear."""
    starts_at = max(_time("starts_at", body.starts_at) or now, now)
    if bool(body.for_) == bool(body.ends_at):
        raise Unclear("say how long: either 'for', for example 2h, or 'ends_at'")
    try:
        ends_at = starts_at + parse_duration(body.for_) if body.for_ else _time("ends_at", body.ends_at)
    except ValueError as error:
        raise Unclear(f"for: {error}") from None
    if ends_at <= starts_at:
        raise Unclear("it would end before it begins")
    if kind == "silence" and ends_at - starts_at > silences.LONG:
        raise Unclear("a silence lasts 7 days at most; for longer mend the rule, or plan a maintenance window")
    return starts_at, ends_at


def _time(name: str, text: str) -> int:
    try:
        return (parse_time(text) or 0) if text else 0
    except ValueError as error:
        raise Unclear(f"{name}: {error}") from None


def _find(surface: Surface, kind: SilenceKind, uuid: str) -> Silence | None:
    found = silences.find(surface, uuid)
    return found if found is not None and found.kind == kind else None


def _missing(kind: SilenceKind, uuid: str) -> Response:
    return refusal(404, f"there is no {'silence' if kind == 'silence' else 'maintenance window'} {uuid[:100]!r}")


async def _listing(
    surface: Surface, kind: SilenceKind, states: frozenset[str], limit: int, cursor: str
) -> dict[str, Any]:
    held, now = await silences.held_by(surface), surface.runtime.now_ms()
    rows = surface.runtime.engine.state.silences.rows
    items: list[dict[str, Any]] = []
    last = 0
    for number in newest_first(rows, parse_id(cursor)):
        silence = rows[number]
        if silence.kind != kind or (states and silence.status(now) not in states):
            continue
        if len(items) == limit:
            return {"items": items, "next": public_id(last)}
        items.append(as_json(silence, now, held[silence.reason]))
        last = number
    return {"items": items, "next": None}


def as_json(silence: Silence, now_ms: int, holding: int) -> dict[str, Any]:
    """One silence or window."""
    return {
        "id": silence.uuid,
        "kind": silence.kind,
        "state": silence.status(now_ms),
        "matchers": silence.matchers,
        "starts_at": rfc3339_or_none(silence.starts_at),
        "ends_at": rfc3339_or_none(silence.ends_at),
        "created_by": clean(silence.created_by),
        "comment": clean(silence.comment),
        "updated_at": rfc3339_or_none(silence.updated_at),
        "holding": holding,
    }
