"""The seeds that every run of the tests simulates, in pieces; two files share them, so that two workers do."""

import os

from tests.simulation.run import repeat_command, simulate

SEEDS = int(os.environ.get("SAMBAND_SEEDS", "1000"))
PIECE = 50
PIECES = -(-SEEDS // PIECE)


def all_come_right(piece: int) -> None:
    """Simulates the seeds of one piece. Fails with what was wrong, the story of the first, and how to see it again."""
    failed: list[str] = []
    for seed in range(piece * PIECE, min((piece + 1) * PIECE, SEEDS)):
        report = simulate(seed)
        if report.violations:
            story = report.story if not failed else []
            failed.append("\n".join([f"seed {seed}:", *report.violations, *story, f"again: {repeat_command(seed)}"]))
    assert not failed, "\n\n".join(failed)
