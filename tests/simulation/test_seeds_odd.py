"""Half of the worlds: the pieces with an odd number."""

import pytest

from tests.simulation.seeds import PIECES, all_come_right


@pytest.mark.simulation
@pytest.mark.parametrize("piece", range(1, PIECES, 2))
def test_worlds_come_right(piece: int) -> None:
    all_come_right(piece)
