"""The OpenAPI document: FastAPI's own, and the intake's native path, which no framework serves."""

from typing import Any

from fastapi import FastAPI
from pydantic import TypeAdapter

from daemon.api import models

REFS = "#/components/schemas/{model}"


def describe_intake(app: FastAPI) -> None:
    """Adds `POST /api/v1/alerts` to the document."""
    made = app.openapi

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            _add(made())
        return made()

    app.openapi = document  # type: ignore[method-assign]


def _add(spec: dict[str, Any]) -> None:
    schemas = spec["components"]["schemas"]
    for model in (models.NativeAlert, models.Accepted):
        schema = TypeAdapter(model).json_schema(ref_template=REFS)
        schemas |= schema.pop("$defs", {})
        schemas[model.__name__] = schema
    one = {"$ref": REFS.format(model="NativeAlert")}
    failure = {"application/json": {"schema": {"$ref": REFS.format(model="Failure")}}}
    taken = {"application/json": {"schema": {"$ref": REFS.format(model="Accepted")}}}
    refusals = {
        "400": "No JSON",
        "401": "No token, or a wrong one",
        "413": "Too long",
        "415": "No JSON by its own account",
        "503": "It cannot be made durable now; Retry-After says when to send it again",
    }
    spec["paths"]["/api/v1/alerts"]["post"] = {
        "tags": ["alerts"],
        "summary": "Send alerts",
        "description": "One object, an array, or one object a line. A 2xx means that they are on disk.",
        "operationId": "send_alerts",
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": {"anyOf": [one, {"type": "array", "items": one}]}},
                "application/x-ndjson": {"schema": {"type": "string"}},
            },
        },
        "responses": {
            "200": {"description": "Taken; `rejected` lists what could not be read", "content": taken},
            "422": {"description": "No item could be read, or it is unclear which source this is", "content": taken},
            **{status: {"description": text, "content": failure} for status, text in refusals.items()},
        },
    }
