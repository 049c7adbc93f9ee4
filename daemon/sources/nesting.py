"""How deeply arrays and objects of a body are nested, told without decoding it."""

import re

_OTHER = bytes(set(range(256)) - set(b"[]{}"))
_ALIKE = bytes.maketrans(b"{}", b"[]")
_TEXTS = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)


def too_deep(body: bytes, limit: int) -> bool:
    """Whether something in the JSON text is nested more deeply than `limit`.

    Brackets within texts count at first, since looking past them is slow; only where they make the
    difference are the texts taken out. For what is no JSON the answer does not matter.
    """
    return _deeper(body, limit) and _deeper(_TEXTS.sub(b"", body), limit)


def _deeper(body: bytes, limit: int) -> bool:
    """Takes away the innermost pairs, all at once, `limit` times: what then still goes away was nested more deeply."""
    brackets = body.translate(_ALIKE, _OTHER)
    if len(brackets) <= limit:
        return False
    for _ in range(limit):
        fewer = brackets.replace(b"[]", b"")
        if len(fewer) == len(brackets):
            break
        brackets = fewer
    return b"[]" in brackets or brackets.count(b"[") > limit
