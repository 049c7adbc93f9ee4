"""`python -m tests.simulation --seed N`: one world, or many, with what went wrong and how to see it again."""

import argparse
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor

from tests.simulation.coverage import Coverage, missing, table
from tests.simulation.run import Report, repeat_command, simulate

PIECE = 25


def main() -> int:
    """Exit 0 when all worlds came right, else 1."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument("--count", type=int, default=1, help="how many seeds")
    parser.add_argument("--jobs", type=int, default=1, help="how many processes share them")
    parser.add_argument(
        "--story", action="store_true", help="of one seed: tells what happened, also when all went well"
    )
    parser.add_argument("--log", action="store_true", help="of one seed: shows the daemon's log lines")
    options = parser.parse_args()
    if options.count == 1:
        return _one(options.seed, tell=options.story, log=options.log)
    return _many(options.seed, options.count, options.jobs)


def _one(seed: int, *, tell: bool, log: bool) -> int:
    report = simulate(seed, show_log=log, tell=tell)
    for line in (f"seed {seed}: {report.summary}", *_wrong(report), *report.story):
        sys.stdout.write(f"{line}\n")
    return 1 if report.violations else 0


def _wrong(report: Report) -> Iterator[str]:
    for text in report.violations[:20]:
        yield f"    {text[:600]}"
    if report.violations:
        yield f"    again: {repeat_command(report.seed)}"


def _many(first: int, count: int, jobs: int) -> int:
    began, failed, whole = time.perf_counter(), 0, Coverage()
    pieces = [range(at, min(at + PIECE, first + count)) for at in range(first, first + count, PIECE)]
    for done, (reports, coverage, spent) in enumerate(_results(pieces, jobs), 1):
        whole.add(coverage)
        failed += len(reports)
        for report in reports:
            for line in (f"seed {report.seed}: {report.summary}", *_wrong(report)):
                sys.stdout.write(f"{line}\n")
        if sys.stderr.isatty():
            sys.stderr.write(f"\r{min(done * PIECE, count)} of {count} seeds, {failed} failed, {spent:.3f} s each ")
        sys.stdout.flush()
    took = time.perf_counter() - began
    lines = [*table(whole), "", *missing(whole)[:40], f"{count} seeds in {took:.0f} s, {failed} failed"]
    sys.stdout.write("\n".join(lines) + "\n")
    return 1 if failed else 0


def _results(pieces: list[range], jobs: int) -> Iterator[tuple[list[Report], Coverage, float]]:
    if jobs == 1:
        yield from map(_piece, pieces)
        return
    with ProcessPoolExecutor(jobs) as pool:
        yield from pool.map(_piece, pieces)


def _piece(seeds: range) -> tuple[list[Report], Coverage, float]:
    """The reports of those that failed, what all of them reached, and the seconds of processor time that one took."""
    began, failed, coverage = time.process_time(), [], Coverage()
    for seed in seeds:
        report = simulate(seed)
        coverage.add(report.coverage)
        if report.violations:
            failed.append(report)
    return failed, coverage, (time.process_time() - began) / len(seeds)


if __name__ == "__main__":
    sys.exit(main())
