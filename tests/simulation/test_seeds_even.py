"""Half of the worlds: the pieces with an even number."""

from pathlib import Path

import pytest

from tests.simulation.seeds import PIECES, all_come_right, everything_is_reached


@pytest.mark.simulation
@pytest.mark.parametrize("piece", range(0, PIECES, 2))
def test_worlds_come_right(piece: int, reached: Path) -> None:
    all_come_right(piece, reached)


@pytest.mark.simulation
def test_every_failpoint_sink_and_fault_is_reached(reached: Path) -> None:
    everything_is_reached(reached)
