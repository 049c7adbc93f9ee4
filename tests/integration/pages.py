"""A page of the documentation that is executed: its files, its commands; what they show has the page's shape.

`SAMBAND_GOLDEN=write pytest` with the page's test writes into the page what was shown; read the difference before
it is committed.
"""

import asyncio
import difflib
import os
import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tests.counterparts.process import free_port
from tests.integration.samband import WITHIN_S

ROOT = Path(__file__).resolve().parents[2]
WRITE = os.environ.get("SAMBAND_GOLDEN") == "write"
SETTLED_S = 35.0
"""When the page is written: after so long nothing more happens by itself that the page tells of."""
SOON_S = 4.0
"""Likewise, before a question that a person asks again when it is too early."""

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
ASKS = re.compile(r"(\.venv/bin/)?samband (incidents (list|show)|alerts list|explain|silence list)|amtool|grep ")
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
    """A folder, a shell for each command, and the ports and ids that stand for those of the page.

    answers: what runs on, by a part of its command, and the port at which it is waited for.
    instead: parts of commands that a test has to put otherwise.
    """

    def __init__(
        self,
        folder: Path,
        ports: Sequence[str],
        answers: Mapping[str, str],
        instead: Callable[[Mapping[str, str]], Mapping[str, str]] = lambda ports: {},
    ) -> None:
        self.folder, self.ports, self.answers = folder, tuple(ports), answers
        self.names = {port: str(free_port()) for port in self.ports}
        self.instead = instead(self.names)
        self.started: list[asyncio.subprocess.Process] = []
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self.environment = {
            **os.environ,
            "PATH": path,
            "PYTHONPATH": str(ROOT),
            "SAMBAND_LISTEN": f"127.0.0.1:{self.names['8112']}",
            "TZ": "UTC",
        }

    def here(self, text: str) -> str:
        """The page's text with the ports and ids of this run."""
        for name, own in self.names.items():
            text = re.sub(rf"(?<=:){name}\b" if name in self.ports else name, own, text)
        for part, other in self.instead.items():
            text = text.replace(part, other)
        return text

    def as_on_the_page(self, text: str) -> str:
        """The inverse, for ports; columns stay where they were."""
        for port in self.ports:
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
        for part, port in self.answers.items():
            if part in command:
                await self._answers(int(self.names[port]))

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


async def carry_out(name: str, hour: Hour) -> None:
    """Writes the page's files and runs its commands; fails where they show something of another shape.

    name: of the page under docs/.
    """
    page = ROOT / "docs" / name
    text = page.read_text()
    for file, content in FILE.findall(text):
        (hour.folder / file).write_text(hour.here(content))
    blocks = []
    try:
        for block in BLOCK.findall(text):
            blocks.append("".join([await _carried_out(hour, command, wanted) for command, wanted in commands(block)]))
        assert {one.returncode for one in hour.started} == {None}, "all that runs on has lived through it"
    finally:
        await hour.end()
    if WRITE:
        following = iter(blocks)
        page.write_text(BLOCK.sub(lambda _: next(following), text))


async def _carried_out(hour: Hour, command: str, wanted: str) -> str:
    """Runs one command of the page; the command with what it shows, as the page has it or should have it."""
    if command.endswith(" &"):
        await hour.begin(command.removesuffix(" &"))
        await asyncio.sleep(SETTLED_S if WRITE and "prometheus" in command else 0)
        return f"$ {command}\n"
    if not WRITE:
        await hour.like_the_page(command, wanted)
        return f"$ {command}\n{wanted}"
    await asyncio.sleep(SOON_S if ASKS.match(command) else 0)
    shown = await hour.show(command)
    hour.names.update(zip(UUID.findall(wanted), UUID.findall(shown), strict=False))
    own = hour.here(command) if UUID.search(command) else command
    return hour.as_on_the_page(f"$ {own}\n" + "".join(f"{line.rstrip()}\n" for line in shown.splitlines()))
