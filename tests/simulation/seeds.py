"""The seeds that every run of the tests simulates, in pieces; two files share them, so that two workers do."""

import os
from pathlib import Path

import msgspec

from tests.simulation.coverage import Coverage, missing, table
from tests.simulation.run import repeat_command, simulate

SEEDS = int(os.environ.get("SAMBAND_SEEDS", "1000"))
PIECE = 50
PIECES = -(-SEEDS // PIECE)
COVERED = 1_000
"""From so many seeds on everything must be reached."""


def all_come_right(piece: int, reached: Path) -> None:
    """Simulates the seeds of one piece, and leaves what they reached in that folder.

    Fails with what was wrong, the story of the first that failed, and how to see it again.
    """
    failed: list[str] = []
    coverage = Coverage()
    for seed in range(piece * PIECE, min((piece + 1) * PIECE, SEEDS)):
        report = simulate(seed)
        coverage.add(report.coverage)
        if report.violations:
            story = report.story if not failed else []
            failed.append("\n".join([f"seed {seed}:", *report.violations, *story, f"again: {repeat_command(seed)}"]))
    (reached / f"{piece}.json").write_bytes(msgspec.json.encode(coverage.counts()))
    assert not failed, "\n\n".join(failed)


def everything_is_reached(reached: Path) -> None:
    """Once all pieces have been simulated, whoever is last: every failpoint, sink and fault was met."""
    files = sorted(reached.glob("*.json"))
    if len(files) < PIECES or SEEDS < COVERED:
        return
    whole = Coverage()
    for file in files:
        whole.add(Coverage.of(msgspec.json.decode(file.read_bytes())))
    left = missing(whole)
    assert not left, "\n".join([*table(whole), "", *left])
