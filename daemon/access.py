"""Who may ask: tokens, the local operator, and what is open on loopback. Comparisons take constant time.

Tokens are kept as SHA-256 digests of what is compared, so neither their length nor a common
beginning shows in the time an answer takes; every candidate is compared, match or not.
"""

import base64
import binascii
import os
import secrets
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from hmac import compare_digest
from ipaddress import ip_address
from pathlib import Path

Headers = Iterable[tuple[bytes, bytes]]
"""Header fields as ASGI gives them: names in lower case."""


class OperatorTokenError(Exception):
    """The operator's token cannot be read or made; the text names the file and the remedy."""


def digest(token: str | bytes) -> bytes:
    """What is kept of a token, and compared."""
    return sha256(token.encode() if isinstance(token, str) else token).digest()


def presented(headers: Headers) -> bytes | None:
    """The digest of the token that a request brings, as Bearer or as the password of Basic; None without."""
    for name, value in headers:
        if name == b"authorization":
            scheme, _, rest = value.strip().partition(b" ")
            match scheme.lower():
                case b"bearer":
                    return digest(rest.strip())
                case b"basic":
                    return _basic(rest.strip())
                case _:
                    return digest(b"")
    return None


def _basic(credentials: bytes) -> bytes:
    try:
        return digest(base64.b64decode(credentials, validate=True).partition(b":")[2])
    except (binascii.Error, ValueError):
        return digest(b"")


def matching(given: bytes | None, candidates: Mapping[str, Sequence[bytes]]) -> list[str]:
    """The names of all candidates one of whose digests is the given one."""
    if given is None:
        return []
    return [name for name, own in candidates.items() if sum(compare_digest(given, wanted) for wanted in own)]


def is_loopback(host: str) -> bool:
    """Whether an address (or `localhost`) can only be reached from this machine."""
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def foreign_page(headers: Headers) -> str:
    """Why a request that needs no token must be refused all the same, "" if it need not.

    A web page that somebody on this machine looks at must not act here: its requests carry the
    page's own Origin, or (DNS rebinding) a Host that is not this machine.
    """
    host, origin = "", ""
    for name, value in headers:
        if name == b"host":
            host = value.decode("latin-1")
        elif name == b"origin":
            origin = value.decode("latin-1")
    if host and not is_loopback(_host_of(host)):
        return "Host is not an address of this machine: use 127.0.0.1 or localhost, or send a token"
    if origin and origin.partition("://")[2] != host:
        return "Origin is another site: send a token"
    return ""


def _host_of(authority: str) -> str:
    if authority.startswith("["):
        return authority[1:].partition("]")[0]
    return authority.partition(":")[0]


def operator_token(path: Path) -> str:
    """The local operator's token: read from the file, which is made (mode 0600) when there is none.

    Raises OperatorTokenError when it cannot be, or when others may read it.
    """
    try:
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


class Access:
    """Who may read and act beside the intake: the operator's token, or anybody where `login: open` allows it.

    open_: `login: open`; the caller has made sure that it listens on loopback only.
    metrics_open: `/metrics` needs no token (on loopback, or by `metrics: open`).
    """

    def __init__(self, operator: str, *, open_: bool, metrics_open: bool) -> None:
        self._operator = digest(operator)
        self.open, self.metrics_open = open_, metrics_open

    def actor(self, headers: Headers) -> str:
        """Who asks: "operator", "open" (nobody said who), or "" for somebody who must not.

        A wrong token is refused even where none is needed.
        """
        headers = list(headers)
        given = presented(headers)
        if given is not None:
            return "operator" if compare_digest(given, self._operator) else ""
        return "open" if self.open and not foreign_page(headers) else ""

    def may_scrape(self, headers: Headers) -> bool:
        """Whether this request may read `/metrics`."""
        headers = list(headers)
        return bool(self.actor(headers)) or (
            self.metrics_open and presented(headers) is None and not foreign_page(headers)
        )
