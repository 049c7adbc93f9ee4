"""Incident in, requests out: the whole conversation of each order with each sink, as the service gets it.

`SAMBAND_GOLDEN=write pytest tests/golden/test_sink_requests.py` writes the files anew; read the
difference before it is committed.
"""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from sinks.base import Done, Order, Reject, Retry, Unsure
from tests.contract.sinks_kit import CASES, KEY, Bench, bench, later, order, view

FOLDER = Path(__file__).parent / "sinks"
WRITE = os.environ.get("SAMBAND_GOLDEN") == "write"

ACKNOWLEDGED = view(state="acknowledged", acknowledged_at=view().opened_at + 60_000, acknowledged_by="anna", version=4)
ENDED = view(state="resolved", resolved_at=view().opened_at + 900_000, firing=0, ended=184, held=0, version=9)
AGAIN = view(state="reopened", generation=2, priority="P2", version=12)
ORDERS: dict[str, Order] = {
    "create": order(),
    "acknowledged": order("update", shown=ACKNOWLEDGED, send=8),
    "resolve": order("resolve", shown=ENDED, components={"Checkout": "operational"}, send=9),
    "reopen": order("reopen", shown=AGAIN, send=10),
    "duplicate": order(
        "resolve",
        shown=view(state="merged", merged_into="6a59f1e380000000"),
        duplicate_of="INC-4200 https://samband.example.org/incidents/6a59f1e380000000",
        components={"Checkout": "partial_outage"},
        send=11,
    ),
}
ORDERS["summary"] = order(
    purpose="summary",
    key=f"{KEY}#summary",
    title="samband is live: 2 open incidents",
    text="samband is live: 2 open incidents\nP1 Checkout failing (INC-4211)\nP2 Disk full (INC-4212)",
    incidents=(view(), view(ref="INC-4212", priority="P2", title="Disk full")),
    send=12,
)
CASES_OF = {
    "pagerduty": ("create", "late", "acknowledged", "resolve"),
    "jira": ("create", "acknowledged", "resolve", "reopen", "duplicate"),
    "statuspage": ("create", "acknowledged", "resolve", "duplicate"),
    "webhook": ("create", "acknowledged", "resolve", "reopen", "summary"),
}
ALL = [(name, case) for name in sorted(CASES) for case in CASES_OF[name]]


def test_no_file_is_left_over() -> None:
    assert sorted(path.stem for path in FOLDER.glob("*.json")) == sorted(f"{name}.{case}" for name, case in ALL)


@pytest.mark.parametrize(("name", "case"), ALL)
async def test_the_service_gets_what_it_always_got(name: str, case: str) -> None:
    async with bench(name) as one:
        came = await conversation(one, case)
        text = json.dumps(came, indent=1, ensure_ascii=False) + "\n"
        for secret in CASES[name].secrets:
            text = text.replace(secret, "SECRET")
        text = text.replace(one.fake.url, "URL")
    path = FOLDER / f"{name}.{case}.json"
    if WRITE:
        path.write_text(text)
    assert text == path.read_text()


async def conversation(one: Bench, case: str) -> list[dict[str, Any]]:
    """The requests that an order leads to, at a service where the incident stands as the order supposes."""
    ref = ""
    if case not in ("create", "late"):
        made = await one.sink.deliver(ORDERS["create"], one.http)
        assert isinstance(made, Done)
        ref = made.ref
    if case == "reopen":
        await one.sink.deliver(replace(ORDERS["resolve"], ref=ref), one.http)
    if case == "duplicate":
        await one.sink.deliver(order(key="samband-y-1", shown=view(ref="INC-4200")), one.http)
    before = len(one.fake.requests)
    told = later(order(), 90) if case == "late" else replace(ORDERS[case], ref=ref)
    outcome = await one.sink.deliver(told, one.http)
    assert not isinstance(outcome, Retry | Reject | Unsure), outcome
    return [_shown(request) for request in one.fake.requests[before:]]


def _shown(request: dict[str, Any]) -> dict[str, Any]:
    """Without what the client adds, which may change with its version."""
    wanted = ("authorization", "content-type", "idempotency-key", "accept")
    headers = {name: value for name, value in request["headers"].items() if name in wanted and value != "*/*"}
    body = json.loads(request["body"]) if request["body"] else None
    return {"request": f"{request['method']} {request['path']}", "headers": headers, "body": body}
