"""Engine time: with the boot clock, gently to the wall clock, forward with its jumps, never back."""

import pytest

from daemon.clock import EngineTime, Step, SystemClock


class Hands:
    """Clocks that are set by hand."""

    def __init__(self) -> None:
        self.wall, self.elapsed = 1_000_000, 500

    def wall_ms(self) -> int:
        """Wall clock."""
        return self.wall

    def elapsed_ms(self) -> int:
        """Boot clock."""
        return self.elapsed

    def passes(self, ms: int) -> None:
        """Time, for both."""
        self.wall += ms
        self.elapsed += ms


@pytest.fixture
def hands() -> Hands:
    return Hands()


def test_a_first_start_takes_the_wall_clock(hands: Hands) -> None:
    time = EngineTime(hands, 0)
    assert (time.now_ms(), time.gap, time.offset) == (1_000_000, 0, 0)
    hands.passes(5)
    assert time.now_ms() == 1_000_005
    assert time.step() is None


def test_the_gap_is_what_lies_between_two_daemons(hands: Hands) -> None:
    assert EngineTime(hands, 990_000).gap == 10_000


def test_it_never_starts_before_it_stood(hands: Hands) -> None:
    time = EngineTime(hands, 1_003_000)
    assert (time.now_ms(), time.gap, time.offset) == (1_003_000, 0, 3_000)


def test_a_small_difference_is_slewed_and_no_step(hands: Hands) -> None:
    time = EngineTime(hands, 0)
    hands.wall += 2_000
    assert time.step() is None
    assert time.now_ms() == 1_000_000
    hands.passes(1_000)
    assert time.now_ms() == 1_001_100
    hands.passes(100_000)
    assert time.now_ms() == hands.wall


@pytest.mark.parametrize("tick", [1, 3, 10, 1_000])
def test_slewing_does_not_depend_on_how_often_one_looks(hands: Hands, tick: int) -> None:
    time = EngineTime(hands, 0)
    hands.wall -= 1_500
    time.step()
    before = time.now_ms()
    for _ in range(9_000 // tick):
        hands.passes(tick)
        now = time.now_ms()
        assert now >= before
        before = now
    assert before == pytest.approx(1_000_000 + 9_000 // tick * tick * 9 // 10, abs=2)


def test_a_step_forward_is_followed(hands: Hands) -> None:
    time = EngineTime(hands, 0)
    hands.passes(1_000)
    hands.wall += 3_600_000
    assert time.step() == Step(3_600_000, 3_600_000)
    assert time.now_ms() == hands.wall
    assert time.step() is None


def test_after_a_step_back_time_goes_on_slower(hands: Hands) -> None:
    time = EngineTime(hands, 0)
    hands.wall -= 3_600_000
    assert time.step() == Step(-3_600_000, 0)
    assert time.now_ms() == 1_000_000
    hands.passes(10_000)
    assert time.now_ms() == 1_009_000
    assert time.offset == 3_599_000


def test_a_step_forth_after_one_back_moves_only_what_is_missing(hands: Hands) -> None:
    time = EngineTime(hands, 0)
    hands.wall -= 10_000
    time.step()
    hands.wall += 25_000
    assert time.step() == Step(25_000, 15_000)


def test_sleep_of_the_machine_is_elapsed_time_and_no_step(hands: Hands) -> None:
    time = EngineTime(hands, 0)
    hands.passes(8 * 3_600_000)
    assert time.step() is None
    assert time.now_ms() == 1_000_000 + 8 * 3_600_000


def test_the_machine_has_both_clocks() -> None:
    clock = SystemClock()
    assert clock.wall_ms() > 1_600_000_000_000
    first = clock.elapsed_ms()
    assert 0 < first <= clock.elapsed_ms()
