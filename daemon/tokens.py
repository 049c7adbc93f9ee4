"""Tokens that samband issues: what a request for one must say, and the token itself, which is shown once."""

import time

from daemon.access import ROLES, Issued, Role, digest
from daemon.access.keys import NAME_CHARS_MAX, TOKENS_MAX, new_token


class TokenRefused(Exception):
    """No such token can be made; the text says why."""


def issue(known: list[Issued], name: str, role: str, source: str, by: str, now_ms: int) -> tuple[Issued, str]:
    """A new token: what is kept of it, and itself. Raises TokenRefused."""
    name = name.strip()
    if not name or len(name) > NAME_CHARS_MAX or not name.isprintable():
        raise TokenRefused(f"name: must be a text of at most {NAME_CHARS_MAX} characters that says whose token it is")
    if role not in ROLES:
        raise TokenRefused(f"role: must be one of {', '.join(ROLES)}")
    if source and role != "ingest":
        raise TokenRefused("source: only tokens of role ingest are bound to a source")
    working = [one for one in known if not one.revoked_at]
    if any(one.name == name for one in working):
        raise TokenRefused(f"name: there is a token {name!r}; for rotation make one of another name, then revoke this")
    if len(working) >= TOKENS_MAX:
        raise TokenRefused(f"there are {TOKENS_MAX} tokens already; revoke those that nobody uses")
    token = new_token()
    number = max((one.id for one in known), default=0) + 1
    return Issued(number, name, _role(role), source, digest(token), now_ms, by, 0), token


def revoked(one: Issued, now_ms: int) -> Issued:
    """The token as it is once it does not work any more."""
    return Issued(one.id, one.name, one.role, one.source, one.digest, one.created_at, one.created_by, now_ms)


def named(known: list[Issued], name: str) -> Issued | None:
    """The working token of this name or number."""
    return next((one for one in known if not one.revoked_at and name in (one.name, str(one.id))), None)


def wall_ms() -> int:
    """Now."""
    return time.time_ns() // 1_000_000


def _role(text: str) -> Role:
    return next(role for role in ROLES if role == text)
