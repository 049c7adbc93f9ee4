"""A sync fails: what it had to write may be gone although the next one succeeds. Nothing is answered that is so."""

from pathlib import Path
from random import Random

import pytest

from tests.durability.disk import Disk
from tests.durability.planted import planted
from tests.durability.scene import Scene, traced_scene
from tests.durability.story import acknowledged
from tests.durability.test_power_loss import examine, told_by
from tests.integration.samband import until

pytestmark = pytest.mark.integration


async def play(scene: Scene, bursts: str) -> list[str]:
    """Load over a disk whose syncs fail; what is missing on the disk that a power loss leaves, at each answer."""
    samband = scene.samband
    samband.inject = [f"fdatasync:error=EIO:when={bursts}"]
    await samband.start()
    await scene.load.send(40, 3)
    await until(lambda: scene.sinks.desk.issues, "a ticket")
    await samband.kill()
    # What the next daemon finds looks whole: the kernel shows it so.
    samband.inject = []
    await samband.start()
    await scene.load.send(10, 3)
    await samband.stop()
    calls = await samband.calls()
    assert [call for call in calls if call.failed and call.syncs], "no sync has failed"
    disk, policy, lost = Disk(scene.store), scene.policy(), list[str]()
    left = [call.begin for call, _ in acknowledged(calls, scene.load.answers)]
    assert len(left) == 50
    for place, call in enumerate(calls):
        if call.begin in left[::3] or place == len(calls) - 1:
            image = disk.power_loss(scene.samband.folder / f"cut-{place}", "none", Random(place))
            lost += examine(image, told_by(scene, calls, call.begin), policy)
        disk.play(call)
    return lost


@pytest.mark.parametrize(
    "bursts", ["6..6", "12..13", *(pytest.param(one, marks=pytest.mark.soak) for one in ("12..12", "12..14", "13..16"))]
)
async def test_what_is_answered_is_on_disk_though_syncs_failed(tmp_path: Path, bursts: str) -> None:
    async with traced_scene(tmp_path) as scene:
        assert await play(scene, bursts) == []


async def test_trust_in_what_a_failed_sync_left_is_found(tmp_path: Path) -> None:
    async with traced_scene(tmp_path, planted("what a failed sync left is trusted", tmp_path / "planted")) as scene:
        assert await play(scene, "12..13") != []
