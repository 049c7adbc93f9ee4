"""The demo's estate and its script: which alerts are sent, how, and when. Pure data, the same every time."""

from collections.abc import Iterator
from typing import Literal

import msgspec

CYCLE_S = 120.0
"""After this long the script begins anew."""
OUTAGE_S, RECOVERY_S = 7.0, 38.0

CATALOGUE = """\
services:
  orders-db:     {team: databases, tier: 1, runbook: kb/orders-db.md}
  payments:      {team: shop, tier: 1, depends_on: [orders-db], component: Payments}
  checkout:      {team: shop, tier: 1, depends_on: [orders-db, payments], component: Checkout}
  cart:          {team: shop, tier: 2, depends_on: [orders-db]}
  orders-api:    {team: shop, tier: 2, depends_on: [orders-db]}
  invoicing:     {team: back-office, tier: 2, depends_on: [orders-db]}
  refunds:       {team: back-office, tier: 3, depends_on: [orders-db, payments]}
  warehouse:     {team: logistics, tier: 2, depends_on: [orders-api]}
  shipping:      {team: logistics, tier: 2, depends_on: [warehouse]}
  storefront:    {team: web, tier: 2, depends_on: [checkout, cart]}
  mobile-gw:     {team: web, tier: 2, depends_on: [checkout, cart]}
  newsletter:    {team: web, tier: 3}
  intranet:      {team: office, tier: 3}
  mail:          {team: office, tier: 2}
  backups:       {team: databases, tier: 2}
teams: {databases: {}, shop: {}, back-office: {}, logistics: {}, web: {}, office: {}}
"""
COMPONENTS = ["Payments", "Checkout"]

CONFIGURATION = """\
listen: 127.0.0.1:{port}
login: open                      # a demo on loopback; a real one leaves this line out
store: {{type: sqlite, path: state/samband.db}}
sources:
  prometheus: {{type: alertmanager}}
  scripts: {{type: native}}
catalogue: {{load: [{{type: yaml, path: catalogue.yaml}}]}}
fallback: {{team: web}}
sinks:
  pager: {{type: pagerduty, url: "http://127.0.0.1:{pager}", routing_key: "demo0123456789demo0123456789demo"}}
  desk: {{type: jira, url: "http://127.0.0.1:{desk}", project: OPS, user: demo@example.org, token: demo}}
  public: {{type: statuspage, url: "http://127.0.0.1:{public}", page: demo, token: demo}}
status_page: {{publish: auto, green_after: 20s}}
# Everything below is only quicker than the defaults, so that there is something to see.
timing:
  first_page: {{P1: 6s, P2: 6s, P3: 10s}}
  ticket: {{P3: 5s, P4: 5s, P5: 5s}}
  resolve_after: 12s
  priority_down_after: 20s
  comment_every: 10s
delivery: {{retry_first: 1s, settle: 2s}}
"""


class Step(msgspec.Struct, frozen=True):
    """One alert that begins or ends `at` seconds into the script. via: which intake path it takes."""

    at: float
    firing: bool
    name: str
    severity: str
    service: str
    resource: str
    summary: str
    via: Literal["alertmanager", "native"] = "alertmanager"


CASCADE = (
    ("PostgresDown", "critical", "orders-db", "orders-db-1", "primary of orders-db does not answer"),
    ("PaymentsFailing", "critical", "payments", "payments-7c9", "61 % of payments fail"),
    ("CheckoutErrors", "critical", "checkout", "checkout-5d2", "checkout answers 100 % errors (normally 0.2)"),
    ("OrdersApiErrors", "error", "orders-api", "orders-api-1", "orders-api answers 500"),
    ("CartSlow", "error", "cart", "cart-2", "p99 of cart is 9 s"),
    ("InvoiceQueueGrowing", "warning", "invoicing", "invoicing-1", "4,100 invoices wait"),
    ("RefundsFailing", "error", "refunds", "refunds-1", "refunds cannot be booked"),
    ("WarehouseStale", "warning", "warehouse", "warehouse-3", "no order for 2 minutes"),
    ("LabelsNotPrinted", "warning", "shipping", "shipping-1", "no label for 2 minutes"),
    ("StorefrontErrors", "error", "storefront", "storefront-9", "12 % of pages answer 502"),
    ("MobileErrors", "error", "mobile-gw", "mobile-gw-4", "18 % of calls answer 502"),
)
NOISE = (
    ("DiskFilling", "mail", "mail-1", "disk of mail-1 is 81 % full"),
    ("CertificateExpires", "intranet", "intranet-1", "certificate expires in 20 days"),
    ("BackupLate", "backups", "backup-1", "last backup is 26 h old"),
    ("QueueLong", "mail", "mail-2", "410 messages wait"),
)
NOTES = (
    (0.0, "steady noise: it is recorded and gets a ticket at most, and rings nobody"),
    (3.0, "a check that cannot make up its mind: one incident, however often it fires"),
    (OUTAGE_S, "the primary of orders-db goes, and ten services that depend on it go with it"),
    (RECOVERY_S, "orders-db is back; one service after the other recovers"),
    (
        RECOVERY_S + 22,
        "all clear: page and public entry have ended; a P1's ticket waits for a person (incidents resolve)",
    ),
)
"""What happens, in words: seconds into the script, text."""


def script() -> list[Step]:
    """One cycle, in the order of time."""
    return sorted([*_noise(), *_flapping(), *_outage()], key=lambda step: step.at)


def _noise() -> Iterator[Step]:
    """Steady and unimportant: each of a few warnings for half a minute, one after the other."""
    for index, (name, service, resource, summary) in enumerate(NOISE):
        begin = 1.0 + 26 * index
        yield Step(begin, True, name, "warning", service, resource, summary)
        yield Step(begin + 24, False, name, "warning", service, resource, summary)


def _flapping() -> Iterator[Step]:
    """A check that cannot make up its mind; a script sends it, in the native form."""
    told = ("HealthCheckFailed", "warning", "newsletter", "newsletter-2", "GET /health answers 503, then 200, then 503")
    for index in range(5):
        yield Step(3.0 + 8 * index, True, *told, via="native")
        yield Step(7.0 + 8 * index, False, *told, via="native")


def _outage() -> Iterator[Step]:
    """A database goes, and ten services with it; then all recover."""
    for index, (name, severity, service, resource, summary) in enumerate(CASCADE):
        yield Step(OUTAGE_S + 0.7 * index, True, name, severity, service, resource, summary)
        yield Step(RECOVERY_S + 0.4 * index, False, name, severity, service, resource, summary)
