"""What is known of a partition: when its messages reached it, whether it is read to its end, whether to read on."""

from typing import NamedTuple

import pytest

from daemon.core.model.stream import Position, StreamKey
from daemon.sources.kafka.partition import LEVEL_MS, WINDOW, Partition, seen

KEY = StreamKey("mainframe", "alerts", 0)
NOW = 1_795_600_000_000


class Message(NamedTuple):
    """What a consumer hands over."""

    offset: int
    timestamp: int = NOW
    key: bytes | None = None
    value: bytes | None = b"{}"
    headers: tuple[tuple[str, bytes], ...] = ()


def partition(**position: int) -> Partition:
    return Partition(KEY, Position(**{"next_offset": 5, **position}))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("timestamp", "received"),
    [
        (NOW - 60_000, NOW - 60_000),  # in a backlog, with a clock that is right
        (NOW + 3_600_000, NOW),  # ahead
        (NOW - 86_400_000, NOW - 600_000),  # behind: it was not there when everything had been read
        (-1, NOW),  # none
    ],
)
def test_a_message_reached_the_log_between_the_last_time_it_was_level_and_now(timestamp: int, received: int) -> None:
    assert partition(level_at=NOW - 600_000).received(timestamp, NOW) == received


def test_nothing_reached_the_log_before_what_stands_before_it() -> None:
    one = partition()
    assert [one.heard(at) for at in (NOW - 10, NOW - 20, NOW - 5)] == [NOW - 10, NOW - 10, NOW - 5]


def test_it_is_level_while_the_end_of_a_late_fetch_is_durable() -> None:
    one = partition()
    assert one.behind(NOW)
    one.answered(8, NOW)
    assert (one.behind(NOW), one.lag) == (True, 3)
    one.answered(20, NOW + 4_000)
    one.reached(8)
    assert (one.level_at, one.behind(NOW + LEVEL_MS), one.behind(NOW + LEVEL_MS + 1)) == (NOW, False, True)
    one.answered(20, NOW + 8_000)
    one.reached(20)
    assert (one.level_at, one.lag) == (NOW + 8_000, 0)
    one.answered(20, NOW + 9_000)
    assert one.level_at == NOW + 9_000
    one.stopped = "not JSON"
    assert one.behind(NOW + 9_000)


def test_the_anchor_follows_once_the_log_is_known_to_be_the_same() -> None:
    one = partition()
    one.passed(Message(5))
    one.remember(Message(5))
    assert one.position() == Position(6, 0, 0, *seen(Message(5)))
    one.passed(Message(9))
    one.remember(Message(9))
    assert one.position() == Position(10, 0, 0, *seen(Message(5)))
    one.confirm()
    one.passed(Message(10))
    one.remember(Message(10))
    one.confirmed()
    assert one.position() == Position(11, 0, 0, *seen(Message(9)))


def test_messages_that_differ_have_other_digests() -> None:
    variants = [Message(5), Message(5, NOW + 1), Message(5, key=b""), Message(5, value=None), Message(5, value=b"{} ")]
    assert len({seen(one).digest for one in variants}) == len(variants)


@pytest.mark.parametrize(
    ("pattern", "stops_at"),
    [("-" * 30, 19), ("+" + "-" * 30, 19), ("+" * 15 + "-" * 30, 30), ("+-" * 80, None), ("-" * 10 + "+" * 200, None),
     ("+" * 300 + "-" * 60, 350)],
)  # fmt: skip
def test_it_stops_when_most_of_the_last_messages_cannot_be_read(pattern: str, stops_at: int | None) -> None:
    one = partition()
    outcomes = [one.judge(sign == "+") for sign in pattern]
    assert (outcomes.index(False) if False in outcomes else None) == stops_at
    one.start_over()
    assert one.judge(False)
    assert len(pattern) < WINDOW or len(outcomes) == len(pattern)
