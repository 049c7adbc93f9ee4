"""Episodes: late, repeated and reordered deliveries change nothing; silence is not recovery."""

import pytest

from daemon.core import dedup
from tests.unit.kit import AT_ONCE, Play, alert, policy

GAP = AT_ONCE.lapse_after / 1000


def play() -> Play:
    return Play(policy(timing=AT_ONCE))


def test_a_repeat_is_one_alert_and_one_page() -> None:
    run = play()
    for at in (0, 1, 1, 60):
        run.see(at, alert(start=0))
    assert run.only().firing == 1
    assert run.acts("pager") == ["create page@0"]


def test_duplicates_inside_one_batch_are_one() -> None:
    run = play()
    run.see(0, *[alert(start=0)] * 16)
    assert run.only().firing == 1
    assert len(run.acts("pager")) == 1


def test_a_late_resolve_of_an_earlier_episode_closes_nothing() -> None:
    run = play()
    run.see(0, alert(start=0))
    run.see(300, alert(firing=False, start=0, end=300))
    run.see(400, alert(start=400))
    (now,) = run.see(500, alert(firing=False, start=0, end=300))
    assert now.open
    assert now.generation == 2
    assert run.only().state == "reopened"


def test_a_late_resolve_without_an_end_is_known_by_its_start() -> None:
    run = play()
    run.see(0, alert(start=0))
    run.see(300, alert(firing=False, start=0, end=300))
    run.see(400, alert(start=400))
    (now,) = run.see(500, alert(firing=False, start=0))
    assert now.open


def test_a_late_firing_of_an_ended_episode_opens_nothing() -> None:
    run = play()
    run.see(0, alert(start=0))
    run.see(300, alert(firing=False, start=0, end=300))
    (now,) = run.see(310, alert(start=0))
    assert not now.open
    assert run.only().state == "resolved"


def test_a_firing_inside_an_ended_episode_continues_it_when_its_own_end_lies_beyond() -> None:
    run = play()
    run.see(0, alert(start=0, end=240))
    run.see(100, alert(firing=False, start=0, end=100))
    (now,) = run.see(110, alert(start=50, end=350))
    assert now.open
    assert now.generation == 1
    assert run.only().state == "reopened"


def test_an_invented_end_does_not_continue_an_ended_episode() -> None:
    run = play()
    run.see(0, alert(start=0))
    run.see(100, alert(firing=False, start=0, end=100))
    (now,) = run.see(110, alert(start=50, end=410, invented_end=True))
    assert not now.open


def test_a_resolve_of_something_never_seen_opens_nothing_and_its_late_firing_neither() -> None:
    run = play()
    run.see(100, alert(firing=False, start=0, end=90))
    run.see(101, alert(start=0))
    assert run.incidents() == []
    (now,) = run.see(200, alert(start=150))
    assert now.open
    assert now.generation == 1
    assert run.only().firing == 1


def test_replicas_end_when_all_have() -> None:
    run = play()
    run.see(0, alert(start=0, replica="a"), alert(start=1, replica="b"))
    (now,) = run.see(60, alert(firing=False, start=0, end=60, replica="a"))
    assert now.open
    (now,) = run.see(61, alert(firing=False, start=1, end=61, replica="b"))
    assert not now.open


def test_start_shown_is_the_earliest_heard_and_the_one_that_decides_stays() -> None:
    run = play()
    run.see(10, alert(start=10))
    (now,) = run.see(20, alert(start=5))
    assert (now.starts_at, now.decides_at) == (now.decides_at - 5000, now.decides_at)


def test_a_start_far_in_the_future_is_clamped() -> None:
    run = play()
    (now,) = run.see(0, alert(start=10**9))
    assert now.decides_at - run.engine.now_ms == 300_000


def test_severity_none_is_recorded_and_opens_nothing() -> None:
    run = play()
    (now,) = run.see(0, alert("Watchdog", severity="none", start=0))
    assert now.open
    assert not run.incidents()
    run.see(1, alert("Watchdog", severity="critical", start=0))
    assert run.only().firing == 1


# ---- silence is not recovery ---------------------------------------------------------------------
def test_an_alert_whose_emitter_is_silent_stays_open_and_is_stale() -> None:
    run = play()
    (now,) = run.see(0, alert(start=0, end=240))
    run.wait(3 * 3600)
    assert now.id in run.engine.state.alerts.rows
    now = run.engine.state.alerts.rows[now.id]
    assert now.open
    assert now.status(run.engine.now_ms) == "stale"
    assert run.only().state == "open"


