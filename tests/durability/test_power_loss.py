"""The power goes at any instant: what is left holds everything that had been answered, and nothing half-done."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from random import Random

import pytest

from daemon.core.policy import Policy
from daemon.core.state import State
from daemon.store.check import check
from daemon.store.queries import Queries, reading
from daemon.store.sqlite import SqliteStore
from tests.durability.disk import Disk
from tests.durability.planted import planted
from tests.durability.scene import Scene, traced_scene
from tests.durability.story import acknowledged, creates
from tests.durability.traced import Call
from tests.integration.samband import until

pytestmark = pytest.mark.integration

CUTS, CUTS_OF_A_SOAK = 6, 150
"""How many instants are tried, and as many just before an answer leaves; at each the disk has each of the moods."""
MOODS = ("none", "all", "first", "some")
NOW_MS = 4_000_000_000_000
READY = {"desk": ("sending", "done", "unsure"), "page": ("sending", "done", "unsure"), "hook": ("sending", "done")}


async def play(scene: Scene) -> list[Call]:
    """A new store, load, a pause in which the log is moved into the database, more load, a kill, and more load."""
    samband, load = scene.samband, scene.load
    await samband.start()
    await load.send(20, 5)
    await until(lambda: scene.sinks.pager.pages and scene.hook.messages, "sinks told")
    await until(lambda: _checkpointed(scene), "the log moved into the database")
    await load.send(20, 5)
    await samband.kill()
    await samband.start()
    await load.send(20, 5)
    await samband.stop()
    return await samband.calls()


def _checkpointed(scene: Scene) -> bool:
    log = scene.store.with_name(scene.store.name + "-wal")
    return log.exists() and log.stat().st_size == 0


@pytest.mark.parametrize("cuts", [CUTS, pytest.param(CUTS_OF_A_SOAK, marks=pytest.mark.soak)])
async def test_whatever_the_disk_has_kept_all_that_was_answered_is_there(tmp_path: Path, cuts: int) -> None:
    async with traced_scene(tmp_path) as scene:
        calls = await play(scene)
        assert len(scene.load.accepted) == 300
        lost = list(losses(scene, calls, tmp_path, cuts, Random(cuts)))
        assert lost == []


@pytest.mark.parametrize("plant", ["answer before commit", "commits are not synced", "no sending mark"])
async def test_a_planted_bug_is_found(tmp_path: Path, plant: str) -> None:
    async with traced_scene(tmp_path, planted(plant, tmp_path / "planted")) as scene:
        await scene.samband.start()
        await scene.load.send(20, 5)
        await until(lambda: scene.sinks.desk.issues and scene.hook.messages, "sinks told")
        await scene.samband.stop()
        assert next(losses(scene, await scene.samband.calls(), tmp_path, 300, Random(1)), None) is not None


def losses(scene: Scene, calls: Sequence[Call], folder: Path, cuts: int, luck: Random) -> Iterator[str]:
    """What is missing or damaged on any of the disks that a power loss may leave."""
    disk, policy = Disk(scene.store), scene.policy()
    places = [place for place, call in enumerate(calls) if disk.concerns(call)]
    left = [call.begin for call, _ in acknowledged(calls, scene.load.answers)]
    # As many cuts just before an answer leaves as anywhere else: there most is at stake.
    chosen = {*luck.sample(places, min(cuts, len(places)))}
    chosen |= {place for place, call in enumerate(calls) if call.begin in set(luck.sample(left, min(cuts, len(left))))}
    for place, call in enumerate(calls):
        if place in chosen:
            told = told_by(scene, calls, call.begin)
            for mood in MOODS:
                image = disk.power_loss(folder / f"cut-{place}-{mood}", mood, luck)
                for text in examine(image, told, policy):
                    yield f"{call.name} ({place}), {mood}: {text}"
                shutil.rmtree(image.parent)
        disk.play(call)


class Told:
    """What the world had heard by an instant: names of accepted alerts, and (sink, key) of what sinks were sent."""

    def __init__(self, names: set[str], sent: list[tuple[str, str]]) -> None:
        self.names, self.sent = names, sent


def told_by(scene: Scene, calls: Sequence[Call], instant: float) -> Told:
    names = {
        name
        for call, answer in acknowledged(calls, scene.load.answers)
        if call.begin <= instant
        for name in answer.names
    }
    sent = [
        (sink, key.decode())
        for sink, port in scene.ports.items()
        for key, begin in creates(calls, port)
        if begin <= instant
    ]
    return Told(names, sent)


def examine(image: Path, told: Told, policy: Policy) -> Iterator[str]:
    """Opens what is left of a store as the next start would, and says what is missing or damaged."""
    if not image.exists():
        if told.names or told.sent:
            yield "the store is gone"
        return
    with closing(SqliteStore(image, build="test")) as store:
        recovered = store.claim("default", NOW_MS)
        state = State.load(recovered.live, recovered.next_id, recovered.next_number)
    missing = told.names - {alert.name for alert in state.alerts.rows.values()}
    if missing:
        yield f"{len(missing)} accepted alerts are lost: {sorted(missing)[:3]}"
    queries = Queries(reading(image))
    rows = {
        (row.send.sink, row.send.key): row.state for row in queries.outbox(limit=1000) if row.send.action == "create"
    }
    for sink, key in told.sent:
        if rows.get((sink, key), "missing") not in READY.get(sink, tuple(rows.values())):
            yield f"{sink} had been sent {key}, and its row is {rows.get((sink, key), 'missing')}"
    for finding in check(image, queries, {policy.digest: policy}.get, build="test").findings:
        yield f"{finding.place}: {finding.text}"
