"""The native form: one JSON object, an array, or NDJSON; also the form of recordings.

A value is taken as text wherever text is meant: a number or a truth value in a label becomes what
it looks like in JSON, null is as if it were not there. An object or a list there is a mistake of
the sender, and reported.
"""

from typing import Any

import msgspec
import orjson

from daemon.core.model.alert import ParsedAlert, alert_key
from daemon.settings.limits import Limits
from daemon.sources.formats.base import (
    Context,
    Parsed,
    Rejected,
    Unreadable,
)
from daemon.sources.formats.common import (
    NOT_JSON,
    TIME_MIN,
    canonical,
    described,
    label_fault,
    parse_time,
    repaired,
    replica_of,
    value_fault,
)

NAME_LENGTH_MAX = 1024
TOLD_IN_ANNOTATIONS = (
    "summary",
    "description",
    "url",
    "runbook_url",
    "value",
    "unit",
    "threshold",
)
"""Native fields that describe; they travel as annotations, and win over one of the same name."""

DEDUP_KEY = "dedup_key"
"""The annotation that carries the sender's own identity, so that it can be shown again."""

_ABOUT = ("severity", "service", "resource", "environment", DEDUP_KEY)

_split = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode = msgspec.json.Decoder().decode


class _Bad(ValueError):
    """An item that cannot be read. `code` is a metric label."""

    def __init__(self, text: str, code: str) -> None:
        super().__init__(text)
        self.code = code


class Native:
    """The format of `POST /api/v1/alerts` and of sources of type `native`."""

    name = "native"
    resolves = True

    def parse(self, body: bytes, context: Context) -> Parsed:
        """The alerts of an object, an array, or lines. Raises Unreadable when the body is none of these."""
        alerts: list[ParsedAlert] = []
        rejected: list[Rejected] = []
        skewed = 0
        for index, raw in enumerate(_items(body), context.first):
            try:
                alert, late = _build(_object(raw), context)
            except _Bad as error:
                rejected.append(Rejected(index, str(error), error.code, bytes(raw)))
                continue
            alerts.append(alert)
            skewed += late
        return Parsed(alerts, rejected, skewed)


def recorded(line: bytes) -> tuple[int | None, str]:
    """When a line of a recording arrived, ms, and at which source ("" where it does not say).

    It arrives at its `received_at`, else at its `ends_at` when resolved, else at `starts_at`; None
    when it has none of them. Raises ValueError when the line is no object or such a time unreadable.
    """
    item = _object(line)
    status = _text(item, "status").lower()
    for field in (
        "received_at",
        "ends_at" if status == "resolved" else "starts_at",
        "starts_at",
    ):
        if (at := _time(item, field)) is not None:
            return at, _text(item, "source")
    return None, _text(item, "source")


def _items(body: bytes) -> list[msgspec.Raw] | list[bytes]:
    """The items' own bytes: of an object, of an array, else of lines."""
    text = body.removeprefix(b"\xef\xbb\xbf").strip()
    if not text:
        raise Unreadable(
            "the body is empty; send a JSON object, an array of objects, or one object a line",
            "empty",
        )
    if text[:1] == b"[":
        try:
            return _split(text)
        except NOT_JSON as error:
            if mended := repaired(text):
                return _split(mended)
            raise Unreadable(f"not JSON: {error}") from None
    if text[:1] != b"{":
        raise Unreadable("not JSON: expected an object, an array of objects, or one object a line")
    if _is_json(text):
        return [text]
    lines = [line for line in text.splitlines() if line.strip()]
    if len(lines) == 1 or not any(_is_json(line) for line in lines):
        raise Unreadable(f"not JSON: {_complaint(text)}")
    return lines


def _is_json(text: bytes) -> bool:
    return not _complaint(text) or repaired(text) is not None


def _complaint(text: bytes) -> str:
    try:
        _decode(text)
    except NOT_JSON as error:
        return str(error)
    return ""


def _object(raw: msgspec.Raw | bytes) -> dict[str, Any]:
    try:
        item = _decode(raw)
    except NOT_JSON as error:
        mended = repaired(bytes(raw))
        if mended is None:
            raise _Bad(f"not JSON: {error}", "not_json") from None
        item = _decode(mended)
    if not isinstance(item, dict):
        raise _Bad("must be an object", "wrong_type")
    return item


