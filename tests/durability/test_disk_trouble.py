"""A disk that is full, read-only or failing while the daemon runs: 503, one notice out of band, and back by itself."""

import asyncio
import os
import signal
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.durability.scene import Scene, traced_scene
from tests.integration.estate import alert
from tests.integration.samband import Samband, until

pytestmark = pytest.mark.integration

INJECTED = {
    "full": ["pwrite64:error=ENOSPC:when={}+"],
    "read-only": ["pwrite64:error=EROFS:when={}+"],
    "failing": ["fdatasync:error=EIO:when={}+", "fsync:error=EIO:when=4+"],
}
FROM = {"full": 400, "read-only": 400, "failing": 12}
"""From which call on: the first commits still go well."""


@pytest.mark.parametrize("kind", INJECTED)
async def test_trouble_is_answered_told_once_and_over_by_itself(tmp_path: Path, kind: str) -> None:
    async with traced_scene(tmp_path) as scene:
        scene.samband.sockets, scene.samband.detachable = False, True
        scene.samband.inject = [one.format(FROM[kind]) for one in INJECTED[kind]]
        await scene.samband.start()

        async def end() -> None:
            os.kill(scene.samband.tracer, signal.SIGKILL)

        await _trouble(scene, end)


@pytest.mark.soak
async def test_a_file_system_that_is_really_full(tmp_path: Path) -> None:
    state = tmp_path / "samband" / "state"
    state.mkdir(parents=True)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(state)], check=False)  # noqa: ASYNC221
    if mounted.returncode:
        pytest.skip("only root may mount a small file system")
    try:
        async with traced_scene(tmp_path) as scene:
            scene.samband.command = scene.samband.plain
            await Samband.start(scene.samband)
            assert (await _post(scene, "before"))[0] == 200
            filler = state / "filler"
            with filler.open("wb") as file:
                while _room(state):
                    os.write(file.fileno(), bytes(4096))

            async def end() -> None:
                filler.unlink()

            await _trouble(scene, end)
    finally:
        subprocess.run(["umount", str(state)], check=True)  # noqa: ASYNC221


def _room(folder: Path) -> int:
    return os.statvfs(folder).f_bavail


async def _trouble(scene: Scene, end: Callable[[], Awaitable[None]]) -> None:
    samband, pager = scene.samband, scene.sinks.pager
    accepted = await _until_refused(scene)
    status, wait = await _post(scene, "refused")
    assert (status, int(wait) > 0) == (503, True)
    assert (await samband.ask("GET", "/-/ready"))[0] == 503
    notice = await until(lambda: _notices(scene), "the notice out of band")
    for _ in range(4):
        assert (await _post(scene, "refused"))[0] == 503
        await asyncio.sleep(1)
    assert [(page.status, page.log) for page in _notices(scene)] == [("triggered", [])]
    await end()

    async def taken() -> bool:
        return (await _post(scene, "refused"))[0] == 200

    await until(taken, "taken again without a restart")
    await until(lambda: notice[0].status == "resolved", "the notice taken back")
    assert len(_notices(scene)) == 1
    listed = await samband.alerts()
    assert sorted(one["name"] for one in listed) == sorted({*accepted, "refused", *(_early(listed))})
    await until(lambda: pager.keys() and scene.sinks.desk.keys(), "sinks told")
    assert len(await samband.incidents()) == len({one["incident"] for one in listed})
    assert await samband.stop() == 0
    code, text = await samband.cli("db", "check")
    assert code == 0, text


def _early(listed: list[dict[str, Any]]) -> set[str]:
    """What was sent before the trouble, and the one in flight when it began: refused, it may be there all the same."""
    return {one["name"] for one in listed if one["name"] == "before" or one["name"].startswith("flying")}


def _notices(scene: Scene) -> list[Any]:
    return [page for page in scene.sinks.pager.pages if page.key.endswith("-store")]


async def _until_refused(scene: Scene) -> list[str]:
    """Sends one alert after the other until one is refused; the names of the accepted."""
    for number in range(500):
        name = f"flying{number}"
        status, _ = await _post(scene, name)
        if status == 503:
            return [f"flying{before}" for before in range(number)]
        assert status == 200
    raise AssertionError("the trouble never began")


async def _post(scene: Scene, name: str) -> tuple[int, str]:
    body = [alert(name, "critical", service="web", instance="web-1")]
    limit = aiohttp.ClientTimeout(total=60)
    async with (
        aiohttp.ClientSession(timeout=limit) as session,
        session.post(f"{scene.samband.url}/api/v2/alerts", json=body) as answer,
    ):
        return answer.status, answer.headers.get("Retry-After", "0")
