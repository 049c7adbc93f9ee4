"""amtool cannot tell samband from Alertmanager: the same commands, the same listings."""

import json
from typing import Any

import pytest

from tests.counterparts.alertmanager import amtool
from tests.counterparts.fixtures import StartAlertmanager
from tests.counterparts.listener import Listener
from tests.integration.conftest import StartSamband

pytestmark = pytest.mark.integration

ADDED = (
    ("alertname=Down", "service=shop", "severity=critical", "--annotation=summary=The shop is down"),
    ("alertname=Down", "service=pay", "severity=warning", "--generator-url=http://prometheus.example/graph"),
    ("alertname=Slow", "service=shop", "instance=a:9100", "--end=2099-01-01T00:00:00Z"),
    (r'alertname="Q\"uo\\te"', "note=åäö <b>&amp;</b>"),
    ("alertname=Over", "service=shop", "--end=2020-01-01T00:00:00Z"),
    ("alertname=Empty", "service=shop", "nothing="),
)
QUERIES = ((), ("service=shop",), ("service!=shop",), ("alertname=~D.*n", "severity=critical"), ("severity=",))


async def test_alerts_added_and_queried(
    start_samband: StartSamband, start_alertmanager: StartAlertmanager, listener: Listener
) -> None:
    samband = await start_samband()
    alertmanager = await start_alertmanager({"webhook_configs": [{"url": listener.url}]})
    for one in ADDED:
        for url in (samband.url, alertmanager.url):
            await amtool(url, "alert", "add", *one)

    for query in QUERIES:
        ours, theirs = [await _listed(url, *query) for url in (samband.url, alertmanager.url)]
        assert ours == theirs, query
    assert len(await _listed(samband.url)) == len(ADDED) - 1, "what has ended is not listed"


async def test_every_form_of_output_and_what_else_amtool_reads(
    start_samband: StartSamband, start_alertmanager: StartAlertmanager, listener: Listener
) -> None:
    samband = await start_samband()
    alertmanager = await start_alertmanager({"webhook_configs": [{"url": listener.url}]})
    for url in (samband.url, alertmanager.url):
        await amtool(url, "alert", "add", *ADDED[0])

    for form in ("simple", "extended", "json"):
        ours, theirs = [
            await amtool(url, "alert", "query", f"--output={form}") for url in (samband.url, alertmanager.url)
        ]
        assert len(ours.splitlines()) == len(theirs.splitlines()), form
        assert "Down" in ours
    assert "samband" in await amtool(samband.url, "config", "show")
    assert "samband" in await amtool(samband.url, "config", "routes", "show")


async def _listed(url: str, *query: str) -> list[dict[str, Any]]:
    """What a query lists, in its order, without what differs from one moment and server to the next."""
    items = json.loads(await amtool(url, "alert", "query", *query, "--output=json"))
    return [
        {key: one.get(key) for key in ("labels", "annotations", "fingerprint", "generatorURL")} | one["status"]
        for one in items
    ]
