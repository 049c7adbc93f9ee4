"""The process: who may ask, one daemon per store, a stop and a start that nobody notices, a disk that is full."""

import asyncio
import resource
from pathlib import Path

import pytest

from tests.integration.conftest import StartSamband
from tests.integration.estate import LONELY, TIMING, again, alert, configuration, outage
from tests.integration.samband import Samband, Sinks, until

pytestmark = pytest.mark.integration

DISK_BYTES = 64 * 1024


async def test_shadow_decides_everything_and_sends_nothing(start_samband: StartSamband, sinks: Sinks) -> None:
    samband = await start_samband(mode="shadow", timing={**TIMING, "first_page": "1s"})

    assert await samband.send(outage(["checkout"], 5))
    [incident] = await samband.incidents("open")
    await until(lambda: _shadows(samband, incident["id"], 3), "pager, desk and page would have been told")

    assert incident["priority"] == "P1"
    assert sinks.requests() == 0


async def test_without_login_open_only_the_operators_token_reads_and_acts(
    start_samband: StartSamband, sinks: Sinks
) -> None:
    samband = await start_samband(login=None)
    assert await samband.send(outage(["checkout"], 1)), "the intake of a source without a token is open on loopback"
    file = samband.folder / "state" / "operator.token"
    token = file.read_text().strip()
    reads = ("/api/v1/incidents", "/api/v1/alerts", "/api/v2/alerts", "/api/v2/status", "/api/v1/openapi.json")

    for path in reads:
        assert (await samband.ask("GET", path))[0] == 401, path
        assert (await samband.ask("GET", path, token=token[:-1]))[0] == 401, path
        assert (await samband.ask("GET", path, token=token))[0] == 200, path
    assert (await samband.ask("GET", "/-/healthy"))[0] == 200
    assert (await samband.ask("POST", "/-/reload"))[0] == 401
    assert (await samband.ask("POST", "/api/v1/incidents/INC-1/resolve"))[0] == 401
    assert file.stat().st_mode & 0o777 == 0o600
    assert token not in samband.log.read_text()
    code, said = await samband.cli("incidents", "list")
    assert code == 0, said
    assert "INC-1" in said, "the command line is the local operator"


async def test_a_second_daemon_on_the_same_store_names_the_first(
    start_samband: StartSamband, sinks: Sinks, tmp_path: Path
) -> None:
    first = await start_samband()
    store = {"type": "sqlite", "path": str(first.folder / "state" / "samband.db")}
    (tmp_path / "second").mkdir()
    second = Samband(tmp_path / "second", configuration(sinks, store=store))

    code, said = await second.cli("run")

    assert code == 2
    assert f"process {first.pid}" in said
    assert await first.send(outage(["checkout"], 1)), "the first one goes on"


async def test_a_stop_and_a_start_page_nobody_again(start_samband: StartSamband, sinks: Sinks) -> None:
    samband = await start_samband()
    told, held = outage(["checkout"], 3), outage(["batch-00"], 3)
    assert await samband.send(told)
    await until(lambda: len(sinks.pager.pages) == len(sinks.page.entries) == 1, "the first incident told")
    assert await samband.send(held)
    await until(lambda: len(sinks.desk.issues) == 2, "the second one's ticket; its page is held back")

    assert await samband.stop() == 0
    assert samband.events[-1]["event"] == "stopped"
    assert len(sinks.pager.pages) == 1
    await samband.start()

    assert await samband.send(again(told + held))
    await until(lambda: len(sinks.pager.pages) == 2, "the second one's page")
    before = sinks.requests()
    await asyncio.sleep(4)
    assert sinks.requests() == before, "nobody is told anything again"
    assert [one["alerts"]["firing"] for one in await samband.incidents("open")] == [3, 3]
    assert await samband.stop() == 0


async def test_a_full_disk_is_answered_503_and_told_out_of_band(start_samband: StartSamband, sinks: Sinks) -> None:
    """A limit on the size of files stands for the disk: the store's log can grow no further."""
    samband = await start_samband()
    assert await samband.send(outage(["checkout"], 1))
    unlimited = resource.prlimit(samband.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(samband.pid, resource.RLIMIT_FSIZE, (DISK_BYTES, unlimited[1]))

    status, answer = await until(lambda: _refused(samband), "an answer that it cannot be made durable")
    assert status == 503, answer
    assert (await samband.ask("GET", "/-/ready"))[0] == 503
    assert (await samband.ask("GET", "/-/healthy"))[0] == 200
    await until(lambda: _notices(sinks, "triggered"), "an emergency notice at the pager")

    resource.prlimit(samband.pid, resource.RLIMIT_FSIZE, unlimited)
    await until(lambda: samband.send(outage(list(LONELY), 24)), "taken again, once there is room")
    assert (await samband.ask("GET", "/-/ready"))[0] == 200
    await until(lambda: _notices(sinks, "resolved"), "the notice resolved")
    await until(lambda: len(sinks.desk.issues) == 1 + len(LONELY), "what was refused is told, once")


async def _shadows(samband: Samband, incident: str, number: int) -> bool:
    shown = await samband.get(f"/api/v1/incidents/{incident}")
    return [line["kind"] for line in shown["timeline"]].count("shadow") == number


async def _refused(samband: Samband) -> tuple[int, object] | None:
    """The answer to a batch, unless it could be made durable after all: then there is less room for the next."""
    batch = [alert(f"Filler{number}", "critical", service=name) for name in LONELY for number in range(5)]
    status, answer = await samband.ask("POST", "/api/v2/alerts", batch)
    return None if status == 200 else (status, answer)


def _notices(sinks: Sinks, status: str) -> bool:
    return any(page.key.endswith("-store") and page.status == status for page in sinks.pager.pages)
