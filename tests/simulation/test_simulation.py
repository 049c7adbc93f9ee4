"""Many worlds, and whether a world is always the same. `pytest -m simulation` runs them."""

import os
import subprocess
import sys

import pytest

from tests.simulation.run import repeat_command, simulate

SEEDS = int(os.environ.get("SAMBAND_SEEDS", "100"))
"""How many worlds; a nightly run takes more."""


@pytest.mark.simulation
@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_world_comes_right(seed: int) -> None:
    report = simulate(seed)
    assert not report.violations, f"{report.violations}\nagain: {repeat_command(seed)}"


@pytest.mark.simulation
@pytest.mark.parametrize("seed", [3, 40])
def test_the_same_seed_is_the_same_world(seed: int) -> None:
    first = simulate(seed).fingerprint
    assert simulate(seed).fingerprint == first
    program = f"from tests.simulation.run import simulate; print(simulate({seed}).fingerprint)"
    for hashing in ("1", "2"):
        other = subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": hashing},
            capture_output=True,
            text=True,
            check=True,
        )
        assert other.stdout.strip() == first
