"""Recorded alerts: JSON lines in the native form, plain or gzipped, read once from front to back."""

import gzip
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, cast

import msgspec

from daemon.core.records import AlertSeen
from daemon.sources.formats import native
from daemon.sources.formats.base import Context

LINES_PER_LOOK = 1000
_GZIP = b"\x1f\x8b"
_BOM = b"\xef\xbb\xbf"


class Reading(msgspec.Struct, frozen=True):
    """How the lines of one source are read. unreadable: why they cannot be, "" when they can."""

    ignored: tuple[str, ...] = ("prometheus_replica", "replica")
    resolves: bool = True
    unreadable: str = ""


class BadLine(msgspec.Struct, frozen=True):
    """A line that could not be read: its number from 1, and why."""

    line: int
    reason: str


class Recording:
    """A file of recorded alerts.

    sources: how each source's lines are read; None: any source's, as native. default: the source of
    lines that name none; "" takes the only one there is.

    A line arrives at its `received_at`, else at its `ends_at` when resolved, else at `starts_at`, and
    never before the line above it. `lines` counts what has been read so far, blank lines included; `share` is
    about how much of the file that is, 0 to 1.
    """

    def __init__(self, path: Path, sources: Mapping[str, Reading] | None, default: str = "") -> None:
        self.path = path
        self.lines = 0
        self._sources = sources
        self._default = default or (next(iter(sources)) if sources and len(sources) == 1 else "")
        self._size = max(path.stat().st_size, 1)
        self.share = 0.0

    def __iter__(self) -> Iterator[AlertSeen | BadLine]:
        """The lines in the order of the file. Raises OSError or EOFError when the file cannot be read (to its end)."""
        now = 0
        with open(self.path, "rb") as file:
            zipped = file.read(2) == _GZIP
            file.seek(0)
            text = cast(IO[bytes], gzip.GzipFile(fileobj=file)) if zipped else file
            for number, line in enumerate(text, 1):
                self.lines = number
                if not number % LINES_PER_LOOK:
                    self.share = min(file.tell() / self._size, 1.0)
                line = line.removeprefix(_BOM).strip() if number == 1 else line.strip()
                if not line:
                    continue
                found = self._read(number, line, now)
                if isinstance(found, AlertSeen):
                    now = found.at
                yield found

    def _read(self, number: int, line: bytes, now: int) -> AlertSeen | BadLine:
        try:
            arrived, named = native.recorded(line)
        except ValueError as error:
            return BadLine(number, str(error))
        if arrived is None and not now:
            return BadLine(number, "says no time: received_at, starts_at or ends_at is needed")
        source = named or self._default
        reading = self._sources.get(source) if self._sources is not None else Reading()
        if reading is None:
            return BadLine(number, self._unknown(source))
        if reading.unreadable:
            return BadLine(number, reading.unreadable)
        at = max(arrived or 0, now)
        parsed = native.FORMAT.parse(line, Context(source, at, "", reading.ignored, resolves=reading.resolves))
        if parsed.rejected:
            return BadLine(number, parsed.rejected[0].reason)
        return AlertSeen(at, parsed.alerts[0], number)

    def _unknown(self, source: str) -> str:
        known = ", ".join(self._sources or ())
        if source:
            return f"source {source[:100]!r} is not in the configuration, which has: {known}"
        return f"names no source, and the configuration has several ({known}): say which with --source"
