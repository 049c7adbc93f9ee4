"""`/api/v1/changes`: deploys, feature flags and changes from change management, in and shown."""

from typing import Annotated, Any

from fastapi import FastAPI, Query, Request
from fastapi.responses import Response
from pydantic import TypeAdapter

from daemon.api import models
from daemon.api.models_acts import ChangeList, NewChange
from daemon.api.replies import REFUSALS, UNAVAILABLE, answer, refusal
from daemon.api.surface import LIMIT_DEFAULT, Cursor, Limit, Surface, newest_first
from daemon.core.communication import clean
from daemon.core.enrich import labels_of
from daemon.core.model.change import Change
from daemon.core.model.ids import parse_id, public_id
from daemon.core.records import ChangeSeen
from daemon.core.view_json import rfc3339_or_none
from daemon.sources.formats import changes as form
from daemon.sources.formats.base import Unreadable

_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "anyOf": [
                        TypeAdapter(NewChange).json_schema(),
                        {"type": "array", "items": TypeAdapter(NewChange).json_schema()},
                    ]
                }
            },
            "application/x-ndjson": {"schema": {"type": "string"}},
        },
    }
}


def mount(app: FastAPI, surface: Surface) -> None:
    """Adds the routes."""

    @app.post(
        "/api/v1/changes",
        response_model=models.Accepted,
        responses=REFUSALS
        | UNAVAILABLE
        | {
            400: {"model": models.Failure, "description": "No JSON"},
            413: {"model": models.Failure, "description": "Too long"},
            422: {"model": models.Accepted | models.Failure, "description": "No item could be read"},
        },
        tags=["changes"],
        openapi_extra=_BODY,
    )
    async def post_changes(request: Request) -> Response:
        """Takes changes: one object, an array, or one object a line. They page nobody; they explain."""
        try:
            parsed = form.parse(await request.body(), request.scope["actor"])
        except Unreadable as error:
            return refusal(error.status, error.text)
        if parsed.changes:
            now = surface.runtime.now_ms()
            await surface.runtime.submit([ChangeSeen(now, change) for change in parsed.changes])
        rejected = [{"index": one.index, "reason": one.reason} for one in parsed.rejected]
        status = 422 if rejected and not parsed.changes else 200
        return answer(status, {"accepted": len(parsed.changes), "rejected": rejected})

    @app.get("/api/v1/changes", response_model=ChangeList, responses=REFUSALS, tags=["changes"])
    async def list_changes(
        service: Annotated[str, Query(max_length=200)] = "",
        environment: Annotated[str, Query(max_length=200)] = "",
        limit: Limit = LIMIT_DEFAULT,
        cursor: Cursor = "",
    ) -> Response:
        """Changes of the last 7 days, newest first."""
        rows = surface.runtime.engine.state.changes.rows
        items: list[dict[str, Any]] = []
        last = 0
        for number in newest_first(rows, parse_id(cursor)):
            change = rows[number]
            if (service and change.service != service) or (environment and change.environment != environment):
                continue
            if len(items) == limit:
                return answer(200, {"items": items, "next": public_id(last)})
            items.append(as_json(change))
            last = number
        return answer(200, {"items": items, "next": None})


def as_json(change: Change) -> dict[str, Any]:
    """One change."""
    return {
        "id": clean(change.name) or public_id(change.id),
        "at": rfc3339_or_none(change.at),
        "source": change.source,
        "service": clean(change.service),
        "environment": clean(change.environment),
        "summary": clean(change.summary, 1_000),
        "url": change.url or None,
        "labels": labels_of(change.labels),
    }
