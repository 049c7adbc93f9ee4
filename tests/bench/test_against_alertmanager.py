"""Alerts per CPU-second, durable before the answer, beside Debian's Alertmanager: same run, payload and core."""

import contextlib
import os
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.bench.load import cpu_seconds, requests, send
from tests.counterparts.alertmanager import Alertmanager
from tests.counterparts.process import Process, free_port

pytestmark = pytest.mark.bench

ALERTS, ROUNDS, BATCH, CONNECTIONS = 20_000, 3, 64, 16
NEW_AT_LEAST = 1.5
SERVER_CORE, LOAD_CORE = 0, 1

CONFIG = """
listen: 127.0.0.1:{port}
login: open
store: {{type: sqlite, path: state/samband.db}}
sources: {{prometheus: {{type: alertmanager}}}}
"""


@contextlib.asynccontextmanager
async def pinned(process: Process) -> AsyncIterator[int]:
    """The process on one core, its load on the other; gives its pid."""
    async with process:
        pid = process.pid
        for task in os.listdir(f"/proc/{pid}/task"):
            os.sched_setaffinity(int(task), {SERVER_CORE})
        os.sched_setaffinity(0, {LOAD_CORE})
        yield pid


def samband(folder: Path, port: int) -> Process:
    """A samband of its own, without sinks: what is measured is taking alerts in."""
    folder.mkdir(parents=True)
    (folder / "samband.yaml").write_text(CONFIG.format(port=port))
    command = [sys.executable, "-m", "daemon.cli", "run", "--config", str(folder / "samband.yaml")]
    return Process(command, folder, f"http://127.0.0.1:{port}/-/ready")


async def per_cpu_second(pid: int, port: int, first: int) -> tuple[float, float]:
    """Alerts per CPU-second: new ones, and the same ones again with their `endsAt` moved."""
    now = time.time()
    numbers = range(first, first + ALERTS)
    figures = []
    for end in (now + 240, now + 241):
        bodies = requests(numbers, BATCH, now, end, port)
        before = cpu_seconds(pid)
        await send(port, bodies, CONNECTIONS)
        figures.append(ALERTS / (cpu_seconds(pid) - before))
    return figures[0], figures[1]


async def test_new_alerts_per_cpu_second(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    port = free_port()
    ours, theirs = [], []
    alertmanager = Alertmanager(tmp_path / "am", {"webhook_configs": []})
    alertmanager.env = {"GOMAXPROCS": "1", "PATH": os.environ["PATH"]}
    am_port = int(alertmanager.url.rsplit(":", 1)[1])
    async with pinned(alertmanager) as am_pid, pinned(samband(tmp_path / "samband", port)) as pid:
        for round_ in range(ROUNDS):
            theirs.append(await per_cpu_second(am_pid, am_port, round_ * ALERTS))
            ours.append(await per_cpu_second(pid, port, round_ * ALERTS))
    with capsys.disabled():
        for kind, place in (("new", 0), ("repeated", 1)):
            best, other = max(one[place] for one in ours), max(one[place] for one in theirs)
            figures = f"samband {best:,.0f}, Alertmanager {other:,.0f} alerts per CPU-s, {best / other:.2f}x"
            sys.stdout.write(f"\n{kind}, batch {BATCH}: {figures}\n")
    assert max(one[0] for one in ours) / max(one[0] for one in theirs) >= NEW_AT_LEAST
