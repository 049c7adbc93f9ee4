"""The generic webhook: its four types, and one key per order."""

import json

import pytest
from pydantic import ValidationError

from sinks.base import Absent, Done
from sinks.messages.webhook import WebhookConfig
from tests.contract.sinks_kit import KEY, bench, later, order, view


@pytest.mark.parametrize(
    ("action", "purpose", "kind"),
    [
        ("create", "message", "incident.opened"),
        ("create", "raise-2", "incident.updated"),
        ("update", "update", "incident.updated"),
        ("resolve", "resolve", "incident.resolved"),
        ("reopen", "message", "incident.reopened"),
    ],
)
async def test_each_act_has_its_type(action: str, purpose: str, kind: str) -> None:
    async with bench("webhook") as one:
        assert await one.sink.deliver(order(action, purpose=purpose), one.http) == Done()
        assert one.fake.messages[0].type == kind


async def test_the_incident_has_the_form_of_the_api() -> None:
    async with bench("webhook") as one:
        await one.sink.deliver(order(shown=view(acknowledged_at=1_796_180_529_250)), one.http)
        body = json.loads(one.fake.requests[0]["body"])
        assert (body["key"], body["sent_at"]) == (KEY, "2026-12-02T03:02:10Z")
        incident = body["incident"]
        assert incident["opened_at"] == "2026-12-02T03:00:00Z"
        assert incident["acknowledged_at"] == "2026-12-02T03:02:09.250Z"
        assert incident["resolved_at"] is None
        assert incident["alerts"] == {"firing": 180, "resolved": 4, "held": 12}
        assert incident["services"] == ["checkout", "orders-db"]


async def test_a_repeat_has_the_same_key_and_every_other_order_another() -> None:
    async with bench("webhook") as one:
        first = order()
        await one.sink.deliver(first, one.http)
        await one.sink.deliver(later(first), one.http)
        assert [message.copies for message in one.fake.messages] == [2]
        await one.sink.deliver(order("update", send=8), one.http)
        await one.sink.deliver(order("update", send=9), one.http)
        assert len({message.idempotency_key for message in one.fake.messages}) == 3


async def test_headers_of_the_configuration_are_sent() -> None:
    async with bench("webhook") as one:
        await one.sink.deliver(order(), one.http)
        headers = one.fake.requests[0]["headers"]
        assert headers["authorization"] == "Bearer webhook-secret"
        assert headers["content-type"] == "application/json"


async def test_an_absence_is_never_settled() -> None:
    async with bench("webhook") as one:
        assert await one.sink.find(order(), one.http, 10**9) == Absent(settled=False)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"headers": {"X-A": "a\r\nX-B: b"}}, "control character"),
        ({"headers": {"X A": "a"}}, "no name of a header"),
        ({"headers": {"idempotency-key": "a"}}, "set by samband"),
        ({"url": "ftp://h/in"}, "http"),
        ({"url": None}, "url_file"),
    ],
)
def test_what_cannot_be_sent_is_a_mistake_of_the_configuration(changes: dict[str, object], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        WebhookConfig.model_validate({"type": "webhook", "url": "http://h/in", **changes})
