"""Runs tests in a copy of the tree, in a child process, and judges whether they have caught the bug in it.

The child is forked from a process that has loaded the libraries already, but nothing of samband's own, so
that a mutant costs a second and not four.
"""

import importlib
import os
import re
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec
import pytest

from tests.mutation.planting import ROOT, Copy, Mutant, Outdated

OURS = frozenset({"daemon", "correlators", "sinks", "tests"})
LIBRARIES = (
    "aiohttp", "aiokafka", "alembic", "fastapi", "jinja2", "orjson", "prometheus_client", "psycopg",
    "pydantic_settings", "re2", "ruamel.yaml", "sqlalchemy", "structlog", "typer", "uvicorn", "zstandard",
)  # fmt: skip
"""What takes long to load. One that is not installed only costs time."""
WITHIN_S = 120.0
"""A catcher takes one or two seconds, on a busy machine some more; all of them without a bug five times this."""

MISSPELT = re.compile(r"\b(NameError|AttributeError|TypeError|ImportError|ModuleNotFoundError|SyntaxError)\b")
"""Signs of a bug that was planted badly: it breaks the code, and not the promise."""


class Report(msgspec.Struct):
    """What a run of tests came to. proven: it was the copy that ran. collected: errors before any test.

    failed, skipped: test -> why. said: the end of what pytest printed.
    """

    proven: bool = False
    passed: list[str] = []
    failed: dict[str, str] = {}
    skipped: dict[str, str] = {}
    collected: list[str] = []
    said: str = ""


Outcome = Literal["caught", "skipped", "survived", "broken"]
OUTCOMES: tuple[Outcome, ...] = ("caught", "skipped", "survived", "broken")
"""skipped: a counterpart is not there. broken: the run says nothing about the tests."""


class Verdict(msgspec.Struct):
    """What became of a mutant, why, and in how many seconds."""

    mutant: str
    outcome: Outcome
    seconds: float
    text: str = ""


class Witness:
    """Pytest's plugin in the child: is it the copy that runs, and how did the tests end?"""

    def __init__(self, folder: Path, mutant: Mutant | None) -> None:
        self.report = Report()
        self._folder, self._mutant = folder, mutant

    def pytest_sessionstart(self) -> None:
        """What is imported is the file in the copy, and its code is that of the source with the bug."""
        name = self._mutant.module if self._mutant else "daemon.core.engine"
        module = importlib.import_module(name)
        path = Path(str(module.__file__))
        assert path.is_relative_to(self._folder), f"{name} was imported from {path}"
        source = path.read_text(encoding="utf-8")
        assert self._mutant is None or self._mutant.replace in source
        assert module.__spec__ is not None
        loader: Any = module.__spec__.loader
        assert loader.get_code(name) == compile(source, str(path), "exec", dont_inherit=True)
        self.report.proven = True

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Errors while tests are looked for."""
        if report.failed:
            self.report.collected.append(report.longreprtext)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """How a test ended; a failure of a fixture is none of the test."""
        if report.skipped:
            self.report.skipped[report.nodeid] = report.longreprtext
        elif report.failed and report.when == "call":
            self.report.failed[report.nodeid] = report.longreprtext
        elif report.failed:
            self.report.collected.append(f"{report.when} of {report.nodeid}: {report.longreprtext}")
        elif report.when == "call":
            self.report.passed.append(report.nodeid)


def preload() -> None:
    """Loads what every child needs; to be called once, before the first `run`."""
    for name in LIBRARIES:
        with suppress(ImportError):
            importlib.import_module(name)


class Child:
    """A run of tests in a copy, under way."""

    def __init__(self, copy: Copy, mutant: Mutant | None, tests: Sequence[str]) -> None:
        self._began, self._within = time.monotonic(), WITHIN_S * (1 if mutant else 5)
        self._said = copy.folder.parent / f"{copy.folder.name}.said"
        self._report = copy.folder.parent / f"{copy.folder.name}.report"
        self._report.unlink(missing_ok=True)
        self._pid = os.fork()
        if not self._pid:
            self._live(copy.folder, mutant, tests)

    def _live(self, folder: Path, mutant: Mutant | None, tests: Sequence[str]) -> None:
        """The child's whole life."""
        try:
            os.setsid()
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            with self._said.open("w") as said:
                os.dup2(said.fileno(), 1)
                os.dup2(said.fileno(), 2)
            _move_to(folder)
            witness = Witness(folder, mutant)
            options = ["-q", "-p", "no:cacheprovider", "-p", "pytest_asyncio.plugin", "--tb=short"]
            options.append(f"--basetemp={folder.parent / folder.name}.tmp")
            pytest.main([*options, *tests], plugins=[witness])
            self._report.write_bytes(msgspec.json.encode(witness.report))
        except BaseException:  # noqa: BLE001 - the parent shows it
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(0)

    def ended(self) -> Report | str | None:
        """The report, or why there is none; None while it runs."""
        if os.waitpid(self._pid, os.WNOHANG)[0]:
            if self._report.exists():
                report = msgspec.json.decode(self._report.read_bytes(), type=Report)
                report.said = self._said.read_text()[-2000:]
                return report
            return f"it ended without a report: {self._said.read_text()[-2000:]}"
        if self.seconds < self._within:
            return None
        self.kill()
        return f"it took more than {self._within:g} s: {self._said.read_text()[-2000:]}"

    def kill(self) -> None:
        """Ends it, and what it has started."""
        with suppress(ProcessLookupError):  # It had no time yet to make a group of its own.
            os.killpg(self._pid, signal.SIGKILL)
        os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)

    @property
    def seconds(self) -> float:
        """How long it has run."""
        return time.monotonic() - self._began


