"""Durations as in Prometheus: `1h30m`, `100ms`, `0s`. Kept as whole milliseconds."""

import re
from typing import Annotated, Any

from pydantic import BeforeValidator

_UNITS = (
    ("y", 365 * 86_400_000),
    ("w", 7 * 86_400_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
)
_FORM = re.compile("".join(rf"(?:([0-9]+){unit})?" for unit, _ in _UNITS))
_LONGEST = 100 * 365 * 86_400_000


def parse_duration(value: Any) -> int:
    """Milliseconds of a duration. Raises ValueError, with what is expected, for anything else."""
    if value == 0 and type(value) is int:
        return 0
    text = value.strip() if isinstance(value, str) else ""
    if text == "0":
        return 0
    match = _FORM.fullmatch(text)
    if not text or match is None:
        raise ValueError("is no duration; write for example 30s, 5m or 1h30m (y, w, d, h, m, s, ms, the largest first)")
    ms = sum(int(number) * size for number, (_, size) in zip(match.groups(), _UNITS, strict=True) if number)
    if ms > _LONGEST:
        raise ValueError("is longer than 100 years; write less")
    return ms


def format_duration(ms: int) -> str:
    """The shortest form that `parse_duration` reads as the same number."""
    text = ""
    for unit, size in _UNITS[2:]:
        count, ms = divmod(ms, size)
        text += f"{count}{unit}" if count else ""
    return text or "0s"


Duration = Annotated[int, BeforeValidator(parse_duration)]
