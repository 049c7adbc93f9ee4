"""The FastAPI application: `/api/v1` reads and verbs, and what is read through Alertmanager's API v2.

Who asks was settled before (`api.front`): `request.scope["actor"]` says it. Answers are made by hand
and sent as bytes; the models of `api.models` describe them, and a test holds the two together.
"""

import uuid
from collections.abc import Awaitable, Callable
from typing import Annotated, Any

import orjson
from fastapi import FastAPI, Header, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response, StreamingResponse
from starlette.exceptions import HTTPException

from daemon import log
from daemon.api import alertmanager, alerts, incidents, models
from daemon.api.acts import Acts
from daemon.api.history import HistoryError
from daemon.api.openapi import describe_intake
from daemon.api.surface import LIMIT_DEFAULT, LIMIT_MAX, Surface
from daemon.core.model.ids import parse_id
from daemon.core.model.incident import PRIORITIES
from daemon.runtime import NotDurable
from daemon.settings.matchers import MatcherError, Matchers

STATES = frozenset({"open", "acknowledged", "on_hold", "resolved", "closed", "reopened", "merged"})
ALERT_STATUSES = frozenset({"firing", "stale", "resolved", "expired"})
KEY_LENGTH_MAX = 200

Limit = Annotated[int, Query(ge=1, le=LIMIT_MAX)]
Cursor = Annotated[str, Query(max_length=64, description="`next` of the page before")]
Words = Annotated[str, Query(max_length=1000, description="One value, or several with commas")]

_REFUSALS: dict[int | str, dict[str, Any]] = {
    401: {"model": models.Failure, "description": "No token, or a wrong one"},
    422: {"model": models.Failure, "description": "A parameter cannot be read"},
}
_MISSING: dict[int | str, dict[str, Any]] = {404: {"model": models.Failure, "description": "There is no such incident"}}


def answer(status: int, content: object) -> Response:
    """JSON bytes."""
    return Response(orjson.dumps(content), status, media_type="application/json", headers={"cache-control": "no-store"})


def refusal(status: int, text: str, headers: dict[str, str] | None = None) -> Response:
    """`{"error": text}`."""
    return Response(orjson.dumps({"error": text}), status, headers=headers, media_type="application/json")


