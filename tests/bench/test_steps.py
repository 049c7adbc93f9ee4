"""Where the time of an alert goes: HTTP and parsing in a process of their own, the other steps one by one."""

import os
import statistics
import sys
from pathlib import Path

import pytest

from tests.bench.load import requests, send
from tests.bench.servers import running
from tests.bench.steps import STEPS, Pipeline, cpu, least
from tests.bench.table import Line, Table, spread
from tests.counterparts.process import Process, free_port

pytestmark = pytest.mark.bench

PART = "CPU per alert and step"
ROUNDS = {64: 200, 1000: 20}
TOLD = {
    "parse": "parse (decode, normalise, key)",
    "fold new": "fold of a new alert, with the journal's encoding",
    "commit new": "commit of a new alert (SQLite, synced)",
    "repeat": "a repeat: recognised, buffered, folded as a refresh",
}
CONNECTIONS = {1: 64, 64: 16, 1000: 4}
ALERTS = {1: 8_000, 64: 40_000, 1000: 40_000}
SLICES = 5


@pytest.mark.parametrize("size", list(ROUNDS))
def test_steps(tmp_path: Path, table: Table, size: int) -> None:
    """In this process, on one core; the mean of the quarter of the batches that was disturbed least."""
    own = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(own)})
    try:
        with Pipeline(tmp_path) as pipeline:
            found = least(list(pipeline.rounds(ROUNDS[size], size, cpu)))
    finally:
        os.sched_setaffinity(0, own)
    for step in STEPS:
        if step in TOLD:
            table.add(Line(PART, f"{TOLD[step]}, batch {size}", f"{found[step]:.1f} µs"))


async def test_the_door_alone(tmp_path: Path, table: Table) -> None:
    """HTTP, authentication and parsing, with nobody behind."""
    port = free_port()
    command = [sys.executable, "-m", "tests.bench.door", str(port)]
    async with running(
        "door", Process(command, tmp_path, f"http://127.0.0.1:{port}/-/ready", in_repository()), port
    ) as door:
        for batch, count in ALERTS.items():
            costs = []
            for turn in range(SLICES + 1):
                bodies, before = requests(range(count), batch, turn), door.cpu_s()
                await send(port, bodies, CONNECTIONS[batch])
                costs.append((door.cpu_s() - before) / count * 1e6)
            costs = costs[1:]
            shown = f"{statistics.median(costs):.1f} µs ({spread(costs, '.1f')})"
            table.add(Line(PART, f"HTTP, authentication and parse, batch {batch}", shown))


def in_repository() -> dict[str, str]:
    """So that a process that starts in another folder finds the tests."""
    root = str(Path(__file__).parents[2])
    return {"PYTHONPATH": os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH", ""))))}
