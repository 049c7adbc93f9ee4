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
    parser.add_argument("--story", action="store_true", help="tells what happened, also when all went well")
    parser.add_argument("--log", action="store_true", help="shows the daemon's log lines")
    options = parser.parse_args()
    failed, started = 0, time.perf_counter()
    for seed in range(options.seed, options.seed + options.count):
        began = time.perf_counter()
        report = simulate(seed, show_log=options.log, tell=options.story)
        took = time.perf_counter() - began
        if options.count == 1 or report.violations:
            sys.stdout.write(f"seed {seed}: {report.summary} ({took:.2f} s)\n")
        for text in report.violations[:20]:
            sys.stdout.write(f"    {text[:600]}\n")
        for line in report.story if options.count == 1 else ():
            sys.stdout.write(f"{line}\n")
        if report.violations:
            failed += 1
            sys.stdout.write(f"    again: {repeat_command(seed)}\n")
    took = time.perf_counter() - started
    sys.stdout.write(f"{options.count} seeds, {failed} failed, {took / options.count:.3f} s a seed\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
