"""Many alerts, and how many things they are: at the API, at the pager, at the desk, on the public page."""

import asyncio
from typing import Any

import pytest

from tests.integration.conftest import StartSamband
from tests.integration.estate import OFFICE, SHOP, TIMING, alert, batches, outage, over
from tests.integration.samband import Samband, Sinks, until

pytestmark = pytest.mark.integration


async def test_184_alerts_of_eleven_connected_services_are_one_incident(
    start_samband: StartSamband, sinks: Sinks
) -> None:
    samband = await start_samband()
    alerts = outage(list(SHOP), 184)

    await _sent(samband, alerts)
    await until(lambda: sinks.pager.pages, "the page")

    [incident] = await samband.incidents()
    assert incident["alerts"] == {"firing": 184, "resolved": 0, "held": 0}
    assert sorted(incident["services"]) == sorted(SHOP)
    assert incident["priority"] == "P1"
    [page] = sinks.pager.pages
    assert incident["ref"] in page.summary
    assert "11 services" in page.summary
    assert len(page.summary) <= 103, "100 characters behind the priority"
    await until(lambda: sinks.page.entries, "the entry on the public page")
    assert (len(sinks.desk.issues), len(sinks.page.entries)) == (1, 1)
    assert sinks.page.shown == dict.fromkeys(sinks.page.components.values(), "major_outage")

    await _sent(samband, over(alerts))
    await until(lambda: page.status == "resolved", "the page resolved")
    assert len(sinks.pager.pages) == 1


async def test_two_outages_far_apart_at_the_same_minute_are_two_incidents(
    start_samband: StartSamband, sinks: Sinks
) -> None:
    samband = await start_samband()
    shop, office = outage(list(SHOP), 110), outage(list(OFFICE), 40)
    mixed = [one for pair in zip(shop, office, strict=False) for one in pair] + shop[len(office) :]

    await _sent(samband, mixed)
    await until(lambda: len(sinks.pager.pages) == 2, "two pages")

    found = await samband.incidents()
    assert sorted(sorted(one["services"]) for one in found) == sorted([sorted(SHOP), sorted(OFFICE)])
    assert sorted(one["alerts"]["firing"] for one in found) == [40, 110]
    await until(lambda: len(sinks.desk.issues) == 2 and len(sinks.page.entries) == 2, "two tickets and entries")
    await _quiet(sinks)
    assert (len(sinks.pager.pages), len(sinks.desk.issues), len(sinks.page.entries)) == (2, 2, 2)


async def test_the_machines_of_a_node_exporter_are_not_one_service(start_samband: StartSamband, sinks: Sinks) -> None:
    samband = await start_samband()
    alerts = [
        alert("HostHighLoad", "critical", job="node-exporter", instance=f"machine-{number:02d}:9100")
        for number in range(50)
    ]

    await _sent(samband, alerts)

    found = await samband.incidents()
    assert len(found) == 50
    assert sorted(one["services"][0] for one in found) == [f"machine-{number:02d}:9100" for number in range(50)]
    await until(lambda: len(sinks.desk.issues) == 50, "a ticket each")


async def test_an_alert_that_connects_two_incidents_makes_them_one_and_pages_nobody(
    start_samband: StartSamband, sinks: Sinks
) -> None:
    """The services web and invoices are too far from each other; orders is near to both."""
    samband = await start_samband(timing={**TIMING, "first_page": "1s"})
    await _sent(samband, outage(["web"], 4))
    await _sent(samband, outage(["invoices"], 4))
    await until(lambda: len(sinks.pager.pages) == 2, "two pages")
    await until(lambda: len(sinks.desk.issues) == 2, "two tickets")
    older, newer = await samband.incidents()

    await _sent(samband, outage(["orders"], 3))
    await until(lambda: sinks.pager.open_objects(_key(newer)) == [], "the newer one's page resolved")
    [closed] = sinks.desk.objects(_key(newer))
    await until(lambda: closed.status == "Done", "its ticket closed")

    [survivor] = await samband.incidents()
    assert survivor["ref"] == older["ref"]
    assert survivor["alerts"]["firing"] == 11
    assert (await samband.get(f"/api/v1/incidents/{newer['id']}"))["merged_into"] == survivor["id"]
    [kept] = sinks.desk.objects(_key(older))
    assert closed.links == [("Duplicate", closed.key, kept.key)]
    await _quiet(sinks)
    assert [page.status for page in sinks.pager.pages] == ["triggered", "resolved"]
    assert kept.status == "To Do"
    assert [entry.status for entry in sinks.page.entries].count("resolved") == 1


async def _sent(samband: Samband, alerts: list[dict[str, Any]]) -> None:
    for batch in batches(alerts):
        assert await samband.send(batch)


async def _quiet(sinks: Sinks) -> None:
    """Longer than any wait that could still lead to a further object."""
    before = -1
    while before != sinks.requests():
        before = sinks.requests()
        await asyncio.sleep(4)


def _key(incident: dict[str, Any]) -> str:
    return f"samband-{incident['id']}-1"
