"""The command line where no daemon is needed: replay, check, help, and what a terminal is protected from."""

import csv
import json
import os
import pty
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from daemon.cli import app
from daemon.cli.output import print_block, print_json, print_table

CONFIG = """
sources: {scripts: {type: native}}
sinks:
  pager: {type: pagerduty, routing_key: "0123456789abcdef0123456789abcdef"}
"""
ALERT = {"name": "A", "severity": "critical", "service": "shop", "received_at": "2026-10-06T08:00:00Z"}
HOSTILE = "\x1b[31mred\x9b31m\u202e [bold]\r\nnext"


def samband(*words: str) -> Any:
    return CliRunner().invoke(app, list(words))


def process(*words: str, folder: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "daemon.cli", *words]
    root = str(Path(__file__).resolve().parents[2])
    env = {**os.environ, "PYTHONPATH": root, **settings}
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=60)


@pytest.fixture(name="folder")
def folder_with_a_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "samband.yaml").write_text(CONFIG)
    (tmp_path / "alerts.jsonl").write_text(json.dumps(ALERT) + "\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


# ---- help --------------------------------------------------------------------------------------
def commands(command: Any, *path: str) -> list[tuple[str, ...]]:
    below = getattr(command, "commands", {})
    return [found for name, one in below.items() for found in commands(one, *path, name)] or [path]


@pytest.mark.parametrize("words", commands(get_command(app)), ids=" ".join)
def test_every_command_has_help_with_an_example(words: tuple[str, ...]) -> None:
    done = samband(*words, "--help")

    assert done.exit_code == 0
    assert f"Example: samband {' '.join(words)}" in done.output


def test_the_commands_are_those_that_are_promised() -> None:
    assert {" ".join(words) for words in commands(get_command(app))} == {
        "run",
        "check",
        "replay",
        "demo",
        "explain",
        "db backup",
        "db restore",
        "db move",
        "token create",
        "token list",
        "token revoke",
        "incidents list",
        "incidents show",
        "incidents ack",
        "incidents resolve",
        "incidents publish",
        "incidents create",
        "incidents unack",
        "incidents snooze",
        "incidents hold",
        "incidents resume",
        "incidents assign",
        "incidents priority",
        "incidents note",
        "incidents reopen",
        "incidents close",
        "incidents merge",
        "incidents split",
        "silence add",
        "silence list",
        "silence expire",
        "maintenance add",
        "maintenance list",
        "maintenance end",
        "changes add",
        "changes list",
        "dead-letters list",
        "dead-letters show",
        "dead-letters retry",
        "dead-letters drop",
        "alerts list",
        "db upgrade",
        "db check",
    }


# ---- replay ------------------------------------------------------------------------------------
def test_replay_prints_incidents_and_deliveries_as_json(folder: Path) -> None:
    done = samband("replay", "alerts.jsonl", "--config", "samband.yaml", "--json", "--assignments", "out.csv")

    assert done.exit_code == 0
    found = json.loads(done.stdout)
    (incident,) = found["incidents"]
    assert incident["ref"] == "INC-1"
    assert incident["alerts"] == {"firing": 1, "resolved": 0, "held": 0}
    assert [member["name"] for member in incident["members"]] == ["A"]
    page = next(one for one in found["deliveries"] if one["kind"] == "pager")
    assert page == {
        "at": "2026-10-06T08:00:45Z",
        "incident": incident["id"],
        "priority": "P2",
        "sink": "pager",
        "to": incident["owner"],
        "kind": "pager",
        "action": "create",
    }
    assert (folder / "out.csv").read_text() == f"line,incident\n1,{incident['id']}\n"


def test_replay_shows_a_summary_to_people(folder: Path) -> None:
    done = samband("replay", "alerts.jsonl", "--config", "samband.yaml")

    assert done.exit_code == 0
    assert done.stdout.startswith("1 lines, 1 incidents, 1 pages, 1 tickets\n")
    assert "P2        INC-1     open   2026-10-06T08:00:00Z  1" in done.stdout


def test_replay_needs_no_configuration_and_then_takes_any_source(folder: Path) -> None:
    (folder / "alerts.jsonl").write_text(f"{json.dumps({**ALERT, 'source': 'elsewhere'})}\n{json.dumps(ALERT)}\n")

    done = samband("replay", "alerts.jsonl", "--json")

    assert done.exit_code == 0
    assert len(json.loads(done.stdout)["incidents"]) == 1


def test_replay_names_bad_lines_and_leaves_a_row_for_each(folder: Path) -> None:
    hostile = json.dumps({**ALERT, "source": HOSTILE})
    (folder / "alerts.jsonl").write_text(f"{{\n{json.dumps(ALERT)}\n{hostile}\n")

    done = samband("replay", "alerts.jsonl", "--config", "samband.yaml", "--assignments", "out.csv")

    assert done.exit_code == 1
    assert "alerts.jsonl:1: not JSON" in done.stderr
    assert "alerts.jsonl:3: source " in done.stderr
    assert "2 of 3 lines could not be read" in done.stderr
    assert "\x1b" not in done.stderr
    rows = list(csv.DictReader((folder / "out.csv").read_text().splitlines()))
    assert [row["line"] for row in rows] == ["1", "2", "3"]
    assert [bool(row["incident"]) for row in rows] == [False, True, False]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("nowhere.jsonl",), "nowhere.jsonl: No such file or directory"),
        (("alerts.jsonl", "--config", "nowhere.yaml"), "nowhere.yaml"),
        (("alerts.jsonl", "--config", "samband.yaml", "--source", "x"), "--source x: the configuration has: scripts"),
        (("alerts.jsonl", "--run-on", "soon"), "--run-on soon"),
        (("alerts.jsonl", "--assignments", "no/such/folder.csv"), "no/such/folder.csv: No such file or directory"),
        (("alerts.jsonl", "--nonsense"), "No such option"),
    ],
)
def test_replay_says_what_keeps_it_from_running(folder: Path, words: tuple[str, ...], says: str) -> None:
    done = samband("replay", *words)

    assert done.exit_code == 2
    assert says in done.stderr
    assert done.stdout == ""


