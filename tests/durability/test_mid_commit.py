"""Killed between the steps of a transaction: at a write, at a sync, at any of them, life after life on one store."""

import contextlib
from pathlib import Path
from random import Random

import pytest

from tests.durability.scene import traced_scene

pytestmark = pytest.mark.integration


@pytest.mark.parametrize(
    ("seed", "lives"), [(1, 5), *(pytest.param(seed, 12, marks=pytest.mark.soak) for seed in range(2, 8))]
)
async def test_killed_in_the_middle_of_a_commit_again_and_again(tmp_path: Path, seed: int, lives: int) -> None:
    luck = Random(seed)
    async with traced_scene(tmp_path) as scene:
        samband, load = scene.samband, scene.load
        samband.sockets = False
        for _ in range(lives):
            # A sync is one call of a commit, a write one of some forty; small numbers hit the start.
            call, most = luck.choice((("fdatasync", 25), ("pwrite64", 900), ("pwrite64", 300)))
            samband.inject = [f"{call}:signal=KILL:when={luck.randint(2, most)}"]
            with contextlib.suppress(RuntimeError):  # It died before it was ready.
                await samband.start()
                await load.send(40, 3)
            await samband.kill()
        samband.inject = []
        await samband.start()
        listed = {one["name"] for one in await samband.alerts()}
        assert load.accepted, "no life was long enough for an answer"
        assert set(load.accepted) <= listed
        await load.send(5, 3)
        assert set(load.accepted) <= {one["name"] for one in await samband.alerts()}
        code, text = await samband.cli("db", "check")
        assert code == 0, text
