"""Windows by the wall clock (`mon-fri 08:00-17:00`), expanded into interval tables for the core.

An hour that does not exist begins at the next that does; one that comes twice is covered twice.
This is the only place where time zones and holidays are known.
"""

import os
import re
from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from daemon.core.policy import DAY, MINUTE, Hours
from daemon.settings.problems import did_you_mean

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_WINDOW = re.compile(r"(?:(?P<days>[a-z,\- ]+?) +)?(?P<from>\d\d:\d\d) *- *(?P<to>\d\d:\d\d)")
_FORM = "is no window; write for example mon-fri 08:00-17:00 or 22:00-07:30"


class Window(NamedTuple):
    """Every one of `days` (0 is Monday) from `start` to `end`, minutes of the wall clock since that midnight.

    An end beyond 1440 lies in the next day.
    """

    days: tuple[int, ...]
    start: int
    end: int

    def __str__(self) -> str:
        return f"{','.join(WEEKDAYS[day] for day in self.days)} {_clock(self.start)}-{_clock(self.end)}"


def parse_window(text: str) -> Window:
    """Reads `[days] HH:MM-HH:MM`; days are `mon`, `mon-fri`, `mon,wed` or `daily` (the default).

    A window whose end is not after its start goes on over midnight. Raises ValueError.
    """
    match = _WINDOW.fullmatch(text.strip().lower())
    if match is None:
        raise ValueError(_FORM)
    start, end = _minutes(match["from"]), _minutes(match["to"])
    if start == 1440:
        raise ValueError("a window cannot start at 24:00: write 00:00 of the next day")
    return Window(_days(match["days"] or "daily"), start, end if end > start else end + 1440)


def _minutes(text: str) -> int:
    hours, minutes = int(text[:2]), int(text[3:])
    if minutes > 59 or hours * 60 + minutes > 1440:
        raise ValueError(f"{text} is no time of day")
    return hours * 60 + minutes


def _clock(minutes: int) -> str:
    return f"{minutes // 60 % 24 if minutes != 1440 else 24:02d}:{minutes % 60:02d}"


def _days(text: str) -> tuple[int, ...]:
    if text == "daily":
        return tuple(range(7))
    days: set[int] = set()
    for part in text.replace(" ", "").split(","):
        first, _, last = part.partition("-")
        for day in (first, last or first):
            if day not in WEEKDAYS:
                raise ValueError(f'"{day}" is no day of the week; {did_you_mean(day, (*WEEKDAYS, "daily"))}')
        begin, end = WEEKDAYS.index(first), WEEKDAYS.index(last or first)
        days.update(day % 7 for day in range(begin, end + 1 if end >= begin else end + 8))
    return tuple(sorted(days))


def host_zone() -> str:
    """The name of the host's time zone: TZ, else what /etc/localtime points at, else UTC."""
    named = os.environ.get("TZ", "").lstrip(":")
    if named in available_timezones():
        return named
    target = str(Path("/etc/localtime").resolve())
    name = target.partition("zoneinfo/")[2]
    return name if name in available_timezones() else "UTC"


def zone(name: str) -> ZoneInfo:
    """The zone of that IANA name. Raises ValueError that names the nearest one."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        nearest = did_you_mean(name, available_timezones())
        remedy = nearest if nearest.startswith("did") else "see the IANA list, for example Europe/Stockholm"
        raise ValueError(f'"{name}" is no time zone; {remedy}') from None


def check_holidays(code: str) -> None:
    """Whether the calendar of a country (`SE`) or of a part of it (`DE-BY`) is known. Raises ValueError."""
    import holidays  # Late: it is large, and most configurations name no calendar.

    country, _, part = code.partition("-")
    known = holidays.list_supported_countries()
    if country not in known:
        raise ValueError(f'there is no calendar "{country}"; use a country code such as SE, or DE-BY for a part of one')
    if part and part not in known[country]:
        raise ValueError(f'"{country}" has no part "{part}"; {did_you_mean(part, known[country])}')


def holidays_between(code: str, from_ms: int, to_ms: int) -> frozenset[date]:
    """The public holidays of the years that the time touches, none for the code ""."""
    if not code:
        return frozenset()
    import holidays

    country, _, part = code.partition("-")
    first, last = (datetime.fromtimestamp(at / 1000, UTC).year for at in (from_ms - DAY, to_ms + DAY))
    return frozenset(holidays.country_holidays(country, subdiv=part or None, years=range(first, last + 1)))


def released_at_end_of_night(support: Sequence[Window], night: Window) -> tuple[Window, ...]:
    """Support hours as pages see them: a page that waits for them leaves when the night before them ends."""
    morning = night.end % 1440
    windows = []
    for day in range(7):
        todays = sorted((w for w in support if day in w.days), key=lambda w: w.start)
        for place, window in enumerate(todays):
            start = min(window.start, morning) if place == 0 else window.start
            windows.append(Window((day,), start, window.end))
    return tuple(windows)


def expand(
    windows: Sequence[Window], place: ZoneInfo, from_ms: int, to_ms: int, without: Collection[date] = frozenset()
) -> Hours:
    """The instants from `from_ms` to `to_ms` whose wall clock lies in a window, but for those of days `without`."""
    spans: list[tuple[int, int]] = []
    for begin, end, offset in _offsets(place, from_ms, to_ms):
        day = datetime.fromtimestamp((begin + offset) / 1000, UTC).date() - timedelta(days=1)
        last = datetime.fromtimestamp((end + offset) / 1000, UTC).date()
        while day <= last:
            midnight = (day - date(1970, 1, 1)).days * DAY - offset
            for window in windows if day not in without else ():
                if day.weekday() in window.days:
                    start, stop = midnight + window.start * MINUTE, midnight + window.end * MINUTE
                    if max(start, begin) < min(stop, end):
                        spans.append((max(start, begin), min(stop, end)))
            day += timedelta(days=1)
    return _united(spans)


def _united(spans: list[tuple[int, int]]) -> Hours:
    starts: list[int] = []
    ends: list[int] = []
    for start, end in sorted(spans):
        if ends and start <= ends[-1]:
            ends[-1] = max(ends[-1], end)
        else:
            starts.append(start)
            ends.append(end)
    return Hours(tuple(starts), tuple(ends))


def _offsets(place: ZoneInfo, from_ms: int, to_ms: int) -> Iterator[tuple[int, int, int]]:
    """The stretches of time with one offset from UTC: (start, end, offset), all ms."""
    begin, at, offset = from_ms, from_ms, _offset(place, from_ms)
    while at < to_ms:
        after = min(at + DAY, to_ms)
        if _offset(place, after) != offset:
            low, high = at, after
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (middle, high) if _offset(place, middle) == offset else (low, middle)
            yield begin, high, offset
            begin, offset, after = high, _offset(place, high), high
        at = after
    if begin < to_ms:
        yield begin, to_ms, offset


def _offset(place: ZoneInfo, at_ms: int) -> int:
    found = datetime.fromtimestamp(at_ms / 1000, place).utcoffset()
    return int(found.total_seconds() * 1000) if found else 0
