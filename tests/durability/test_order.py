"""The order of system calls: what an answer or a request to a sink rests on was synced before it left."""

import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from tests.durability.load import Answer
from tests.durability.planted import planted
from tests.durability.scene import Scene, traced_scene
from tests.durability.story import KEY, acknowledged, creates
from tests.durability.traced import Call
from tests.integration.samband import until

pytestmark = pytest.mark.integration

MARKED = {"desk": "sending", "page": "sending", "hook": "sending", "pager": "waiting"}
"""How a row must stand on disk before its sink hears of it: a native one as the deciding transaction made it."""


async def play(scene: Scene, requests: int = 30) -> list[Call]:
    """Some load, and every sink told of something; the calls of the daemon from start to stop."""
    await scene.samband.start()
    await scene.load.send(requests, 4)
    fakes = [*scene.sinks.all, scene.hook]
    await until(lambda: all(fake.keys() for fake in fakes), "every sink told")
    await scene.load.send(requests, 1)
    await scene.samband.stop()
    return await scene.samband.calls()


async def test_what_an_answer_or_a_request_rests_on_was_synced_before_it_left(tmp_path: Path) -> None:
    async with traced_scene(tmp_path) as scene:
        calls = await play(scene)
        assert len(scene.load.accepted) == 150
        assert too_early(calls, scene.load.answers) == []
        assert unmarked(calls, scene.ports) == []
        assert {name: len(list(creates(calls, port))) > 0 for name, port in scene.ports.items()} == dict.fromkeys(
            MARKED, True
        )
        assert connected_unmarked(calls, scene.ports) == []


async def test_an_answer_before_the_commit_is_found(tmp_path: Path) -> None:
    async with traced_scene(tmp_path, planted("answer before commit", tmp_path / "planted")) as scene:
        assert too_early(await play(scene), scene.load.answers) != []


async def test_commits_that_are_not_synced_are_found(tmp_path: Path) -> None:
    async with traced_scene(tmp_path, planted("commits are not synced", tmp_path / "planted")) as scene:
        assert too_early(await play(scene), scene.load.answers) != []


async def test_a_missing_mark_is_found(tmp_path: Path) -> None:
    async with traced_scene(tmp_path, planted("no sending mark", tmp_path / "planted")) as scene:
        calls = await play(scene)
        assert {what.split()[0] for what in unmarked(calls, scene.ports)} == {"desk", "page", "hook"}
        assert connected_unmarked(calls, scene.ports) != []


# ---- what the trace says ---------------------------------------------------------------------------------
def too_early(calls: Sequence[Call], answers: Sequence[Answer]) -> list[str]:
    """The alerts of which a 2xx left before the log that holds them was synced."""
    durable = {name.decode(): at for name, at in _synced(calls, re.compile(rb"Probe\d{6}x"))}
    return [
        name
        for call, answer in acknowledged(calls, answers)
        for name in answer.names
        if not durable.get(name, float("inf")) < call.begin
    ]


def unmarked(calls: Sequence[Call], ports: Mapping[str, int]) -> list[str]:
    """The creates that left before the mark of their row was synced."""
    return [
        f"{name} {key.decode()}"
        for name, port in ports.items()
        for key, begin in creates(calls, port)
        if not _marks(calls, name).get(key, float("inf")) < begin
    ]


def connected_unmarked(calls: Sequence[Call], ports: Mapping[str, int]) -> list[str]:
    """The sinks to which a socket was opened before any mark for them was synced."""
    found = []
    for name, port in ports.items():
        first = min(call.begin for call in calls if call.name == "connect" and call.peer == port)
        if not min(_marks(calls, name).values(), default=float("inf")) < first:
            found.append(name)
    return found


def _marks(calls: Sequence[Call], sink: str) -> dict[bytes, float]:
    """Key -> when a row that makes it, marked as it must be, was synced first."""
    row = rb"%s[a-z_]+create[a-z]+(%s).{0,24}?%s" % (sink.encode(), KEY, MARKED[sink].encode())
    found: dict[bytes, float] = {}
    for key, at in _synced(calls, re.compile(row, re.DOTALL)):
        found.setdefault(key, at)
    return found


def _synced(calls: Sequence[Call], pattern: re.Pattern[bytes]) -> Iterator[tuple[bytes, float]]:
    """What the pattern finds in writes to the log, and when the first sync that covers it had returned."""
    syncs = [call for call in calls if call.syncs and call.target.endswith("-wal") and not call.failed]
    begins = [call.begin for call in syncs]
    first: dict[bytes, float] = {}
    for call in calls:
        if call.name == "pwrite64" and call.target.endswith("-wal"):
            place = bisect_right(begins, call.end)
            for match in pattern.finditer(call.data):
                word = match[match.re.groups]
                if place < len(syncs) and word not in first:
                    first[word] = syncs[place].end
    yield from first.items()
