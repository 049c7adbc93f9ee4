"""The daemon under strace: every write, sync and socket call in the order in which the kernel saw them."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.counterparts.process import program
from tests.integration.samband import Samband, until

FILES = "openat,unlink,ftruncate,pwrite64,write,fsync,fdatasync"
SOCKETS = "connect,sendto,sendmsg"
STRING_BYTES_MAX = 1 << 22

_LINE = re.compile(rb"^(\d+) +(?:<\.\.\. (\w+) resumed>|(\w+)\()(.*)$")
_RESULT = re.compile(rb"\)\s*= (-?\d+|\?)([^\n]*)$")
_DESCRIPTOR = re.compile(rb"^\d+<((?:[^>]|(?<=-)>)*)>")
_PORT = re.compile(rb"sin6?_port=htons\((\d+)\)")
_STRING = re.compile(rb'"((?:\\x[0-9a-f]{2})*)"')


@dataclass
class Call:
    """One system call. begin, end: places in the trace; end is infinite when it never returned.

    target: the file's path, or the connection ("TCP:[own->peer]"). data: the bytes written or sent.
    offset: of a write, or a new length. failed: it returned an error.
    """

    name: str
    begin: float
    end: float = float("inf")
    target: str = ""
    data: bytes = b""
    offset: int = 0
    flags: str = ""
    failed: bool = False

    @property
    def peer(self) -> int:
        """The port of whom a connection leads to, 0 for what is none."""
        port = self.target.rpartition("->")[2].rpartition(":")[2].rstrip("]")
        return int(port) if "->" in self.target and port.isdigit() else 0

    @property
    def syncs(self) -> bool:
        """Whether it makes a file durable."""
        return self.name in ("fsync", "fdatasync")


class Traced(Samband):
    """A daemon of which strace keeps a record in `trace`.

    inject: what strace does to its calls (`--inject`). sockets: whether they are recorded too. detachable:
    the daemon goes on when strace is ended. plain: its command without strace.
    """

    def __init__(self, folder: Path, config: dict[str, Any], env: dict[str, str] | None = None) -> None:
        super().__init__(folder, config)
        self.env = env
        self.plain, self._turn = self.command, 0
        self.trace = folder / "trace.0"
        self.inject: Sequence[str] = ()
        self.sockets, self.detachable = True, False

    async def start(self) -> None:
        """See `Process.start`; each start has a trace of its own."""
        self._turn += 1
        self.trace = self.folder / f"trace.{self._turn}"
        calls = f"{FILES},{SOCKETS}" if self.sockets else FILES
        # -D: the daemon stays our child, so that signals reach it.
        options = ["-D", "-f", "-qqq", "-yy", "-xx", "-s", str(STRING_BYTES_MAX), "-e", f"trace={calls}"]
        # A filter in the kernel makes it fast, and stays when strace goes.
        options += [] if self.detachable else ["--seccomp-bpf"]
        options += [f"--inject={one}" for one in self.inject]
        self.command = [program("strace"), *options, "-o", str(self.trace), *self.plain]
        await super().start()

    @property
    def tracer(self) -> int:
        """The process id of strace."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(next(line.split()[1] for line in status.splitlines() if line.startswith("TracerPid:")))

    @property
    def traces(self) -> list[Path]:
        """The record of every start, the oldest first."""
        return [self.folder / f"trace.{turn + 1}" for turn in range(self._turn)]

    async def calls(self) -> list[Call]:
        """Everything that it did in all its lives, in order; it must have ended."""
        found: list[Call] = []
        for trace in self.traces:
            size = -1

            def settled(trace: Path = trace) -> bool:
                nonlocal size
                before, size = size, trace.stat().st_size
                return before == size

            await until(settled, "strace has written everything")
            found += read_trace(trace, len(found))
        return found


def read_trace(path: Path, first: int = 0) -> list[Call]:
    """The calls of a trace, ordered by their begin. first: the place of its first line."""
    calls: list[Call] = []
    open_calls: dict[tuple[bytes, bytes], Call] = {}
    for place, (pid, resumed, begun, rest) in enumerate(_lines(path), first):
        name = begun or resumed
        if begun:
            call = Call(name.decode(), place)
            calls.append(call)
        else:
            call = open_calls.pop((pid, name))
        if rest.endswith(b"<unfinished ...>"):
            open_calls[pid, name] = call
            _take(call, rest)
            continue
        if begun:
            _take(call, rest)
        result = _RESULT.search(rest)
        if result is not None and result[1] != b"?":
            call.end, call.failed = place, result[1].startswith(b"-")
            if call.name in ("pwrite64", "write", "sendto") and not call.failed:
                call.data = call.data[: int(result[1])]
    return calls


def _lines(path: Path) -> Iterator[tuple[bytes, bytes, bytes, bytes]]:
    with path.open("rb") as lines:
        for line in lines:
            found = _LINE.match(line.rstrip(b"\n"))
            if found is not None:
                yield found[1], found[2] or b"", found[3] or b"", found[4]


def _take(call: Call, rest: bytes) -> None:
    descriptor = _DESCRIPTOR.match(rest)
    if descriptor is not None:
        call.target = _plain_path(descriptor[1])
    if call.name in ("openat", "unlink"):
        strings = _STRING.findall(rest)
        call.target = _bytes(strings[0]).decode() if strings else ""
        call.flags = rest.decode(errors="replace").rpartition('"')[2]
        return
    if call.name == "connect":
        found = _PORT.search(rest)
        call.target = f"->:{found[1].decode()}" if found is not None else ""
        return
    _take_data(call, rest)
    if call.name == "pwrite64":
        call.offset = int(rest.split(b"<unfinished")[0].split(b") ")[0].rsplit(b",", 1)[1].strip(b" )"))
    if call.name == "ftruncate":
        call.offset = int(rest.split(b"<unfinished")[0].split(b")")[0].rsplit(b",", 1)[1])


def _take_data(call: Call, rest: bytes) -> None:
    if call.name in ("pwrite64", "write", "sendto", "sendmsg"):
        call.data = b"".join(_bytes(one) for one in _STRING.findall(rest))


def _bytes(escaped: bytes) -> bytes:
    return bytes.fromhex(escaped.replace(b"\\x", b"").decode())


def _plain_path(text: bytes) -> str:
    found = re.sub(rb"\\x([0-9a-f]{2})", lambda one: bytes.fromhex(one[1].decode()), text)
    return found.decode(errors="replace")
