"""Tokens, the operator's file, and requests that need none."""

import base64
import stat
from pathlib import Path

import pytest

from daemon.access import (
    OperatorTokenError,
    digest,
    foreign_page,
    is_loopback,
    matching,
    operator_token,
    presented,
)


def headers(**fields: str) -> list[tuple[bytes, bytes]]:
    return [(name.encode(), value.encode()) for name, value in fields.items()]


@pytest.mark.parametrize(
    ("value", "token"),
    [
        ("Bearer abc", b"abc"),
        ("bearer   abc ", b"abc"),
        ("Basic " + base64.b64encode(b"me:abc").decode(), b"abc"),
        ("Basic " + base64.b64encode(b":a:c").decode(), b"a:c"),
        ("Basic ???", b""),
        ("Digest abc", b""),
        ("", b""),
    ],
)
def test_presented(value: str, token: bytes) -> None:
    assert presented(headers(authorization=value)) == digest(token)


def test_nothing_presented_matches_nothing() -> None:
    assert presented(headers(host="x")) is None
    assert matching(None, {"a": (digest("x"),)}) == []
    assert matching(digest("x"), {"a": (digest("x"),), "b": (digest("y"), digest("x")), "c": ()}) == ["a", "b"]


@pytest.mark.parametrize(
    ("host", "yes"),
    [("127.0.0.1", True), ("localhost", True), ("::1", True), ("[::1]", True), ("127.9.9.9", True), ("10.0.0.1", False),
     ("evil.example", False), ("127.0.0.1.evil.example", False), ("", False)],
)  # fmt: skip
def test_loopback(host: str, yes: bool) -> None:
    assert is_loopback(host) is yes


@pytest.mark.parametrize(
    ("fields", "refused"),
    [
        ({"host": "127.0.0.1:8112"}, False),
        ({"host": "[::1]:8112"}, False),
        ({"host": "localhost"}, False),
        ({}, False),
        ({"host": "localhost:1", "origin": "http://localhost:1"}, False),
        ({"host": "localhost:1", "origin": "http://localhost:2"}, True),
        ({"host": "localhost:1", "origin": "null"}, True),
        ({"host": "rebound.example:8112"}, True),
    ],
)
def test_foreign_pages(fields: dict[str, str], refused: bool) -> None:
    assert bool(foreign_page(headers(**fields))) is refused


def test_operator_token_is_made_once_for_one_pair_of_eyes(tmp_path: Path) -> None:
    path = tmp_path / "operator.token"
    token = operator_token(path)
    assert len(token) >= 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert operator_token(path) == token
    path.chmod(0o640)
    with pytest.raises(OperatorTokenError, match="others may read it"):
        operator_token(path)


def test_operator_token_says_what_is_wrong_with_its_file(tmp_path: Path) -> None:
    path = tmp_path / "operator.token"
    path.write_text("")
    path.chmod(0o600)
    with pytest.raises(OperatorTokenError, match="holds no token; remove it"):
        operator_token(path)
    with pytest.raises(OperatorTokenError, match="cannot be made"):
        operator_token(path / "below" / "a file" / "operator.token")
