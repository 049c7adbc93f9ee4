"""PagerDuty, Events API v2: one page per key, deduplicated by PagerDuty while it is open.

PagerDuty cannot be told again under one key: a trigger whose key is open rings nobody, and one
whose key a person has resolved there rings again. So a raise has a key of its own, and a trigger
that is repeated late is looked for first, or says that it is a repeat.
"""

from collections.abc import Sequence
from typing import Any, Literal
from urllib.parse import quote

from pydantic import Field, model_validator

from daemon.core.model.incident import Kind
from daemon.core.view import MEMBERS_SHOWN, IncidentView
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
from sinks.text import clean, cut, one_line, web_link

SEVERITY = {"P1": "critical", "P2": "error", "P3": "warning", "P4": "info", "P5": "info"}
"""Priority -> PagerDuty's severity, which is neither a priority nor an urgency: services with dynamic
urgency ring for critical and error, and notify quietly for warning and info."""

SUMMARY_MAX, SOURCE_MAX, FIELD_MAX, PAGE_MAX, SERVICES_MAX = 1024, 255, 500, 20_000, 50
BLIND_REPEAT_MS = 60_000
"""For so long after its first try a trigger may be repeated without looking: it is still open there."""

REPEAT_MARK = "(repeat) "
REPEAT_NOTE = "This page may have been delivered before: an earlier try got no clear answer. It is the same incident."


class PagerDutyConfig(SinkConfig):
    """Pages through a PagerDuty service's Events API v2 integration."""

    type: Literal["pagerduty"] = Field(description="PagerDuty, Events API v2")
    url: BaseAddress = Field(
        default="https://events.pagerduty.com",
        description="Base address; in the EU https://events.eu.pagerduty.com. An address that does not begin with "
        "`events.` also serves the REST API",
    )
    routing_key: Secret = secret_field("Integration key of the service, 32 characters")
    routing_key_file: SecretFile = secret_file_field("Integration key of the service, 32 characters")
    api_token: Secret = secret_field(
        "REST API key (read-only is enough): a late repeat is looked for before it is sent"
    )
    api_token_file: SecretFile = secret_file_field(
        "REST API key (read-only is enough): a late repeat is looked for before it is sent"
    )

    @model_validator(mode="after")
    def _complete(self) -> "PagerDutyConfig":
        self.need("routing_key")
        if self.routing_key is not None and len(self.routing_key.get_secret_value()) != 32:
            raise ValueError("routing_key must have 32 characters: copy the Integration Key of an Events API v2")
        return self


def _judge(response: Response) -> Outcome | None:
    """202 is PagerDuty's yes; any other 2xx comes from something in between."""
    if 200 <= response.status < 300 and response.status != 202:
        return Unsure(Reason.BAD_ANSWER, f"answered {response.status} instead of 202")
    return judge(response)


