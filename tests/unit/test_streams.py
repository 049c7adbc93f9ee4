"""Logs that alerts are read from: what was appended earlier, and silence that means nothing before their end."""

import pytest

from daemon.core import streams
from daemon.core.context import Context
from daemon.core.model.stream import Position, StreamKey, decode_positions, encode_positions
from daemon.core.records import AlertSeen, Resumed, StreamMoved
from daemon.core.state import State
from tests.unit.kit import T0, Play, alert, policy, services
from tests.unit.test_restart import Live

HOUR = 3600


def play() -> Play:
    return Play(policy(services(shop=1)))


def moved(script: Play, at: float, place: str, stream: str = "alerts/0", source: str = "scripts") -> None:
    script.fold([StreamMoved(T0 + int(at * 1000), source, stream, place)], at)  # type: ignore[arg-type]


def read(script: Play, at: float, received: float, firing: bool = True, **more: float) -> str:
    """An alert that reached its log at `received`, and is read at `at`; what became of it."""
    one = alert(firing=firing, **more)  # type: ignore[arg-type]
    script.fold([AlertSeen(T0 + int(at * 1000), one, received=T0 + int(received * 1000))], at)
    state = script.engine.state
    found = state.alerts.rows[state.by_key[one.key]]
    return found.end or found.status(script.engine.now_ms)


# ---- silence means nothing before the end is read ------------------------------------------------------


def talks_on(script: Play, begin: float, end: float) -> None:
    """The same emitter goes on to talk about something else."""
    at = begin
    while at <= end:
        script.see(at, alert("Other", resource="r2", start=0, end=at + 240))
        at += 60


@pytest.mark.parametrize(("place", "end"), [("behind", ""), ("level", "lapsed"), ("gone", "lapsed")])
def test_an_alert_lapses_only_when_every_log_of_its_source_is_read_to_its_end(place: str, end: str) -> None:
    script = play()
    moved(script, 0, "behind")
    moved(script, 0, "level", "alerts/1")
    (one,) = script.see(1, alert(start=0, end=240))
    moved(script, 2, place)
    talks_on(script, 60, 2 * HOUR)
    assert script.engine.state.alerts.rows[one.id].end == end


def test_a_log_of_another_source_holds_up_nothing() -> None:
    script = play()
    moved(script, 0, "behind", source="elsewhere")
    (one,) = script.see(1, alert(start=0, end=240))
    talks_on(script, 60, HOUR)
    assert script.engine.state.alerts.rows[one.id].end == "lapsed"


def test_it_lapses_soon_after_the_log_is_level() -> None:
    script = play()
    moved(script, 0, "behind")
    (one,) = script.see(1, alert(start=0, end=240))
    talks_on(script, 60, HOUR)
    assert script.engine.state.alerts.rows[one.id].open
    moved(script, HOUR, "level")
    talks_on(script, HOUR, HOUR + 120)
    assert script.engine.state.alerts.rows[one.id].end == "lapsed"


def test_events_do_not_expire_while_a_log_is_behind() -> None:
    script = play()
    moved(script, 0, "behind")
    (one,) = script.see(1, alert("Deployed", severity="warning", event=True))
    script.wait(5 * HOUR)
    assert script.engine.state.alerts.rows[one.id].open
    moved(script, 5 * HOUR, "level")
    script.wait(5 * HOUR + 120)
    assert script.engine.state.alerts.rows[one.id].end == "expired"


def test_a_start_finds_every_log_behind_and_a_restored_state_knows_them() -> None:
    script, live = play(), Live()
    moved(script, 0, "level")
    live.take(script.engine.fold([StreamMoved(T0, "scripts", "alerts/0", "behind")], T0), script.engine)
    live.take(script.engine.fold([StreamMoved(T0, "scripts", "alerts/0", "level")], T0), script.engine)
    assert not script.engine.state.behind
    restored = live.engine(script.policy, T0)
    assert [(one.name, one.behind) for one in restored.state.streams.rows.values()] == [("alerts/0", False)]
    records = [Resumed(T0 + 1000, epoch=T0 // 1000 + 10, gap=5)]
    assert restored.fold(records, T0 + 1000).digest == script.engine.fold(records, T0 + 1000).digest
    assert list(restored.state.behind) == list(script.engine.state.behind) == ["scripts"]
    changes = restored.fold([StreamMoved(T0 + 2000, "scripts", "alerts/0", "gone")], T0 + 2000)
    assert (len(changes.changed), changes.changed[0].image) == (1, None)
    assert (restored.state.streams.rows, restored.state.by_stream, restored.state.behind) == ({}, {}, {})


def test_an_edge_is_undone_with_its_batch() -> None:
    state = State()
    state.mark()
    streams.moved(Context(state, policy(), T0), StreamMoved(T0, "scripts", "alerts/0", "behind"))
    assert state.behind
    state.undo()
    assert (state.streams.rows, state.by_stream, state.behind) == ({}, {}, {})


# ---- what reached the log earlier -------------------------------------------------------------------------


def test_a_lease_is_judged_by_when_its_alert_reached_the_log() -> None:
    """Read ten minutes late: it is stale by now, but neither resolved nor without a lead."""
    script = play()
    moved(script, 0, "behind")
    assert read(script, 600, received=0, start=-10, end=240) == "stale"
    (one,) = script.engine.state.alerts.rows.values()
    assert (one.ends_at, one.lead) == (T0 + 240_000, 240_000)
    assert script.engine.state.emitters.rows[script.engine.state.by_emitter["prom-1"]].lead == 240_000
    assert read(script, 601, received=598, start=-10, end=838) == "firing"


def test_what_names_no_time_happened_when_it_reached_the_log() -> None:
    script = play()
    assert read(script, 600, received=100) == "firing"
    assert read(script, 600, received=160, firing=False) == "resolved"
    (one,) = script.engine.state.alerts.rows.values()
    assert (one.starts_at, one.ends_at) == (T0 + 100_000, T0 + 160_000)
    assert read(script, 600, received=200) == "firing"


def test_the_order_of_the_log_decides_between_what_names_no_time() -> None:
    """All within one millisecond, and a producer whose clock is behind the others."""
    script = play()
    assert read(script, 600, received=100) == "firing"
    assert read(script, 600, received=99, firing=False) == "resolved"
    assert read(script, 600, received=100) == "firing"
    assert max(one.generation for one in script.engine.state.alerts.rows.values()) == 2


def test_nothing_reaches_a_log_after_it_was_read() -> None:
    script = play()
    assert read(script, 600, received=9_000) == "firing"
    (one,) = script.engine.state.alerts.rows.values()
    assert one.starts_at == T0 + 600_000


def test_an_unchanged_repeat_in_a_backlog_is_one() -> None:
    script = play()
    read(script, 600, received=0, start=-10, end=240)
    repeat = alert(start=-10, end=300)
    assert script.engine.repeat(repeat, T0 + 600_000, T0 + 60_000) is not None
    assert script.engine.repeat(repeat, T0 + 600_000) is None


# ---- positions ------------------------------------------------------------------------------------------------


def test_positions_are_read_as_they_were_written() -> None:
    positions = {
        StreamKey("mainframe", "alerts", 1): Position(12, 3, T0, 11, b"12345678", T0 - 5),
        StreamKey("mainframe", "alerts", 0): Position(0),
    }
    assert decode_positions(encode_positions(positions)) == positions
    assert decode_positions(b"") == decode_positions(encode_positions({})) == {}
