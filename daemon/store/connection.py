"""Opening an SQLite file the way the store needs it, and what its errors mean."""

import errno
import os
import sqlite3
from pathlib import Path

from daemon.store.base import StoreError

BUSY_TIMEOUT_S = 1.0
CACHE_KIB = 65_536
REWRITE_BYTES = 1 << 20

_REASONS = {
    sqlite3.SQLITE_BUSY: "busy",
    sqlite3.SQLITE_LOCKED: "busy",
    sqlite3.SQLITE_FULL: "full",
    sqlite3.SQLITE_READONLY: "read_only",
    sqlite3.SQLITE_PERM: "down",
    sqlite3.SQLITE_CANTOPEN: "down",
    sqlite3.SQLITE_IOERR: "down",
    sqlite3.SQLITE_NOMEM: "down",
    sqlite3.SQLITE_PROTOCOL: "down",
    sqlite3.SQLITE_INTERRUPT: "down",
    sqlite3.SQLITE_CORRUPT: "damaged",
    sqlite3.SQLITE_NOTADB: "damaged",
}

_REMEDIES = {
    "busy": "another program holds its write lock",
    "full": "make room on the disk",
    "read_only": "make the file and its directory writable for samband",
    "down": "see to the disk and the permissions of the file's directory",
    "damaged": "stop samband and run `samband db check`; `samband db restore` takes a backup back",
    "refused": "this is a fault in samband: please report it",
}


def reason_of(error: Exception) -> str:
    """The `StoreError.reason` of an error of the sqlite3 module."""
    code = getattr(error, "sqlite_errorcode", None)
    return "refused" if code is None else _REASONS.get(code & 0xFF, "refused")


def text_of(name: str, error: Exception) -> str:
    """What went wrong, where, and the remedy."""
    said = getattr(error, "sqlite_errorname", type(error).__name__)
    return f"{name}: {error} ({said}); {_REMEDIES[reason_of(error)]}"


def create_file(path: Path) -> None:
    """Makes an empty database file that only its owner may read, durably. Nothing if it is there.

    Raises StoreError("down").
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise StoreError("down", f"{path}: {error.strerror}; name a place that samband may write to") from error
    sync_names(path.parent)


def sync_names(folder: Path) -> None:
    """Makes the names of files in a folder durable (SQLite tries for its log, and does not mind when that fails).

    Raises StoreError("down").
    """
    try:
        directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    except OSError as error:
        raise StoreError("down", f"{folder}: {error.strerror}; {_REMEDIES['down']}") from error


def rewrite(path: Path) -> None:
    """Writes a file over itself and syncs it; nothing if there is none. Raises StoreError("down").

    After a sync that failed the kernel shows what was written as though it were on disk, and a later
    sync does not write it again (Linux). Whoever opens SQLite's log then, this process or the next,
    would take a transaction for durable that is not, and build on it.
    """
    try:
        file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    except OSError as error:
        raise StoreError("down", f"{path}: {error.strerror}; {_REMEDIES['down']}") from error
    try:
        offset = 0
        while data := os.pread(file, REWRITE_BYTES, offset):
            offset += os.pwrite(file, data, offset)
        os.fsync(file)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise StoreError("full" if full else "down", f"{path}: {error.strerror}; see to the disk") from error
    finally:
        os.close(file)


def open_writer(path: Path) -> sqlite3.Connection:
    """A connection to an existing file that writes, in autocommit mode. Raises sqlite3.Error."""
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=rw",
        uri=True,
        timeout=BUSY_TIMEOUT_S,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=256,
    )


def open_reader(path: Path) -> sqlite3.Connection:
    """A connection to an existing file that only reads, from any thread. Raises sqlite3.Error."""
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=ro",
        uri=True,
        timeout=BUSY_TIMEOUT_S,
        check_same_thread=False,
    )


def set_up(connection: sqlite3.Connection) -> str:
    """Sets durability: WAL, every commit synced, checkpoints only by the store. Returns the journal mode."""
    mode = str(connection.execute("PRAGMA journal_mode = WAL").fetchone()[0])
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
    connection.execute("PRAGMA schema_version").fetchone()  # The first to read opens the log, and makes it.
    return mode
