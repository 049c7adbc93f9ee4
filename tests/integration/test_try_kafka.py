"""`docs/try-kafka.md` is executed, with a real broker. How to write it anew: see `pages`."""

import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.counterparts.kafka_setup import libraries, prepared
from tests.counterparts.process import program
from tests.integration.pages import ROOT, Hour, carry_out

pytestmark = pytest.mark.integration

ANSWERS = {"samband run": "8112", "kafka-up": "9092", "tests.fakes": "18201"}


def instead(ports: Mapping[str, str]) -> dict[str, str]:
    """Free ports, this environment, and the command of the Makefile without its installing."""
    assert "-m tests.counterparts.kafka_up $(PORT)" in (ROOT / "Makefile").read_text()
    fakes = " ".join(f"--{name}-port 0" for name in ("jira", "statuspage", "webhook"))
    return {
        ".venv/bin/": "",
        "make kafka-up": f"{sys.executable} -m tests.counterparts.kafka_up {ports['9092']}",
        "python -m tests.fakes": f"{sys.executable} -m tests.fakes --pagerduty-port {ports['18201']} {fakes}",
    }


async def test_from_a_topic_to_a_page(tmp_path: Path) -> None:
    program("java")
    libraries()
    prepared()
    await carry_out("try-kafka.md", Hour(tmp_path, [*ANSWERS.values()], ANSWERS, instead))
