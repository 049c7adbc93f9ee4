"""Who holds a scope: a text that a person understands, and that a successor on the same machine can check."""

import os
import socket
from pathlib import Path

_BOOT = Path("/proc/sys/kernel/random/boot_id")


def me() -> str:
    """This process: its number, its host, and what tells it from any other that had its number."""
    return f"process {os.getpid()} on {socket.gethostname()} ({_here()}, {_began(os.getpid())})"


def pid_of(holder: str) -> int:
    """The number of the holding process, 0 when the text has none."""
    word = holder.removeprefix("process ").partition(" ")[0]
    return int(word) if word.isdigit() else 0


def is_here(holder: str) -> bool:
    """Whether the holder is a process of this machine (and of this container), so that `is_gone` knows."""
    return _BOOT.exists() and f"({_here()}, " in holder


def is_gone(holder: str) -> bool:
    """Whether the holder was a process of this machine and has ended."""
    began = holder.rpartition(", ")[2].rstrip(")")
    return is_here(holder) and _began(pid_of(holder)) != began


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
