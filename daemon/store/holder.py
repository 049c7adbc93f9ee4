"""Who holds a scope: a text that a person understands, and that a successor on the same machine can check."""

import os
import re
import socket
from pathlib import Path

_BOOT = Path("/proc/sys/kernel/random/boot_id")
_FORM = re.compile(r"process (?P<pid>\d+) on .*\((?P<place>[^, ]+), (?P<began>\d+)\)")


def me() -> str:
    """This process: its number, its host, and what tells it from any other that had its number."""
    return f"process {os.getpid()} on {socket.gethostname()} ({_here()}, {_began(os.getpid())})"


def pid_of(holder: str) -> int:
    """The number of the holding process, 0 when the text has none."""
    found = _FORM.match(holder)
    return int(found["pid"]) if found else 0


def is_here(holder: str) -> bool:
    """Whether the holder is a process of this machine (and of this container), so that `is_gone` knows."""
    found = _FORM.match(holder)
    return found is not None and found["place"] == _here() != "?"


def is_gone(holder: str) -> bool:
    """Whether the holder was a process of this machine and has ended."""
    found = _FORM.match(holder)
    return is_here(holder) and found is not None and _began(int(found["pid"])) != found["began"]


def _here() -> str:
    """This start of this machine, and the namespace in which process numbers mean something."""
    try:
        return f"{_BOOT.read_text()[:8]}.{os.stat('/proc/self/ns/pid').st_ino}"
    except OSError:
        return "?"


def _began(pid: int) -> str:
    """When the process began, in ticks since the boot; "" when there is none, or a dead one not yet buried."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]
