"""Changes as they are posted to `/api/v1/changes`: an object, an array, or one object a line."""

from typing import Any

import msgspec
import orjson

from daemon.core.model.change import ParsedChange
from daemon.sources.formats.base import Rejected, Unreadable
from daemon.sources.formats.common import TIME_MIN, canonical, parse_time

TEXT_MAX = {"id": 200, "service": 200, "environment": 200, "summary": 1_000, "url": 2_000}
LABELS_BYTES_MAX = 8 * 1024
ITEMS_MAX = 1_000


class _Bad(ValueError):
    """A change that cannot be read."""


class ParsedChanges(msgspec.Struct, frozen=True):
    """What a body held."""

    changes: list[ParsedChange]
    rejected: list[Rejected] = []


def parse(body: bytes, source: str) -> ParsedChanges:
    """The changes in a body. Bad items are reported, never raised. Raises Unreadable for the whole body."""
    changes: list[ParsedChange] = []
    rejected: list[Rejected] = []
    for index, item in enumerate(_items(body)):
        try:
            changes.append(_change(item, source))
        except _Bad as error:
            rejected.append(Rejected(index, str(error), "change"))
    return ParsedChanges(changes, rejected)


def _items(body: bytes) -> list[Any]:
    text = body.removeprefix(b"\xef\xbb\xbf").strip()
    if not text:
        raise Unreadable("the body is empty; send a JSON object, an array, or one object a line", "empty")
    try:
        whole = orjson.loads(text)
        items = whole if isinstance(whole, list) else [whole]
    except orjson.JSONDecodeError as error:
        lines = [line for line in text.splitlines() if line.strip()]
        items = [_line(line) for line in lines]
        if len(lines) == 1 or all(isinstance(item, _NotJson) for item in items):
            raise Unreadable(f"not JSON: {error}") from None
    if len(items) > ITEMS_MAX:
        raise Unreadable(f"more than {ITEMS_MAX} changes in one request; send fewer", "too_many", 422)
    return items


class _NotJson(str):
    __slots__ = ()


def _line(line: bytes) -> Any:
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError as error:
        return _NotJson(error)


def _change(item: Any, source: str) -> ParsedChange:
    if isinstance(item, _NotJson):
        raise _Bad(f"not JSON: {item}")
    if not isinstance(item, dict):
        raise _Bad("must be an object")
    texts = {name: _text(item, name) for name in TEXT_MAX}
    for name in ("service", "summary"):
        if not texts[name]:
            raise _Bad(f"{name} is required")
    if texts["url"] and not texts["url"].startswith(("https://", "http://")):
        raise _Bad("url must begin with https:// or http://")
    return ParsedChange(at=_time(item), source=source, labels=_labels(item), **texts)


def _text(item: dict[str, Any], name: str) -> str:
    value = item.get(name)
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise _Bad(f"{name} must be a text")
    text = str(value).strip()
    if len(text) > TEXT_MAX[name]:
        raise _Bad(f"{name} is longer than {TEXT_MAX[name]} characters")
    return text


def _time(item: dict[str, Any]) -> int:
    value = item.get("at")
    if value is None:
        return 0
    try:
        at = parse_time(value) if isinstance(value, str) else None
    except ValueError as error:
        raise _Bad(f"at: {error}") from None
    if at is None:
        raise _Bad("at must be an RFC 3339 time, as text")
    return 0 if at == TIME_MIN else max(at, 1)


def _labels(item: dict[str, Any]) -> bytes:
    labels = item.get("labels")
    if labels is None:
        return b"{}"
    if not isinstance(labels, dict) or not all(isinstance(value, str) for value in labels.values()):
        raise _Bad("labels must be an object of texts")
    encoded = canonical(labels)
    if len(encoded) > LABELS_BYTES_MAX:
        raise _Bad(f"labels are longer than {LABELS_BYTES_MAX} bytes")
    return encoded