class PagerDuty:
    """The sink.

    reports: False, because nobody polls `standing` yet; to say otherwise would make of every page that
    a person acknowledged at PagerDuty one that certainly nobody saw.
    """

    Config = PagerDutyConfig
    kind: Kind = "pager"
    idempotency: Idempotency = "native"
    reopens = False
    reports = False

    def __init__(self, name: str, config: PagerDutyConfig) -> None:
        self.name = name
        self._config = config
        self._routing_key, self._api_token = config.secret("routing_key"), config.secret("api_token")
        self.secrets: Sequence[str] = tuple(s for s in (self._routing_key, self._api_token) if s)

    def render(self, order: Order) -> Request | None:
        """The event of the order, None for an update that a pager has no word for."""
        event = self._event_of(order, repeat=order.repeat)
        return self._request(event) if event else None

    async def deliver(self, order: Order, http: Http) -> Outcome:
        """Sends the order's event, unless a late repeat turns out to have arrived long ago."""
        repeat = order.repeat
        if order.action in ("create", "reopen") and _is_late(order):
            standing = await self.standing(order.key, http) if self._api_token else None
            if isinstance(standing, str) and standing:
                return Done(order.key)
            # Absent: the first try did not arrive. Could not look: better a page that says it is a repeat than none.
            repeat = not isinstance(standing, str)
        if not (event := self._event_of(order, repeat=repeat)):
            return Done(order.ref)
        try:
            await Calls(http, self._config.url, {}, self.secrets, _judge).write(self._request(event))
        except Stop as stop:
            return stop.outcome
        return Done(order.key)

    async def standing(self, key: str, http: Http) -> str | Retry:
        """How the page stands at PagerDuty: triggered, acknowledged, resolved, or "" when there is none.

        Needs the API token. Several incidents of one key: the one that is furthest from its end.
        """
        try:
            found = await self._rest(http).read(f"/incidents?incident_key={quote(key, safe='')}&date_range=all")
        except Stop as stop:
            return as_retry(stop.outcome)
        states = {dig(one, "status") for one in items(found, "incidents") if dig(one, "incident_key") == key}
        return next((state for state in ("triggered", "acknowledged", "resolved") if state in states), "")

    async def find(self, order: Order, http: Http, since_ms: int) -> Found | Absent | Retry:
        """Looks through REST; without a token nothing can be seen, and nothing is ever settled."""
        if not self._api_token:
            return Absent(settled=False)
        standing = await self.standing(order.key, http)
        if isinstance(standing, Retry):
            return standing
        return Found(order.key) if standing else Absent(settled=since_ms >= BLIND_REPEAT_MS)

    async def close_twin(self, order: Order, ref: str, http: Http) -> Outcome:
        """Never asked for: PagerDuty makes no twins of an open key."""
        return Reject(Reason.REFUSED, "PagerDuty deduplicates by key; there are no twins to close")

    async def check(self, http: Http) -> list[Problem]:
        """Ends a page that never was: PagerDuty checks the key, answers 202 and drops it."""
        problems: list[Problem] = []
        try:
            event = self._event("resolve", "samband-check")
            await Calls(http, self._config.url, {}, self.secrets, _judge).write(self._request(event))
        except Stop as stop:
            said = getattr(stop.outcome, "detail", "")
            remedy = "copy the Integration Key of the service's Events API v2 integration into routing_key_file"
            problems.append(Problem(f"PagerDuty does not take events: {said}", remedy))
        if self._api_token and isinstance(standing := await self.standing("samband-check", http), Retry):
            remedy = "make a read-only REST API key (Integrations > API Access Keys) and put it into api_token_file"
            problems.append(Problem(f"PagerDuty's REST API cannot be read: {standing.detail}", remedy))
        return problems

    def _rest(self, http: Http) -> Calls:
        headers = {
            "Authorization": f"Token token={self._api_token}",
            "Accept": "application/vnd.pagerduty+json;version=2",
        }
        return Calls(http, rest_address(self._config.url), headers, self.secrets)

    def _event_of(self, order: Order, *, repeat: bool) -> dict[str, Any]:
        if order.action in ("create", "reopen"):
            return self._event("trigger", order.key) | _trigger(order, repeat=repeat)
        if order.action == "resolve":
            return self._event("resolve", order.key)
        return self._event("acknowledge", order.key) if order.incident.state == "acknowledged" else {}

    def _event(self, action: str, key: str) -> dict[str, Any]:
        return {"routing_key": self._routing_key, "event_action": action, "dedup_key": key}

    def _request(self, event: dict[str, Any]) -> Request:
        return Request("POST", f"{self._config.url}/v2/enqueue", {"Content-Type": "application/json"}, encode(event))


def rest_address(url: str) -> str:
    """The REST API stands beside the events': events.pagerduty.com, api.pagerduty.com."""
    scheme, _, host = url.partition("://")
    return f"{scheme}://api.{host.removeprefix('events.')}" if host.startswith("events.") else url


def _is_late(order: Order) -> bool:
    return bool(order.first_try_at) and order.sent_at - order.first_try_at > BLIND_REPEAT_MS


def _trigger(order: Order, *, repeat: bool) -> dict[str, Any]:
    """What a trigger carries beside its key. Every part is bounded, so that the whole stays below the limit."""
    view, link = order.incident, web_link(order.incident.link)
    first_line = one_line(order.text.partition("\n")[0] or order.title, SUMMARY_MAX)
    payload: dict[str, Any] = {
        "summary": one_line((REPEAT_MARK if repeat else "") + (first_line or view.ref or "samband"), SUMMARY_MAX),
        "source": _source(view),
        "severity": SEVERITY.get(view.priority, "critical"),
        "timestamp": rfc3339(view.opened_at or order.sent_at),
        "custom_details": _details(order, repeat=repeat),
    }
    if view.environment:
        payload["group"] = one_line(view.environment, SOURCE_MAX)
    if view.members:
        payload["class"] = one_line(view.members[0].name, SOURCE_MAX)
    trigger: dict[str, Any] = {"payload": payload, "client": "samband"}
    if link:
        trigger |= {"client_url": link, "links": [{"href": link, "text": one_line(view.ref, SOURCE_MAX)}]}
    return trigger


def _source(view: IncidentView) -> str:
    """What is affected, which PagerDuty demands: the first service, else the worst member's resource."""
    names = [service.name for service in view.services] + [member.resource for member in view.members]
    return next((shown for name in names if (shown := one_line(name, SOURCE_MAX))), "samband")


def _details(order: Order, *, repeat: bool) -> dict[str, Any]:
    view = order.incident
    services = list(dict.fromkeys(one_line(service.name, FIELD_MAX) for service in view.services if service.name))
    details: dict[str, Any] = {"note": REPEAT_NOTE} if repeat else {}
    details |= {
        "page": cut(clean(order.text), PAGE_MAX),
        "priority": view.priority,
        "derivation": one_line(view.derivation, FIELD_MAX),
        "owner": one_line(view.owner, FIELD_MAX),
        "services": services[:SERVICES_MAX],
        "alerts": {"firing": view.firing, "ended": view.ended, "held": view.held},
        "members": [
            one_line(f"{m.status} {m.severity} {m.name} {m.service} {m.resource} {m.summary}", FIELD_MAX)
            for m in view.members[:MEMBERS_SHOWN]
        ],
    }
    return details
