"""Answers of the intake paths, as bytes; two forms: samband's own, and Alertmanager's."""

from collections.abc import Sequence
from math import ceil
from typing import Any

import msgspec
import orjson

from daemon.sources.body import Scope, Send
from daemon.sources.formats.base import Rejected

JSON = (b"content-type", b"application/json")
NO_STORE = (b"cache-control", b"no-store")

AT_ONCE = "samband.at_once"
"""The extension of ASGI by which our own server takes a whole 200, header fields and body, in one call."""
_NONE: dict[str, Any] = {}


class Answer(msgspec.Struct, frozen=True):
    """Status, body (JSON or b"") and further header fields."""

    status: int
    body: bytes = b""
    headers: tuple[tuple[bytes, bytes], ...] = ()

    async def send(self, send: Send, scope: Scope | None = None) -> None:
        """Sends it over ASGI; an acceptance in one piece, where the request's `scope` offers that."""
        if self.status == 200 and scope is not None:
            at_once = scope.get("extensions", _NONE).get(AT_ONCE)
            if at_once is not None and at_once(self._fields(), self.body):
                return
        await send({"type": "http.response.start", "status": self.status, "headers": self._fields()})
        await send({"type": "http.response.body", "body": self.body})

    def _fields(self) -> list[tuple[bytes, bytes]]:
        length = (b"content-length", str(len(self.body)).encode())
        kind = (JSON,) if self.body and not any(name == b"content-type" for name, _ in self.headers) else ()
        return [length, *kind, *self.headers]


def failure(status: int, text: str, **more: Any) -> Answer:
    """Our own form of a refusal: `{"error": text}`."""
    headers: tuple[tuple[bytes, bytes], ...] = ()
    if status == 401:
        headers = ((b"www-authenticate", b'Bearer realm="samband"'),)
    return Answer(status, orjson.dumps({"error": text, **more}), headers)


def unavailable(seconds: float, text: str, status: int = 503, **more: Any) -> Answer:
    """503, or 429, with Retry-After in whole seconds, at least one."""
    retry = str(max(1, ceil(seconds))).encode()
    return Answer(status, orjson.dumps({"error": text, **more}), ((b"retry-after", retry),))


def accepted(count: int, rejected: Sequence[Rejected]) -> Answer:
    """200 with what was taken and what was not; 422 when there were items and none could be read."""
    body = orjson.dumps({"accepted": count, "rejected": listed(rejected)})
    return Answer(422 if rejected and not count else 200, body)


def listed(rejected: Sequence[Rejected]) -> list[dict[str, Any]]:
    """Rejected items as they are shown to their sender."""
    return [{"index": one.index, "reason": one.reason} for one in rejected]


# ---- Alertmanager's forms ------------------------------------------------------------------------
AM_OK = Answer(200, b"", (NO_STORE,))
_SCHEMA_CODES = {"required": 602, "empty": 602, "not_uri": 601}
_PARSE_ERRORS = frozenset({"wrong_type", "bad_time", "not_json"})


def am_failure(status: int, text: str, code: int = 0, *headers: tuple[bytes, bytes]) -> Answer:
    """A failure of Alertmanager's schema: `{"code", "message"}`."""
    return Answer(
        status,
        orjson.dumps({"code": code or status, "message": text}),
        (NO_STORE, *headers),
    )


def am_complaint(text: str, status: int = 400) -> Answer:
    """A failure of Alertmanager's handlers: a bare JSON string."""
    return Answer(status, orjson.dumps(text), (NO_STORE,))


def am_unreadable(status: int, text: str, code: str) -> Answer:
    """The answer for a body that is no list of alerts."""
    return am_failure(status, text, _SCHEMA_CODES.get(code, status))


def am_rejected(rejected: Sequence[Rejected]) -> Answer:
    """The answer when some alerts were refused: a parse error first, then a schema failure, then all complaints."""
    for one in rejected:
        if one.code in _PARSE_ERRORS:
            return am_failure(400, one.reason)
    for one in rejected:
        if one.status == 422:
            return am_failure(422, one.reason, _SCHEMA_CODES.get(one.code, 422))
    return am_complaint("; ".join(one.reason for one in rejected[:100]))


def am_method(method: str, allowed: str) -> Answer:
    """405 in Alertmanager's words."""
    text = f"method {method[:20]} is not allowed, but [{allowed}] are"
    return am_failure(405, text, 405, (b"allow", allowed.encode()))


def am_media_type(given: str) -> Answer:
    """415 in Alertmanager's words."""
    kind = orjson.dumps(given[:100] or "application/octet-stream").decode()
    return am_failure(415, f"unsupported media type {kind}, only [application/json] are allowed")


def am_not_found(path: str) -> Answer:
    """404 in Alertmanager's words."""
    return am_failure(404, f"path {path[:200]} was not found")
