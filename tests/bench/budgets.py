"""What each step may cost: measured here, kept in budgets.json, held by test_budgets. `make budgets` renews them.

Two figures a step, neither in seconds. *opcodes*: instructions of Python's virtual machine per alert,
the same in every run on the same minor version of Python, so a tenth more fails. *ratio*: CPU time
against a fixed piece of work in the same process, which also sees what C code does; it moves by a tenth
on a busy machine and by more from one processor to the next, so its margin is wide. (Instructions of
the processor would be better, but counting them under valgrind takes minutes for the imports alone.)
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from tests.bench.steps import STEPS, Meter, Pipeline, cpu, least, opcodes

FILE = Path(__file__).with_name("budgets.json")
SIZE = 64
WARM_ROUNDS, OPCODE_ROUNDS, CPU_ROUNDS = 4, 4, 80
OPCODES_MARGIN, OTHER_PYTHON_MARGIN, RATIO_MARGIN = 1.10, 1.25, 1.40
MINOR = f"{sys.version_info.major}.{sys.version_info.minor}"

Figures = Mapping[str, float]


def measured(meter: Meter, rounds: int) -> dict[str, float]:
    """What every step costs per alert at batch 64. The database is in memory where that is possible."""
    memory = Path("/dev/shm")
    with (
        tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder,
        Pipeline(Path(folder)) as pipeline,
    ):
        for _ in pipeline.rounds(WARM_ROUNDS, SIZE, lambda work: float(work() is None)):
            pass
        return least(list(pipeline.rounds(rounds, SIZE, meter)))


def opcodes_per_alert() -> dict[str, float]:
    """Python's instructions per alert."""
    return measured(opcodes, OPCODE_ROUNDS)


def ratios() -> dict[str, float]:
    """CPU time of each step as a multiple of the reference's."""
    found = measured(cpu, CPU_ROUNDS)
    return {step: found[step] / found["reference"] for step in STEPS if step != "reference"}


def over_opcodes(budgets: Figures, found: Figures, python: str = MINOR, *, budgets_of: str) -> list[str]:
    """The steps above their budgets. On another Python than the budgets' they are scaled by the reference."""
    same = python == budgets_of
    scale = 1.0 if same else found["reference"] / budgets["reference"]
    return _over(budgets, found, scale * (OPCODES_MARGIN if same else OTHER_PYTHON_MARGIN), "opcodes an alert")


def over_ratios(budgets: Figures, found: Figures) -> list[str]:
    """Likewise for the CPU time."""
    return _over(budgets, found, RATIO_MARGIN, "of the reference's CPU time")


def _over(budgets: Figures, found: Figures, factor: float, unit: str) -> list[str]:
    return [
        f"{step}: {found[step]:.4g} {unit}; the budget is {budgets[step]:.4g} and allows {budgets[step] * factor:.4g}."
        f" Make it cheaper, or say why it must cost more and run: make budgets RAISE={step.replace(' ', '-')}"
        for step in STEPS
        if step != "reference" and found[step] > budgets[step] * factor
    ]


def renewed(before: Figures, found: Figures, raised: set[str]) -> dict[str, float]:
    """A ratchet: a budget goes down by itself, and up only for a step that is named ("all": for every one)."""
    free = "all" in raised
    return {
        step: round(figure if free or step in raised or step not in before else min(figure, before[step]), 4)
        for step, figure in found.items()
    }


def main() -> None:
    """Measures and writes the file."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.budgets", description=main.__doc__)
    parser.add_argument("--raise", dest="raised", action="append", default=[], metavar="STEP", help="may become dearer")
    raised = {step.replace("-", " ") for step in parser.parse_args().raised}
    before = json.loads(FILE.read_text())
    if before["python"] != MINOR:
        sys.exit(f"the budgets are of Python {before['python']}; renew them with that one")
    counted, timed = opcodes_per_alert(), ratios()
    counts = renewed(before["opcodes"], counted, raised | {"reference"})
    after = {"python": MINOR, "opcodes": counts, "ratio": renewed(before["ratio"], timed, raised)}
    FILE.write_text(json.dumps(after, indent=2) + "\n")
    for step in STEPS:
        ratio = f"{timed[step]:6.3f} of the reference" if step in timed else ""
        sys.stdout.write(f"{step:12} {counted[step]:8.1f} opcodes {ratio}\n")


if __name__ == "__main__":
    main()
