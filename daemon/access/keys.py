"""Whose token a request brings. Comparisons take constant time.

Tokens are kept as SHA-256 digests of what is compared, so neither their length nor a common
beginning shows in the time an answer takes; every candidate is compared, match or not.
"""

import base64
import binascii
import secrets
import time
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from hmac import compare_digest
from typing import NamedTuple

import msgspec

from daemon.access.routes import Role

Headers = Iterable[tuple[bytes, bytes]]
"""Header fields as ASGI gives them: names in lower case."""

PREFIX = "smb_"
"""Tokens that samband issues begin with it, so that scanners for leaked secrets can know them."""

TOKENS_MAX = 200
NAME_CHARS_MAX = 100

COOKIE = b"samband_session"
CODE_SECONDS = 900.0
SESSION_SECONDS = 12 * 3600.0
SESSIONS_MAX = 100


class Issued(msgspec.Struct, frozen=True):
    """A token that was issued: everything but the token itself. Times in ms since 1970; revoked_at: 0 while it works.

    source: of role ingest, the only source that it may send for; "": any.
    """

    id: int
    name: str
    role: Role
    source: str
    digest: bytes
    created_at: int
    created_by: str
    revoked_at: int = 0


class Caller(NamedTuple):
    """Who asks. source: the only source that it may send for; "": any."""

    name: str
    role: Role
    source: str = ""


def new_token() -> str:
    """A token of 256 random bits."""
    return PREFIX + secrets.token_urlsafe(32)


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


class Sessions:
    """Browsers of the local operator: a link that works once becomes a cookie. Kept in memory, gone at a restart."""

    def __init__(self) -> None:
        self._codes: dict[bytes, float] = {}
        self._open: dict[bytes, float] = {}

    def code(self) -> str:
        """A code for a link; it works once, for a quarter of an hour."""
        code = secrets.token_urlsafe(32)
        self._codes[digest(code)] = time.monotonic() + CODE_SECONDS
        return code

    def redeem(self, code: str) -> str:
        """The cookie's value for a code, "" when it does not work (any more)."""
        given, until = digest(code), 0.0
        for known in list(self._codes):
            if compare_digest(given, known):
                until = self._codes.pop(known)
        if until < time.monotonic():
            return ""
        session = secrets.token_urlsafe(32)
        while len(self._open) >= SESSIONS_MAX:
            del self._open[next(iter(self._open))]
        self._open[digest(session)] = time.monotonic() + SESSION_SECONDS
        return session

    def known(self, headers: Headers) -> bool:
        """Whether the request brings the cookie of an open session."""
        if not self._open:
            return False
        cookies = b";".join(value for name, value in headers if name == b"cookie")
        now, found = time.monotonic(), False
        for part in cookies.split(b";"):
            name, _, value = part.strip().partition(b"=")
            if name == COOKIE:
                given = digest(value)
                found |= sum(compare_digest(given, one) and until > now for one, until in self._open.items()) > 0
        return found


class Keys:
    """Every token that samband knows besides those of the configuration: the operator's, and the issued ones."""

    def __init__(self, operator: str, issued: Iterable[Issued] = ()) -> None:
        self._operator = digest(operator)
        self._issued = {one.id: one for one in issued}
        self.sessions = Sessions()

    @property
    def issued(self) -> list[Issued]:
        """All that were issued, revoked ones among them, oldest first."""
        return [self._issued[number] for number in sorted(self._issued)]

    def put(self, one: Issued) -> None:
        """A new token, or one that was revoked: it holds from now on."""
        self._issued[one.id] = one

    def find(self, given: bytes | None) -> Caller | None:
        """Whose token it is; None when nobody's."""
        if given is None:
            return None
        found = Caller("operator", "admin") if compare_digest(given, self._operator) else None
        for one in self._issued.values():
            if compare_digest(given, one.digest) and not one.revoked_at:
                found = Caller(one.name, one.role, one.source)
        return found
