"""`docs/sources/kafka.md` as a reader follows it: its configuration, the broker's own producer, a page."""

import re
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from daemon.settings import load
from tests.counterparts.kafka import Broker
from tests.integration.conftest import StartSamband
from tests.integration.samband import Sinks, until

pytestmark = pytest.mark.integration

PAGE = (Path(__file__).parents[2] / "docs" / "sources" / "kafka.md").read_text()


def example(number: int) -> Any:
    """A configuration that the page shows."""
    return YAML(typ="safe").load(re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)[number])


def test_the_larger_configuration_loads(tmp_path: Path) -> None:
    (tmp_path / "samband.yaml").write_text(re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)[1])
    assert load(tmp_path / "samband.yaml", secrets=False).inactive == []


async def test_ten_lines_and_the_console_producer_page_somebody(
    kafka: Broker, start_samband: StartSamband, sinks: Sinks
) -> None:
    shown = example(0)
    assert len(re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)[0].splitlines()) <= 10
    (line,) = re.findall(r"^echo '(.*)' \|$", PAGE, re.MULTILINE)
    topic = await kafka.create_topic()
    follow = {**shown["sources"]["mainframe"], "brokers": [kafka.address], "topic": topic}
    samband = await start_samband(
        sources={"mainframe": follow},
        services=shown["services"],
        sinks={"pager": sinks.config()["pager"]},
        policies=None,
    )
    code, said = await samband.cli("check", "--live")
    assert code == 0, said
    await kafka.console_producer(topic, f"{line}\n")
    (incident,) = await until(lambda: samband.incidents("open"), "it becomes an incident")
    assert (incident["priority"], incident["owner"]) == ("P1", "orders")
    await until(sinks.pager.keys, "it pages")
    await kafka.console_producer(topic, line.replace("{", '{"status": "resolved", ', 1) + "\n")
    await until(lambda: samband.incidents("resolved", "open"), "its end arrives")
    await until(lambda: all_over(samband), "and is one")


async def all_over(samband: Any) -> bool:
    """Whether nothing fires any more."""
    return all(one["status"] != "firing" for one in await samband.alerts())
