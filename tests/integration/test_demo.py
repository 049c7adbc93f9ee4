"""`samband demo`: the first minute, as somebody sees it who has just installed samband."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration

ROOT = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-m", "daemon.cli", "demo"]


def test_the_demo_shows_alerts_becoming_an_incident_a_page_a_ticket_and_a_public_entry(tmp_path: Path) -> None:
    done = subprocess.run(
        [*COMMAND, "--seconds", "25", "--port", "18119", "--dir", "kept"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )

    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    said = done.stdout
    for kind in ("ALERT", "INCIDENT", "PAGE", "TICKET", "STATUS"):
        assert f" {kind:<8} " in said, f"{kind} is missing in:\n{said}"
    assert "samband incidents list --url http://127.0.0.1:18119" in said
    assert said.count(" PAGE ") == 1, "a cascade over eleven services rings once"
    page = said[said.index(" PAGE ") :]
    assert page.split("\n", 1)[0].strip().startswith("PAGE     P1")
    assert "SINCE   " in page
    assert "\x1b" not in said
    assert (tmp_path / "kept/samband.yaml").exists()
    assert (tmp_path / "kept/state/samband.db").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_demo_takes_its_daemon_with_it(tmp_path: Path, number: int) -> None:
    with subprocess.Popen(
        [*COMMAND, "--port", "18120", "--dir", "kept"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    ) as running:
        assert running.stdout is not None
        for line in running.stdout:
            if "ALERT" in line:
                break
        running.send_signal(number)
        assert running.wait(60) == 0

    daemon = int((tmp_path / "kept/state/samband.db.lock").read_text())
    time.sleep(0.2)
    with pytest.raises(ProcessLookupError):
        os.kill(daemon, 0)
