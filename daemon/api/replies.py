"""Answers of the API, as bytes, and what its parts need for them."""

from typing import Any

import orjson
from fastapi.responses import Response

from daemon.api import models


def answer(status: int, content: object) -> Response:
    """JSON bytes."""
    return Response(orjson.dumps(content), status, media_type="application/json", headers={"cache-control": "no-store"})


def refusal(status: int, text: str, headers: dict[str, str] | None = None) -> Response:
    """`{"error": text}`."""
    return Response(orjson.dumps({"error": text}), status, headers=headers, media_type="application/json")


def no_incident(name: str) -> Response:
    """404 for an incident."""
    return refusal(404, f"there is no incident {name[:100]!r}")


def words(text: str) -> frozenset[str]:
    """The words of a parameter that takes several, with commas."""
    return frozenset(word.strip() for word in text.split(",") if word.strip())


REFUSALS: dict[int | str, dict[str, Any]] = {
    400: {"model": models.Failure, "description": "The body is no JSON in UTF-8, or nested too deeply"},
    401: {"model": models.Failure, "description": "No token, or a wrong one"},
    403: {"model": models.Failure, "description": "The role of the token does not allow it"},
    413: {"model": models.Failure, "description": "The body is too long"},
    422: {"model": models.Failure, "description": "A parameter or the body cannot be read; `error` says where and why"},
}
MISSING: dict[int | str, dict[str, Any]] = {404: {"model": models.Failure, "description": "There is no such thing"}}
CONFLICT: dict[int | str, dict[str, Any]] = {
    409: {"model": models.Failure, "description": "The state forbids it; `error` says why"}
}
UNAVAILABLE: dict[int | str, dict[str, Any]] = {
    503: {"model": models.Failure, "description": "It cannot be made durable now; Retry-After says when"}
}
ACTS = REFUSALS | MISSING | CONFLICT | UNAVAILABLE
"""What an act may be answered instead of 200."""
