"""What every test gets: a skip that counts under CI, the shared recordings, the real counterparts."""

import os
from collections.abc import Generator
from pathlib import Path

import pytest

from tests import shared_data

pytest_plugins = ["tests.counterparts.fixtures", "tests.counterparts.postgres"]

IN_CI = os.environ.get("CI", "").lower() in {"true", "1"}


def pytest_configure() -> None:
    """Refuse a data folder that is not there: leaving its tests out silently would look like success."""
    if shared_data.FOLDER is not None and not shared_data.FOLDER.is_dir():
        raise pytest.UsageError(f"{shared_data.SETTING}={shared_data.FOLDER} is not a folder")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out, and say so, what needs the shared recordings when nobody said where they are."""
    if shared_data.FOLDER is not None:
        return
    without = [item for item in items if item.get_closest_marker("shared_data") or "shared_data" in _fixtures(item)]
    if without:
        items[:] = [item for item in items if item not in set(without)]
        config.hook.pytest_deselected(items=without)
        config.stash[_LEFT_OUT] = len(without)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Name the tests that were left out, so that a short run is not taken for a whole one."""
    if shared_data.FOLDER is None:
        number = config.stash.get(_LEFT_OUT, None)
        which = "tests" if number is None else f"{number} tests"
        terminalreporter.write_line(f"{shared_data.SETTING} is not set: {which} of the shared recordings are left out")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn a skip into a failure under CI: there everything must be there."""
    report = yield
    if IN_CI and report.skipped and not hasattr(report, "wasxfail"):
        _fail(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Do the same for a module that skips itself as a whole."""
    report = yield
    if IN_CI and report.skipped:
        _fail(report)
    return report


@pytest.fixture(name="shared_data")
def shared_data_folder() -> Path:
    """The folder of the shared recordings; a test that asks for it is left out when there is none."""
    assert shared_data.FOLDER is not None
    return shared_data.FOLDER


_LEFT_OUT = pytest.StashKey[int]()


def _fixtures(item: pytest.Item) -> list[str]:
    return getattr(item, "fixturenames", [])


def _fail(report: pytest.TestReport | pytest.CollectReport) -> None:
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    report.outcome = "failed"
    report.longrepr = f"Under CI a skip is a failure. {reason}"
