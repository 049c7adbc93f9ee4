"""A program on loopback: started, waited for, stopped, killed and started again on the same data."""

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import aiohttp
import pytest

# Generous, because a shared machine may be busy; nothing waits for it when all is well.
READY_WITHIN_S = 30.0
STOPPED_WITHIN_S = 20.0
LOOK_EVERY_S = 0.05


def free_port() -> int:
    """A port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def program(name: str) -> str:
    """The path of a program; skips the test when this machine has none."""
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed (tools/counterparts installs it)")
    return path


async def get_json(url: str) -> Any:
    """What a GET answers, as JSON; the caller knows its shape."""
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        answer.raise_for_status()
        return await answer.json()


class Process:
    """One program with its log in a file. Usable as `async with`; `start` after `stop` or `kill` is a restart."""

    def __init__(self, command: Sequence[str], folder: Path, ready: str, env: dict[str, str] | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.command = list(command)
        self.folder = folder
        self.ready = ready
        self.env = env
        self.log = folder / f"{Path(command[0]).name}.log"
        self._running: subprocess.Popen[bytes] | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @property
    def pid(self) -> int:
        """The running program's process id."""
        assert self._running is not None, f"{self.command[0]} does not run"
        return self._running.pid

    async def start(self) -> None:
        """Start it and return when it says that it is ready."""
        assert self._running is None, f"{self.command[0]} runs already"
        environment = {**os.environ, **self.env} if self.env else None
        with self.log.open("ab") as log:
            self._running = subprocess.Popen(  # noqa: ASYNC220 - a fork is short
                self.command, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment
            )
        try:
            await self._wait_until_ready()
        except BaseException:
            await self.kill()
            raise

    async def stop(self) -> int | None:
        """Ask it to stop, as an init system does; force it when it does not. Returns its exit code."""
        if self._running is None:
            return None
        self._running.send_signal(signal.SIGTERM)
        return await self._wait_until_gone()

    async def kill(self) -> None:
        """End it with SIGKILL: what it had not written is gone."""
        if self._running is not None:
            self._running.kill()
            await self._wait_until_gone()

    def freeze(self) -> None:
        """Pause it, as a swapping machine or a paused virtual one does."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on after `freeze`."""
        os.kill(self.pid, signal.SIGCONT)

    def log_tail(self, lines: int = 30) -> str:
        """The end of what it said."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    async def is_ready(self) -> bool:
        """Whether it answers: `ready` with a status below 300."""
        with contextlib.suppress(aiohttp.ClientError, TimeoutError):
            within = aiohttp.ClientTimeout(total=2)
            async with aiohttp.ClientSession(timeout=within) as session, session.get(self.ready) as answer:
                return answer.status < 300
        return False

    async def _wait_until_ready(self) -> None:
        assert self._running is not None
        deadline = time.monotonic() + READY_WITHIN_S
        while time.monotonic() < deadline:
            if (code := self._running.poll()) is not None:
                raise RuntimeError(f"{self.command[0]} ended with {code}:\n{self.log_tail()}")
            if await self.is_ready():
                return
            await asyncio.sleep(LOOK_EVERY_S)
        raise TimeoutError(f"{self.command[0]} is not ready after {READY_WITHIN_S:g} s:\n{self.log_tail()}")

    async def _wait_until_gone(self) -> int:
        assert self._running is not None
        running, self._running = self._running, None
        deadline = time.monotonic() + STOPPED_WITHIN_S
        while (code := running.poll()) is None:
            if time.monotonic() > deadline:
                running.kill()
                return running.wait()
            await asyncio.sleep(LOOK_EVERY_S)
        return code
