"""Tokens that samband issues: over the API, in the store, over the command line with a daemon and without."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from daemon.access import Keys, digest
from daemon.cli import app
from daemon.store.queries import Queries, reading
from daemon.store.sqlite import SqliteStore
from daemon.tokens import TokenRefused, issue, named, revoked
from tests.unit.served import OPERATOR, Served, served

ADMIN = f"Bearer {OPERATOR}"


async def create(it: Served, **wanted: str) -> tuple[int, Any]:
    return (await it.ask("POST", "/api/v1/tokens", json.dumps(wanted).encode(), authorization=ADMIN))[:2]


async def test_a_token_is_made_used_listed_and_revoked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async with served(tmp_path, open_=False) as it:
        status, made = await create(it, name="grafana", role="reader")
        assert (status, made["name"], made["role"], made["created_by"]) == (200, "grafana", "reader", "operator")
        bearer = f"Bearer {made['token']}"
        assert (await it.ask("GET", "/api/v1/alerts", authorization=bearer))[0] == 200
        assert (await it.ask("GET", "/metrics", authorization=bearer))[0] == 200
        assert (await it.ask("GET", "/api/v1/tokens", authorization=bearer))[0] == 403
        listed = (await it.ask("GET", "/api/v1/tokens", authorization=ADMIN))[1]["items"]
        assert [(one["name"], one["revoked_at"]) for one in listed] == [("grafana", None)]
        assert made["token"] not in json.dumps(listed)
        (kept,) = it.queries.tokens()
        assert kept.digest == digest(made["token"])
        assert made["token"].encode() not in (tmp_path / "samband.db-wal").read_bytes()
        gone = await it.ask("DELETE", "/api/v1/tokens/grafana", authorization=ADMIN)
        assert gone[:2] == (200, {"revoked": True, "name": "grafana"})
        assert (await it.ask("GET", "/api/v1/alerts", authorization=bearer))[0] == 401
        assert (await it.ask("DELETE", "/api/v1/tokens/grafana", authorization=ADMIN))[0] == 404
        assert it.queries.tokens()[0].revoked_at
    keys = Keys(OPERATOR, Queries(reading(tmp_path / "samband.db")).tokens())
    assert keys.find(digest(made["token"])) is None, "also after a restart"
    assert made["token"] not in capsys.readouterr().out


async def test_tokens_that_are_refused(tmp_path: Path) -> None:
    async with served(tmp_path, open_=False) as it:
        assert (await create(it, name="a", role="ingest", source="scripts"))[0] == 200
        for wanted, says in (
            ({"name": "a", "role": "reader"}, "there is a token 'a'"),
            ({"name": "b", "role": "king"}, "role"),
            ({"name": "", "role": "reader"}, "name"),
            ({"name": "b\x1b[2J", "role": "reader"}, "name"),
            ({"name": "b", "role": "reader", "source": "scripts"}, "source"),
            ({"name": "b", "role": "ingest", "source": "nobody"}, "there is no source"),
        ):
            status, body = await create(it, **wanted)
            assert (status, says in body["error"]) == (422, True), (wanted, body)


def test_numbers_names_and_the_most_there_may_be() -> None:
    first, token = issue([], "a", "admin", "", "me", 1)
    assert token.startswith("smb_")
    assert len(token) >= 47
    over = [first]
    for number in range(199):
        over.append(issue(over, f"n{number}", "reader", "", "me", 1)[0])
    with pytest.raises(TokenRefused, match="200 tokens"):
        issue(over, "one more", "reader", "", "me", 1)
    over[0] = revoked(first, 2)
    again, _ = issue(over, "a", "reader", "", "me", 3)
    assert again.id == 201
    assert named([*over, again], "a") == again
    assert named(over, "1") is None


def samband(*words: str) -> Any:
    return CliRunner().invoke(app, list(words))


def test_the_command_line_without_a_daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = tmp_path / "samband.yaml"
    config.write_text("store: {path: s.db}\nsources: {scripts: {type: native}}\n")
    options = ("--config", str(config))
    assert "there is no store" in samband("token", "list", *options).output
    SqliteStore(tmp_path / "s.db", build="test").close()
    made = samband("token", "create", "ci", "--role", "ingest", "--source", "scripts", "--json", *options)
    assert made.exit_code == 0, made.output
    token = json.loads(made.stdout)["token"]
    assert samband("token", "create", "ci", "--role", "reader", *options).exit_code == 1
    assert samband("token", "create", "x", "--role", "ingest", "--source", "y", *options).exit_code == 1
    plain = samband("token", "create", "anna", "--role", "responder", *options)
    assert plain.stdout.strip().startswith("smb_"), "the token alone on stdout"
    table = samband("token", "list", *options).output
    assert "anna" in table
    assert token not in table
    keys = Keys("x", Queries(reading(tmp_path / "s.db")).tokens())
    caller = keys.find(digest(token))
    assert caller is not None
    assert (caller.role, caller.source) == ("ingest", "scripts")
    assert samband("token", "revoke", "ci", *options).exit_code == 0
    assert samband("token", "revoke", "ci", *options).exit_code == 1
    assert Keys("x", Queries(reading(tmp_path / "s.db")).tokens()).find(digest(token)) is None
