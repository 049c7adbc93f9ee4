"""The FastAPI application: `/api/v1` reads and verbs, and what is read through Alertmanager's API v2.

Who asks was settled before (`api.front`): `request.scope["actor"]` says it. Answers are made by hand
and sent as bytes; the models of `api.models` describe them, and a test holds the two together.
"""

from typing import Annotated

from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from daemon import log
from daemon.api import alerts, changes, dead_letters, explain, holds, incidents, mirror, models, tokens, verbs
from daemon.api.history import HistoryError
from daemon.api.openapi import describe_intake
from daemon.api.replies import MISSING, REFUSALS, answer, no_incident, refusal, words
from daemon.api.surface import LIMIT_DEFAULT, Cursor, Limit, Surface, Words
from daemon.core.model.incident import PRIORITIES
from daemon.runtime import NotDurable
from daemon.settings.matchers import MatcherError, Matchers

STATES = frozenset({"open", "acknowledged", "on_hold", "resolved", "closed", "reopened", "merged"})
ALERT_STATUSES = frozenset({"firing", "stale", "resolved", "expired"})


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
    verbs.mount(app, surface)
    holds.mount(app, surface)
    changes.mount(app, surface)
    dead_letters.mount(app, surface)
    explain.mount(app, surface)
    mirror.mount(app, surface)
    tokens.mount(app, surface)
    describe_intake(app)
    return app


def _alerts(app: FastAPI, surface: Surface) -> None:
    @app.get("/api/v1/alerts", response_model=models.AlertList, responses=REFUSALS, tags=["alerts"])
    async def list_alerts(
        source: Annotated[str, Query(max_length=200)] = "",
        status: Words = "",
        filter: Annotated[str, Query(max_length=4000, description="Alertmanager's matchers")] = "",
        limit: Limit = LIMIT_DEFAULT,
        cursor: Cursor = "",
    ) -> Response:
        """What fires, and what has ended while its incident is open or 24 h; newest first."""
        statuses = words(status)
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
    @app.get("/api/v1/incidents", response_model=models.IncidentList, responses=REFUSALS, tags=["incidents"])
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
        filters = {name: wanted for name, text in given.items() if (wanted := words(text))}
        for name, known in (("state", STATES), ("priority", frozenset(PRIORITIES))):
            if unknown := filters.get(name, frozenset()) - known:
                return refusal(422, f"{name}: {_one(unknown)!r} is none of {', '.join(sorted(known))}")
        return answer(200, await incidents.list_incidents(surface, filters, limit, cursor))

    @app.get(
        "/api/v1/incidents/{incident}",
        response_model=models.IncidentDetail,
        responses=REFUSALS | MISSING,
        tags=["incidents"],
    )
    async def show_incident(incident: str) -> Response:
        """One incident, by id or reference (INC-4211): members, timeline, deliveries."""
        shown = await incidents.show(surface, incident)
        return no_incident(incident) if shown is None else answer(200, shown)


def _refusals(app: FastAPI) -> None:
    """Failures in our own form, or in Alertmanager's below its paths."""

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> Response:
        if "/api/v2/" in request.url.path and error.status_code in (404, 405):
            return mirror.not_there(request, error.status_code)
        text = f"there is nothing at {request.url.path[:200]}" if error.status_code == 404 else str(error.detail)
        if isinstance(error.__cause__, UnicodeDecodeError):
            text = f"the body is not UTF-8 (byte {error.__cause__.start})"
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


def _one(words: frozenset[str]) -> str:
    return min(words)[:100]
