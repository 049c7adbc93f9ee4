"""PagerDuty: Events API v2, and as much of the REST API as finds an incident by its key."""

from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from tests.fakes.base import Fake, json_of

BODY_BYTES_MAX = 512 * 1024
ACTIONS = ("trigger", "acknowledge", "resolve")


@dataclass
class Page:
    """An incident at PagerDuty. log: the triggers that were only appended, and rang nobody."""

    id: str
    key: str
    status: str
    summary: str
    severity: str
    details: Any
    log: list[str] = field(default_factory=list)


class FakePagerDuty(Fake):
    """One service with one integration. Every `Page` has rung once: that is what people have been called for."""

    name = "pagerduty"

    def __init__(self, *, routing_key: str = "0123456789abcdef0123456789abcdef", api_token: str = "rest", **rest: Any):
        super().__init__(**rest)
        self.routing_key, self.api_token = routing_key, api_token
        self.pages: list[Page] = []
        self.dropped: list[tuple[str, str]] = []

    def routes(self) -> list[web.RouteDef]:
        """Events and REST under one address."""
        return [web.post("/v2/enqueue", self._enqueue), web.get("/incidents", self._incidents)]

    def objects(self, key: str) -> list[Page]:
        """The pages of a dedup key."""
        return [page for page in self.pages if page.key == key]

    def open_objects(self, key: str) -> list[Page]:
        """Those that are not resolved (there is at most one)."""
        return [page for page in self.objects(key) if page.status != "resolved"]

    def keys(self) -> list[str]:
        """All dedup keys."""
        return list(dict.fromkeys(page.key for page in self.pages))

    def person_does(self, key: str, status: str) -> None:
        """A person acknowledges or resolves in the app."""
        for page in self.open_objects(key):
            page.status = status

    async def _enqueue(self, request: web.Request) -> web.Response:
        if len(await request.read()) > BODY_BYTES_MAX:
            return _invalid("Event object is too large", status=413)
        event = await json_of(request)
        wrong = self._wrong(event)
        if wrong:
            return _invalid(wrong)
        key, action = event["dedup_key"], event["event_action"]
        standing = self.open_objects(key)
        if action == "trigger":
            self._trigger(key, event["payload"], standing)
        elif not standing:
            self.dropped.append((action, key))
        else:
            standing[0].status = "resolved" if action == "resolve" else "acknowledged"
            self.say(f"{action} {key}")
        return web.json_response({"status": "success", "message": "Event processed", "dedup_key": key}, status=202)

    def _trigger(self, key: str, payload: Any, standing: list[Page]) -> None:
        if standing:
            standing[0].log.append(payload["summary"])
            return
        details = payload.get("custom_details")
        page = Page(f"Q{len(self.pages) + 1:06d}", key, "triggered", payload["summary"], payload["severity"], details)
        self.pages.append(page)
        self.say(f"RINGS {page.summary} [{page.severity}] {key}")

    def _wrong(self, event: Any) -> str:
        if not isinstance(event, dict):
            return "Event object is not JSON"
        if event.get("routing_key") != self.routing_key:
            return f"Invalid routing key {event.get('routing_key')}"
        payload = event.get("payload")
        if event.get("event_action") not in ACTIONS:
            return "'event_action' is invalid (should be one of trigger, acknowledge or resolve)"
        if event["event_action"] == "trigger":
            if not isinstance(payload, dict):
                return "'payload' is missing or blank"
            for name in ("summary", "source", "severity"):
                if not payload.get(name):
                    return f"'payload.{name}' is missing or blank"
            if len(payload["summary"]) > 1024:
                return "'payload.summary' is too long (maximum is 1024 characters)"
            if payload["severity"] not in ("critical", "error", "warning", "info"):
                return "'payload.severity' is invalid"
        if not isinstance(event.get("dedup_key"), str) or not 1 <= len(event["dedup_key"]) <= 255:
            return "'dedup_key' is too long or missing"
        return self.check_schema("overlay.pagerduty-events-v2.enqueue.request", event)

    async def _incidents(self, request: web.Request) -> web.Response:
        if request.headers.get("Authorization") != f"Token token={self.api_token}":
            return web.json_response({"error": {"message": "Unauthorized", "code": 2006}}, status=401)
        key = request.query.get("incident_key", "")
        found = [
            {"id": page.id, "status": page.status, "incident_key": page.key, "title": page.summary}
            for page in self.pages
            if not key or page.key == key
        ]
        return web.json_response({"incidents": found, "limit": 25, "offset": 0, "more": False})


def _invalid(error: str, status: int = 400) -> web.Response:
    body = {"status": "invalid event", "message": "Event object is invalid", "errors": [error]}
    return web.json_response(body, status=status)
