"""`/api/v2/silences` and `/api/v2/silence/{id}` in Alertmanager's shapes and words, its refusals included."""

import re
from collections.abc import Iterable
from typing import Any

import orjson
from starlette.requests import Request

from daemon import log
from daemon.api import silences
from daemon.api.alertmanager import BadQuery, flag, matchers_of
from daemon.api.surface import Surface
from daemon.core.model.silence import Silence, Term
from daemon.core.view_json import rfc3339
from daemon.settings.matchers import MatcherError, Matchers
from daemon.sources.formats.common import TIME_MIN, parse_time

_ORDER = {"active": 0, "pending": 1, "expired": 2}
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}").fullmatch
_REQUIRED = ("comment", "createdBy", "endsAt", "matchers", "startsAt")
_TEXTS: dict[str, type] = {
    "id": str,
    "comment": str,
    "createdBy": str,
    "startsAt": str,
    "endsAt": str,
    "matchers": list,
}
_MATCHER: dict[str, type] = {"name": str, "value": str, "isRegex": bool, "isEqual": bool}


class Failure(Exception):
    """A refusal: HTTP status, and the answer (None: an empty body)."""

    def __init__(self, status: int, content: object = None) -> None:
        super().__init__(status)
        self.status, self.content = status, content


def _schema(code: int, text: str) -> Failure:
    return Failure(422, {"code": code, "message": text})


def _unreadable(text: str) -> Failure:
    return Failure(400, {"code": 400, "message": f'parsing silence body from "" failed, because {text}'})


# ---- reading -------------------------------------------------------------------------------------
def as_json(silence: Silence, now_ms: int) -> dict[str, Any]:
    """One gettable silence. amtool relies on `updatedAt`."""
    return {
        "id": silence.uuid,
        "status": {"state": silence.status(now_ms)},
        "updatedAt": rfc3339(silence.updated_at),
        "comment": silence.comment,
        "createdBy": silence.created_by,
        "endsAt": rfc3339(silence.ends_at),
        "matchers": [
            {"isEqual": term.is_equal, "isRegex": term.is_regex, "name": term.name, "value": term.value}
            for term in silence.terms
        ],
        "startsAt": rfc3339(silence.starts_at),
    }


def listing(surface: Surface, parameters: Iterable[tuple[str, str]]) -> list[dict[str, Any]]:
    """`GET /silences`: active ones by their end, pending ones by their start, expired ones newest first.

    A filter names a matcher that the silence must have, word by word. Raises BadQuery.
    """
    given: dict[str, list[str]] = {}
    for name, value in parameters:
        given.setdefault(name, []).append(value)
    wanted = [term for one in matchers_of(given.get("filter", [])) for term in silences.terms_of(one)]
    shown = {state for state in _ORDER if flag(given, state)}
    now = surface.runtime.now_ms()
    found = [
        silence
        for silence in surface.runtime.engine.state.silences.rows.values()
        if silence.status(now) in shown and all(term in silence.terms for term in wanted)
    ]
    found.sort(key=lambda one: _rank(one, now))
    return [as_json(one, now) for one in found]


def _rank(silence: Silence, now: int) -> tuple[int, int, int]:
    state = silence.status(now)
    when = {"active": silence.ends_at, "pending": silence.starts_at, "expired": -silence.ends_at}[state]
    return _ORDER[state], when, silence.id


def one(surface: Surface, uuid: str) -> Silence:
    """The silence of this id. Raises Failure: 422 for what is no UUID, 404 (without a body) when there is none."""
    if _UUID(uuid) is None:
        raise _schema(601, f"silenceID in path must be of type uuid: {orjson.dumps(uuid[:100]).decode()}")
    found = silences.find(surface, uuid)
    if found is None:
        raise Failure(404)
    return found


async def expire(surface: Surface, uuid: str, actor: str) -> None:
    """`DELETE /silence/{id}`. One that has ended stays as it is, which is no mistake. Raises Failure, NotDurable."""
    reply = await silences.expire(surface, one(surface, uuid), actor)
    if reply.status == "missing":
        raise Failure(404)


