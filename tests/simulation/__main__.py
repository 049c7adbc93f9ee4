"""`python -m tests.simulation --seed N`: one world, or many, with what went wrong and how to see it again."""

import argparse
import sys
import time

from tests.simulation.run import repeat_command, simulate


def main() -> int:
    """Exit 0 when all worlds came right, else 1."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument("--count", type=int, default=1, help="how many seeds, one after the other")
    parser.add_argument("--log", action="store_true", help="shows the daemon's log lines")
    options = parser.parse_args()
    failed = 0
    for seed in range(options.seed, options.seed + options.count):
        began = time.perf_counter()
        report = simulate(seed, show_log=options.log)
        took = time.perf_counter() - began
        sys.stdout.write(f"seed {seed}: {report.summary} ({took:.1f} s)\n")
        for text in report.violations[:20]:
            sys.stdout.write(f"    {text}\n")
        if report.violations:
            failed += 1
            sys.stdout.write(f"    again: {repeat_command(seed)}\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
