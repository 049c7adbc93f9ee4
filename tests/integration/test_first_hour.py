"""`docs/first-hour.md` is executed: its files, its commands, a real Prometheus; what they show has the page's shape.

`SAMBAND_GOLDEN=write pytest tests/integration/test_first_hour.py` writes into the page what was shown; read
the difference before it is committed.
"""

import asyncio
import difflib
import os
import re
import sys
import time
from pathlib import Path

import pytest

from tests.counterparts.process import free_port, program
from tests.integration.samband import WITHIN_S

pytestmark = pytest.mark.integration

PAGE = Path(__file__).resolve().parents[2] / "docs" / "first-hour.md"
WRITE = os.environ.get("SAMBAND_GOLDEN") == "write"
SETTLED_S = 35.0
"""When the page is written: after so long nothing more happens by itself that the page tells of."""

PORTS = ("8112", "9090", "9187", "8081", "8082")
FILE = re.compile(r"^`(\S+\.ya?ml)`:[^\n]*\n```yaml\n(.*?)```", re.MULTILINE | re.DOTALL)
BLOCK = re.compile(r"(?<=```console\n).*?(?=```)", re.DOTALL)
UUID = re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b")
SHAPES = (
    (UUID, "UUID"),
    (re.compile(r"\b[0-9a-f]{16}\b"), "ID"),
    (re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?( UTC|Z)?"), "TIME"),
    (re.compile(r"\d\d:\d\d:\d\d( UTC)?"), "TIME"),
    (re.compile(r"\b\d+ (ms|s|min|h|d)\b( \d+ (s|min|h)\b)*"), "WHILE"),
    (re.compile(r"127\.0\.0\.1:\d+"), "ADDRESS"),
    (re.compile(r"[ \t]+"), " "),
)
ASKS = re.compile(r"samband (incidents (list|show)|explain|silence list)|amtool")
"""Commands that change nothing: a person looks again when something is not there yet."""


def shape(text: str) -> list[str]:
    """The lines without what differs from one hour to the next."""
    for pattern, name in SHAPES:
        text = pattern.sub(name, text)
    return [line.strip() for line in text.strip().splitlines()]


def commands(block: str) -> list[tuple[str, str]]:
    """The commands of a block, each with what it shows."""
    found = []
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        command, _, shown = part.partition("\n")
        found.append((command, shown))
    return found


class Hour:
    """A folder, a shell for each command, and the ports and ids that stand for those of the page."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.names = {port: str(free_port()) for port in PORTS}
        self.started: list[asyncio.subprocess.Process] = []
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self.environment = {
            **os.environ,
            "PATH": path,
            "SAMBAND_LISTEN": f"127.0.0.1:{self.names['8112']}",
            "TZ": "UTC",
        }

    def here(self, text: str) -> str:
        """The page's text with the ports and ids of this run."""
        for name, own in self.names.items():
            text = re.sub(rf"(?<=:){name}\b" if name in PORTS else name, own, text)
        return text

    def as_on_the_page(self, text: str) -> str:
        """The inverse, for ports; columns stay where they were."""
        for port in PORTS:
            own = self.names[port]
            text = re.sub(rf":{own}(?=  )", f":{port:<{len(own)}}", text).replace(f":{own}", f":{port}")
        return text

    async def begin(self, command: str) -> None:
        """Starts what runs on; the next commands are tried until it answers."""
        with (self.folder / "background.log").open("ab") as log:
            started = await asyncio.create_subprocess_shell(
                f"exec {self.here(command)}", cwd=self.folder, env=self.environment, stdout=log, stderr=log
            )
        self.started.append(started)
        if "samband run" in command:
            await self._answers(int(self.names["8112"]))

    async def _answers(self, port: int) -> None:
        deadline = time.monotonic() + WITHIN_S
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                assert time.monotonic() < deadline, (self.folder / "background.log").read_text()
                await asyncio.sleep(0.1)
            else:
                writer.close()
                await writer.wait_closed()
                return

    async def show(self, command: str) -> str:
        """What the command prints, stderr after stdout."""
        running = await asyncio.create_subprocess_shell(
            self.here(command),
            cwd=self.folder,
            env=self.environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        said, complained = await running.communicate()
        return said.decode() + complained.decode()

    async def like_the_page(self, command: str, wanted: str) -> None:
        """Runs the command, and looks again while it may only be too early."""
        deadline = time.monotonic() + (WITHIN_S if ASKS.match(command) else 0)
        while shape(shown := await self.show(command)) != shape(wanted):
            if time.monotonic() > deadline:
                lines = difflib.unified_diff(shape(wanted), shape(shown), "page", "now", lineterm="")
                raise AssertionError(f"$ {command}\n" + "\n".join(lines))
            await asyncio.sleep(0.5)
        self.names.update(zip(UUID.findall(wanted), UUID.findall(shown), strict=True))

    async def end(self) -> None:
        """Stops what runs on."""
        for one in reversed(self.started):
            if one.returncode is None:
                one.terminate()
            await one.wait()


async def test_the_first_hour(tmp_path: Path) -> None:
    program("prometheus")
    program("amtool")
    page, hour = PAGE.read_text(), Hour(tmp_path)
    for name, content in FILE.findall(page):
        (tmp_path / name).write_text(hour.here(content))
    blocks = []
    try:
        for block in BLOCK.findall(page):
            blocks.append("".join([await _carried_out(hour, command, wanted) for command, wanted in commands(block)]))
        assert [one.returncode for one in hour.started] == [None, None], "both have lived through the hour"
    finally:
        await hour.end()
    if WRITE:
        following = iter(blocks)
        PAGE.write_text(BLOCK.sub(lambda _: next(following), page))


async def _carried_out(hour: Hour, command: str, wanted: str) -> str:
    """Runs one command of the page; the command with what it shows, as the page has it or should have it."""
    if command.endswith(" &"):
        await hour.begin(command.removesuffix(" &"))
        await asyncio.sleep(SETTLED_S if WRITE and "prometheus" in command else 0)
        return f"$ {command}\n"
    if not WRITE:
        await hour.like_the_page(command, wanted)
        return f"$ {command}\n{wanted}"
    shown = await hour.show(command)
    hour.names.update(zip(UUID.findall(wanted), UUID.findall(shown), strict=False))
    own = hour.here(command) if UUID.search(command) else command
    return hour.as_on_the_page(f"$ {own}\n" + "".join(f"{line.rstrip()}\n" for line in shown.splitlines()))
