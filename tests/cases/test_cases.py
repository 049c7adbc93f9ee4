"""Every case from public bug reports, each tried by its own runner: through `samband replay`, or over HTTP."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import shared_data

ROOT = Path(__file__).resolve().parents[2]
CASES = [file.parent.name for file in shared_data.files("cases/cases/*/expect.json")]


@pytest.mark.shared_data
@pytest.mark.parametrize("case", CASES)
def test_case(case: str, shared_data: Path) -> None:
    command = [sys.executable, str(shared_data / "cases/run.py"), "--samband", f"{sys.executable} -m daemon.cli"]

    done = subprocess.run(
        [*command, "--json", case],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )

    found = json.loads(done.stdout)
    assert found["cases"] == {case: []}, done.stderr
