"""The daemon and its commands with the store in PostgreSQL: from the first alert to another database."""

import json
from pathlib import Path
from typing import Any

import pytest
from psycopg.conninfo import make_conninfo

from tests.counterparts.postgres import own_schema
from tests.integration.conftest import StartSamband
from tests.integration.estate import alert, configuration
from tests.integration.samband import Samband, Sinks, until

pytestmark = pytest.mark.integration


async def said(samband: Samband, *arguments: str, code: int = 0) -> Any:
    """What a command prints with --json; its exit code must be that."""
    found, text = await samband.cli(*arguments, "--json")
    assert found == code, text
    return json.loads(text)


async def test_what_runs_on_sqlite_runs_on_postgresql(
    start_samband: StartSamband, sinks: Sinks, postgresql: str, tmp_path: Path
) -> None:
    file = tmp_path / "dsn"
    file.write_text(make_conninfo(postgresql, password="a-secret-word") + "\n")
    samband = await start_samband(store={"type": "postgresql", "dsn_file": str(file), "state": "beside"})
    assert (samband.folder / "beside" / "operator.token").stat().st_mode & 0o077 == 0
    await said(samband, "check", "--live")
    assert await samband.send([alert("Down", "critical", service="batch-00")])
    await until(lambda: len(sinks.pager.pages) == 1, "a page")
    (incident,) = (await said(samband, "incidents", "list"))["items"]
    shown = await said(samband, "incidents", "show", incident["ref"])
    assert {one["sink"] for one in shown["deliveries"]} >= {"pager", "desk"}
    assert shown["timeline"]
    await said(samband, "explain", incident["ref"])
    made = await said(samband, "token", "create", "grafana", "--role", "reader")
    assert made["token"]

    (tmp_path / "second").mkdir()
    store = {"type": "postgresql", "dsn_file": str(file)}
    second = Samband(tmp_path / "second", configuration(sinks, store=store))
    code, text = await second.cli("run")
    assert code == 2
    assert f"process {samband.pid} on" in text
    backup = str(tmp_path / "backup.zip")
    counted = await said(samband, "db", "backup", backup)
    assert counted["rows"]["incidents"] == 1
    code, text = await samband.cli("db", "restore", backup, "--force")
    assert code == 2
    assert f"process {samband.pid} on" in text
    assert "a-secret-word" not in text
    assert "a-secret-word" not in samband.log.read_text()

    await samband.stop()
    assert [one["name"] for one in (await said(samband, "token", "list"))["items"]] == ["grafana"]
    assert (await said(samband, "db", "check"))["sound"]
    await said(samband, "db", "restore", backup, "--force")
    await samband.start()
    (again,) = (await said(samband, "incidents", "list"))["items"]
    assert again["ref"] == incident["ref"]
    assert await samband.send([alert("Full", "critical", service="batch-01")])
    await until(lambda: len(sinks.pager.pages) == 2, "a page of the second incident")
    refs = [one["ref"] for one in (await said(samband, "incidents", "list"))["items"]]
    assert max(int(ref.removeprefix("INC-")) for ref in refs) > 10_000


async def test_a_store_that_grows_out_of_sqlite(start_samband: StartSamband, sinks: Sinks, postgres_dsn: str) -> None:
    samband = await start_samband()
    assert await samband.send([alert("Down", "critical", service="batch-00")])
    await until(lambda: len(sinks.pager.pages) == 1, "a page")
    with own_schema(postgres_dsn) as dsn:
        code, text = await samband.cli("db", "move", "--to", dsn)
        assert (code, f"process {samband.pid} has this store open" in text) == (2, True)
        await samband.stop()
        moved = await said(samband, "db", "move", "--to", dsn)
        assert moved["rows"]["incidents"] == 1
        configuration = json.loads(samband.config.read_text())
        configuration["store"] = {"type": "postgresql", "dsn": dsn}
        samband.config.write_text(json.dumps(configuration))
        await samband.start()
        (shown,) = (await said(samband, "incidents", "list"))["items"]
        assert shown["state"] == "open"
        await samband.stop()
        assert (await said(samband, "db", "check"))["sound"]
    assert len(sinks.pager.pages) == 1
