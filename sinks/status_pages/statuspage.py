"""Statuspage.io: the public entry of an incident, read back before anything is made again.

What the public reads names the effect, since when, and when the next word comes: no cause, no host,
no guess, nothing from an alert. Names come from the components alone, which somebody has named for
the public.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal
from urllib.parse import quote

from pydantic import Field, model_validator

from daemon.core.model.incident import Kind
from daemon.core.view_json import rfc3339
from sinks.base import (
    Absent,
    Done,
    Found,
    Http,
    Idempotency,
    Order,
    Outcome,
    Problem,
    Reason,
    Reject,
    Request,
    Response,
    Retry,
    Unsure,
    judge,
)
from sinks.calls import Calls, Stop, as_retry, dig, encode, items
from sinks.config import BaseAddress, Secret, SecretFile, SinkConfig, secret_field, secret_file_field
from sinks.text import listed, one_line

COMPONENT_STATES = ("operational", "under_maintenance", "degraded_performance", "partial_outage", "major_outage")
"""From best to worst."""

NAME_MAX = 255
RECENT = 100
_THROTTLED = frozenset({420, 429})
_STATE = {"P1": "major_outage", "P2": "partial_outage"}
_IMPACT = {"P1": "critical", "P2": "major"}


class StatuspageConfig(SinkConfig):
    """One page at Statuspage.io."""

    type: Literal["statuspage"] = Field(description="Statuspage.io")
    url: BaseAddress = Field(default="https://api.statuspage.io", description="Base address of the API")
    page: str = Field(pattern=r"^[A-Za-z0-9_-]+$", description="Id of the page (Manage account > API)")
    token: Secret = secret_field("API key")
    token_file: SecretFile = secret_file_field("API key")
    components: dict[str, str] = Field(
        default={},
        description="Component of the catalogue -> its id at Statuspage; without it they are looked up by name",
    )

    @model_validator(mode="after")
    def _complete(self) -> "StatuspageConfig":
        self.need("token")
        return self


class Statuspage:
    """The sink. `settle_ms`: how long the list of incidents may lag (`delivery.settle`)."""

    Config = StatuspageConfig
    kind: Kind = "status_page"
    idempotency: Idempotency = "readback"
    reopens = False
    reports = False

    def __init__(self, name: str, config: StatuspageConfig, *, settle_ms: int) -> None:
        self.name = name
        self._config, self._settle_ms = config, settle_ms
        self.secrets: Sequence[str] = (config.secret("token"),)
        self._headers = {"Authorization": f"OAuth {config.secret('token')}", "Content-Type": "application/json"}
        self._page = f"/v1/pages/{config.page}"

    def render(self, order: Order) -> Request | None:
        """The create call when the components' ids are configured; otherwise what is looked up first."""
        if _states(order) and not self._config.components:
            return self._request("GET", "/components")
        if order.action in ("update", "resolve") or order.ref:
            return self._request("GET", _incident(order.ref) if order.ref else "/incidents/unresolved")
        return self._request("POST", "/incidents", self._new_entry(order, self._config.components))

    async def deliver(self, order: Order, http: Http) -> Outcome:
        """Makes the entry, or brings it in line; nothing is written that is there already."""
        calls = self._calls(http)
        try:
            ids = await self._component_ids(calls) if _states(order) else {}
            if order.action == "reopen" or (order.action == "create" and not order.ref):
                return await self._create(order, ids, calls)
            return await self._bring_in_line(order, ids, calls)
        except Stop as stop:
            return stop.outcome

    async def find(self, order: Order, http: Http, since_ms: int) -> Found | Absent | Retry:
        """Among the unresolved entries and the recent ones, by our key in the metadata."""
        try:
            found = await self._entries(order.key, self._calls(http))
        except Stop as stop:
            return as_retry(stop.outcome)
        if not found:
            return Absent(settled=since_ms >= self._settle_ms)
        ref = order.ref if order.ref in found else found[0]
        return Found(ref, tuple(one for one in found if one != ref))

    async def close_twin(self, order: Order, ref: str, http: Http) -> Outcome:
        """Resolves the twin quietly and takes our key out of it.

        It came late and may have set the components again: they show what all open entries make of them.
        """
        entry: dict[str, Any] = {
            "status": "resolved",
            "body": "This entry was made twice. Please follow the other one.",
            "deliver_notifications": False,
            "metadata": {"samband": {"twin_of": order.ref}},
        }
        calls = self._calls(http)
        try:
            ids = await self._component_ids(calls) if order.components else {}
            if states := {ids[name]: state for name, state in order.components.items() if name in ids}:
                entry["components"] = states
            await calls.write(self._request("PATCH", _incident(ref), {"incident": entry}))
        except Stop as stop:
            return stop.outcome
        return Done(ref)

    async def check(self, http: Http) -> list[Problem]:
        """The key, the page, and whether the configured components are there."""
        try:
            known = await self._components(self._calls(http))
        except Stop as stop:
            said = getattr(stop.outcome, "detail", "")
            remedy = "check page and token_file (Manage account > API at Statuspage)"
            return [Problem(f"the page {self._config.page} cannot be read: {said}", remedy)]
        there = set(known.values())
        return [
            Problem(f"component {name} has no id {number} at Statuspage", f"set it to one of {sorted(known.items())}")
            for name, number in self._config.components.items()
            if number not in there
        ]

    async def _create(self, order: Order, ids: Mapping[str, str], calls: Calls) -> Outcome:
        response = await calls.write(self._request("POST", "/incidents", self._new_entry(order, ids)))
        ref = dig(response.json(), "id")
        if not isinstance(ref, str) or not ref:
            return Unsure(Reason.BAD_ANSWER, "Statuspage took the entry and did not name it")
        return Done(ref)

    def _new_entry(self, order: Order, ids: Mapping[str, str]) -> dict[str, Any]:
        entry = self._entry(order, ids) | {"metadata": {"samband": {"key": order.key}}}
        if "components" in entry:
            entry["component_ids"] = list(entry["components"])
        return {"incident": entry}

    def _entry(self, order: Order, ids: Mapping[str, str]) -> dict[str, Any]:
        """The entry as it is to be. Components without an id at the page are left out, and not named either."""
        states = {name: state for name, state in _states(order).items() if name in ids}
        entry: dict[str, Any] = {
            "name": _name(states, order),
            "status": _status(order),
            "body": _body(states, order),
            "impact_override": _IMPACT.get(order.incident.priority, "minor"),
        }
        if states:
            entry["components"] = {ids[name]: state for name, state in states.items()}
        return entry

    async def _bring_in_line(self, order: Order, ids: Mapping[str, str], calls: Calls) -> Outcome:
        ref = order.ref or next(iter(await self._entries(order.key, calls)), "")
        if not ref:
            return Reject(Reason.NOT_FOUND, f"no entry carries the key {order.key}")
        shown = await calls.read(f"{self._page}{_incident(ref)}", missing=True)
        if shown is None:
            return Reject(Reason.NOT_FOUND, f"the entry {ref} is gone")
        entry = self._entry(order, ids)
        if dig(shown, "status") == "resolved" and order.action != "resolve":
            return Done(ref)  # a person has closed it, and it stays as they left it
        if dig(shown, "status") == "resolved":
            entry = {"components": entry["components"]} if "components" in entry else {}
        elif order.action == "resolve":
            entry.pop("name")
            entry.pop("impact_override")
        if entry and not _same(shown, entry):
            await calls.write(self._request("PATCH", _incident(ref), {"incident": entry}))
        return Done(ref)

    async def _entries(self, key: str, calls: Calls) -> list[str]:
        """Ids of the entries with our key, oldest first."""
        found: dict[str, str] = {}
        for path in ("/incidents/unresolved", f"/incidents?limit={RECENT}"):
            answer = await calls.read(self._page + path)
            for one in answer if isinstance(answer, list) else []:
                if dig(one, "metadata", "samband", "key") == key and isinstance(dig(one, "id"), str):
                    found[one["id"]] = str(dig(one, "created_at") or "")
        return sorted(found, key=lambda ref: (found[ref], ref))

    async def _component_ids(self, calls: Calls) -> Mapping[str, str]:
        return self._config.components or await self._components(calls)

    async def _components(self, calls: Calls) -> dict[str, str]:
        answer = await calls.read(f"{self._page}/components")
        known = [one for one in answer if dig(one, "group") is not True] if isinstance(answer, list) else []
        return {str(dig(one, "name")): str(dig(one, "id")) for one in known if dig(one, "id")}

    def _calls(self, http: Http) -> Calls:
        return Calls(http, self._config.url, self._headers, self.secrets, _judge)

    def _request(self, method: str, path: str, body: Any = None) -> Request:
        return Request(method, f"{self._config.url}{self._page}{path}", self._headers, encode(body))


