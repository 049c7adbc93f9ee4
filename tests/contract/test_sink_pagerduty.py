"""PagerDuty: what it can and cannot be told under one key."""

import json

import pytest
from pydantic import ValidationError

from sinks.base import Absent, Done, Found, Reason, Retry
from sinks.pagers.pagerduty import PagerDuty, PagerDutyConfig, rest_address
from tests.contract.sinks_kit import KEY, PAGE, bench, later, order, view

TOKEN = {"api_token": "rest"}


@pytest.mark.parametrize(
    ("priority", "severity"), [("P1", "critical"), ("P2", "error"), ("P3", "warning"), ("P4", "info"), ("P5", "info")]
)
async def test_each_priority_has_a_severity(priority: str, severity: str) -> None:
    async with bench("pagerduty") as one:
        await one.sink.deliver(order(shown=view(priority=priority)), one.http)
        assert one.fake.pages[0].severity == severity


async def test_the_page_is_in_the_details_and_its_first_line_is_the_summary() -> None:
    async with bench("pagerduty") as one:
        await one.sink.deliver(order(), one.http)
        page = one.fake.pages[0]
        assert page.summary == PAGE.partition("\n")[0]
        assert page.details["page"] == PAGE
        assert page.details["services"] == ["checkout", "orders-db"]


async def test_a_raise_rings_by_a_key_of_its_own_and_each_is_ended_by_its_own() -> None:
    async with bench("pagerduty") as one:
        for key in (KEY, f"{KEY}#raise-1"):
            await one.sink.deliver(order(key=key), one.http)
        assert [page.status for page in one.fake.pages] == ["triggered", "triggered"]
        for key in (KEY, f"{KEY}#raise-1"):
            await one.sink.deliver(order("resolve", key=key), one.http)
        assert [page.status for page in one.fake.pages] == ["resolved", "resolved"]


async def test_an_acknowledgement_is_passed_on() -> None:
    async with bench("pagerduty") as one:
        await one.sink.deliver(order(), one.http)
        assert await one.sink.deliver(order("update", shown=view(state="acknowledged")), one.http) == Done(KEY)
        assert one.fake.pages[0].status == "acknowledged"


async def test_other_updates_are_no_request_at_all() -> None:
    async with bench("pagerduty") as one:
        assert one.sink.render(order("update")) is None
        assert await one.sink.deliver(order("update", ref=KEY), one.http) == Done(KEY)
        assert one.fake.requests == []


async def test_an_early_repeat_needs_no_look_and_says_nothing() -> None:
    async with bench("pagerduty", config=TOKEN) as one:
        await one.sink.deliver(later(order(), 60), one.http)
        assert one.fake.sent("GET") == []
        assert one.fake.pages[0].summary == PAGE.partition("\n")[0]


@pytest.mark.parametrize("status", ["triggered", "acknowledged", "resolved"])
async def test_a_late_repeat_of_a_page_that_arrived_rings_nobody(status: str) -> None:
    """Even when a person has resolved it at PagerDuty meanwhile: the same key would ring them again."""
    async with bench("pagerduty", config=TOKEN) as one:
        await one.sink.deliver(order(), one.http)
        one.fake.person_does(KEY, status)
        assert await one.sink.deliver(later(order(), 61), one.http) == Done(KEY)
        assert len(one.fake.pages) == 1
        assert len(one.fake.sent("POST")) == 1


async def test_a_late_repeat_of_a_page_that_never_arrived_is_sent_as_it_is() -> None:
    async with bench("pagerduty", config=TOKEN) as one:
        assert await one.sink.deliver(later(order(), 61), one.http) == Done(KEY)
        assert one.fake.pages[0].summary == PAGE.partition("\n")[0]


async def test_without_a_token_a_late_repeat_says_that_it_is_one() -> None:
    async with bench("pagerduty") as one:
        await one.sink.deliver(later(order(), 61), one.http)
        page = one.fake.pages[0]
        assert page.summary.startswith("(repeat) P1 ")
        assert "same incident" in page.details["note"]


