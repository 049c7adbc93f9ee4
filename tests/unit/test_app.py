"""The whole daemon as a process: it starts, answers, reloads, stops, and refuses to start with a reason."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

PATIENCE_S = 30.0


def free_port() -> int:
    with closing(socket.socket()) as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def configure(folder: Path, port: int, **more: str) -> Path:
    path = folder / "samband.yaml"
    lines = [
        f"listen: 127.0.0.1:{port}",
        "store: {path: state/samband.db}",
        "sources: {prometheus: {type: alertmanager}, scripts: {type: native}}",
        *(f"{key}: {value}" for key, value in more.items()),
    ]
    path.write_text("\n".join(lines) + "\n")
    return path


class Process:
    """A daemon that runs."""

    def __init__(self, folder: Path, config: Path, port: int) -> None:
        self.port, self.folder = port, folder
        self.log = folder / "log"
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "daemon.cli", "run", "--config", str(config)], cwd=Path.cwd(), stderr=out
            )

    def ask(self, method: str, path: str, body: bytes = b"", token: str = "") -> tuple[int, Any]:
        headers = {"content-type": "application/json"}
        if token:
            headers["authorization"] = f"Bearer {token}"
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        with closing(connection):
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            raw = response.read()
            return response.status, json.loads(raw) if raw[:1] in (b"{", b"[") else raw

    def until_ready(self) -> None:
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until:
            assert self.process.poll() is None, self.log.read_text()
            try:
                if self.ask("GET", "/-/ready")[0] == 200:
                    return
            except OSError:
                time.sleep(0.05)
        raise AssertionError(self.log.read_text())

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def until_event(self, name: str, count: int = 1) -> None:
        until = time.monotonic() + PATIENCE_S
        while sum(one["event"] == name for one in self.events()) < count:
            assert time.monotonic() < until, self.log.read_text()
            time.sleep(0.05)

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(PATIENCE_S)


@contextmanager
def running(folder: Path, port: int, **more: str) -> Iterator[Process]:
    one = Process(folder, configure(folder, port, **more), port)
    try:
        yield one
    finally:
        if one.process.poll() is None:
            one.process.kill()
            one.process.wait()


def test_it_starts_answers_and_stops_and_knows_everything_afterwards(tmp_path: Path) -> None:
    port = free_port()
    with running(tmp_path, port) as one:
        one.until_ready()
        assert one.ask("POST", "/api/v1/alerts", b'{"name":"A","severity":"critical","service":"s"}')[0] == 200
        assert one.ask("GET", "/api/v1/incidents")[0] == 401
        token_file = tmp_path / "state" / "operator.token"
        token = token_file.read_text().strip()
        (before,) = one.ask("GET", "/api/v1/incidents", token=token)[1]["items"]
        assert one.stop() == 0
        assert [event["event"] for event in one.events()][-2:] == ["stopping", "stopped"]
        assert token not in one.log.read_text()
    with running(tmp_path, port) as one:
        one.until_ready()
        (after,) = one.ask("GET", "/api/v1/incidents", token=token)[1]["items"]
        assert after == before
        assert one.stop(signal.SIGINT) == 0


def test_what_was_answered_survives_a_kill(tmp_path: Path) -> None:
    port = free_port()
    with running(tmp_path, port) as one:
        one.until_ready()
        assert one.ask("POST", "/api/v1/alerts", b'{"name":"A","severity":"critical","service":"s"}')[0] == 200
        one.process.kill()
        one.process.wait()
    with running(tmp_path, port, login="open") as one:
        one.until_ready()
        assert [item["name"] for item in one.ask("GET", "/api/v1/alerts")[1]["items"]] == ["A"]
        assert any(event["event"] == "login_open" and event["level"] == "warning" for event in one.events())


def test_reload_by_signal_and_by_request(tmp_path: Path) -> None:
    port = free_port()
    with running(tmp_path, port, login="open") as one:
        one.until_ready()
        assert one.ask("POST", "/hooks/later", b'{"name":"A"}')[0] == 404
        config = configure(tmp_path, port, login="open")
        config.write_text(config.read_text().replace("scripts: {", "later: {type: native}, scripts: {"))
        one.process.send_signal(signal.SIGHUP)
        one.until_event("reloaded")
        assert one.ask("POST", "/hooks/later", b'{"name":"A"}')[0] == 200
        config.write_text(config.read_text() + "nonsense: 1\n")
        status, body = one.ask("POST", "/-/reload")
        assert (status, "nonsense" in body["error"]) == (422, True)
        assert one.ask("POST", "/hooks/later", b'{"name":"A"}')[0] == 200, "the old one stays in force"
        text = one.ask("GET", "/metrics")[1].decode()
        assert "samband_config_last_reload_successful 0.0" in text
        assert one.stop() == 0


def refused(folder: Path, config: Path) -> str:
    """Starts it, expects exit 2, and returns why."""
    done = subprocess.run(
        [sys.executable, "-m", "daemon.cli", "run", "--config", str(config)],
        cwd=Path.cwd(), capture_output=True, text=True, timeout=PATIENCE_S, check=False,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    last = json.loads(done.stderr.splitlines()[-1])
    assert last["event"] == "start_failed"
    text: str = last["text"]
    return text


def test_a_second_daemon_on_the_same_store_names_the_first(tmp_path: Path) -> None:
    with running(tmp_path, free_port()) as one:
        one.until_ready()
        other = configure(tmp_path, free_port())
        assert f"process {one.process.pid}" in refused(tmp_path, other)


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert f"127.0.0.1:{port}" in refused(tmp_path, configure(tmp_path, port))


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"listen": "0.0.0.0:0"}, "has no token"),
        ({"listen": "0.0.0.0:0", "login": "open"}, "loopback only"),
        ({"mode": "odd"}, "mode"),
        ({"store": "{path: samband.yaml/x.db}"}, "samband.yaml"),
    ],
)
def test_what_forbids_a_start(tmp_path: Path, more: dict[str, str], says: str) -> None:
    config = configure(tmp_path, free_port())
    kept = [line for line in config.read_text().splitlines() if line.partition(":")[0] not in more]
    config.write_text("\n".join([*kept, *(f"{key}: {value}" for key, value in more.items())]) + "\n")
    assert says in refused(tmp_path, config)


def test_an_operator_token_that_others_may_read_is_refused(tmp_path: Path) -> None:
    config = configure(tmp_path, free_port())
    (tmp_path / "state").mkdir()
    token = tmp_path / "state" / "operator.token"
    token.write_text("x" * 40)
    os.chmod(token, 0o644)
    assert "others may read it" in refused(tmp_path, config)