def test_replay_reads_no_secret(folder: Path) -> None:
    (folder / "samband.yaml").write_text(CONFIG.replace('routing_key: "', 'routing_key_file: "/nowhere/'))

    assert samband("replay", "alerts.jsonl", "--config", "samband.yaml").exit_code == 0


def test_a_source_that_cannot_be_read_yet_is_named(folder: Path) -> None:
    (folder / "samband.yaml").write_text("sources: {dog: {type: datadog}, scripts: {type: native}}\n")
    (folder / "alerts.jsonl").write_text(json.dumps({**ALERT, "source": "dog"}) + "\n")

    done = samband("replay", "alerts.jsonl", "--config", "samband.yaml")

    assert done.exit_code == 1
    assert "alerts.jsonl:1: source dog is of type datadog, which cannot be read yet" in done.stderr


# ---- check -------------------------------------------------------------------------------------
def test_check_is_content_with_a_configuration_that_works(folder: Path) -> None:
    done = samband("check", "--config", "samband.yaml")

    assert done.exit_code == 0
    assert done.stdout == "samband.yaml: fine\n"


def test_check_names_place_key_and_remedy(folder: Path) -> None:
    (folder / "samband.yaml").write_text("mode: live\nsinkz: {}\n")

    done = samband("check", "--config", "samband.yaml")
    as_json = samband("check", "--config", "samband.yaml", "--json")

    assert done.exit_code == as_json.exit_code == 1
    assert "samband.yaml:2:1: error: sinkz" in done.stdout
    assert 'did you mean "sinks"?' in done.stdout
    (finding,) = json.loads(as_json.stdout)["findings"]
    assert (finding["line"], finding["column"], finding["key"], finding["level"]) == (2, 1, "sinkz", "error")


