"""The lock file beside the database: one daemon per database file.

The kernel holds the lock (flock) and drops it with the process, however that ends; the file itself
stays and is never removed, since removing it would let two daemons lock two different files.
"""

import fcntl
import os
from pathlib import Path

from daemon.store.base import Locked, StoreError


class LockFile:
    """Holds the lock from construction to `release`. Raises Locked when another process holds it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            text = f"{path}: {error.strerror}; samband must be able to write beside its store"
            raise StoreError("down", text) from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = self._holder()
            os.close(self._file)
            whom = f"process {pid}" if pid else "another process"
            raise Locked(f"{path}: {whom} has this store open; stop it, or use another store", pid) from None
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Lets go of the lock; the file stays. Further calls do nothing."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _holder(self) -> int:
        text = os.pread(self._file, 32, 0).strip()
        return int(text) if text.isdigit() else 0