def _build(item: dict[str, Any], context: Context) -> tuple[ParsedAlert, bool]:
    """The alert, and whether its past `ends_at` was ignored."""
    name = item.get("name")
    if not isinstance(name, str) or not name.strip():
        raise _Bad("name is required, a text that says what is wrong", "name")
    if len(name) > NAME_LENGTH_MAX:
        raise _Bad(f"name is longer than {NAME_LENGTH_MAX} characters", "name")
    firing = _firing(item)
    severity = item.get("severity")
    if severity is not None and not isinstance(severity, str):
        raise _Bad("severity must be a text: critical, error, warning, info", "severity")
    service, resource, environment = (_text(item, field) for field in ("service", "resource", "environment"))
    labels = _map(item, "labels")
    replica = replica_of(labels, context.ignored)
    encoded = canonical(labels)
    if fault := label_fault(labels, encoded, replica, context.limits):
        raise _Bad(fault, "labels_too_large")
    own = _text(item, DEDUP_KEY)
    for field, value in zip(_ABOUT, (severity or "", service, resource, environment, own), strict=True):
        if fault := value_fault(field, value, context.limits):
            raise _Bad(fault, "too_long")
    starts, ends = _time(item, "starts_at"), _time(item, "ends_at")
    late = firing and ends is not None and ends <= context.received_ms
    alert = ParsedAlert(
        source=context.source,
        key=alert_key(
            context.source,
            _identity(own, name, service, resource, environment, encoded),
        ),
        name=name,
        firing=firing,
        severity=severity or "",
        service=service,
        resource=resource,
        environment=environment,
        labels=encoded,
        annotations=_annotations(item, own, context.limits),
        starts_at=starts,
        ends_at=None if late else ends,
        replica=replica,
        emitter=f"{context.source} {replica or context.client}",
        invented_end=False,
        event=context.resolves is False,
    )
    return alert, late


def _identity(own: str, name: str, service: str, resource: str, environment: str, labels: bytes) -> bytes:
    """The sender's own key, as a JSON string; else a JSON array of what names the thing. Never the severity."""
    if own:
        return orjson.dumps(own)
    return b"[" + orjson.dumps([name, service, resource, environment])[1:-1] + b"," + labels + b"]"


def _firing(item: dict[str, Any]) -> bool:
    status = item.get("status")
    if status is None:
        return True
    word = status.strip().lower() if isinstance(status, str) else ""
    if word not in ("firing", "resolved"):
        raise _Bad("status must be firing or resolved", "status")
    return word == "firing"


def _annotations(item: dict[str, Any], own: str, limits: Limits) -> bytes:
    annotations = _map(item, "annotations")
    annotations.pop(DEDUP_KEY, None)
    for field in TOLD_IN_ANNOTATIONS:
        if text := _text(item, field):
            annotations[field] = text
    if own:
        annotations[DEDUP_KEY] = own
    return described(annotations, limits)


def _map(item: dict[str, Any], field: str) -> dict[str, str]:
    values = item.get(field)
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise _Bad(f"{field} must be an object of texts", field)
    return {name: _as_text(value, f"{field}.{name}") for name, value in values.items() if value is not None}


def _text(item: dict[str, Any], field: str) -> str:
    value = item.get(field)
    return "" if value is None else _as_text(value, field)


def _as_text(value: Any, where: str) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return msgspec.json.encode(value).decode()
    raise _Bad(f"{where[:100]} must be a text", "wrong_type")


def _time(item: dict[str, Any], field: str) -> int | None:
    value = item.get(field)
    if value is None:
        return None
    if not isinstance(value, str):
        raise _Bad(f"{field} must be an RFC 3339 time, as text", "bad_time")
    try:
        at = parse_time(value)
    except ValueError as error:
        raise _Bad(f"{field}: {error}", "bad_time") from None
    return None if at == TIME_MIN else at  # What Go writes for a time that was never set.


FORMAT = Native()
