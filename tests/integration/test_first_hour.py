"""`docs/first-hour.md` is executed, with a real Prometheus. How to write it anew: see `pages`."""

from pathlib import Path

import pytest

from tests.counterparts.process import program
from tests.integration.pages import Hour, carry_out

pytestmark = pytest.mark.integration


async def test_the_first_hour(tmp_path: Path) -> None:
    program("prometheus")
    program("amtool")
    hour = Hour(tmp_path, ("8112", "9090", "9187", "8081", "8082"), {"samband run": "8112"})
    await carry_out("first-hour.md", hour)
