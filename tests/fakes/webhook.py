"""A receiver of the generic webhook that keeps to the rules: it takes a message twice only under two keys."""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from aiohttp import web

from tests.fakes.base import Fake, json_of

TYPES = ("incident.opened", "incident.updated", "incident.resolved", "incident.reopened", "incident.summary")
MEMBERS = {"type", "key", "sent_at", "incident"}
OF_A_SUMMARY = {"text", "incidents"}
FIELDS = {
    "id": str, "ref": str, "title": str, "state": str, "priority": str, "impact": str, "urgency": str,
    "derivation": str, "owner": str, "services": list, "cause": str | None, "opened_at": str,
    "acknowledged_at": str | None, "resolved_at": str | None, "closed_at": str | None, "merged_into": str | None,
    "alerts": dict,
}  # fmt: skip
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")


@dataclass
class Message:
    """One message. copies: how often it came under the same idempotency key."""

    key: str
    type: str
    idempotency_key: str
    incident: dict[str, Any]
    incidents: list[dict[str, Any]]
    text: str = ""
    copies: int = 1


class FakeWebhook(Fake):
    """Takes messages at any path. bearer: what it demands in Authorization, "" for nothing."""

    name = "webhook"

    def __init__(self, *, bearer: str = "", **rest: Any) -> None:
        super().__init__(**rest)
        self.bearer = bearer
        self.messages: list[Message] = []

    def routes(self) -> list[web.RouteDef]:
        """Any path."""
        return [web.post("/{path:.*}", self._take), web.head("/{path:.*}", self._head)]

    def objects(self, key: str) -> list[Message]:
        """The messages that opened something under this key (copies under one idempotency key are one)."""
        return [message for message in self.messages if message.key == key and message.type == "incident.opened"]

    def open_objects(self, key: str) -> list[Message]:
        """Those that no later message has ended."""
        types = [message.type for message in self.messages if message.key == key]
        return [] if types and types[-1] == "incident.resolved" else self.objects(key)

    def keys(self) -> list[str]:
        """All keys."""
        return list(dict.fromkeys(message.key for message in self.messages))

    async def _head(self, request: web.Request) -> web.Response:
        return web.Response(status=405)

    async def _take(self, request: web.Request) -> web.Response:
        if self.bearer and request.headers.get("Authorization") != f"Bearer {self.bearer}":
            return web.json_response({"error": f"no: {request.headers.get('Authorization')}"}, status=401)
        body, key = await json_of(request), request.headers.get("Idempotency-Key", "")
        wrong = _wrong(body, key)
        if wrong:
            self.violations.append(wrong)
            return web.json_response({"error": wrong}, status=422)
        known = next((message for message in self.messages if message.idempotency_key == key), None)
        if known:
            known.copies += 1
        else:
            incident, listed = body["incident"], body.get("incidents", [])
            self.messages.append(Message(body["key"], body["type"], key, incident, listed, body.get("text", "")))
            self.say(f"{body['type']} {incident['priority']} {incident['title']} ({incident['ref']})")
        return web.Response(status=204)


def _wrong(body: Any, idempotency_key: str) -> str:
    if not idempotency_key:
        return "header Idempotency-Key is missing"
    if not isinstance(body, dict) or not set(body) >= MEMBERS:
        return f"the body must have {', '.join(sorted(MEMBERS))}"
    if body["type"] not in TYPES:
        return f"type {body['type']} is none"
    if set(body) - MEMBERS != (OF_A_SUMMARY if body["type"] == "incident.summary" else set()):
        return f"{body['type']} has {', '.join(sorted(body))}"
    if not _is_time(body["sent_at"]):
        return f"{body['sent_at']} is no RFC 3339 time"
    return next(filter(None, map(_wrong_incident, [body["incident"], *body.get("incidents", [])])), "")


def _wrong_incident(incident: dict[str, Any]) -> str:
    for name, kind in FIELDS.items():
        if name not in incident or not isinstance(incident[name], kind):
            return f"incident.{name} is missing or of another type"
    if set(incident["alerts"]) != {"firing", "resolved", "held"}:
        return "incident.alerts must have firing, resolved, held"
    for name, value in incident.items():
        if name.endswith("_at") and value and not _is_time(value):
            return f"{value} is no RFC 3339 time"
    return ""


def _is_time(text: str) -> bool:
    return _TIME.fullmatch(text) is not None and datetime.fromisoformat(text) is not None
