"""PagerDuty's Events API v2: what stands in an alert event and in a change event, and what is wrong with one.

Pure. The sender shows who it is by a routing key in the body; what the key stands for (`Route`) is
looked up by the caller, so nothing here sees a secret twice.
"""

from collections.abc import Iterable
from hashlib import blake2b
from typing import Any

import msgspec
import orjson

from daemon.core.model.alert import ParsedAlert, alert_key
from daemon.core.model.change import ParsedChange
from daemon.sources.formats.base import Context
from daemon.sources.formats.common import NOT_JSON, TIME_MIN, canonical, described, parse_time, repaired

NAME = "pagerduty_events"
ACTIONS = ("trigger", "acknowledge", "resolve")
SEVERITIES = ("critical", "warning", "error", "info")
ROUTING_KEY_LENGTH = 32
SUMMARY_LENGTH_MAX, DEDUP_KEY_LENGTH_MAX = 1024, 255
FIELD_LENGTH_MAX = 1024
"""Of `source`, `component`, `group` and `class`; what is longer loses its end. None of them identifies the alert."""

HIDDEN = "***"
_LABELS = ("component", "group", "class")
_decode = msgspec.json.Decoder().decode


class Route(msgspec.Struct, frozen=True):
    """What a routing key stands for. source: the name under which its alerts are known."""

    source: str
    service: str
    environment: str = ""


class Invalid(Exception):
    """The event is refused as PagerDuty refuses it. errors: in PagerDuty's words. code: a metric label."""

    def __init__(self, errors: list[str], code: str) -> None:
        super().__init__("; ".join(errors))
        self.errors, self.code = errors, code


def decode(body: bytes) -> dict[str, Any]:
    """The event in a body. Raises Invalid when it is no JSON object."""
    try:
        event = _decode(body)
    except NOT_JSON as error:
        mended = repaired(body)
        if mended is None:
            raise Invalid([f"the body is not JSON: {error}"], "not_json") from None
        return decode(mended)
    if not isinstance(event, dict):
        raise Invalid(["the body must be a JSON object"], "wrong_type")
    return event


def routing_key_of(event: dict[str, Any]) -> str:
    """The key by which the sender shows who it is. Raises Invalid when it cannot be one; the key is not repeated."""
    key = event.get("routing_key")
    if not isinstance(key, str) or not key:
        raise Invalid(["'routing_key' is missing or blank"], "routing_key")
    if len(key) != ROUTING_KEY_LENGTH:
        raise Invalid(
            [f"Length of 'routing_key' is incorrect (should be {ROUTING_KEY_LENGTH} characters)"], "routing_key"
        )
    return key


def without_key(event: dict[str, Any]) -> bytes:
    """The event as it may be kept: its routing key is hidden wherever it stands. Raises Invalid when it is too deep."""
    try:
        raw = msgspec.json.encode({**event, "routing_key": HIDDEN})
    except RecursionError:
        raise Invalid(["the body is nested too deeply"], "not_json") from None
    return raw.replace(str(event["routing_key"]).encode(), HIDDEN.encode())


# ---- alerts --------------------------------------------------------------------------------------
def check(event: dict[str, Any]) -> None:
    """Raises Invalid with everything that PagerDuty would refuse an alert event for."""
    action = event.get("event_action")
    errors = []
    if not action:
        errors.append("'event_action' is missing or blank")
    elif action not in ACTIONS:
        errors.append(f"'event_action' is invalid (must be one of the following: {_quoted(ACTIONS)})")
    errors += _dedup_key_errors(event.get("dedup_key"), needed=action in ("acknowledge", "resolve"))
    if action == "trigger":
        errors += _payload_errors(event.get("payload"), ("summary", "source"))
    if errors:
        raise Invalid(errors, "invalid_event")


def _dedup_key_errors(key: Any, *, needed: bool) -> list[str]:
    if key is None or key == "":
        return ["'dedup_key' is missing or blank"] if needed else []
    if not isinstance(key, str):
        return ["'dedup_key' must be a string"]
    if len(key) > DEDUP_KEY_LENGTH_MAX:
        return [f"'dedup_key' is too long (maximum is {DEDUP_KEY_LENGTH_MAX} characters)"]
    return []


def _payload_errors(payload: Any, needed: tuple[str, ...]) -> list[str]:
    if not isinstance(payload, dict):
        return ["'payload' is missing or blank"]
    errors = []
    for name in needed:
        value = payload.get(name)
        if value is None or (isinstance(value, str) and not value.strip()):
            errors.append(f"'payload.{name}' is missing or blank")
        elif not isinstance(value, str):
            errors.append(f"'payload.{name}' must be a string")
        elif name == "summary" and len(value) > SUMMARY_LENGTH_MAX:
            errors.append(f"'payload.summary' is too long (maximum is {SUMMARY_LENGTH_MAX} characters)")
    if "source" in needed:
        errors += _severity_errors(payload.get("severity"))
    return errors


def _severity_errors(severity: Any) -> list[str]:
    if not severity:
        return ["'payload.severity' is missing or blank"]
    if severity not in SEVERITIES:
        return [f"'payload.severity' is invalid (must be one of the following: {_quoted(SEVERITIES)})"]
    return []


def _quoted(words: tuple[str, ...]) -> str:
    return ", ".join(f"'{word}'" for word in words[:-1]) + f" or '{words[-1]}'"


