"""Times, spans and lists as people say them. Times are ms since 1970, shown in UTC."""

from collections.abc import Sequence

from daemon.core.policy import DAY, HOUR, MINUTE
from daemon.core.view_json import rfc3339


def lasting(ms: int) -> str:
    """A span in its two largest units: 45 s, 12 min, 3 h 20 min, 2 d 4 h."""
    if ms < MINUTE:
        return f"{max(ms, 0) // 1000} s"
    if ms < HOUR:
        minutes, rest = divmod(ms, MINUTE)
        return f"{minutes} min" if ms >= 10 * MINUTE or rest < 1000 else f"{minutes} min {rest // 1000} s"
    unit, below, words = (HOUR, MINUTE, ("h", "min")) if ms < DAY else (DAY, HOUR, ("d", "h"))
    whole, rest = divmod(ms, unit)
    return f"{whole} {words[0]}" + (f" {rest // below} {words[1]}" if rest >= below else "")


def when(at: int, now: int) -> str:
    """A time, and how far it is: 03:02:10 UTC (in 45 s). The date stands where it is another day."""
    text = rfc3339(at // 1000 * 1000).removesuffix("Z")
    day, clock = text.split("T")
    shown = clock if rfc3339(now).startswith(day) else f"{day} {clock}"
    return f"{shown} UTC ({f'in {lasting(at - now)}' if at > now else f'{lasting(now - at)} ago'})"


def listed(words: Sequence[str], most: int = 5) -> str:
    """Words in a row, the first of them when there are many: a, b and 7 more."""
    words = [word for word in words if word]
    if len(words) > most:
        return f"{', '.join(words[:most])} and {len(words) - most} more"
    *first, last = words or [""]
    return f"{', '.join(first)} and {last}" if first else last


def counted(number: int, word: str) -> str:
    """1 alert, 3 alerts."""
    return f"{number} {word}" if number == 1 else f"{number} {word}s"
