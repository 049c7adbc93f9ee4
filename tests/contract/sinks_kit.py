"""Every sink with its fake: what the contract suite runs over. A new sink gets its case here."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from msgspec.structs import replace

from daemon.core.view import IncidentView, MemberView, ServiceView
from daemon.http_client import HttpClient
from sinks.base import Absent, Done, Found, Order, Sink, Unsure
from sinks.registry import SINKS, build, config_of
from tests.fakes.base import Fake
from tests.fakes.jira import FakeJira
from tests.fakes.pagerduty import FakePagerDuty
from tests.fakes.statuspage import FakeStatuspage
from tests.fakes.webhook import FakeWebhook

NOW = 1_796_180_530_000
OPENED = NOW - 130_000
SETTLE_MS = 3000
KEY = "samband-6a59f1e380000001-1"


@dataclass(frozen=True)
class Case:
    """A sink, its fake, the configuration that joins them, and the request that makes the object."""

    type: str
    fake: Callable[..., Fake]
    config: dict[str, Any]
    creates: tuple[str, str]
    secrets: tuple[str, ...]
    path: str = ""
    wrong: dict[str, Any] = field(default_factory=dict)


CASES = {
    "pagerduty": Case(
        "pagerduty",
        FakePagerDuty,
        {"routing_key": "0123456789abcdef0123456789abcdef"},
        ("POST", "/v2/enqueue"),
        ("0123456789abcdef0123456789abcdef",),
        wrong={"routing_key": "f" * 32},
    ),
    "jira": Case(
        "jira",
        lambda **how: FakeJira(token="jira-secret-token", **how),
        {"project": "OPS", "user": "bot@example.org", "token": "jira-secret-token"},
        ("POST", "/rest/api/3/issue$"),
        ("jira-secret-token", "Ym90QGV4YW1wbGUub3JnOmppcmEtc2VjcmV0LXRva2Vu"),
        wrong={"token": "another-token"},
    ),
    "statuspage": Case(
        "statuspage",
        lambda **how: FakeStatuspage(token="statuspage-secret", **how),
        {"page": "abc123", "token": "statuspage-secret", "components": {"Checkout": "gcvfrw2r8w36"}},
        ("POST", "/incidents$"),
        ("statuspage-secret",),
        wrong={"token": "another-token"},
    ),
    "webhook": Case(
        "webhook",
        lambda **how: FakeWebhook(bearer="webhook-secret", **how),
        {"headers": {"Authorization": "Bearer webhook-secret"}},
        ("POST", "/in"),
        ("Bearer webhook-secret", "webhook-secret", "secret-in-the-address"),
        path="/in?code=secret-in-the-address",
        wrong={"headers": {"Authorization": "Bearer another-token"}},
    ),
}
assert {*CASES, "kafka"} == set(SINKS), "every sink runs through the contract suite; Kafka's is in test_sink_kafka"


class Bench(NamedTuple):
    """A sink that is joined to its fake by a real client."""

    sink: Sink
    fake: Any
    http: HttpClient


def make(case: Case, url: str, **changes: Any) -> Sink:
    """The sink of a case, at an address."""
    sink_type = SINKS[case.type]
    options = {"type": case.type, "url": url + case.path} | case.config | changes
    return build(sink_type, case.type, config_of(sink_type).model_validate(options), settle_ms=SETTLE_MS)


@asynccontextmanager
async def bench(
    name: str, *, timeout_s: float = 5.0, config: dict[str, Any] | None = None, **fake: Any
) -> AsyncIterator[Bench]:
    """A running fake and its sink; nothing that was sent may have been against the vendor's schema."""
    case = CASES[name]
    service = case.fake(**fake)
    async with service, HttpClient(timeout_s) as http:
        yield Bench(make(case, service.url, **(config or {})), service, http)
    assert service.violations == []


def view(**changes: Any) -> IncidentView:
    """An incident as the daemon shows it."""
    shown = IncidentView(
        id="6a59f1e380000001",
        ref="INC-4211",
        title="HighErrorRate on checkout, likely orders-db: 184 alerts, 11 services",
        state="open",
        generation=1,
        priority="P1",
        impact="high",
        urgency="high",
        derivation="impact high (checkout is tier 1) × urgency high (critical) = P1",
        owner="databases",
        environment="production",
        cause="orders-db: 9 of 11 depend on it",
        opened_at=OPENED,
        acknowledged_at=0,
        acknowledged_by="",
        resolved_at=0,
        resolved_by="",
        closed_at=0,
        merged_into="",
        cleared=False,
        itself=False,
        firing=180,
        ended=4,
        held=12,
        services=(
            ServiceView("checkout", "production", 100, 4, 1, "shop", "Checkout", "kb/checkout.md"),
            ServiceView("orders-db", "production", 80, 0, 1, "databases", "", "kb/orders-db.md"),
        ),
        members=(
            MemberView(
                key="00ff" * 8,
                name="HighErrorRate",
                status="firing",
                severity="critical",
                service="checkout",
                resource="checkout-7",
                environment="production",
                summary="100 % of requests fail (normally 0.2)",
                starts_at=OPENED,
                held=(),
                reason="first",
                facts="",
                strength=0,
            ),
        ),
        summary="100 % of requests fail (normally 0.2)",
        link="https://samband.example.org/incidents/6a59f1e380000001",
        told=(),
        version=3,
    )
    return replace(shown, **changes)


PAGE = """P1 HighErrorRate on checkout, likely orders-db: 184 alerts, 11 services (INC-4211)
SINCE   03:02:00 CET, 2 min
EFFECT  100 % of requests fail (normally 0.2)
LIKELY  orders-db: 9 of 11 depend on it
WHO     databases"""


def order(action: str = "create", *, shown: IncidentView | None = None, **changes: Any) -> Order:
    """An order about that incident."""
    base = Order(
        action=action,  # type: ignore[arg-type]
        purpose={"create": "page", "reopen": "page"}.get(action, action),
        key=KEY,
        incident=shown or view(),
        title=PAGE.partition("\n")[0],
        text=PAGE,
        sent_at=NOW,
        first_try_at=0,
        components={"Checkout": "major_outage"},
        send=0x6A59F1E380000007,
    )
    return replace(base, **changes)


def later(earlier: Order, seconds: float = 2) -> Order:
    """The same order, tried again after an attempt that may have arrived."""
    first = earlier.first_try_at or earlier.sent_at
    return replace(earlier, first_try_at=first, sent_at=first + int(seconds * 1000))


async def settled(one: Bench, earlier: Order) -> None:
    """What the outbox does after an unclear create, by the sink's class, until the object is there."""
    if one.sink.idempotency == "none":
        return
    if one.sink.idempotency == "readback":
        found = await one.sink.find(earlier, one.http, SETTLE_MS)
        if isinstance(found, Found):
            assert found.twins == ()
            return
        assert found == Absent(settled=True)
    outcome = await one.sink.deliver(later(earlier), one.http)
    assert isinstance(outcome, Done), outcome


def unclear(outcome: object) -> bool:
    """Whether an outcome says "perhaps done"."""
    return isinstance(outcome, Unsure)