@pytest.mark.parametrize(("emitter", "open_"), [("prom-1", False), ("prom-2", True)])
def test_it_lapses_only_when_its_own_emitter_talks_on_without_it(emitter: str, open_: bool) -> None:
    run = play()
    (first,) = run.see(0, alert(start=0, end=240))
    for at in range(60, 7200, 60):
        run.see(at, alert("Other", start=0, end=at + 240, emitter=emitter))
    assert run.engine.state.alerts.rows[first.id].open is open_


def test_lapse_takes_the_long_way_after_a_restart_of_its_emitter() -> None:
    run = play()
    (first,) = run.see(0, alert(start=0, end=240), alert("Other", start=0, end=240))[:1]
    for at in range(300, 3600, 60):
        run.see(at, alert("Other", start=290, end=at + 240))
    assert run.engine.state.alerts.rows[first.id].open
    for at in range(3600, 4300, 60):
        run.see(at, alert("Other", start=290, end=at + 240))
    assert run.engine.state.alerts.rows[first.id].end == "lapsed"


def test_a_lapsed_episode_is_continued_by_its_next_sign() -> None:
    run = play()
    (first,) = run.see(0, alert(start=0, end=240))
    for at in range(60, 1800, 60):
        run.see(at, alert("Other", "elsewhere", start=0, end=at + 240))
    assert run.engine.state.alerts.rows[first.id].end == "lapsed"
    (now,) = run.see(1900, alert(start=0, end=2140))
    assert now.open
    assert now.id == first.id
    assert now.generation == 1


def test_stale_p3_expires_four_hours_after_its_last_sign_but_p2_waits_for_a_person() -> None:
    run = play()
    low, high = run.see(0, alert("Low", "a", "error", start=0, end=240), alert("High", "b", start=0, end=240))
    run.wait(4 * 3600 + 7200)
    rows = run.engine.state.alerts.rows
    assert rows[low.id].end == "expired"
    assert rows[high.id].open


def test_without_a_lease_nothing_ends_an_alert_but_a_resolve() -> None:
    run = play()
    (now,) = run.see(0, alert(severity="warning", start=0))
    run.wait(48 * 3600)
    assert run.engine.state.alerts.rows[now.id].open


def test_events_expire_after_their_last_occurrence() -> None:
    run = play()
    (now,) = run.see(0, alert(severity="warning", start=0, event=True))
    run.see(3600, alert(severity="warning", start=3600, event=True))
    run.wait(4 * 3600)
    assert run.engine.state.alerts.rows[now.id].open
    run.wait(5 * 3600 + 60)
    assert run.engine.state.alerts.rows[now.id].end == "expired"


def test_an_unchanged_repeat_is_refresh_data_and_a_change_is_not() -> None:
    run = play()
    run.see(0, alert(start=0, end=240))
    at = run.engine.now_ms + 60_000
    assert run.engine.repeat(alert(start=0, end=300), at) is not None
    assert run.engine.repeat(alert(start=0, end=300, severity="warning"), at) is None
    assert run.engine.repeat(alert(start=5, end=300), at) is None
    assert run.engine.repeat(alert(start=0, end=1000), at) is None
    assert run.engine.repeat(alert(start=0, end=300, emitter="prom-2"), at) is None
    assert run.engine.repeat(alert(firing=False, start=0, end=60), at) is None
    assert run.engine.repeat(alert(start=0, end=300), at + 300_000) is None


def test_emitters_are_bounded_and_one_that_had_to_go_delays_a_lapse_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dedup, "EMITTERS_MAX", 3)
    run = play()
    (first,) = run.see(0, alert(start=0, end=240))
    for number in range(10):
        run.see(1, alert(f"N{number}", start=0, end=240, emitter=f"other-{number}"))
    state = run.engine.state
    assert len(state.emitters.rows) == len(state.by_emitter) == 3
    for at in range(60, 3600, 60):
        run.see(at, alert("Talks", start=0, end=at + 240))
    assert state.alerts.rows[first.id].open, "not after lapse_after"
    for at in range(3600, 4200, 60):
        run.see(at, alert("Talks", start=0, end=at + 240))
    assert state.alerts.rows[first.id].end == "lapsed", "after lapse_after_gap"
