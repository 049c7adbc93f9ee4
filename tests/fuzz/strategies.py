"""Documents that are nearly right: real ones with parts of them replaced, and with their bytes broken."""

import copy
import json
from typing import Any

from hypothesis import strategies as st

WORDS = (
    "", "-", "a.b", "name", "type", "firing", "resolved", "trigger", "critical", "NO", "null", "true", "0", "-1",
    "1e999", "5m", "1h30m", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "2026-02-30T25:00:00Z", 'a="b"', 'a=~"("',
    "{", "%s",
    "http://[", "https://example.org/x y", "mon-fri 08:00-17:00", "sun 25:00-26:00", "../x", "x/*.yaml", "\x00",
    "\U0001f600", "\ud800", "\u202e", "=1+1", "<b>", "a" * 3000,
)  # fmt: skip
texts = st.sampled_from(WORDS) | st.text(max_size=20)
leaves = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | texts
values = st.recursive(
    leaves, lambda below: st.lists(below, max_size=3) | st.dictionaries(texts, below, max_size=3), max_leaves=8
)


@st.composite
def altered(draw: st.DrawFn, documents: list[Any]) -> Any:
    """One of the documents, with up to three of its values (or keys) replaced, removed or added."""
    document = copy.deepcopy(draw(st.sampled_from(documents)))
    for _ in range(draw(st.integers(0, 3))):
        places = [place for place in _places(document) if place[0] is not None]
        if not places:
            return draw(values)
        holder, key = draw(st.sampled_from(places))
        match draw(st.sampled_from(("replace", "remove", "add", "rename"))):
            case "replace":
                holder[key] = draw(values)
            case "remove":
                del holder[key]
            case "add" if isinstance(holder, dict):
                holder[draw(texts)] = draw(values)
            case "rename" if isinstance(holder, dict):
                holder[draw(texts)] = holder.pop(key)
    return document


@st.composite
def broken(draw: st.DrawFn, bodies: list[bytes]) -> bytes:
    """One of the bodies, with bytes put in, taken out, or cut off."""
    body = draw(st.sampled_from(bodies))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(body)))
        body = body[:at] + draw(st.binary(max_size=4)) + body[at + draw(st.integers(0, 6)) :]
    return body


def bodies(documents: list[Any]) -> st.SearchStrategy[bytes]:
    """Bodies of altered documents, as well-formed JSON and as broken bytes."""
    whole = altered(documents).map(lambda one: json.dumps(one).encode())
    return whole | broken([json.dumps(one).encode() for one in documents]) | st.binary(max_size=40)


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) in it."""
    found: list[tuple[Any, Any]]
    if isinstance(value, dict):
        found = [(value, key) for key in value]
    elif isinstance(value, list):
        found = [(value, index) for index in range(len(value))]
    else:
        return []
    return found + [place for _, key in list(found) for place in _places(value[key])]
