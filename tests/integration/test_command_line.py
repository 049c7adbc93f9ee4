"""The client commands against a real daemon."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import StartSamband
from tests.integration.samband import Samband, until

pytestmark = pytest.mark.integration

ESCAPE = "\x1b]0;owned\x07"
ALERT: dict[str, Any] = {
    "name": f"Down{ESCAPE}",
    "severity": "critical",
    "service": "orders-db",
    "summary": "[red]no answer[/red]",
}


async def _opened(samband: Samband) -> str:
    """Sends the alert and returns the reference of its incident."""
    assert (await samband.ask("POST", "/api/v1/alerts", ALERT))[0] == 200
    incidents: list[dict[str, Any]] = await until(lambda: samband.incidents("open"), "an incident")
    return str(incidents[0]["ref"])


async def test_an_incident_is_listed_shown_acknowledged_and_resolved(start_samband: StartSamband) -> None:
    samband = await start_samband()
    ref = await _opened(samband)

    code, listed = await samband.cli("incidents", "list", "--state", "open")
    assert code == 0
    assert ref in listed
    code, shown = await samband.cli("incidents", "show", ref)
    assert code == 0
    assert "MEMBERS" in shown
    assert "TIMELINE" in shown
    assert ESCAPE[:2] not in listed + shown
    assert (await samband.cli("incidents", "ack", ref))[0] == 0
    assert [one["state"] for one in await samband.incidents()] == ["acknowledged"]
    assert (await samband.cli("incidents", "resolve", ref))[0] == 0
    assert [one["state"] for one in await samband.incidents()] == ["resolved"]
    code, refused = await samband.cli("incidents", "ack", ref)
    assert code == 1
    assert "cannot be acknowledged" in refused
    assert (await samband.cli("incidents", "show", "INC-99"))[0] == 1


async def test_a_draft_waits_for_a_person_to_publish_it(start_samband: StartSamband) -> None:
    samband = await start_samband(status_page={"publish": "approve"})
    ref = await _opened(samband)

    code, said = await samband.cli("incidents", "publish", ref)

    assert code == 0, said
    assert "page" in said
    assert (await samband.cli("incidents", "publish", ref))[0] == 1


async def test_alerts_are_listed_by_matchers_and_all_pages_are_read(start_samband: StartSamband) -> None:
    samband = await start_samband()
    many = [{"name": f"A{n}", "severity": "info", "service": f"batch-{n % 12:02d}"} for n in range(700)]
    assert (await samband.ask("POST", "/api/v1/alerts", [ALERT, *many]))[0] == 200

    code, everything = await samband.cli("alerts", "list", "--limit", "0", "--json")
    code_of_one, one = await samband.cli("alerts", "list", "--filter", 'severity="critical"', "--json")
    code_of_some, some = await samband.cli("alerts", "list", "--limit", "10", "--json")
    code_of_a_mistake, mistake = await samband.cli("alerts", "list", "--filter", "severity=")

    assert (code, code_of_one, code_of_some) == (0, 0, 0)
    assert len({item["key"] for item in json.loads(everything)["items"]}) == 701
    assert [item["service"] for item in json.loads(one)["items"]] == ["orders-db"]
    assert len(json.loads(some)["items"]) == 10
    assert code_of_a_mistake == 1, mistake


async def test_the_token_is_found_beside_the_store_and_a_wrong_one_is_refused(start_samband: StartSamband) -> None:
    samband = await start_samband(login=None)
    code, _ = await samband.cli("incidents", "list")
    assert code == 0
    refused, said = await samband.cli("incidents", "list", "--token", "wrong")
    assert refused == 2
    assert "401" in said
    without, said = await samband.cli("incidents", "list", "--url", samband.url)
    assert without == 2, "the operator's token goes only where the configuration says"
    assert "401" in said


async def test_the_store_is_checked_beside_the_daemon_and_upgraded_without_it(start_samband: StartSamband) -> None:
    samband = await start_samband()
    await _opened(samband)

    code, said = await samband.cli("db", "check")
    assert code == 0, said
    assert "sound" in said
    code, said = await samband.cli("db", "upgrade")
    assert code == 2
    assert "has this store open" in said

    await samband.stop()
    code, said = await samband.cli("db", "upgrade", "--json")
    assert code == 0
    assert json.loads(said)["schema"]
    await asyncio.to_thread(_damage, Path(json.loads(said)["store"]))
    code, said = await samband.cli("db", "check")
    assert code == 1
    assert "is not what was written" in said


def _damage(store: Path) -> None:
    """Changes one byte of one live row."""
    import sqlite3

    connection = sqlite3.connect(store)
    connection.execute("UPDATE live SET image = zeroblob(length(image)) WHERE id = (SELECT max(id) FROM live)")
    connection.commit()
    connection.close()