async def test_when_the_look_fails_people_are_called_all_the_same() -> None:
    async with bench("pagerduty", config={"api_token": "wrong"}) as one:
        await one.sink.deliver(later(order(), 61), one.http)
        assert one.fake.pages[0].summary.startswith("(repeat) ")


async def test_a_resolve_is_repeated_without_looking_however_late() -> None:
    async with bench("pagerduty", config=TOKEN) as one:
        await one.sink.deliver(order(), one.http)
        await one.sink.deliver(later(order("resolve"), 6000), one.http)
        assert one.fake.sent("GET") == []
        assert one.fake.open_objects(KEY) == []


async def test_how_a_page_stands_is_seen_only_with_a_token() -> None:
    async with bench("pagerduty") as one:
        assert await one.sink.find(order(), one.http, 10**9) == Absent(settled=False)
    async with bench("pagerduty", config=TOKEN) as one:
        assert isinstance(one.sink, PagerDuty)
        assert await one.sink.standing(KEY, one.http) == ""
        await one.sink.deliver(order(), one.http)
        one.fake.person_does(KEY, "acknowledged")
        assert await one.sink.standing(KEY, one.http) == "acknowledged"
        assert await one.sink.find(order(), one.http, 0) == Found(KEY)


async def test_a_look_is_by_the_whole_key() -> None:
    """An answer that ignores the filter (PagerDuty does, for an empty one) is not taken for ours."""
    async with bench("pagerduty", config=TOKEN) as one:
        await one.sink.deliver(order(key="another"), one.http)
        one.fake.misbehave(
            "status", status=200, body=json.dumps({"incidents": [{"incident_key": "another", "status": "triggered"}]})
        )
        assert await one.sink.find(order(), one.http, 0) == Absent(settled=False)


async def test_throttling_without_a_time_leaves_the_pause_to_us() -> None:
    async with bench("pagerduty") as one:
        one.fake.misbehave("status", status=429, body='{"status":"throttle exceeded"}')
        assert await one.sink.deliver(order(), one.http) == Retry(Reason.THROTTLED, '{"status":"throttle exceeded"}', 0)


async def test_the_largest_page_is_below_the_limit() -> None:
    wide = "\U0001f525" * 100_000
    shown = view(
        members=view().members * 60, services=view().services * 200, derivation=wide, owner=wide, environment=wide
    )
    async with bench("pagerduty") as one:
        assert isinstance(await one.sink.deliver(order(shown=shown, title=wide, text=wide), one.http), Done)
        assert len(one.fake.requests[0]["body"].encode()) <= 512 * 1024


def test_a_configuration_needs_one_form_of_the_key() -> None:
    key = {"type": "pagerduty", "routing_key": "0" * 32}
    assert PagerDutyConfig.model_validate(key).url == "https://events.pagerduty.com"
    with pytest.raises(ValidationError, match="32 characters"):
        PagerDutyConfig.model_validate(key | {"routing_key": "short"})
    with pytest.raises(ValidationError, match="routing_key_file"):
        PagerDutyConfig.model_validate({"type": "pagerduty"})
    with pytest.raises(ValidationError, match="both given"):
        PagerDutyConfig.model_validate(key | {"routing_key_file": "/run/secrets/pagerduty"})


@pytest.mark.parametrize(
    ("events", "rest"),
    [
        ("https://events.pagerduty.com", "https://api.pagerduty.com"),
        ("https://events.eu.pagerduty.com", "https://api.eu.pagerduty.com"),
        ("http://127.0.0.1:18201", "http://127.0.0.1:18201"),
    ],
)
def test_the_rest_api_stands_beside_the_events(events: str, rest: str) -> None:
    """In the EU too; an address of one's own serves both."""
    assert rest_address(events) == rest
