"""A few worlds on PostgreSQL: every fault of the simulation, with the real store on a real server beneath."""

import pytest

from tests.simulation.run import repeat_command, simulate
from tests.simulation.server_disk import ServerDisk

pytestmark = [pytest.mark.simulation, pytest.mark.integration]


@pytest.mark.parametrize("seed", [2, 3, 5, *(pytest.param(seed, marks=pytest.mark.soak) for seed in range(100, 150))])
def test_what_holds_on_sqlite_holds_on_postgresql(postgresql: str, seed: int) -> None:
    report = simulate(seed, disk=ServerDisk(postgresql))
    assert report.violations == [], f"{repeat_command(seed)}\n" + "\n".join([*report.violations, *report.story])
    assert report.fingerprint
