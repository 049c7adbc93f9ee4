"""Windows by the wall clock: what they cover, through the changes of the clock, holidays and nights."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from daemon.core.policy import DAY, HOUR, MINUTE, Hours
from daemon.settings.hours import (
    Window,
    check_holidays,
    expand,
    holidays_between,
    parse_window,
    released_at_end_of_night,
    zone,
)

STOCKHOLM = ZoneInfo("Europe/Stockholm")


def ms(text: str, place: ZoneInfo | None = None) -> int:
    """The instant of an ISO time, by default in UTC."""
    return int(datetime.fromisoformat(text).replace(tzinfo=place or UTC).timestamp() * 1000)


@pytest.mark.parametrize(
    ("text", "window"),
    [
        ("mon-fri 08:00-17:00", Window((0, 1, 2, 3, 4), 480, 1020)),
        ("22:00-07:30", Window((0, 1, 2, 3, 4, 5, 6), 1320, 1890)),
        ("daily 00:00-24:00", Window((0, 1, 2, 3, 4, 5, 6), 0, 1440)),
        ("sun 02:00-04:00", Window((6,), 120, 240)),
        ("sat-mon 10:00-11:00", Window((0, 5, 6), 600, 660)),
        ("Mon, wed 10:00 - 11:00", Window((0, 2), 600, 660)),
        ("fri 12:00-12:00", Window((4,), 720, 2160)),
    ],
)
def test_reads_windows(text: str, window: Window) -> None:
    assert parse_window(text) == window
    assert parse_window(str(window)) == window


@pytest.mark.parametrize(
    "text", ["", "mon", "8-17", "mon 08:00", "mon 25:00-26:00", "mon 08:61-09:00", "mo 08:00-09:00"]
)
def test_refuses_what_is_no_window(text: str) -> None:
    with pytest.raises(ValueError, match="no "):
        parse_window(text)


def covered(table: Hours, from_ms: int, to_ms: int) -> list[bool]:
    return [table.at(at) for at in range(from_ms, to_ms, 5 * MINUTE)]


@pytest.mark.parametrize(
    "text",
    [
        "mon-fri 08:00-17:00",
        "22:00-07:30",
        "sun 02:00-03:00",
        "sun 02:15-02:45",
        "sat 20:00-02:30",
        "daily 00:00-24:00",
    ],
)
@pytest.mark.parametrize("change", ["2026-03-27", "2026-10-23"])
@pytest.mark.parametrize(
    "place", ["Europe/Stockholm", "America/New_York", "Australia/Lord_Howe", "UTC", "Asia/Kathmandu"]
)
def test_covers_exactly_the_instants_whose_wall_clock_lies_in_the_window(text: str, change: str, place: str) -> None:
    """Against the definition, minute by minute, over a change of the clock where there is one."""
    window, local = parse_window(text), zone(place)
    from_ms, to_ms = ms(change), ms(change) + 4 * DAY
    if place == "America/New_York":
        from_ms, to_ms = from_ms - 21 * DAY + 2 * DAY, from_ms + 14 * DAY

    def inside(at_ms: int) -> bool:
        wall = datetime.fromtimestamp(at_ms / 1000, local)
        minute = wall.hour * 60 + wall.minute
        return any(
            (wall.date() - timedelta(days=back)).weekday() in window.days
            and window.start <= minute + back * 1440 < window.end
            for back in (0, 1)
        )

    table = expand([window], local, from_ms, to_ms)
    assert covered(table, from_ms, to_ms) == [inside(at) for at in range(from_ms, to_ms, 5 * MINUTE)]
    assert list(table.starts) == sorted(set(table.starts))
    assert all(start < end for start, end in zip(table.starts, table.ends, strict=True))
    assert all(end < start for end, start in zip(table.ends, table.starts[1:], strict=False))


def test_an_hour_that_does_not_exist_begins_at_the_next_that_does() -> None:
    table = expand([parse_window("sun 02:30-04:00")], STOCKHOLM, ms("2026-03-29"), ms("2026-03-30"))
    assert (table.starts, table.ends) == ((ms("2026-03-29T01:00"),), (ms("2026-03-29T02:00"),))


def test_an_hour_that_comes_twice_is_covered_twice() -> None:
    table = expand([parse_window("sun 02:00-02:30")], STOCKHOLM, ms("2026-10-25"), ms("2026-10-26"))
    assert table.starts == (ms("2026-10-25T00:00"), ms("2026-10-25T01:00"))
    assert table.ends == (ms("2026-10-25T00:30"), ms("2026-10-25T01:30"))


def test_a_page_that_waits_is_released_at_the_end_of_night_of_a_working_day() -> None:
    windows = released_at_end_of_night([parse_window("mon-fri 08:00-17:00")], parse_window("22:00-07:30"))
    free = holidays_between("SE", ms("2026-12-01"), ms("2027-01-15"))
    table = expand(windows, STOCKHOLM, ms("2026-12-01"), ms("2027-01-15"), free)

    def released(at: str) -> int:
        at_ms = ms(at, STOCKHOLM)
        return at_ms if table.at(at_ms) else table.next_start(at_ms)

    assert released("2026-12-02T03:00") == ms("2026-12-02T07:30", STOCKHOLM)
    assert released("2026-12-02T07:45") == ms("2026-12-02T07:45", STOCKHOLM)
    assert released("2026-12-02T16:59") == ms("2026-12-02T16:59", STOCKHOLM)
    assert released("2026-12-02T17:00") == ms("2026-12-03T07:30", STOCKHOLM)
    assert released("2026-12-04T18:00") == ms("2026-12-07T07:30", STOCKHOLM), "not on Saturday"
    assert released("2026-12-24T18:00") == ms("2026-12-28T07:30", STOCKHOLM), "25 is a holiday, then the week ends"


def test_only_the_first_window_of_a_day_begins_earlier() -> None:
    support = [parse_window("mon 08:00-12:00"), parse_window("mon 13:00-17:00"), parse_window("tue 06:00-12:00")]
    assert released_at_end_of_night(support, parse_window("22:00-07:30")) == (
        Window((0,), 450, 720),
        Window((0,), 780, 1020),
        Window((1,), 360, 720),
    )


def test_norway_is_a_country_and_parts_of_countries_have_days_of_their_own() -> None:
    check_holidays("NO")
    check_holidays("DE-BY")
    assert date(2026, 5, 17) in holidays_between("NO", ms("2026-01-01"), ms("2026-12-31"))
    assert date(2026, 1, 6) in holidays_between("DE-BY", ms("2026-01-01"), ms("2026-12-31"))
    assert date(2026, 1, 6) not in holidays_between("DE", ms("2026-01-01"), ms("2026-12-31"))
    assert holidays_between("", 0, HOUR) == frozenset()
    with pytest.raises(ValueError, match='"DE" has no part "XY"'):
        check_holidays("DE-XY")
