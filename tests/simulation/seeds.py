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
NOT_YET = {
    "before-delivered of page after garbage: never passed",
    "after-delivered of page after garbage: never passed",
    "before-drop of buzzer after no fault: never passed",
    "after-drop of buzzer after no fault: never passed",
}
"""What these worlds, as they are drawn now, do not meet in a thousand seeds. Nothing may be added."""


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
    left = [one for one in missing(whole) if one not in NOT_YET]
    assert not left, "\n".join([*table(whole), "", *left])
