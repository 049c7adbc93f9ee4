"""The rules that `conftest.py` lays on every test hold."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

CASES = """
import pytest

def test_passes(): pass

@pytest.mark.skip(reason="no broker here")
def test_skips(): pass

@pytest.mark.xfail(strict=True)
def test_is_known_to_fail(): assert False

@pytest.mark.shared_data
def test_reads_a_recording(): pass

def test_asks_for_the_folder(shared_data): assert shared_data.is_dir()
"""


def _run(folder: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    (folder / "test_cases.py").write_text(CASES)
    (folder / "pytest.ini").write_text("[pytest]\nmarkers = shared_data: as in the project\n")
    kept = {key: value for key, value in os.environ.items() if key not in {"CI", "SAMBAND_DATA", "PYTEST_ADDOPTS"}}
    command = [sys.executable, "-m", "pytest", "-p", "tests.conftest", "-p", "no:cacheprovider", "-rs", str(folder)]
    return subprocess.run(command, cwd=ROOT, env=kept | settings, capture_output=True, text=True, check=False)


def test_a_skip_is_named_at_home(tmp_path: Path) -> None:
    run = _run(tmp_path)

    assert run.returncode == 0, run.stdout
    assert "no broker here" in run.stdout
    assert "1 passed, 1 skipped, 2 deselected, 1 xfailed" in run.stdout


def test_a_skip_is_a_failure_under_ci(tmp_path: Path) -> None:
    run = _run(tmp_path, CI="true")

    assert run.returncode == 1, run.stdout
    assert "Under CI a skip is a failure. Skipped: no broker here" in run.stdout
    assert "1 passed, 2 deselected, 1 xfailed, 1 error" in run.stdout


def test_recordings_are_read_where_the_setting_says(tmp_path: Path) -> None:
    run = _run(tmp_path, SAMBAND_DATA=str(tmp_path))

    assert "3 passed, 1 skipped, 1 xfailed" in run.stdout


@pytest.mark.parametrize("ci", ["", "true"])
def test_a_folder_that_is_not_there_stops_the_run(tmp_path: Path, ci: str) -> None:
    run = _run(tmp_path, SAMBAND_DATA=str(tmp_path / "nowhere"), CI=ci)

    assert run.returncode != 0
    assert "nowhere is not a folder" in run.stdout + run.stderr