def test_check_says_what_is_not_active_yet_and_passes(folder: Path) -> None:
    (folder / "samband.yaml").write_text(CONFIG + "heartbeats: {backup: {every: 24h}}\n")

    done = samband("check", "--config", "samband.yaml")

    assert done.exit_code == 0
    assert "not active yet: heartbeats" in done.stdout


def test_check_live_asks_the_sinks(folder: Path) -> None:
    """Nothing listens there, and that is what it says."""
    sink = 'hook: {type: webhook, url: "http://127.0.0.1:9/in"}'
    (folder / "samband.yaml").write_text(f"sources: {{scripts: {{type: native}}}}\nsinks:\n  {sink}\n")

    done = samband("check", "--config", "samband.yaml", "--live")

    assert done.exit_code == 1
    assert "samband.yaml:3:3: error: sinks.hook: nothing answers" in done.stdout


def test_check_of_a_file_that_is_not_there_could_not_run(folder: Path) -> None:
    assert samband("check", "--config", "nowhere.yaml").exit_code == 2


# ---- the process -------------------------------------------------------------------------------
def test_a_reader_that_has_seen_enough_is_no_mistake(folder: Path) -> None:
    lines = [json.dumps({**ALERT, "name": f"A{n}", "service": f"s{n}"}) for n in range(3000)]
    (folder / "alerts.jsonl").write_text("\n".join(lines) + "\n")
    command = [sys.executable, "-m", "daemon.cli", "replay", "alerts.jsonl", "--json"]
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}

    with subprocess.Popen(command, cwd=folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdout.read(1)
        running.stdout.close()
        said = running.stderr.read()

    assert b"Traceback" not in said
    assert b"Error" not in said


def test_errors_go_to_stderr_and_end_with_2(folder: Path) -> None:
    done = process("incidents", "list", "--url", "http://127.0.0.1:9", folder=folder)

    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("http://127.0.0.1:9: no answer")


# ---- terminals ---------------------------------------------------------------------------------
def test_hostile_text_is_inert_in_tables_and_blocks(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("A", "B"), [(HOSTILE, "x")])
    print_block(HOSTILE)

    shown = capsys.readouterr().out
    assert "[31mred31m [bold] next  x" in shown, "markup is text, a line break a blank"
    assert not {"\x1b", "\x9b", "\u202e", "\r"} & set(shown)


def test_json_escapes_what_steers_a_terminal_and_stays_the_same_json(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"text": HOSTILE + "åäö"})

    shown = capsys.readouterr().out
    assert not {"\x1b", "\x9b", "\u202e", "\r"} & set(shown)
    assert "åäö" in shown
    assert json.loads(shown) == {"text": HOSTILE + "åäö"}


def test_colour_and_progress_are_for_terminals_only(folder: Path) -> None:
    piped = process("replay", "alerts.jsonl", folder=folder, FORCE_COLOR="", TERM="xterm")
    assert "\x1b" not in piped.stdout + piped.stderr

    shown = _on_a_terminal(["replay", "alerts.jsonl"], folder)
    assert "\x1b[" in shown
    assert "1 lines, 1 incidents" in shown


def _on_a_terminal(words: list[str], folder: Path) -> str:
    ours, theirs = pty.openpty()
    read: list[bytes] = []

    def reading() -> None:
        while True:
            try:
                read.append(os.read(ours, 65536))
            except OSError:
                return

    reader = threading.Thread(target=reading)
    reader.start()
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2]), "TERM": "xterm-256color"}
    env.pop("NO_COLOR", None)
    command = [sys.executable, "-m", "daemon.cli", *words]
    subprocess.run(command, cwd=folder, env=env, stdin=theirs, stdout=theirs, stderr=theirs, check=False, timeout=60)
    os.close(theirs)
    reader.join(10)
    os.close(ours)
    return b"".join(read).decode()


def test_the_exit_codes_are_those_of_the_contract() -> None:
    assert samband("--version").exit_code == 0
    assert samband("nonsense").exit_code == 2
