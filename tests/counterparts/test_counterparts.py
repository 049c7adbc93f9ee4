"""The counterparts are what the other tests believe them to be."""

from datetime import datetime

import pytest

from tests.counterparts.alertmanager import amtool
from tests.counterparts.fixtures import StartAlertmanager, StartPrometheus
from tests.counterparts.listener import Gauges, Listener, Request
from tests.counterparts.prometheus import Rule

pytestmark = pytest.mark.integration

DOWN = Rule("Down", 'down{service="shop"} == 1', labels={"severity": "critical"}, annotations={"summary": "It is down"})


async def test_prometheus_posts_what_fires(
    start_prometheus: StartPrometheus, listener: Listener, gauges: Gauges
) -> None:
    gauges.set('down{service="shop"}', 1)
    await start_prometheus([f"{listener.url}/prefix"], [DOWN], [gauges.address], token="t0ken")

    request = await listener.wait_for(lambda request: request.method == "POST")

    assert request.path == "/prefix/api/v2/alerts"
    assert request.headers["Authorization"] == "Bearer t0ken"
    [alert] = request.json
    assert alert["labels"].items() >= {"alertname": "Down", "service": "shop", "severity": "critical"}.items()
    assert alert["annotations"] == {"summary": "It is down"}
    assert alert["generatorURL"].startswith("http")


async def test_prometheus_says_when_it_is_over(
    start_prometheus: StartPrometheus, listener: Listener, gauges: Gauges
) -> None:
    gauges.set('down{service="shop"}', 1)
    await start_prometheus([listener.url], [DOWN], [gauges.address])
    firing = await listener.wait_for(lambda request: not _over(request))

    gauges.set('down{service="shop"}', 0)
    over = await listener.wait_for(_over)

    assert over.json[0]["startsAt"] == firing.json[0]["startsAt"]


async def test_prometheus_comes_back_after_a_kill(
    start_prometheus: StartPrometheus, listener: Listener, gauges: Gauges
) -> None:
    gauges.set('down{service="shop"}', 1)
    prometheus = await start_prometheus([listener.url], [DOWN], [gauges.address])
    await listener.wait_for(lambda request: request.method == "POST")

    await prometheus.kill()
    listener.requests.clear()
    await prometheus.start()

    again = await listener.wait_for(lambda request: request.method == "POST")
    assert again.json[0]["labels"]["service"] == "shop"
    # Its memory of before the kill is there: the restart found the same data.
    assert await prometheus.query('count_over_time(down{service="shop"}[1m] offset 3s)')


async def test_prometheus_takes_new_rules(
    start_prometheus: StartPrometheus, listener: Listener, gauges: Gauges
) -> None:
    gauges.set('down{service="shop"}', 1)
    prometheus = await start_prometheus([listener.url], [], [gauges.address])

    await prometheus.load([DOWN])

    await listener.wait_for(lambda request: request.json[0]["labels"]["alertname"] == "Down")


async def test_alertmanager_takes_from_amtool_and_tells_the_receiver(
    start_alertmanager: StartAlertmanager, listener: Listener
) -> None:
    alertmanager = await start_alertmanager({"webhook_configs": [{"url": f"{listener.url}/hooks/am"}]})

    await amtool(alertmanager.url, "alert", "add", "alertname=Down", "service=shop")

    told = await listener.wait_for(lambda request: request.path == "/hooks/am")
    assert told.json["version"] == "4"
    assert told.json["alerts"][0]["labels"] == {"alertname": "Down", "service": "shop"}
    assert "shop" in await amtool(alertmanager.url, "alert", "query", "--output=json")


async def test_a_program_that_cannot_start_says_why(
    start_alertmanager: StartAlertmanager,
) -> None:
    with pytest.raises(RuntimeError, match="no_such_key"):
        await start_alertmanager({"no_such_key": []})


def _over(request: Request) -> bool:
    return all(datetime.fromisoformat(alert["endsAt"]) <= request.at for alert in request.json)
