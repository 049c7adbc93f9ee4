"""What the runtime promises: answered is on disk, repeats wait, a start goes on where it stood."""

import asyncio
from pathlib import Path

import msgspec
import pytest

from daemon.batching import NotDurable
from daemon.core.effects import Send
from daemon.core.records import CommandGiven, Delivered, Refreshed, decode_records
from daemon.store.base import DeadLetter
from daemon.store.queries import Queries, reading
from tests.simulation.loop import VirtualLoop

from .kit import AT_ONCE, T0, alert, policy, services
from .stage import POLICY, Play, Stage, lease, player


@pytest.fixture
def play(tmp_path: Path) -> Play:
    return player(tmp_path / "samband.db")


# ---- what is answered is on disk -------------------------------------------------------------------------


def test_what_was_taken_in_is_durable_and_its_sends_are_told_after(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        runtime = await stage.start()
        assert runtime.healthy
        await runtime.intake([lease("r1"), lease("r2")])
        assert [row.state for row in stage.sends] == ["waiting"] * 3
        stage.kill()

    stage = play(scene)
    records = stage.journal()
    assert [len(batch) for batch in records] == [2, 2]
    queries = Queries(reading(stage.path))
    assert {row.send.sink for row in queries.outbox()} == {"pager", "desk", "hook"}
    assert queries.incidents()[0]["firing"] == 2
    assert stage.check().findings == []


def test_every_sender_gets_the_replies_to_its_own_records(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        runtime = await stage.start()
        await runtime.intake([lease()])
        (incident,) = runtime.engine.state.incidents.rows
        now = runtime.now_ms()
        first, alerts, second = await asyncio.gather(
            runtime.submit([CommandGiven(now, "1", "bo", "acknowledge", incident)]),
            runtime.intake([lease("r9")]),
            runtime.submit([Delivered(now, 1, ""), CommandGiven(now, "2", "bo", "acknowledge", 77)]),
        )
        assert alerts is None
        assert [reply and reply.status for reply in first] == ["ok"]
        assert [reply and reply.status for reply in second] == [None, "missing"]

    play(scene)


def test_a_large_request_is_taken_in_slices_in_order(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        runtime = await stage.start()
        await runtime.intake([lease(f"r{number}") for number in range(2_500)])
        assert len(runtime.engine.state.alerts.rows) == 2_500

    stage = play(scene)
    assert [len(batch) for batch in stage.journal()] == [2, 1000, 1000, 500]
    assert stage.check().findings == []


def test_deadlines_fire_by_themselves(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        runtime = await stage.start()
        await runtime.intake([lease()])
        await asyncio.sleep(14)
        assert "pager" not in {row.send.sink for row in stage.sends}
        await asyncio.sleep(2)
        assert "pager" in {row.send.sink for row in stage.sends}

    assert play(scene, policy(services(shop=1))).check().findings == []


def test_outbox_rows_and_letters_are_durable_when_the_call_returns(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        runtime = await stage.start()
        await runtime.intake([lease()])
        row = msgspec.structs.replace(stage.sends[0], state="sending", attempts=1)
        await runtime.write_outbox([row])
        done = msgspec.structs.replace(row, state="done", ref="P1")
        await runtime.submit([Delivered(runtime.now_ms(), row.send.id, "P1")], [done])
        await runtime.dead_letter(DeadLetter(T0, "prom", "not JSON", b"{"))
        stage.kill()

    stage = play(scene)
    queries = Queries(reading(stage.path))
    assert [row.state for row in queries.outbox()] == ["done", "waiting", "waiting"]
    assert [letter.raw for letter in queries.dead_letters()] == [b"{"]
    assert [batch.outbox[0].state for batch in stage.store.seen if len(batch.outbox) == 1] == ["sending", "done"]


# ---- unchanged repeats -------------------------------------------------------------------------------------


def test_repeats_wait_in_the_buffer_and_go_to_disk_together(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        runtime = await stage.start()
        await runtime.intake([lease("r1"), lease("r2")])
        before = len(stage.store.seen)
        await asyncio.sleep(1)
        await runtime.intake([lease("r1", 1), lease("r2", 1)])
        await asyncio.sleep(2)
        await runtime.intake([lease("r1", 3)])
        assert len(stage.store.seen) == before
        await asyncio.sleep(4)
        assert len(stage.store.seen) == before + 1
        assert runtime.engine.state.alerts.rows[runtime.engine.state.by_key[lease("r1").key]].ends_at == T0 + 243_000

    stage = play(scene)
    (record,) = stage.journal()[-1]
    assert isinstance(record, Refreshed)
    assert sorted(one.ends_at for one in record.refreshes) == [T0 + 241_000, T0 + 243_000]
    assert [(one.first_at, one.at) for one in record.contacts] == [(T0 + 1_000, T0 + 3_000)]
    assert stage.store.seen[-1].rows == []
    assert stage.check().findings == []


def test_a_repeat_is_answered_when_what_it_repeats_is_on_disk(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        runtime = await stage.start()
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        loop.executor_delay = lambda: 3.0
        first = asyncio.create_task(runtime.intake([lease()]))
        await asyncio.sleep(1)
        repeat = asyncio.create_task(runtime.intake([lease(at=1)]))
        await asyncio.sleep(1)
        assert not repeat.done()
        await asyncio.gather(first, repeat)
        assert loop.time() == pytest.approx(3.0, abs=0.1)
        began = loop.time()
        await runtime.intake([lease(at=3)])
        assert loop.time() == began

    assert [len(batch) for batch in play(scene).journal()] == [2, 1]


def test_behind_a_change_of_its_key_a_repeat_stands_in_the_queue(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        runtime = await stage.start()
        await runtime.intake([lease()])
        ended = msgspec.structs.replace(lease(), firing=False, ends_at=T0 + 1_000)
        await asyncio.gather(runtime.intake([ended, lease(at=1)]), runtime.intake([lease(at=1)]))

    assert [len(batch) for batch in play(scene).journal()] == [2, 1, 3]


def test_the_buffer_goes_before_a_lapse_that_is_due(play: Play) -> None:
    """The emitter goes on talking; the alert was repeated just before it would have lapsed."""

    async def scene(stage: Stage) -> None:
        runtime = await stage.start()
        await runtime.intake([lease("r1"), lease("r2")])
        for at in range(30, 3_000, 30):
            await asyncio.sleep(30)
            await runtime.intake([lease("r1", at)])
        state = runtime.engine.state
        assert [state.alerts.rows[state.by_key[lease(name).key]].end for name in ("r1", "r2")] == ["", "lapsed"]

    assert play(scene).check().findings == []


def test_what_was_heard_a_second_ago_forbids_a_lapse(play: Play) -> None:
    """Nothing but the buffer knows of the repeat yet when the lapse is due: 3 s of lease, and 1 s."""

    async def scene(stage: Stage) -> None:
        runtime = await stage.start()
        await runtime.intake([alert(start=-60, end=3)])
        await asyncio.sleep(2.9)
        await runtime.intake([alert(start=-60, end=5.9)])
        await asyncio.sleep(0.5)
        await runtime.intake([alert("Other", start=-60, end=240)])
        await asyncio.sleep(0.7)
        state = runtime.engine.state
        assert state.alerts.rows[state.by_key[alert().key]].end == ""

    quick = msgspec.structs.replace(AT_ONCE, lapse_after=1_000)
    stage = play(scene, msgspec.structs.replace(POLICY, timing=quick))
    assert stage.check().findings == []


# ---- start, stop, reload, clocks -----------------------------------------------------------------------------


def test_a_killed_daemon_goes_on_where_it_stood(play: Play) -> None:
    async def first(stage: Stage) -> None:
        runtime = await stage.start()
        await runtime.intake([lease("r1"), lease("r2")])
        await asyncio.sleep(3)
        await runtime.intake([lease("r1", 3)])
        await asyncio.sleep(6)
        await runtime.intake([lease("r1", 9)])
        stage.kill()

    async def second(stage: Stage) -> None:
        runtime = await stage.start()
        assert runtime.recovered.outbox
        state = runtime.engine.state
        assert {one.ends_at for one in state.alerts.rows.values()} == {T0 + 100_000 + 240_000}
        await runtime.intake([lease("r1", 100), lease("r3", 100)])
        assert runtime.engine.state.incidents.rows.keys() == state.incidents.rows.keys()
        stage.kill()

    play(first)
    stage = play(second, start_s=100)
    resumed = [batch[0] for batch in stage.journal() if type(batch[0]).__name__ == "Resumed"]
    assert [(one.gap, one.at) for one in resumed] == [(0, T0), (92_000, T0 + 100_000)]  # type: ignore[union-attr]
    checked = stage.check()
    assert checked.findings == []
    assert checked.folded == checked.batches == 5


def test_a_clean_stop_answers_everybody_and_writes_what_was_buffered(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        runtime = await stage.start()
        await runtime.intake([lease()])
        await asyncio.sleep(1)
        reworded = msgspec.structs.replace(lease(at=1), annotations=b'{"summary":"worse"}')
        await runtime.intake([reworded])
        queued = asyncio.create_task(runtime.intake([lease("r2")]))
        await asyncio.sleep(0)
        await runtime.stop()
        await queued
        with pytest.raises(NotDurable):
            await runtime.intake([lease("r3")])

    stage = play(scene)
    rows = [row for row, _ in Queries(reading(stage.path)).live() if row.extra == b'{"summary":"worse"}']
    assert len(rows) == 1
    assert stage.check().findings == []


def test_a_reload_is_a_barrier_and_can_be_folded_again(play: Play) -> None:
    other = msgspec.structs.replace(POLICY, digest="other", catalogue=policy(services(shop=3)).catalogue)

    async def scene(stage: Stage) -> None:
        runtime = await stage.start()
        await runtime.intake([lease()])
        await asyncio.sleep(1)
        await runtime.intake([lease(at=1)])
        await runtime.reload(other)
        await runtime.intake([lease("r2")])
        assert runtime.engine.policy is other

    stage = play(scene)
    rows = list(Queries(reading(stage.path)).journal())
    assert [row.policy for row in rows] == ["test", "test", "other", "other"]
    assert stage.check(other).findings == []
    found = stage.check().findings
    assert [(one.place, one.wrong) for one in found] == [("journal, batch 3", False)]
    # Folding can begin again at the base that the reload left, once somebody has its policy.
    assert [base.seq for base in Queries(reading(stage.path)).bases()] == [2]


def test_a_start_with_another_policy_says_so(play: Play) -> None:
    async def first(stage: Stage) -> None:
        await stage.start()
        await stage.runtime.intake([lease()])

    async def second(stage: Stage) -> None:
        await stage.start()

    play(first)
    shadow = msgspec.structs.replace(POLICY, digest="shadow", mode="shadow")
    stage = play(second, shadow, start_s=60)
    names = [[type(record).__name__ for record in batch] for batch in stage.journal()]
    assert names == [["Resumed", "PolicyChanged"], ["AlertSeen"], ["Resumed", "PolicyChanged"]]
    assert stage.check(POLICY).findings == []


def test_every_day_has_a_base(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        runtime = await stage.start()
        for day in range(3):
            await runtime.intake([lease(f"r{day}", day * 86_401)])
            await asyncio.sleep(86_401 if day < 2 else 0)

    stage = play(scene)
    bases = Queries(reading(stage.path)).bases()
    assert len(bases) == 2
    assert stage.check().findings == []


def test_a_step_of_the_wall_clock_becomes_a_record(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        runtime = await stage.start()
        await runtime.intake([lease()])
        stage.clock.set_by = 3_600_000
        await asyncio.sleep(11)
        assert runtime.now_ms() == stage.clock.wall_ms()
        stage.clock.set_by = 0
        await asyncio.sleep(11)
        assert runtime.now_ms() > stage.clock.wall_ms() + 3_590_000

    stage = play(scene)
    steps = [record for batch in stage.journal() for record in batch if type(record).__name__ == "ClockStepped"]
    assert [record.by for record in steps] == [3_600_000, 0]  # type: ignore[union-attr]
    assert stage.check().findings == []


def test_what_raises_in_the_engine_is_kept_as_a_dead_letter(play: Play) -> None:
    """Labels that are no JSON object: no format makes such an alert, so it stands for any bug."""

    async def scene(stage: Stage) -> None:
        runtime = await stage.start()
        broken = msgspec.structs.replace(lease("bad"), labels=b"{broken")
        await runtime.intake([lease("r1"), broken, lease("r2")])
        assert len(runtime.engine.state.alerts.rows) == 2

    stage = play(scene)
    (letter,) = Queries(reading(stage.path)).dead_letters()
    assert letter.source == "scripts"
    assert letter.reason.startswith("quarantined: ")
    (record,) = decode_records(letter.raw)
    assert record.alert.labels == b"{broken"  # type: ignore[union-attr]
    assert stage.check().findings == []


def test_shadow_rows_are_recorded_and_never_waiting(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        runtime = await stage.start()
        await runtime.intake([lease()])
        assert stage.sends
        assert {row.state for row in stage.sends} == {"shadow"}
        assert all(isinstance(row.send, Send) for row in stage.sends)

    play(scene, msgspec.structs.replace(POLICY, mode="shadow"))


def test_records_of_one_instant_may_be_cut_in_two_and_fold_again_the_same(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        runtime = await stage.start()
        await asyncio.sleep(1)
        await runtime.intake([lease(f"r{n}") for n in range(1500)])

    stage = play(scene)
    assert [len(batch) for batch in stage.journal()] == [2, 1000, 500]
    assert stage.check().findings == []