def key_of(dedup_key: str, route: Route) -> bytes:
    """The alert's key. PagerDuty's keys mean something within one service, so the service is part of it."""
    return alert_key(route.source, orjson.dumps([route.service, route.environment, dedup_key]))


def alert_of(event: dict[str, Any], dedup_key: str, route: Route, context: Context) -> ParsedAlert:
    """The alert of a trigger or resolve that passed `check`.

    dedup_key: the event's, or the one that was made up for a trigger without. A timestamp ahead of
    the time of receipt is taken for a wrong clock: else the resolve that follows would be too early.
    """
    firing = event["event_action"] == "trigger"
    payload = event.get("payload")
    payload = payload if isinstance(payload, dict) else {}
    at = _time(payload)
    if at is not None:
        at = min(at, context.received_ms)
    return ParsedAlert(
        source=route.source,
        key=key_of(dedup_key, route),
        name=_name(payload) or dedup_key,
        firing=firing,
        # A resolve needs none; "none" keeps it from being counted as a word that nobody knows.
        severity=payload["severity"] if firing else "none",
        service=route.service,
        resource=_field(payload, "source"),
        environment=route.environment,
        labels=canonical({name: value for name in _LABELS if (value := _field(payload, name))}),
        annotations=_annotations(event, payload, dedup_key),
        starts_at=at if firing else None,
        ends_at=None if firing else at,
        replica="",
        emitter=route.source,
        invented_end=False,
        event=context.resolves is False,
    )


def _name(payload: dict[str, Any]) -> str:
    """The class of the event, else its summary: PagerDuty has no field for a stable name."""
    return " ".join((_field(payload, "class") or _field(payload, "summary")).split())


def _annotations(event: dict[str, Any], payload: dict[str, Any], dedup_key: str) -> bytes:
    links, images = _links(event.get("links"), "text"), _links(event.get("images"), "alt")
    pages = [_address(event.get("client_url")), *(href for href, _ in links), *(href for href, _ in images)]
    own = {
        "summary": _field(payload, "summary"),
        "url": next(filter(None, pages), ""),
        "client": _text(event.get("client")),
        "links": _lines(links),
        "images": _lines(images),
        "dedup_key": dedup_key,
    }
    return described({**_details(payload), **{name: text for name, text in own.items() if text}})


# ---- changes -------------------------------------------------------------------------------------
def check_change(event: dict[str, Any]) -> None:
    """Raises Invalid with everything that PagerDuty would refuse a change event for."""
    errors = _payload_errors(event.get("payload"), ("summary",))
    if errors:
        raise Invalid(errors, "invalid_event")


def change_of(event: dict[str, Any], route: Route, received_ms: int) -> ParsedChange:
    """The change in an event that passed `check_change`.

    The same event gets the same id when it names its time, so that one sent again is one change.
    """
    payload = event["payload"]
    at = _time(payload)
    links, images = _links(event.get("links"), "text"), _links(event.get("images"), "alt")
    labels = _details(payload)
    if resource := _field(payload, "source"):
        labels["resource"] = resource
    identity = orjson.dumps([route.source, route.service, route.environment, received_ms if at is None else at])
    return ParsedChange(
        id=blake2b(identity + msgspec.json.encode(event), digest_size=16).hexdigest(),
        at=received_ms if at is None else min(at, received_ms),
        source=route.source,
        service=route.service,
        environment=route.environment,
        summary=" ".join(payload["summary"].split()),
        url=next((href for href, _ in (*links, *images)), ""),
        labels=described(labels),
    )


# ---- fields --------------------------------------------------------------------------------------
def _time(payload: dict[str, Any]) -> int | None:
    """`payload.timestamp` in ms; None without one, and for one that nobody can read: it only describes."""
    value = payload.get("timestamp")
    try:
        at = parse_time(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return None if at == TIME_MIN else at


def _field(payload: dict[str, Any], name: str) -> str:
    text = _text(payload.get(name))
    return text if len(text) <= FIELD_LENGTH_MAX else text[: FIELD_LENGTH_MAX - 1] + "…"


def _details(payload: dict[str, Any]) -> dict[str, str]:
    """`custom_details` as texts by name; what is no object becomes the description."""
    details = payload.get("custom_details")
    if isinstance(details, dict):
        return {name: _text(value) for name, value in details.items() if name and value is not None}
    return {"description": text} if (text := _text(details)) else {}


def _links(values: Any, words: str) -> list[tuple[str, str]]:
    """Address and words of each link or image; what is none is left out, the alert is worth more than its links."""
    found = []
    for one in values if isinstance(values, list) else ():
        if isinstance(one, dict):
            address = _address(one.get("href")) or _address(one.get("src"))
            if address:
                found.append((address, _text(one.get(words))))
    return found


def _address(value: Any) -> str:
    """An address that a browser may follow safely, else ""."""
    return value if isinstance(value, str) and value.startswith(("https://", "http://")) else ""


def _lines(links: Iterable[tuple[str, str]]) -> str:
    return "\n".join(f"{address} {words}".rstrip() for address, words in links)


def _text(value: Any) -> str:
    """A value as text: a string as it is, anything else as its JSON."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    try:
        return msgspec.json.encode(value).decode()
    except RecursionError:
        return "(nested too deeply to be shown)"
