"""The local operator's token: a file beside the store that only its owner may read."""

import os
import secrets
from pathlib import Path


class OperatorTokenError(Exception):
    """The operator's token cannot be read or made; the text names the file and the remedy."""


def operator_token(path: Path) -> str:
    """The token, read from the file, which is made (mode 0600) when there is none.

    Raises OperatorTokenError when it cannot be, or when others may read it.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return _read_token(path)
    except OSError as error:
        raise OperatorTokenError(f"{path}: cannot be made: {error.strerror}; the folder must be writable") from None
    token = secrets.token_urlsafe(32)
    with os.fdopen(fresh, "w") as file:
        file.write(token + "\n")
        file.flush()
        os.fsync(file.fileno())
    return token


def _read_token(path: Path) -> str:
    try:
        if path.stat().st_mode & 0o077:
            raise OperatorTokenError(f"{path}: others may read it; remove it, and a new one is made at the next start")
        token = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise OperatorTokenError(f"{path}: cannot be read: {error}") from None
    if len(token) < 20:
        raise OperatorTokenError(f"{path}: holds no token; remove it, and a new one is made at the next start")
    return token