def _judge(response: Response) -> Outcome | None:
    return judge(response, throttled=_THROTTLED)


def _incident(ref: str) -> str:
    return f"/incidents/{quote(ref, safe='')}"


def _states(order: Order) -> dict[str, str]:
    """The incident's own components, each with the worst state over all that is open."""
    own = dict.fromkeys(service.component for service in order.incident.services if service.component)
    alone = "operational" if order.action == "resolve" else _state(order)
    return {name: order.components.get(name, alone) for name in own}


def _state(order: Order) -> str:
    return _STATE.get(order.incident.priority, "degraded_performance")


def _status(order: Order) -> str:
    if order.action == "resolve":
        return "resolved"
    return "monitoring" if order.incident.firing == 0 and order.incident.ended else "investigating"


def _name(states: Mapping[str, str], order: Order) -> str:
    """What the public calls it: components and effect."""
    effect = _state(order).replace("_", " ")
    if not states:
        return f"Service disruption: {effect}"
    return one_line(f"{listed(states)}: {effect}", NAME_MAX)


def _body(states: Mapping[str, str], order: Order) -> str:
    """Effect, since when, when the next word comes."""
    since = f"{rfc3339(order.incident.opened_at)[:16].replace('T', ' ')} UTC"
    what = one_line(listed(states), 2000) or "Our service"
    if order.duplicate_of and order.action == "resolve":
        return "This is now followed in another entry on this page."
    if order.action == "resolve":
        still = sorted((state for state in states.values() if state != "operational"), key=COMPONENT_STATES.index)
        rest = f" Another incident still affects it: {still[-1].replace('_', ' ')}." if still else ""
        return f"{what}: this incident, which began at {since}, is over.{rest}"
    effect = _state(order).replace("_", " ")
    if _status(order) == "monitoring":
        return f"{what}: {effect} since {since}, now well again. The next word comes when it is known to be stable."
    return f"{what}: {effect} since {since}. We are working on it; the next word comes as soon as this changes."


def _same(shown: Any, entry: Mapping[str, Any]) -> bool:
    """Whether the page shows the entry already, so that a repeat does not tell subscribers again."""
    states = {dig(one, "id"): dig(one, "status") for one in items(shown, "components")}
    updates = items(shown, "incident_updates")
    bodies = [dig(one, "body") for one in updates[:1]]
    return (
        all(dig(shown, field) == entry[field] for field in ("name", "status", "impact_override") if field in entry)
        and all(states.get(number) == state for number, state in entry.get("components", {}).items())
        and ("body" not in entry or entry["body"] in bodies)
    )
