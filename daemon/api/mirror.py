"""Alertmanager's API v2 as routes, under both prefixes: what amtool, Grafana and karma read, and silences."""

from collections.abc import Awaitable, Callable

from fastapi import FastAPI, Request
from fastapi.responses import Response, StreamingResponse

from daemon.api import alertmanager, am_silences
from daemon.api.am_silences import Failure
from daemon.api.replies import answer
from daemon.api.surface import Surface

Handler = Callable[[Request, str], Awaitable[Response]]

_ALLOWED = {"/silences": "POST,GET", "/silence": "DELETE,GET"}
"""In Alertmanager's own order."""


def mount(app: FastAPI, surface: Surface) -> None:
    """Adds the routes. The prefix `/sources/{source}` narrows alerts to that source; silences hold for all."""

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

    for path, handler in (
        ("/alerts", all_alerts),
        ("/alerts/groups", all_groups),
        ("/status", status),
        ("/receivers", receivers),
    ):
        _route(app, surface, "GET", path, handler)
    _silences(app, surface)


def _silences(app: FastAPI, surface: Surface) -> None:
    async def listed(request: Request, source: str) -> Response:
        return answer(200, am_silences.listing(surface, request.query_params.multi_items()))

    async def posted(request: Request, source: str) -> Response:
        return answer(200, {"silenceID": await am_silences.post(surface, request)})

    async def shown(request: Request, source: str) -> Response:
        found = am_silences.one(surface, request.path_params["id"])
        return answer(200, am_silences.as_json(found, surface.runtime.now_ms()))

    async def expired(request: Request, source: str) -> Response:
        await am_silences.expire(surface, request.path_params["id"], request.scope["actor"])
        return Response(status_code=200)

    _route(app, surface, "GET", "/silences", listed)
    _route(app, surface, "POST", "/silences", posted)
    _route(app, surface, "GET", "/silence/{id}", shown)
    _route(app, surface, "DELETE", "/silence/{id}", expired)


def _route(app: FastAPI, surface: Surface, method: str, path: str, handler: Handler) -> None:
    async def everything(request: Request) -> Response:
        return await _complaining(handler, request, "")

    async def of_source(request: Request) -> Response:
        source = request.path_params["source"]
        if surface.sources.get(source) != "alertmanager":
            return not_there(request, 404)
        return await _complaining(handler, request, source)

    for prefix, endpoint in (("", everything), ("/sources/{source}", of_source)):
        app.add_api_route(f"{prefix}/api/v2{path}", endpoint, methods=[method], include_in_schema=False)


async def _complaining(handler: Handler, request: Request, source: str) -> Response:
    try:
        return await handler(request, source)
    except alertmanager.BadQuery as error:
        return answer(400, str(error))
    except Failure as failure:
        return answer(failure.status, failure.content) if failure.content else Response(status_code=failure.status)


def not_there(request: Request, status: int) -> Response:
    """404 and 405 in Alertmanager's words."""
    path = request.url.path
    if status == 404:
        return answer(404, {"code": 404, "message": f"path {path[:200]} was not found"})
    allowed = next((methods for part, methods in _ALLOWED.items() if f"/api/v2{part}" in path), "GET")
    text = f"method {request.method} is not allowed, but [{allowed}] are"
    response = answer(405, {"code": 405, "message": text})
    response.headers["allow"] = allowed
    return response
