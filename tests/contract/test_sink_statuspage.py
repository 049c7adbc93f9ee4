"""Statuspage: what the public reads, and what its components show."""

from typing import Any

import pytest

from sinks.base import Absent, Done, Found, Reason, Reject, Retry
from tests.contract.sinks_kit import KEY, SETTLE_MS, Bench, bench, later, order, unclear, view

ENDED = view(state="resolved", firing=0, ended=184)
CHECKOUT, PAYMENTS = "gcvfrw2r8w36", "6p7x5zn55x73"


async def created(one: Bench, **changes: Any) -> str:
    """Makes the entry."""
    done = await one.sink.deliver(order(**changes), one.http)
    assert isinstance(done, Done)
    return done.ref


async def test_the_public_reads_effect_since_when_and_when_the_next_word_comes() -> None:
    async with bench("statuspage") as one:
        await created(one)
        entry = one.fake.entries[0]
        assert entry.name == "Checkout: major outage"
        assert entry.updates == [
            (
                "investigating",
                "Checkout: major outage since 2026-12-02 03:00 UTC. "
                "We are working on it; the next word comes as soon as this changes.",
            )
        ]
        assert entry.impact_override == "critical"
        assert one.fake.shown[CHECKOUT] == "major_outage"


async def test_nothing_of_an_alert_reaches_the_public() -> None:
    """Whatever stands in the incident: titles, hosts, causes, owners, services, links."""
    secret = view(
        title="S3CRET", derivation="S3CRET", owner="S3CRET", environment="S3CRET", cause="S3CRET", summary="S3CRET",
        link="https://s3cret.internal", acknowledged_by="S3CRET", resolved_by="S3CRET", ref="INC-1",
    )  # fmt: skip
    async with bench("statuspage") as one:
        ref = await created(one, shown=secret, title="S3CRET", text="S3CRET")
        for action in ("update", "resolve"):
            told = order(action, shown=secret, title="S3CRET", text="S3CRET", ref=ref, duplicate_of="INC-2 S3CRET")
            await one.sink.deliver(told, one.http)
        bodies = "".join(request["body"] for request in one.fake.requests).lower()
        assert [word for word in ("s3cret", "orders-db", "checkout-7", "inc-", "higherror") if word in bodies] == []


async def test_an_incident_without_a_component_stands_alone() -> None:
    bare = view(services=view().services[1:], priority="P2")
    async with bench("statuspage") as one:
        await created(one, shown=bare, components={"Payments": "major_outage"})
        entry = one.fake.entries[0]
        assert entry.name == "Service disruption: partial outage"
        assert entry.components == {}
        assert set(one.fake.shown.values()) == {"operational"}


@pytest.mark.parametrize(
    ("priority", "state", "impact"),
    [
        ("P1", "major_outage", "critical"),
        ("P2", "partial_outage", "major"),
        ("P3", "degraded_performance", "minor"),
        ("P5", "degraded_performance", "minor"),
    ],
)
async def test_the_effect_follows_the_priority(priority: str, state: str, impact: str) -> None:
    async with bench("statuspage") as one:
        await created(one, shown=view(priority=priority), components={})
        assert one.fake.entries[0].components == {CHECKOUT: state}
        assert one.fake.entries[0].impact_override == impact


async def test_a_component_shows_the_worst_of_what_is_open() -> None:
    """A P3 is told as degraded, its component as what another, worse incident makes it."""
    async with bench("statuspage") as one:
        ref = await created(one, shown=view(priority="P3"), components={"Checkout": "major_outage"})
        assert one.fake.shown[CHECKOUT] == "major_outage"
        told = order("resolve", shown=ENDED, ref=ref, components={"Checkout": "partial_outage"})
        await one.sink.deliver(told, one.http)
        entry = one.fake.entries[0]
        assert entry.status == "resolved"
        assert entry.updates[0][1].endswith("Another incident still affects it: partial outage.")
        assert one.fake.shown[CHECKOUT] == "partial_outage"


async def test_the_last_one_turns_the_component_green() -> None:
    async with bench("statuspage") as one:
        ref = await created(one)
        await one.sink.deliver(order("resolve", shown=ENDED, ref=ref, components={"Checkout": "operational"}), one.http)
        assert one.fake.shown[CHECKOUT] == "operational"
        assert (
            one.fake.entries[0].updates[0][1]
            == "Checkout: this incident, which began at 2026-12-02 03:00 UTC, is over."
        )


async def test_components_are_looked_up_by_name_when_none_are_configured() -> None:
    services = (*view().services, type(view().services[0])("pay", "production", 1, 0, 1, "shop", "Payments", ""))
    unknown = type(services[0])("x", "production", 1, 0, 1, "shop", "Internal thing", "")
    async with bench("statuspage", config={"components": {}}) as one:
        assert one.sink.render(order()).url.endswith("/components")  # type: ignore[union-attr]
        await created(one, shown=view(services=(*services, unknown)), components={"Payments": "partial_outage"})
        assert one.fake.entries[0].components == {CHECKOUT: "major_outage", PAYMENTS: "partial_outage"}
        assert one.fake.entries[0].name == "Checkout and Payments: major outage"


