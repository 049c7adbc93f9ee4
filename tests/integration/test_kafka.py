"""Alerts from a real broker: read once, whatever happens, and never ended by what has not been read."""

import json
from typing import Any

import pytest

from tests.counterparts.kafka import Broker
from tests.integration.conftest import StartSamband
from tests.integration.samband import Samband, Sinks, until

pytestmark = pytest.mark.integration


def native(name: str, number: int = 0, **more: Any) -> bytes:
    """One alert in the native form."""
    return json.dumps(
        {"name": name, "severity": "error", "service": "orders", "resource": f"r{number}", **more}
    ).encode()


def source(broker: Broker, *topics: str, **more: Any) -> dict[str, Any]:
    """`sources:` with one that follows these topics from their beginning."""
    follow: dict[str, Any] = {"topic": topics[0]} if len(topics) == 1 else {"topics": {topic: {} for topic in topics}}
    return {"mainframe": {"type": "kafka", "brokers": [broker.address], "start": "earliest", **follow, **more}}


async def firing(samband: Samband) -> list[str]:
    """Name and resource of what fires."""
    return sorted(f"{one['name']}/{one['resource']}" for one in await samband.alerts() if one["status"] == "firing")


async def test_alerts_reach_the_pager_and_end_it(kafka: Broker, start_samband: StartSamband, sinks: Sinks) -> None:
    topic = await kafka.create_topic(3)
    samband = await start_samband(sources=source(kafka, topic))
    await kafka.produce(topic, [native("Down", severity="critical", service="checkout")])
    (incident,) = await until(lambda: samband.incidents("open"), "the alert becomes an incident")
    assert incident["priority"] == "P1"
    await until(sinks.pager.keys, "it pages")
    await kafka.produce(topic, [native("Down", severity="critical", service="checkout", status="resolved")])
    await until(lambda: samband.incidents("resolved"), "its end resolves it")