def build(surface: Surface) -> FastAPI:
    """The application over one daemon."""
    app = FastAPI(
        title="samband",
        version=surface.version,
        openapi_url="/api/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    _refusals(app)
    _alerts(app, surface)
    _incidents(app, surface)
    _verbs(app, surface)
    _mirror(app, surface)
    describe_intake(app)
    return app


def _alerts(app: FastAPI, surface: Surface) -> None:
    @app.get("/api/v1/alerts", response_model=models.AlertList, responses=_REFUSALS, tags=["alerts"])
    async def list_alerts(
        source: Annotated[str, Query(max_length=200)] = "",
        status: Words = "",
        filter: Annotated[str, Query(max_length=4000, description="Alertmanager's matchers")] = "",
        limit: Limit = LIMIT_DEFAULT,
        cursor: Cursor = "",
    ) -> Response:
        """What fires, and what has ended while its incident is open or 24 h; newest first."""
        statuses = _words(status)
        if unknown := statuses - ALERT_STATUSES:
            return refusal(422, f"status: {_one(unknown)!r} is none of {', '.join(sorted(ALERT_STATUSES))}")
        try:
            matcher = Matchers(filter) if filter else None
        except MatcherError as error:
            return refusal(422, f"filter: {error}")
        return answer(
            200,
            await alerts.list_alerts(
                surface, source=source, statuses=statuses, matcher=matcher, limit=limit, cursor=cursor
            ),
        )


def _incidents(app: FastAPI, surface: Surface) -> None:
    @app.get("/api/v1/incidents", response_model=models.IncidentList, responses=_REFUSALS, tags=["incidents"])
    async def list_incidents(
        state: Words = "",
        priority: Words = "",
        service: Words = "",
        owner: Words = "",
        limit: Limit = LIMIT_DEFAULT,
        cursor: Cursor = "",
    ) -> Response:
        """Incidents, those of the past among them; newest first."""
        given = {"state": state, "priority": priority, "service": service, "owner": owner}
        filters = {name: words for name, text in given.items() if (words := _words(text))}
        for name, known in (("state", STATES), ("priority", frozenset(PRIORITIES))):
            if unknown := filters.get(name, frozenset()) - known:
                return refusal(422, f"{name}: {_one(unknown)!r} is none of {', '.join(sorted(known))}")
        return answer(200, await incidents.list_incidents(surface, filters, limit, cursor))

    @app.get(
        "/api/v1/incidents/{incident}",
        response_model=models.IncidentDetail,
        responses=_REFUSALS | _MISSING,
        tags=["incidents"],
    )
    async def show_incident(incident: str) -> Response:
        """One incident, by id or reference (INC-4211): members, timeline, deliveries."""
        shown = await incidents.show(surface, incident)
        return _no_incident(incident) if shown is None else answer(200, shown)


def _verbs(app: FastAPI, surface: Surface) -> None:
    acts = Acts()

    @app.post(
        "/api/v1/incidents/{incident}/{verb}",
        response_model=models.ActAnswer,
        responses=_REFUSALS
        | _MISSING
        | {
            409: {"model": models.Failure, "description": "The incident's state forbids it; `error` says why"},
            503: {"model": models.Failure, "description": "It cannot be made durable now; Retry-After says when"},
        },
        tags=["incidents"],
    )
    async def act(
        request: Request,
        incident: str,
        verb: str,
        body: models.Act | None = None,
        idempotency_key: Annotated[str, Header(max_length=KEY_LENGTH_MAX)] = "",
    ) -> Response:
        """Acts on an incident: ack (or acknowledge), resolve, publish. The same Idempotency-Key acts once."""
        if verb not in incidents.VERBS:
            return refusal(404, f"there is no verb {verb[:40]!r}; there are {', '.join(incidents.VERBS)}")
        number = incidents.find(surface.runtime.engine.state, incident)
        if not number:
            reference, past = await surface.history.state_of(incident, parse_id(incident))
            return refusal(409, f"{reference} is {past}") if reference else _no_incident(incident)
        said = body or models.Act()
        key = f"{number}/{verb}/{idempotency_key}" if idempotency_key else uuid.uuid4().hex
        reply = await incidents.act(surface, acts, key, verb, number, said.actor or request.scope["actor"], said.note)
        match reply.status:
            case "ok":
                return answer(200, {"text": reply.text, "incident": incidents.incident_json(surface, number)})
            case "conflict":
                return refusal(409, reply.text)
            case "missing":
                return _no_incident(incident)
            case _:
                return refusal(422, reply.text)


def _mirror(app: FastAPI, surface: Surface) -> None:
    """Alertmanager's reads, under both prefixes."""

    def listing(path: str, handler: Callable[[Request, str], Awaitable[Response]]) -> None:
        async def everything(request: Request) -> Response:
            return await _complaining(handler, request, "")

        async def of_source(request: Request, source: str) -> Response:
            if surface.sources.get(source) != "alertmanager":
                return _am_missing(request)
            return await _complaining(handler, request, source)

        app.get(f"/api/v2{path}", include_in_schema=False)(everything)
        app.get(f"/sources/{{source}}/api/v2{path}", include_in_schema=False)(of_source)

    async def all_alerts(request: Request, source: str) -> Response:
        query = alertmanager.Query(request.query_params.multi_items(), source)
        found = await alertmanager.matching(surface, query)
        return StreamingResponse(alertmanager.stream(surface, found), media_type="application/json")

    async def all_groups(request: Request, source: str) -> Response:
        query = alertmanager.Query(request.query_params.multi_items(), source)
        return answer(200, await alertmanager.groups(surface, query))

    async def status(request: Request, source: str) -> Response:
        return answer(200, alertmanager.status(surface))

    async def receivers(request: Request, source: str) -> Response:
        return answer(200, alertmanager.receivers())

    listing("/alerts", all_alerts)
    listing("/alerts/groups", all_groups)
    listing("/status", status)
    listing("/receivers", receivers)


async def _complaining(
    handler: Callable[[Request, str], Awaitable[Response]], request: Request, source: str
) -> Response:
    try:
        return await handler(request, source)
    except alertmanager.BadQuery as error:
        return answer(400, str(error))


def _am_missing(request: Request) -> Response:
    return answer(404, {"code": 404, "message": f"path {request.url.path[:200]} was not found"})


def _refusals(app: FastAPI) -> None:
    """Failures in our own form, or in Alertmanager's below its paths."""

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> Response:
        if "/api/v2/" in request.url.path and error.status_code in (404, 405):
            if error.status_code == 404:
                return _am_missing(request)
            return answer(405, {"code": 405, "message": f"method {request.method} is not allowed, but [GET] are"})
        text = f"there is nothing at {request.url.path[:200]}" if error.status_code == 404 else str(error.detail)
        return refusal(error.status_code, text, dict(error.headers or {}))

    @app.exception_handler(RequestValidationError)
    async def unreadable(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"][1:]) or str(first["loc"][0])
        return refusal(422, f"{where}: {first['msg']}")

    @app.exception_handler(NotDurable)
    async def not_durable(request: Request, error: NotDurable) -> Response:
        text = f"cannot be made durable now: {error.reason}"
        return refusal(503, text, {"retry-after": str(max(1, round(error.retry_after_s)))})

    @app.exception_handler(HistoryError)
    async def no_history(request: Request, error: HistoryError) -> Response:
        return refusal(503, f"the store cannot be read now: {error}", {"retry-after": "5"})

    @app.exception_handler(Exception)
    async def failed(request: Request, error: Exception) -> Response:
        log.API_FAILED(path=request.url.path[:200], error=f"{type(error).__name__}: {error}", exc_info=error)
        return refusal(500, "samband failed on this request; its log says how")


def _no_incident(name: str) -> Response:
    return refusal(404, f"there is no incident {name[:100]!r}")


def _words(text: str) -> frozenset[str]:
    return frozenset(word.strip() for word in text.split(",") if word.strip())


def _one(words: frozenset[str]) -> str:
    return min(words)[:100]
