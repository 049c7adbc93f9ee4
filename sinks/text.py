"""Text on its way out: alert text is hostile input, so it leaves clean, short and without secrets."""

import re
from collections.abc import Iterable
from typing import Any

_CONTROL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters but tab and line feed
    "\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff"  # invisible, and what turns the direction of text round
    "\ufff9-\ufffb]"
)
_NOT_TEXT = re.compile("[\ud800-\udfff\ufffe\uffff]")
_BLANK = re.compile(r"\s+")
MASK = "***"
DETAIL_MAX = 300


def clean(text: str) -> str:
    """Text of several lines without control, invisible and direction characters and lone surrogates."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\u2028", "\n").replace("\u2029", "\n")
    return _NOT_TEXT.sub("\ufffd", _CONTROL.sub("", text.replace("\t", " ")))


def cleaned(value: Any) -> Any:
    """JSON with every text in it clean."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, list):
        return [cleaned(one) for one in value]
    return {clean(key): cleaned(one) for key, one in value.items()} if isinstance(value, dict) else value


def cut(text: str, characters_max: int) -> str:
    """The text, shortened at its end with an ellipsis when it is longer than that."""
    return text if len(text) <= characters_max else text[: characters_max - 1].rstrip() + "…"


def one_line(text: str, characters_max: int) -> str:
    """The text as one line: line breaks and runs of blanks become one blank; then shortened."""
    return cut(_BLANK.sub(" ", clean(text)).strip(), characters_max)


def masked(text: str, secrets: Iterable[str]) -> str:
    """The text with every secret in it replaced."""
    for secret in sorted((s for s in secrets if s), key=len, reverse=True):
        text = text.replace(secret, MASK)
    return text


def detail(text: str, secrets: Iterable[str]) -> str:
    """What a service said, fit for a log: secrets masked (before it is cut), one short line."""
    return one_line(masked(text, secrets), DETAIL_MAX)


def web_link(url: str) -> str:
    """The URL when it is one that a browser may follow (http or https, one word), otherwise ""."""
    url = url.strip()
    return url if re.fullmatch(r"https?://[^\s\"<>\\^`{|}\x00-\x1f]+", url) else ""


def listed(words: Iterable[str]) -> str:
    """Words as people list them: a, b and c."""
    *first, last = [*words] or [""]
    return f"{', '.join(first)} and {last}" if first else last
