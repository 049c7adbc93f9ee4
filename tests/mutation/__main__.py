"""`python -m tests.mutation`: plants every bug in a copy of the tree, and says which test caught it."""

import argparse
import signal
import sys
import time
from typing import TextIO

import msgspec

from tests.mutation.catching import OUTCOMES, Verdict, hunt, sound
from tests.mutation.page import write
from tests.mutation.planting import Mutant, load


def main() -> int:
    """0 when every mutant is caught, 1 when one survives or says nothing, 2 for a wrong call."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="this mutant; may be repeated")
    parser.add_argument("--jobs", type=int, default=1, help="how many at a time (1)")
    parser.add_argument("--json", action="store_true", help="one verdict a line, as JSON")
    parser.add_argument("--no-control", action="store_true", help="do not run the catchers without a bug first")
    parser.add_argument("--write-docs", action="store_true", help="only write the table of docs/mutation.md anew")
    asked = parser.parse_args()
    if asked.write_docs:
        write()
        return 0
    mutants = {one.name: one for one in load()}
    if unknown := [name for name in asked.only if name not in mutants]:
        _say(f"there is no mutant {unknown[0]!r}; there are {', '.join(mutants)}", sys.stderr)
        return 2
    chosen = [mutants[name] for name in asked.only] or list(mutants.values())
    if not asked.no_control and (wrong := sound(sorted({test for one in chosen for test in one.caught_by}))):
        _say(wrong, sys.stderr)
        return 1
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # So that copies and children go with it.
    began = time.monotonic()
    outcomes = []
    for mutant, verdict in hunt(chosen, max(asked.jobs, 1)):
        _say(msgspec.json.encode(verdict).decode() if asked.json else _line(mutant, verdict))
        outcomes.append(verdict.outcome)
    if not asked.json:
        counted = ", ".join(f"{outcomes.count(one)} {one}" for one in OUTCOMES)
        _say(f"{len(outcomes)} mutants in {time.monotonic() - began:.0f} s: {counted}")
    return int("survived" in outcomes or "broken" in outcomes)


def _line(mutant: Mutant, verdict: Verdict) -> str:
    tests = ", ".join(test.rpartition("/")[2] for test in mutant.caught_by)
    text = "\n    ".join(["", *verdict.text.splitlines()])
    return f"{verdict.outcome:<9}{verdict.seconds:5.1f} s  {mutant.name}  <-  {tests}{text}"


def _say(text: str, to: TextIO = sys.stdout) -> None:
    to.write(f"{text}\n")
    to.flush()


if __name__ == "__main__":
    sys.exit(main())
