"""A batch that the store refuses is tried in pieces: one bad record costs no other, and stays to be looked at."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any

import pytest
from msgspec.structs import replace

from daemon.batching import NotDurable
from daemon.core import membership, priority
from daemon.core.context import Context
from daemon.core.model.alert import Alert
from daemon.core.records import AlertSeen, AnyRecord, CommandGiven, decode_records
from daemon.store.base import StoreError
from daemon.store.queries import Queries, reading
from tests.simulation.loop import VirtualLoop

from .kit import T0, Play, alert, policy, services
from .stage import Play as Scenes
from .stage import Stage, lease, player


@pytest.fixture
def play(tmp_path: Path) -> Scenes:
    return player(tmp_path / "samband.db")


def refuse(stage: Stage, table: str, column: str, text: str) -> None:
    """The database takes no row of the table any more that has the text in the column."""
    with closing(sqlite3.connect(stage.path)) as connection:
        for event in ("INSERT", "UPDATE"):
            connection.execute(
                f"CREATE TRIGGER refuse_{table}_{event} BEFORE {event} ON {table} "
                f"WHEN instr(NEW.{column}, CAST('{text}' AS BLOB)) OR instr(NEW.{column}, '{text}') "
                "BEGIN SELECT RAISE(ABORT, 'planted'); END"
            )


def slow(seconds: float) -> None:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    loop.executor_delay = lambda: seconds


def resources(stage: Stage) -> list[str]:
    return sorted(one.resource for one in stage.runtime.engine.state.alerts.rows.values())


def test_one_record_that_the_store_refuses_costs_no_other(play: Scenes) -> None:
    async def scene(stage: Stage) -> None:
        runtime = await stage.start()
        refuse(stage, "live", "image", "poison")
        slow(1)
        flying = asyncio.create_task(runtime.intake([lease("first")]))
        await asyncio.sleep(0.5)
        slow(0)
        many = [[lease(f"r{turn}-{n}") for n in range(50)] for turn in range(4)]
        many[1].insert(17, lease("poison-1"))
        many[3].append(lease("poison-2"))
        await asyncio.gather(flying, *(runtime.intake(alerts) for alerts in many))
        assert len(resources(stage)) == 201
        assert "poison" not in " ".join(resources(stage))
        await runtime.intake([lease("after")])

    stage = play(scene)
    checked = stage.check()
    assert (checked.findings, checked.sound) == ([], True)
    letters = Queries(reading(stage.path)).dead_letters()
    kept = [record for letter in letters for record in decode_records(letter.raw)]
    assert [one.alert.resource for one in kept if isinstance(one, AlertSeen)] == ["poison-1", "poison-2"]
    assert {(one.source, "the store refused it" in one.reason, "planted" in one.reason) for one in letters} == {
        ("scripts", True, True)
    }
    again = play(lambda stage: stage.start())
    assert len(resources(again)) == 202


def test_a_command_that_the_store_refuses_is_answered(play: Scenes) -> None:
    async def scene(stage: Stage) -> None:
        runtime = await stage.start()
        await runtime.intake([lease()])
        (incident,) = runtime.engine.state.incidents.rows
        refuse(stage, "timeline", "text", "poison")
        notes = [
            CommandGiven(runtime.now_ms(), text, "bo", "note", incident, {"text": text})
            for text in ("one", "poison", "two")
        ]
        replies = await runtime.submit(notes)
        assert [reply.status if reply else "" for reply in replies] == ["ok", "invalid", "ok"]

    stage = play(scene)
    (incident,) = stage.runtime.engine.state.incidents.rows
    said = [line["text"] for line in Queries(reading(stage.path)).timeline([incident])]
    assert [text for text in said if text in ("one", "poison", "two")] == ["one", "two"]
    assert stage.check().sound


def test_an_outbox_row_that_the_store_refuses_turns_its_sender_away_and_nobody_else(play: Scenes) -> None:
    async def scene(stage: Stage) -> None:
        runtime = await stage.start()
        await runtime.intake([lease()])
        refuse(stage, "outbox", "detail", "poison")
        slow(1)
        flying = asyncio.create_task(runtime.intake([lease("first")]))
        await asyncio.sleep(0.5)
        slow(0)
        row = stage.sends[0]
        bad = asyncio.create_task(runtime.write_outbox([replace(row, detail="poison")]))
        good = asyncio.create_task(runtime.write_outbox([replace(row, detail="sound")]))
        others = asyncio.create_task(runtime.intake([lease("r2"), lease("r3")]))
        with pytest.raises(NotDurable) as caught:
            await bad
        assert caught.value.reason == "refused"
        await asyncio.gather(flying, good, others)

    stage = play(scene)
    assert "sound" in {row.detail for row in Queries(reading(stage.path)).outbox()}
    assert len(resources(stage)) == 4


def test_who_repeated_what_was_taken_back_is_told_to_come_again(play: Scenes) -> None:
    """The repeat names an entity by its id, and that id is given again to another one."""

    async def scene(stage: Stage) -> None:
        runtime = await stage.start()
        refuse(stage, "live", "image", "poison")
        slow(1)
        flying = asyncio.create_task(runtime.intake([lease("poison"), lease("r1"), lease("r2")]))
        await asyncio.sleep(0.5)
        with pytest.raises(NotDurable):
            await runtime.intake([lease("r2", 0.5)])
        slow(0)
        await flying
        state = runtime.engine.state
        ends = {one.resource: one.ends_at for one in state.alerts.rows.values()}
        await asyncio.sleep(10)
        assert {one.resource: one.ends_at for one in state.alerts.rows.values()} == ends
        await runtime.intake([lease("r2", 11)])

    stage = play(scene)
    assert stage.check().sound
    assert resources(stage) == ["r1", "r2"]


def test_a_store_that_refuses_everything_stops_the_runtime_and_answers_everybody(play: Scenes) -> None:
    async def scene(stage: Stage) -> None:
        runtime = await stage.start()
        stage.store.always = StoreError("refused", "impossible")
        tasks = [asyncio.create_task(runtime.intake([lease(f"r{turn}-{n}") for n in range(5)])) for turn in range(5)]
        for answer in await asyncio.gather(*tasks, return_exceptions=True):
            assert isinstance(answer, NotDurable)
            assert answer.reason == "stopping"
        with pytest.raises(StoreError):
            await runtime.wait()

    assert len(play(scene).journal()) == 1


# ---- taking a whole fold back ----------------------------------------------------------------------
def everything(run: Play) -> dict[str, object]:
    """The whole state but for what is only a memory of work: as text, since rows are changed in place."""
    state = run.engine.state
    left_out = ("timed", "log", "saved", "heap", "served")
    plain = {name: value for name, value in vars(state).items() if not name.startswith("_") and name not in left_out}
    maps = {name: getattr(value, "rows", value) for name, value in plain.items() if _is_map(value)}
    found = {name: {key: _plain(value) for key, value in one.items()} for name, one in maps.items()}
    deadlines = sorted(_deadlines(run))
    return {**found, "numbers": (state.next_id, state.next_number, run.engine.now_ms), "deadlines": deadlines}


def _plain(value: object) -> object:
    """What a row is now. The order of an index means nothing: recovery makes it anew."""
    return dict(value) if isinstance(value, dict) else repr(value)


def _is_map(value: object) -> bool:
    return hasattr(value, "rows") or isinstance(value, dict)


def _deadlines(run: Play) -> list[tuple[int, int, str]]:
    state = run.engine.state
    return [one for one in state.heap if getattr(_row(run, one[1]), one[2], 0) == one[0]]


def _row(run: Play, number: int) -> object:
    return next((table.rows[number] for table in run.engine.state.timed if number in table.rows), None)


@pytest.mark.parametrize("seed", range(6))
def test_a_fold_that_is_taken_back_has_not_been(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    luck = Random(seed)
    run = Play(policy(services(shop=1, db=2, web=3)), deliver=False)
    if seed % 2:  # then every batch is run a second time, with care
        real = priority.cell_of

        def broken(ctx: Context, alert: Alert) -> int:
            if alert.name == "Poison":
                raise RuntimeError("planted")
            return real(ctx, alert)

        monkeypatch.setattr(membership, "cell_of", broken)
    taken, now = 0, T0
    for turn in range(120):
        now += luck.choice((1, 200, 5_000, 400_000, 90_000_000 if turn % 40 == 39 else 60_000))
        records: list[AnyRecord] = [
            AlertSeen(now - luck.randrange(100), _some(luck, turn)) for _ in range(luck.randrange(5))
        ]
        records.sort(key=lambda one: one.at)
        before = everything(run)
        first = run.engine.fold(records, now)
        taken += len(first.changed)
        run.engine.take_back()
        assert everything(run) == before
        again = run.engine.fold(records, now)
        assert (again.digest, again.effects, again.changed) == (first.digest, first.effects, first.changed)
    assert taken > 50


def _some(luck: Random, turn: int) -> Any:
    name = "Poison" if luck.random() < 0.1 else luck.choice(("Down", "Slow"))
    start = turn * 100 + luck.randrange(50) if luck.random() < 0.7 else None
    return alert(
        name,
        luck.choice(("shop", "db", "web")),
        luck.choice(("critical", "warning")),
        start=start,
        firing=luck.random() < 0.6,
        resource=f"r{luck.randrange(3)}",
    )
