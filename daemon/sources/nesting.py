"""How deeply arrays and objects of a body are nested, told without decoding it."""

import re

_OTHER = bytes(set(range(256)) - set(b'[]{}"'))
_ALIKE = bytes.maketrans(b"{}", b"[]")
_TEXTS = re.compile(rb'"[^"]*"')


def too_deep(body: bytes, limit: int) -> bool:
    """Whether something in the JSON text is nested more deeply than `limit`.

    Brackets within texts do not count. For what is no JSON the answer does not matter.
    """
    if body.count(b"[") + body.count(b"{") <= limit:
        return False
    return _deeper(_brackets(body), limit)


def _brackets(body: bytes) -> bytes:
    """The brackets outside of texts, in their order, curly ones as square ones."""
    if b"\\" in body:
        body = body.replace(rb"\\", b"").replace(rb"\"", b"")
    # Two quotes side by side are a text without brackets, or lie between two texts with some: they can go either way.
    left = body.translate(_ALIKE, _OTHER).replace(b'""', b"")
    return _TEXTS.sub(b"", left) if b'"' in left else left


def _deeper(brackets: bytes, limit: int) -> bool:
    """Takes away the innermost pairs, all at once, `limit` times: what then still goes away was nested more deeply."""
    for _ in range(limit):
        fewer = brackets.replace(b"[]", b"")
        if len(fewer) == len(brackets):
            break
        brackets = fewer
    return b"[]" in brackets or brackets.count(b"[") > limit
