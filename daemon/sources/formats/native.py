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
    harmless_bytes,
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
_TEXTS = ("service", "resource", "environment", DEDUP_KEY, *TOLD_IN_ANNOTATIONS)


class Item(msgspec.Struct, gc=False):
    """One alert as it is sent, every value a text but for what was measured. Unknown fields are ignored."""

    name: str
    status: str | None = None
    severity: str | None = None
    service: str | None = None
    resource: str | None = None
    environment: str | None = None
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    dedup_key: str | None = None
    starts_at: str | None = None
    ends_at: str | None = None
    summary: str | None = None
    description: str | None = None
    url: str | None = None
    runbook_url: str | None = None
    value: str | int | float | bool | None = None
    unit: str | None = None
    threshold: str | int | float | bool | None = None


_items_of = msgspec.json.Decoder(list[Item]).decode
_lines = msgspec.json.Decoder(Item)
_split = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode = msgspec.json.Decoder().decode


class _Bad(ValueError):
    """An item that cannot be read. `code` is a metric label."""

    def __init__(self, text: str, code: str) -> None:
        super().__init__(text)
        self.code = code


_NAMELESS = _Bad("name is required, a text that says what is wrong", "name")


class Native:
    """The format of `POST /api/v1/alerts` and of sources of type `native`."""

    name = "native"
    resolves = True

    def parse(self, body: bytes, context: Context) -> Parsed:
        """The alerts of an object, an array, or lines. Raises Unreadable when the body is none of these."""
        items = _typed(body)
        if items is not None:
            try:
                built = [_build(item, context) for item in items]
            except _Bad:
                pass  # One by one, then: the others are kept, and that one with its bytes.
            else:
                return Parsed([alert for alert, _ in built], [], sum(late for _, late in built))
        alerts: list[ParsedAlert] = []
        rejected: list[Rejected] = []
        skewed = 0
        for index, raw in enumerate(_items(body), context.first):
            try:
                alert, late = _build(_lenient(_object(raw)), context)
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
        value = _time_text(item, field)
        if value is not None and (at := _time(field, value)) is not None:
            return at, _text(item, "source")
    return None, _text(item, "source")


def _typed(body: bytes) -> list[Item] | None:
    """The items at once, where all of them are as they should be: what almost always comes."""
    try:
        if body[:1] == b"[":
            return _items_of(body)
        return _lines.decode_lines(body) if body[:1] == b"{" else None
    except NOT_JSON:
        return None


def _lenient(item: dict[str, Any]) -> Item:
    """An item whose values are taken as texts where that can be. Raises _Bad for what it must not be."""
    name, severity, status = item.get("name"), item.get("severity"), item.get("status")
    if not isinstance(name, str):
        raise _NAMELESS
    if severity is not None and not isinstance(severity, str):
        raise _Bad("severity must be a text: critical, error, warning, info", "severity")
    if status is not None and not isinstance(status, str):
        raise _Bad("status must be firing or resolved", "status")
    texts = {field: _text(item, field) for field in _TEXTS}
    labels, annotations = _map(item, "labels"), _map(item, "annotations")
    starts, ends = _time_text(item, "starts_at"), _time_text(item, "ends_at")
    return Item(name, status, severity, labels=labels, annotations=annotations, starts_at=starts, ends_at=ends, **texts)


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


def _build(item: Item, context: Context) -> tuple[ParsedAlert, bool]:
    """The alert, and whether its past `ends_at` was ignored."""
    name, limits = item.name, context.limits
    if not name or not name.strip():
        raise _NAMELESS
    if len(name) > NAME_LENGTH_MAX:
        raise _Bad(f"name is longer than {NAME_LENGTH_MAX} characters", "name")
    firing = item.status is None or _firing(item.status)
    severity, own = item.severity or "", item.dedup_key or ""
    service, resource, environment = item.service or "", item.resource or "", item.environment or ""
    labels = item.labels or {}
    replica = replica_of(labels, context.ignored)
    encoded = canonical(labels)
    if (len(encoded) > harmless_bytes(limits) or replica or len(labels) > limits.labels_max) and (
        fault := label_fault(labels, encoded, replica, limits)
    ):
        raise _Bad(fault, "labels_too_large")
    if len(severity) + len(service) + len(resource) + len(environment) + len(own) > limits.label_value_bytes_max // 4:
        _check_lengths((severity, service, resource, environment, own), limits)
    starts = _time("starts_at", item.starts_at) if item.starts_at is not None else None
    ends = _time("ends_at", item.ends_at) if item.ends_at is not None else None
    late = firing and ends is not None and ends <= context.received_ms
    alert = ParsedAlert(
        context.source,
        alert_key(context.source, _identity(own, name, service, resource, environment, encoded)),
        name,
        firing,
        severity,
        service,
        resource,
        environment,
        encoded,
        _annotations(item, own, limits),
        starts,
        None if late else ends,
        replica,
        f"{context.source} {replica or context.client}",
        False,  # invented_end
        context.resolves is False,
    )
    return alert, late


def _check_lengths(values: tuple[str, ...], limits: Limits) -> None:
    for field, value in zip(_ABOUT, values, strict=True):
        if fault := value_fault(field, value, limits):
            raise _Bad(fault, "too_long")


def _identity(own: str, name: str, service: str, resource: str, environment: str, labels: bytes) -> bytes:
    """The sender's own key, as a JSON string; else a JSON array of what names the thing. Never the severity."""
    if own:
        return orjson.dumps(own)
    return b"[" + orjson.dumps([name, service, resource, environment])[1:-1] + b"," + labels + b"]"


def _firing(status: str) -> bool:
    word = status.strip().lower()
    if word not in ("firing", "resolved"):
        raise _Bad("status must be firing or resolved", "status")
    return word == "firing"


def _annotations(item: Item, own: str, limits: Limits) -> bytes:
    annotations = item.annotations or {}
    annotations.pop(DEDUP_KEY, None)
    for field in TOLD_IN_ANNOTATIONS:
        if (value := getattr(item, field)) is not None and (text := _as_text(value, field)):
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


def _time_text(item: dict[str, Any], field: str) -> str | None:
    value = item.get(field)
    if value is not None and not isinstance(value, str):
        raise _Bad(f"{field} must be an RFC 3339 time, as text", "bad_time")
    return value


def _time(field: str, value: str) -> int | None:
    try:
        at = parse_time(value)
    except ValueError as error:
        raise _Bad(f"{field}: {error}", "bad_time") from None
    return None if at == TIME_MIN else at  # What Go writes for a time that was never set.


FORMAT = Native()