async def test_configured_components_are_all_that_is_shown() -> None:
    services = (type(view().services[0])("pay", "production", 1, 0, 1, "shop", "Payments", ""),)
    async with bench("statuspage") as one:
        await created(one, shown=view(services=services))
        assert one.fake.entries[0].components == {}
        assert "Payments" not in one.fake.requests[0]["body"]


async def test_subscribers_are_told_nothing_twice() -> None:
    async with bench("statuspage") as one:
        ref = await created(one)
        for version in (4, 5):
            await one.sink.deliver(order("update", shown=view(firing=300, version=version), ref=ref), one.http)
        assert one.fake.sent("PATCH") == []
        await one.sink.deliver(order("update", shown=view(firing=0, ended=184), ref=ref), one.http)
        assert one.fake.entries[0].status == "monitoring"
        assert len(one.fake.sent("PATCH")) == 1


async def test_an_update_that_arrived_unanswered_is_not_written_again() -> None:
    async with bench("statuspage", timeout_s=0.3) as one:
        ref = await created(one)
        told = order("resolve", shown=ENDED, ref=ref, components={})
        one.fake.misbehave("hang_after", method="PATCH")
        assert unclear(await one.sink.deliver(told, one.http))
        assert await one.sink.deliver(later(told), one.http) == Done(ref)
        assert len(one.fake.sent("PATCH")) == 1
        assert [status for status, _ in one.fake.entries[0].updates] == ["resolved", "investigating"]


async def test_an_entry_that_a_person_closed_stays_as_they_left_it() -> None:
    async with bench("statuspage") as one:
        ref = await created(one)
        one.fake.entries[0].status = "resolved"
        assert await one.sink.deliver(order("update", ref=ref, shown=view(priority="P2")), one.http) == Done(ref)
        assert one.fake.sent("PATCH") == []
        told = order("resolve", shown=ENDED, ref=ref, components={"Checkout": "operational"})
        assert await one.sink.deliver(told, one.http) == Done(ref)
        assert one.fake.shown[CHECKOUT] == "operational"
        assert len(one.fake.entries[0].updates) == 1


async def test_a_reopened_incident_gets_an_entry_of_its_own() -> None:
    async with bench("statuspage") as one:
        assert one.sink.reopens is False
        ref = await created(one)
        await one.sink.deliver(order("resolve", shown=ENDED, ref=ref, components={}), one.http)
        assert await created(one, action="create", key="samband-x-2") != ref
        assert len(one.fake.open_objects("samband-x-2")) == 1


async def test_an_unclear_create_is_found_once_the_list_shows_it() -> None:
    async with bench("statuspage", timeout_s=0.3, lag_s=1.0) as one:
        one.fake.misbehave("reset_after", method="POST")
        assert unclear(await one.sink.deliver(order(), one.http))
        assert await one.sink.find(order(), one.http, SETTLE_MS - 1) == Absent(settled=False)
        one.fake.lag_s = 0.0
        assert await one.sink.find(order(), one.http, SETTLE_MS) == Found(one.fake.entries[0].id)


async def test_an_entry_that_was_closed_already_is_found_too() -> None:
    async with bench("statuspage") as one:
        ref = await created(one)
        one.fake.entries[0].status = "resolved"
        assert await one.sink.find(order(), one.http, 0) == Found(ref)


async def test_an_entry_that_is_gone_is_not_found() -> None:
    async with bench("statuspage") as one:
        for told in (order("update", ref="nowhere"), order("resolve")):
            outcome = await one.sink.deliver(told, one.http)
            assert isinstance(outcome, Reject)
            assert outcome.reason is Reason.NOT_FOUND


async def test_a_merged_incident_says_only_that_it_goes_on_elsewhere() -> None:
    async with bench("statuspage") as one:
        ref = await created(one)
        told = order("resolve", shown=view(state="merged"), ref=ref, duplicate_of="INC-1 https://x", components={})
        await one.sink.deliver(told, one.http)
        assert one.fake.entries[0].updates[0] == ("resolved", "This is now followed in another entry on this page.")


async def test_the_vendors_own_word_for_too_many_is_understood() -> None:
    async with bench("statuspage", per_minute=1) as one:
        await created(one)
        outcome = await one.sink.deliver(order(key="another"), one.http)
        assert isinstance(outcome, Retry)
        assert outcome.reason is Reason.THROTTLED


async def test_metadata_holds_our_key_as_an_object() -> None:
    async with bench("statuspage") as one:
        await created(one)
        assert one.fake.entries[0].metadata == {"samband": {"key": KEY}}


async def test_check_names_a_component_that_is_not_there() -> None:
    async with bench("statuspage", config={"components": {"Checkout": "nowhere"}}) as one:
        problems = await one.sink.check(one.http)
        assert "Checkout" in problems[0].text
        assert CHECKOUT in problems[0].remedy
