"""The table of a run: what was measured, beside Alertmanager and beside its goal, written into the docs."""

import dataclasses
import datetime
import importlib.metadata
import math
import os
import platform
import statistics
import subprocess
from collections.abc import Sequence
from pathlib import Path

BEGIN, END = "<!-- the bench writes below -->", "<!-- the bench writes above -->"
VERSIONS = ("msgspec", "orjson", "uvloop", "httptools", "uvicorn", "zstandard", "aiohttp")


@dataclasses.dataclass(frozen=True)
class Line:
    """One line of the table. goal: as text; met: None where there is none."""

    part: str
    what: str
    samband: str
    alertmanager: str = ""
    ratio: str = ""
    goal: str = ""
    met: bool | None = None

    def markdown(self) -> str:
        """The line."""
        met = "" if self.met is None else " met" if self.met else " **missed**"
        cells = (self.what, self.samband, self.alertmanager, self.ratio, f"{self.goal}{met}".strip())
        return f"| {' | '.join(cells)} |"


class Table:
    """The lines of a run, part by part."""

    def __init__(self) -> None:
        self.lines: list[Line] = []
        self._checked = 0
        self.beside: dict[str, str] = {}
        """Part -> what stands in the column of the other, where that is not Alertmanager."""

    def add(self, *lines: Line) -> None:
        """Notes lines; a goal that was missed fails the bench only in `check`, when all its lines stand."""
        self.lines += lines

    def check(self) -> None:
        """Fails with the figures and goals that were missed in the lines since the last check."""
        missed = [one for one in self.lines[self._checked :] if one.met is False]
        self._checked = len(self.lines)
        told = [
            f"{one.what}: {one.samband}"
            + (f", {self.beside.get(one.part, 'Alertmanager')} {one.alertmanager}" if one.alertmanager else "")
            + (f", {one.ratio}" if one.ratio else "")
            + f"; the goal is {one.goal}"
            for one in missed
        ]
        assert not told, "\n".join(told)

    def markdown(self) -> str:
        """All parts, each as a table."""
        parts = list(dict.fromkeys(one.part for one in self.lines))
        tables = []
        for part in parts:
            lines = [one.markdown() for one in self.lines if one.part == part]
            other = self.beside.get(part, "Alertmanager")
            head = f"### {part}\n| | samband | {other} | ratio | goal |\n|---|---|---|---|---|\n"
            tables.append(head + "\n".join(lines))
        return "\n\n".join(tables)


def spread(figures: Sequence[float], form: str = ".2f") -> str:
    """Lowest and highest."""
    return f"{min(figures):{form}}–{max(figures):{form}}"


def times(ratios: Sequence[float]) -> str:
    """The median of paired ratios, and their spread."""
    return f"{statistics.median(ratios):.2f}× ({spread(ratios)})"


def percentile(figures: Sequence[float], per_cent: float) -> float:
    """Nearest rank."""
    ranked = sorted(figures)
    return ranked[max(0, math.ceil(len(ranked) * per_cent / 100) - 1)]


def milliseconds(seconds: Sequence[float]) -> str:
    """p50 and p99."""
    return f"{percentile(seconds, 50) * 1e3:.2f} / {percentile(seconds, 99) * 1e3:.1f}"


def machine(folder: Path) -> str:
    """Where it was measured: what a reader needs to judge the figures."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    cpu = next((line.partition(":")[2].strip() for line in lines if "model name" in line), platform.machine())
    filesystem = subprocess.run(["stat", "-f", "-c", "%T", folder], capture_output=True, text=True, check=False)
    load = os.getloadavg()[0]
    return (
        f"{cpu}, {os.cpu_count()} cores, Linux {platform.release()}, {filesystem.stdout.strip()}, load {load:.1f} at"
        f" the end; CPython {platform.python_version()}, "
        + ", ".join(f"{name} {importlib.metadata.version(name)}" for name in VERSIONS)
    )


def alertmanager_version() -> str:
    """As it says itself, "" when there is none."""
    try:
        said = subprocess.run(["prometheus-alertmanager", "--version"], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    words = (said.stdout or said.stderr).split()
    return words[words.index("version") + 1] if "version" in words else ""


def write(page: Path, table: Table, folder: Path, command: str) -> None:
    """Puts the table between the two markers of the page. Raises ValueError when they are not there."""
    before, found, rest = page.read_text().partition(BEGIN)
    _, closed, after = rest.partition(END)
    if not found or not closed:
        raise ValueError(f"{page}: the lines {BEGIN} and {END} are missing")
    today = datetime.datetime.now(datetime.UTC).date()
    about = f"`{command}`, {today}, beside Alertmanager {alertmanager_version()}, on {machine(folder)}."
    page.write_text(f"{before}{BEGIN}\n{about}\n\n{table.markdown()}\n{END}{after}")
