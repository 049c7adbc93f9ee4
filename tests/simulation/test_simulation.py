"""Whether a world is always the same."""

import os
import subprocess
import sys

import pytest

from tests.simulation.run import simulate


@pytest.mark.simulation
@pytest.mark.parametrize("seed", [3, 40, 117])
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
