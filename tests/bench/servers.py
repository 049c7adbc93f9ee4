"""The servers that are measured: each a real process on one core, with its CPU time and its memory from /proc."""

import asyncio
import contextlib
import dataclasses
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp

from tests.counterparts.alertmanager import Alertmanager
from tests.counterparts.process import Process, free_port

SERVER_CORE, LOAD_CORE = 0, 1
TICKS = os.sysconf("SC_CLK_TCK")
QUIET_S, QUIET_CPU_S = 1.0, 0.02
"""Quiet is who used no more than this much CPU for so long."""


@dataclasses.dataclass(frozen=True)
class Server:
    """A running one."""

    name: str
    process: Process
    port: int

    @property
    def url(self) -> str:
        """Its base address."""
        return f"http://127.0.0.1:{self.port}"

    def cpu_s(self) -> float:
        """Seconds of CPU that it has used so far: user and system, all threads."""
        return cpu_seconds(self.process.pid)

    def rss(self) -> int:
        """Bytes of memory that it holds."""
        return memory(self.process.pid, "VmRSS")

    def peak(self) -> int:
        """Bytes of memory that it held at most since `forget_peak`."""
        return memory(self.process.pid, "VmHWM")

    def forget_peak(self) -> None:
        """The peak begins anew at what it holds now."""
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")

    async def quiet(self, within_s: float = 60.0) -> None:
        """Returns when it has nothing more to do. Raises TimeoutError."""
        async with asyncio.timeout(within_s):
            before = self.cpu_s()
            while True:
                await asyncio.sleep(QUIET_S)
                now = self.cpu_s()
                if now - before <= QUIET_CPU_S:
                    return
                before = now


def cpu_seconds(pid: int) -> float:
    """Seconds of CPU of a process, user and system, all its threads; to the nanosecond where the kernel counts them."""
    try:
        with os.scandir(f"/proc/{pid}/task") as tasks:
            times = [Path(task.path, "schedstat").read_text() for task in tasks]
        return sum(int(one.split()[0]) for one in times) / 1e9
    except FileNotFoundError:
        return cpu_ticks(pid)


def cpu_ticks(pid: int) -> float:
    """Likewise to a hundredth of a second, with threads that have ended: for programs whose threads come and go."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def memory(pid: int, what: str) -> int:
    """A figure of /proc/PID/status in bytes."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{what}:"))


def pin(pid: int, core: int) -> None:
    """All threads of a process to one core."""
    for task in os.listdir(f"/proc/{pid}/task"):
        os.sched_setaffinity(int(task), {core})


async def start(process: Process) -> None:
    """Starts it on its core; this process is on the other from then on."""
    os.sched_setaffinity(0, {SERVER_CORE})
    starting = asyncio.ensure_future(process.start())
    await asyncio.sleep(0)  # By now it is forked, and inherits the core.
    os.sched_setaffinity(0, {LOAD_CORE})
    await starting
    pin(process.pid, SERVER_CORE)


@contextlib.asynccontextmanager
async def running(name: str, process: Process, port: int) -> AsyncIterator[Server]:
    """The process on its core from its start on, and this one, which makes the load, on the other."""
    own = os.sched_getaffinity(0)
    try:
        await start(process)
        yield Server(name, process, port)
    finally:
        await process.stop()
        os.sched_setaffinity(0, own)


def samband_process(folder: Path, port: int, changes: Mapping[str, Any]) -> Process:
    """A samband with Alertmanager's API, open on loopback; `changes` are further sections of its configuration."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {
        "listen": f"127.0.0.1:{port}",
        "login": "open",
        "store": {"type": "sqlite", "path": "state/samband.db"},
        "sources": {"prometheus": {"type": "alertmanager"}},
        # Only the machine is to be the limit.
        "limits": {"alerts_per_second_max": 10_000_000, "alerts_burst_max": 100_000_000},
        **changes,
    }
    (folder / "samband.yaml").write_text(json.dumps(config))
    command = [sys.executable, "-m", "daemon.cli", "run", "--config", str(folder / "samband.yaml")]
    return Process(command, folder, f"http://127.0.0.1:{port}/-/ready")


@contextlib.asynccontextmanager
async def samband(folder: Path, **changes: Any) -> AsyncIterator[Server]:
    """A samband on its core; without sinks unless `changes` name some."""
    port = free_port()
    async with running("samband", samband_process(folder, port, changes), port) as server:
        yield server


@contextlib.asynccontextmanager
async def alertmanager(folder: Path, told: dict[str, object] | None = None, **route: Any) -> AsyncIterator[Server]:
    """Debian's Alertmanager on its core, told to use one. told: its receiver; route: keys of its root route."""
    process = Alertmanager(folder, told or {"webhook_configs": []}, route={**_ROUTE, **route})
    process.env = {"GOMAXPROCS": "1"}
    async with running("Alertmanager", process, int(process.url.rsplit(":", 1)[1])) as server:
        yield server


_ROUTE = {"group_by": ["alertname", "cluster"], "group_wait": "30s", "group_interval": "5m"}


async def get(url: str) -> bytes:
    """What a GET answers. Raises aiohttp.ClientError for anything but 2xx."""
    timeout = aiohttp.ClientTimeout(total=300)
    async with aiohttp.ClientSession(timeout=timeout) as session, session.get(url) as answer:
        answer.raise_for_status()
        return await answer.read()
