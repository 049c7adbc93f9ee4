"""The table of the run, shared by all parts; at the end it is printed, and written where `--table` says."""

from pathlib import Path

import pytest

from tests.bench.table import Table, write

_TABLE = pytest.StashKey[Table]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Where the table goes; without it, it is only printed."""
    parser.addoption("--table", type=Path, default=None, help="page into which the benches write their table")


def pytest_configure(config: pytest.Config) -> None:
    """One table for the run."""
    config.stash[_TABLE] = Table()


@pytest.fixture
def table(request: pytest.FixtureRequest) -> Table:
    """The run's table."""
    return request.config.stash[_TABLE]


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """The table, also when some goals were missed."""
    table, page = config.stash[_TABLE], config.getoption("--table")
    if not table.lines:
        return
    terminalreporter.write_line(f"\n{table.markdown()}\n")
    if page is not None:
        write(page, table, config.rootpath, "make bench")
        terminalreporter.write_line(f"written into {page}")
