"""What the worlds have reached is kept in one folder for all workers of a run."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def reached(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder: a worker of xdist has a folder of its own inside that of the run."""
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent
    folder = base / "simulation-reached"
    folder.mkdir(exist_ok=True)
    return folder