def _move_to(folder: Path) -> None:
    """From here on Python and its children import from the copy; the editable install would give the tree itself."""
    os.chdir(folder)
    sys.path[:] = [str(folder), *(path for path in sys.path if path and Path(path).resolve() != ROOT)]
    sys.pycache_prefix = str(folder.parent / f"{folder.name}.pyc")
    for name in [name for name in sys.modules if name.partition(".")[0] in OURS]:
        del sys.modules[name]
    for name in [name for name in os.environ if name.startswith("PYTEST_XDIST") or name in _NOT_HANDED_ON]:
        del os.environ[name]
    os.environ["PYTHONPATH"] = str(folder)
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"


_NOT_HANDED_ON = {"CI", "PYTEST_ADDOPTS", "PYTEST_CURRENT_TEST", "PYTHONPYCACHEPREFIX", "SAMBAND_DATA"}
"""Under CI a skip is a failure, but of these tests' own, not of a mutant's."""


def judge(mutant: Mutant, report: Report | str, seconds: float) -> Verdict:
    """The verdict. A report that is a text says why there is none."""
    if isinstance(report, str):
        return Verdict(mutant.name, "broken", seconds, report)
    outcome, text = _judged(mutant, report)
    return Verdict(mutant.name, outcome, seconds, text)


def _judged(mutant: Mutant, report: Report) -> tuple[Outcome, str]:
    if not report.proven:
        return "broken", f"it is not certain that the copy ran: {report.said}"
    if report.collected:
        return "broken", report.collected[0]
    for wanted in mutant.caught_by:
        failed = {test: why for test, why in report.failed.items() if _is(test, wanted)}
        for test, why in failed.items():
            if MISSPELT.search(why):
                return "broken", f"{test} fails by how the bug is written, not by what it does:\n{why}"
        if failed:
            continue
        if any(_is(test, wanted) for test in report.skipped):
            return "skipped", next(iter(report.skipped.values()))
        if not any(_is(test, wanted) for test in report.passed):
            return "broken", f"there is no test {wanted}"
        return "survived", f"{wanted} passes with the bug in place"
    return "caught", ""


def _is(test: str, wanted: str) -> bool:
    return test == wanted or test.startswith(f"{wanted}[")


def hunt(mutants: Sequence[Mutant], jobs: int) -> Iterator[tuple[Mutant, Verdict]]:
    """Plants the mutants, each by itself, and lets its catchers run; yields the verdicts as they come."""
    preload()
    with _room() as room:
        idle = [Copy(room / f"copy{number}") for number in range(min(jobs, len(mutants)))]
        waiting, running = list(reversed(mutants)), list[_Run]()
        try:
            while waiting or running:
                while waiting and idle:
                    mutant, copy, bug = waiting.pop(), idle.pop(), ExitStack()
                    try:
                        bug.enter_context(copy.with_bug(mutant))
                    except Outdated as error:
                        idle.append(copy)
                        yield mutant, Verdict(mutant.name, "broken", 0, str(error))
                        continue
                    running.append(_Run(mutant, copy, bug, Child(copy, mutant, mutant.caught_by)))
                for run in list(running):
                    report = run.child.ended()
                    if report is not None:
                        run.bug.close()
                        running.remove(run)
                        idle.append(run.copy)
                        yield run.mutant, judge(run.mutant, report, run.child.seconds)
                time.sleep(0.02)
        finally:
            for run in running:
                run.child.kill()


class _Run(NamedTuple):
    mutant: Mutant
    copy: Copy
    bug: ExitStack
    child: Child


def sound(tests: Sequence[str]) -> str:
    """Runs the tests in a copy without a bug, since a test that always fails catches nothing.

    "" when all of them pass, else what is wrong.
    """
    preload()
    with _room() as room:
        child = Child(Copy(room / "copy"), None, tests)
        while (report := child.ended()) is None:
            time.sleep(0.02)
    if isinstance(report, str):
        return report
    failed = [f"{test} fails without a bug:\n{why}" for test, why in report.failed.items()]
    return "\n".join(["" if report.proven else report.said, *report.collected, *failed]).strip()


@contextmanager
def _room() -> Iterator[Path]:
    """A folder for copies, gone afterwards."""
    room = Path(tempfile.mkdtemp(prefix="samband-mutants-"))
    try:
        yield room
    finally:
        shutil.rmtree(room, ignore_errors=True)
