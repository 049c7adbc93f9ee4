"""Positions of logs move with what they led to: in the same transaction, in order, and never without it."""

import asyncio
from pathlib import Path

import pytest

from daemon.batching import NotDurable
from daemon.core.model.stream import Position, StreamKey, decode_positions
from daemon.core.records import AlertSeen, Refreshed, StreamMoved
from daemon.store.base import DeadLetter
from daemon.store.queries import Queries, reading
from daemon.store.sqlite import SqliteStore
from tests.simulation.loop import VirtualLoop

from .kit import T0
from .stage import Play, Stage, down, lease, player

HERE, THERE = StreamKey("mainframe", "alerts", 0), StreamKey("mainframe", "alerts", 1)


@pytest.fixture
def play(tmp_path: Path) -> Play:
    return player(tmp_path / "samband.db")


def stored(stage: Stage) -> dict[StreamKey, int]:
    """What a start would find."""
    store = SqliteStore(stage.path, build="test")
    try:
        found = decode_positions(store.claim("default", T0).positions)
    finally:
        store.close()
    return {key: position.next_offset for key, position in found.items()}


def test_a_position_is_on_disk_with_its_alerts_and_a_start_knows_it(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        runtime = await stage.start()
        await runtime.follow({HERE: Position(2)}, [lease("r1"), lease("r2")], [T0, T0])
        await runtime.follow({THERE: Position(7)}, [lease("r3")], [T0])
        stage.kill()

    async def second(stage: Stage) -> None:
        runtime = await stage.start()
        assert {key: position.next_offset for key, position in runtime.positions.items()} == {HERE: 2, THERE: 7}
        await runtime.intake([lease("r4", 10)])

    stage = play(scene)
    rows = list(Queries(reading(stage.path)).journal())
    assert [len(row.records) > 0 for row in rows] == [True, True, True]
    assert stored(stage) == {HERE: 2, THERE: 7}
    play(second, start_s=10)
    assert stored(stage) == {HERE: 2, THERE: 7}


def test_positions_and_letters_alone_are_written_without_a_journal_row(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        runtime = await stage.start()
        await runtime.follow({HERE: Position(1)})
        await runtime.follow({HERE: Position(2)}, letters=[DeadLetter(T0, "mainframe", "not JSON", b"{")])
        stage.kill()

    stage = play(scene)
    assert [len(batch) for batch in stage.journal()] == [2]
    assert stored(stage) == {HERE: 2}
    assert [letter.raw for letter in Queries(reading(stage.path)).dead_letters()] == [b"{"]


def test_what_is_read_goes_into_one_batch_whole_and_in_its_order(play: Play) -> None:
    """The second has no alerts, and must not overtake the first; the third does not fit beside it."""

    async def scene(stage: Stage) -> None:
        runtime = await stage.start()
        await asyncio.gather(
            runtime.follow({HERE: Position(600)}, [lease(f"a{n}") for n in range(600)], [T0] * 600),
            runtime.follow({HERE: Position(601)}),
            runtime.follow({HERE: Position(602)}, [lease(f"b{n}") for n in range(1_100)], [T0] * 1_100),
        )
        stage.kill()

    stage = play(scene)
    assert [len(batch) for batch in stage.journal()] == [2, 600, 1_100]
    assert [stored_of(batch.positions) for batch in stage.store.seen] == [None, 601, 602]


def stored_of(data: bytes) -> int | None:
    found = decode_positions(data)
    return found[HERE].next_offset if HERE in found else None


def test_positions_behind_repeats_come_with_the_refresh_buffer_or_the_next_in_line(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        runtime = await stage.start()
        await runtime.follow({HERE: Position(1)}, [lease("r1")], [T0])
        before = len(stage.store.seen)
        await asyncio.sleep(1)
        await runtime.follow({HERE: Position(2)}, [lease("r1", 1)], [T0 + 1_000])
        assert len(stage.store.seen) == before
        await asyncio.sleep(6)
        assert [stored_of(batch.positions) for batch in stage.store.seen[before:]] == [2]
        await runtime.follow({HERE: Position(3)}, [lease("r1", 7)], [T0 + 7_000])
        await runtime.follow({THERE: Position(1)}, [lease("r2", 7)], [T0 + 7_000])
        assert stored_of(stage.store.seen[-1].positions) == 3
        await asyncio.sleep(6)
        assert stored_of(stage.store.seen[-1].positions) == 3
        stage.kill()

    stage = play(scene)
    assert isinstance(stage.journal()[-1][0], Refreshed)
    assert stored(stage) == {HERE: 3, THERE: 1}
    assert stage.check().findings == []


def test_a_repeat_does_not_move_a_position_past_what_still_waits(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        runtime = await stage.start()
        await runtime.follow({HERE: Position(1)}, [lease("r1")], [T0])
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        loop.executor_delay = lambda: 1.0
        flying = asyncio.create_task(runtime.intake([lease("x")]))
        await asyncio.sleep(0.1)
        waiting = asyncio.ensure_future(runtime.follow({HERE: Position(2)}, [lease("r2")], [T0]))
        await asyncio.sleep(0)
        repeat = asyncio.ensure_future(runtime.follow({HERE: Position(3)}, [lease("r1", 1)], [T0 + 1_000]))
        await asyncio.gather(flying, waiting, repeat)

    stage = play(scene)
    carried = [(len(batch.rows), stored_of(batch.positions)) for batch in stage.store.seen]
    assert (0, 3) not in carried[:3]
    assert stored(stage) == {HERE: 3}


def test_a_store_in_trouble_is_waited_for_and_nothing_is_written_twice(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        runtime = await stage.start()
        stage.store.always = down()
        letter = DeadLetter(T0, "mainframe", "not JSON", b"{")
        followed = asyncio.ensure_future(runtime.follow({HERE: Position(2)}, [lease()], [T0], [letter]))
        await asyncio.sleep(20)
        assert not followed.done()
        with pytest.raises(NotDurable, match="store"):
            await runtime.follow({HERE: Position(3)}, [lease("r2")], [T0])
        stage.store.always = None
        await followed
        stage.kill()

    stage = play(scene)
    assert stored(stage) == {HERE: 2}
    assert len(list(Queries(reading(stage.path)).dead_letters())) == 1


def test_records_come_before_the_alerts_and_each_alert_knows_when_it_reached_the_log(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        runtime = await stage.start()
        edge = StreamMoved(runtime.now_ms(), "mainframe", "alerts/0", "behind")
        await runtime.follow({HERE: Position(2)}, [lease("r1"), lease("r2")], [T0 - 9, T0 - 8], records=[edge])
        assert list(runtime.engine.state.behind) == ["mainframe"]

    *_, (edge, first, second) = play(scene).journal()
    assert isinstance(edge, StreamMoved)
    assert isinstance(first, AlertSeen)
    assert isinstance(second, AlertSeen)
    assert (first.received, second.received) == (T0 - 9, T0 - 8)
