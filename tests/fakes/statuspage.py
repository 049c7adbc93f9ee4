"""Statuspage.io: incidents and components of one page."""

from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from tests.fakes.base import Fake, json_of

STATES = ("operational", "under_maintenance", "degraded_performance", "partial_outage", "major_outage")
STATUSES = ("investigating", "identified", "monitoring", "resolved")


@dataclass
class Entry:
    """An incident on the page. updates: status and body as the public read them, newest first."""

    id: str
    name: str
    status: str
    created_at: float
    metadata: dict[str, Any]
    components: dict[str, str] = field(default_factory=dict)
    impact_override: str | None = None
    updates: list[tuple[str, str]] = field(default_factory=list)

    @property
    def key(self) -> str:
        """Our key in its metadata."""
        return str(self.metadata.get("samband", {}).get("key", ""))


class FakeStatuspage(Fake):
    """One page. lag_s: so long a new incident is missing in lists. per_minute: requests, 0 for no limit."""

    name = "statuspage"

    def __init__(
        self,
        *,
        page: str = "abc123",
        token: str = "t",
        components: dict[str, str] | None = None,
        lag_s: float = 0.0,
        per_minute: int = 0,
        **rest: Any,
    ) -> None:
        super().__init__(**rest)
        self.page, self.token, self.lag_s, self.per_minute = page, token, lag_s, per_minute
        self.components = {"Checkout": "gcvfrw2r8w36", "Payments": "6p7x5zn55x73"} if components is None else components
        self.shown = dict.fromkeys(self.components.values(), "operational")
        self.entries: list[Entry] = []
        self._calls: list[float] = []

    def routes(self) -> list[web.RouteDef]:
        """As under /v1/pages."""
        base = "/v1/pages/{page}"
        return [
            web.get(f"{base}/components", self._components),
            web.get(f"{base}/incidents/unresolved", self._unresolved),
            web.get(f"{base}/incidents", self._recent),
            web.post(f"{base}/incidents", self._create),
            web.get(f"{base}/incidents/{{id}}", self._one),
            web.patch(f"{base}/incidents/{{id}}", self._update),
        ]

    def objects(self, key: str) -> list[Entry]:
        """The entries with a key of ours."""
        return [entry for entry in self.entries if entry.key == key]

    def open_objects(self, key: str) -> list[Entry]:
        """Those that are not resolved."""
        return [entry for entry in self.objects(key) if entry.status != "resolved"]

    def keys(self) -> list[str]:
        """All keys of ours."""
        return list(dict.fromkeys(entry.key for entry in self.entries if entry.key))

    def state(self) -> Any:
        """The entries, and what the components show."""
        return {"entries": [vars(entry) for entry in self.entries], "components": self.shown}

    def _refused(self, request: web.Request) -> web.Response | None:
        now = self.clock()
        self._calls = [at for at in self._calls if now - at < 60] + [now]
        if self.per_minute and len(self._calls) > self.per_minute:
            return web.json_response({"error": "Too many requests"}, status=420)
        if request.headers.get("Authorization") != f"OAuth {self.token}":
            return web.json_response({"error": "Could not authenticate"}, status=401)
        if request.match_info["page"] != self.page:
            return web.json_response({"error": "Page not found"}, status=404)
        return None

    async def _components(self, request: web.Request) -> web.Response:
        shown = [
            {"id": number, "name": name, "status": self.shown[number], "group": False}
            for name, number in self.components.items()
        ]
        return self._refused(request) or web.json_response(shown)

    async def _unresolved(self, request: web.Request) -> web.Response:
        shown = [_as_json(entry) for entry in self._listed() if entry.status != "resolved"]
        return self._refused(request) or web.json_response(shown)

    async def _recent(self, request: web.Request) -> web.Response:
        shown = [_as_json(entry) for entry in self._listed()][: int(request.query.get("limit", "100"))]
        return self._refused(request) or web.json_response(shown)

    def _listed(self) -> list[Entry]:
        return [entry for entry in reversed(self.entries) if self.clock() - entry.created_at >= self.lag_s]

    async def _one(self, request: web.Request) -> web.Response:
        entry = self._entry(request)
        if refused := self._refused(request):
            return refused
        return web.json_response(_as_json(entry)) if entry else _not_found()

    def _entry(self, request: web.Request) -> Entry | None:
        return next((entry for entry in self.entries if entry.id == request.match_info["id"]), None)

    async def _create(self, request: web.Request) -> web.Response:
        if refused := self._refused(request):
            return refused
        body = await json_of(request)
        wrong = self._wrong(body, ("name", "status")) or self.check_schema(
            "overlay.statuspage-io.incidents.create.request", body
        )
        if wrong:
            return web.json_response({"error": [wrong]}, status=422)
        incident = body["incident"]
        entry = Entry(
            id=f"p{len(self.entries) + 1:011d}",
            name=incident["name"],
            status=incident["status"],
            created_at=self.clock(),
            metadata=incident.get("metadata", {}),
        )
        self.entries.append(entry)
        self._apply(entry, incident)
        return web.json_response(_as_json(entry), status=201)

    async def _update(self, request: web.Request) -> web.Response:
        if refused := self._refused(request):
            return refused
        entry, body = self._entry(request), await json_of(request)
        if entry is None:
            return _not_found()
        # The vendor's own file names one example component, and has no overlay: components are checked here.
        bare = {name: value for name, value in (body or {}).get("incident", {}).items() if name != "components"}
        wrong = self._wrong(body, ()) or self.check_schema("statuspage-io.incidents.update.request", {"incident": bare})
        if wrong:
            return web.json_response({"error": [wrong]}, status=422)
        self._apply(entry, body["incident"])
        return web.json_response(_as_json(entry))

    def _apply(self, entry: Entry, incident: Any) -> None:
        entry.name = incident.get("name", entry.name)
        entry.status = incident.get("status", entry.status)
        entry.metadata = incident.get("metadata", entry.metadata)
        entry.impact_override = incident.get("impact_override", entry.impact_override)
        if "body" in incident:
            entry.updates.insert(0, (entry.status, incident["body"]))
        entry.components |= incident.get("components", {})
        self.shown |= incident.get("components", {})
        self.say(f"{entry.status.upper()} {entry.name} | {' | '.join(body for _, body in entry.updates[:1])}")

    def _wrong(self, body: Any, required: tuple[str, ...]) -> str:
        incident = body.get("incident") if isinstance(body, dict) else None
        if not isinstance(incident, dict):
            return "incident is missing"
        for name in required:
            if not incident.get(name):
                return f"{name.capitalize()} can't be blank"
        if len(incident.get("name", "")) > 255:
            return "Name is too long (maximum is 255 characters)"
        if incident.get("status", "investigating") not in STATUSES:
            return "Status is not included in the list"
        if any(not isinstance(value, dict) for value in incident.get("metadata", {}).values()):
            return "Metadata values must be objects"
        components = incident.get("components", {})
        if set(components) - set(self.shown):
            return f"Component {min(set(components) - set(self.shown))} does not exist"
        if set(components.values()) - set(STATES):
            return "Component status is not included in the list"
        return ""


def _as_json(entry: Entry) -> dict[str, Any]:
    return {
        "id": entry.id,
        "name": entry.name,
        "status": entry.status,
        "created_at": f"{entry.created_at:020.6f}",
        "impact_override": entry.impact_override,
        "metadata": entry.metadata,
        "components": [{"id": number, "status": status} for number, status in entry.components.items()],
        "incident_updates": [{"status": status, "body": body} for status, body in entry.updates],
    }


def _not_found() -> web.Response:
    return web.json_response({"error": "Not found"}, status=404)