# ---- writing -------------------------------------------------------------------------------------
async def post(surface: Surface, request: Request) -> str:
    """`POST /silences`: makes one, or changes the one named; returns its UUID. Raises Failure, NotDurable."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    raw = await request.body()
    if raw and kind != "application/json":
        quoted = orjson.dumps(kind[:100] or "application/octet-stream").decode()
        text = f"unsupported media type {quoted}, only [application/json] are allowed"
        raise Failure(415, {"code": 415, "message": text})
    given = _checked(raw)
    starts_at, ends_at = _time(given, "startsAt"), _time(given, "endsAt")
    if starts_at >= ends_at:
        raise Failure(400, "Failed to create silence: start time must be before end time")
    now = surface.runtime.now_ms()
    if ends_at < now:
        raise Failure(400, "Failed to create silence: end time can't be in the past")
    terms = _terms(given["matchers"])
    old = silences.find(surface, given["id"]) if given.get("id") else None
    if given.get("id") and old is None:
        raise Failure(404, "silence not found")
    reply = await silences.put(
        surface,
        terms,
        max(starts_at, 0),
        ends_at,
        actor=given["createdBy"],
        comment=given["comment"],
        kind=old.kind if old is not None else "silence",
        key=_key(request),
        changed=old,
    )
    if reply.status == "missing":
        raise Failure(404, "silence not found")
    if reply.status != "ok":
        raise Failure(400, f"Failed to create silence: {reply.text}")
    if ends_at - max(starts_at, now) > silences.LONG:
        log.LONG_SILENCE(silence=reply.text, by=given["createdBy"], ends_at=rfc3339(ends_at))
    return reply.text


def _key(request: Request) -> str:
    given = request.headers.get("idempotency-key", "")[:200]
    return f"silence/{request.scope['actor']}/{given}" if given else ""


def _checked(raw: bytes) -> dict[str, Any]:
    """The body, of the right shape. In Alertmanager's order: no JSON, wrong types, what is missing."""
    if not raw.strip():
        raise _schema(602, "silence in body is required")
    try:
        given = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise _unreadable(str(error)) from None
    given = {} if given is None else given
    if not isinstance(given, dict):
        raise _unreadable("it must be an object")
    given = {name: value for name, value in given.items() if value is not None}
    for name, kind in _TEXTS.items():
        if name in given and not isinstance(given[name], kind):
            raise _unreadable(f"{name} must be {'a list' if kind is list else 'a text'}")
    for index, matcher in enumerate(given.get("matchers", [])):
        if not isinstance(matcher, dict):
            raise _unreadable(f"matchers.{index} must be an object")
        for name, kind in _MATCHER.items():
            if matcher.get(name) is not None and not isinstance(matcher[name], kind):
                raise _unreadable(f"matchers.{index}.{name} must be {'a text' if kind is str else 'true or false'}")
    for name in ("startsAt", "endsAt"):
        if name in given:
            _time(given, name)
    _complete(given, len(raw))
    return given


def _complete(given: dict[str, Any], size: int) -> None:
    for name in _REQUIRED:
        if name not in given:
            raise _schema(602, f"{name} in body is required")
    if not given["matchers"]:
        raise _schema(612, "matchers in body should have at least 1 items")
    for index, matcher in enumerate(given["matchers"]):
        for name in ("isRegex", "name", "value"):
            if matcher.get(name) is None:
                raise _schema(602, f"matchers.{index}.{name} in body is required")
    if size > silences.BYTES_MAX:
        raise Failure(400, f"silence exceeded maximum size: {size} bytes (limit: {silences.BYTES_MAX} bytes)")
    if len(given["matchers"]) > silences.TERMS_MAX:
        raise Failure(400, f"silence invalid: more than {silences.TERMS_MAX} matchers")


def _time(given: dict[str, Any], name: str) -> int:
    try:
        at = parse_time(given[name])
    except ValueError as error:
        raise _unreadable(f"{name}: {error}") from None
    return TIME_MIN if at is None else at


def _terms(given: list[dict[str, Any]]) -> tuple[Term, ...]:
    found = []
    for index, one_ in enumerate(given):
        equal = one_.get("isEqual")
        term = Term(one_["name"], one_["value"], one_["isRegex"], True if equal is None else equal)
        where = f"silence invalid: invalid label matcher {index}"
        if not term.name:
            raise Failure(400, f'{where}: invalid label name ""')
        try:
            Matchers(silences.text_of([term]))
        except MatcherError as error:
            quoted = orjson.dumps(term.value[:200]).decode()
            raise Failure(400, f"{where}: invalid regular expression {quoted}: {error}") from None
        found.append(term)
    terms = tuple(found)
    if silences.holds_everything(terms):
        raise Failure(400, "silence invalid: at least one matcher must not match the empty string")
    return terms


__all__ = ["BadQuery", "Failure", "as_json", "expire", "listing", "one", "post"]
