"""A store in trouble: identical retries, people told in time, and what no retry mends."""

import asyncio
from pathlib import Path

import msgspec
import pytest

from daemon import runtime as runtime_module
from daemon.batching import NotDurable
from daemon.core.records import CommandGiven, Delivered
from daemon.store.base import CommitUnknown, Fenced, StoreError
from daemon.store.queries import Queries, reading
from tests.simulation.loop import VirtualLoop

from .kit import T0
from .stage import Play, Stage, down, healthy, lease, player


@pytest.fixture
def play(tmp_path: Path) -> Play:
    return player(tmp_path / "samband.db")


@pytest.mark.parametrize("reason", ["busy", "full", "read_only", "down", "damaged"])
def test_a_commit_that_failed_is_repeated_identically(play: Play, reason: str) -> None:
    async def scene(stage: Stage) -> None:
        runtime = await stage.start()
        stage.store.errors = [("before", down(reason)), ("after", CommitUnknown("down", "?")), ("before", down())]
        await runtime.intake([lease()])
        assert len({msgspec.msgpack.encode(batch) for batch in stage.store.seen[-4:]}) == 1
        await runtime.intake([lease("r2")])

    stage = play(scene)
    assert [len(batch) for batch in stage.journal()] == [2, 1, 1]
    assert stage.emergencies == []


def test_when_nothing_can_be_committed_everybody_is_told(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        runtime = await stage.start()
        loop = asyncio.get_running_loop()
        await runtime.intake([lease("known")])
        stage.store.always = down()
        flying = asyncio.create_task(runtime.intake([lease("r1")]))
        await asyncio.sleep(0.1)
        queued = asyncio.create_task(runtime.intake([lease("r2")]))
        patient = asyncio.create_task(runtime.write_outbox([msgspec.structs.replace(stage.sends[0], state="dead")]))
        for task in (flying, queued):
            with pytest.raises(NotDurable) as caught:
                await task
            assert (caught.value.reason, caught.value.retry_after_s) == ("store", 5)
        assert loop.time() == pytest.approx(5.0, abs=0.2)
        assert not healthy(runtime)
        began = loop.time()
        for refused in (runtime.intake([lease("known")]), runtime.submit([Delivered(T0, 1, "")])):
            with pytest.raises(NotDurable):
                await refused
        assert loop.time() == began
        await asyncio.sleep(60)
        assert stage.emergencies == ["store: the disk is gone; see to it"]
        stage.store.always = None
        await patient
        assert healthy(runtime)
        assert stage.relieved == ["store"]
        await runtime.intake([lease("r1", 66), lease("r2", 66)])

    stage = play(scene)
    assert stage.check().findings == []
    # r1 was in flight and landed in the end; r2 was turned away, and came again.
    assert [len(batch) for batch in stage.journal()] == [2, 1, 1, 1]
    assert "dead" in {row.state for row in Queries(reading(stage.path)).outbox()}


def test_while_the_store_stalls_everybody_is_refused_at_once(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        runtime = await stage.start()
        stage.store.always = down()
        with pytest.raises(NotDurable):
            await runtime.intake([lease("r1")])
        for ask in (lambda: runtime.intake([lease("r2")]), lambda: runtime.submit([Delivered(T0, 1, "")])):
            asked = asyncio.ensure_future(ask())
            await asyncio.sleep(0)
            assert asked.done()
            with pytest.raises(NotDurable, match="store"):
                await asked
        stage.store.always = None

    play(scene)


def test_a_disk_that_hangs_is_trouble_too(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        runtime = await stage.start()
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        loop.executor_delay = lambda: 30.0
        with pytest.raises(NotDurable):
            await runtime.intake([lease()])
        assert stage.emergencies == ["store: the disk does not answer"]
        loop.executor_delay = lambda: 0.0
        await asyncio.sleep(30)
        assert runtime.healthy

    assert [len(batch) for batch in play(scene).journal()] == [2, 1]


def test_a_full_queue_refuses_senders_but_not_people(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        runtime = await stage.start()
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        loop.executor_delay = lambda: 1.0
        flying = asyncio.create_task(runtime.intake([lease("first")]))
        await asyncio.sleep(0.1)
        many = asyncio.create_task(runtime.intake([lease(f"r{n}") for n in range(runtime_module.RECORDS_MAX)]))
        await asyncio.sleep(0.1)
        with pytest.raises(NotDurable) as caught:
            await runtime.intake([lease("one more")])
        assert caught.value.reason == "full"
        command = asyncio.create_task(runtime.submit([CommandGiven(runtime.now_ms(), "1", "bo", "acknowledge", 77)]))
        await asyncio.gather(flying, many, command)

    play(scene)


@pytest.mark.parametrize("error", [Fenced("taken"), StoreError("refused", "impossible")], ids=str)
def test_what_no_retry_mends_stops_the_runtime(play: Play, error: StoreError) -> None:
    async def scene(stage: Stage) -> None:
        runtime = await stage.start()
        stage.store.always = error
        with pytest.raises(NotDurable) as caught:
            await runtime.intake([lease()])
        assert caught.value.reason == "stopping"
        with pytest.raises(type(error)):
            await runtime.wait()
        assert not runtime.healthy
        with pytest.raises(NotDurable):
            await runtime.write_outbox([])
        with pytest.raises(type(error)):
            await runtime.stop()

    play(scene)


def test_a_sender_that_went_away_harms_nobody(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        runtime = await stage.start()
        gone = asyncio.create_task(runtime.intake([lease("r1")]))
        stays = asyncio.create_task(runtime.intake([lease("r2")]))
        await asyncio.sleep(0)
        gone.cancel()
        await stays
        assert len(runtime.engine.state.alerts.rows) == 2

    play(scene)
