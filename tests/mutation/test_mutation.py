"""Every planted bug is caught, by the test that the list names; and the list fits the source and the page."""

import subprocess
import sys
from collections.abc import Callable, Iterator

import msgspec
import pytest

from tests.mutation.catching import Verdict
from tests.mutation.page import on_page, table
from tests.mutation.planting import ROOT, load, planted

MUTANTS = {one.name: one for one in load()}


def test_the_list_is_sound() -> None:
    assert len(MUTANTS) == len(load()), "two mutants have the same name"
    for one in MUTANTS.values():
        source = (ROOT / one.file).read_text(encoding="utf-8")
        compile(planted(one, source), one.file, "exec")
        assert one.caught_by, f"{one.name} names no test"


def test_the_page_has_the_list() -> None:
    assert on_page() == table(), "run `python -m tests.mutation --write-docs`"


@pytest.fixture(scope="module")
def verdict_of(request: pytest.FixtureRequest) -> Iterator[Callable[[str], Verdict]]:
    """What became of each mutant that this run asks for, in a process that has loaded nothing of samband's."""
    names = [item.callspec.params["name"] for item in request.session.items if _asks(item)]  # type: ignore[attr-defined]
    command = [sys.executable, "-m", "tests.mutation", "--json", "--no-control"]
    command += [word for name in names for word in ("--only", name)]
    known: dict[str, Verdict] = {}
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as hunt:

        def find(name: str) -> Verdict:
            while name not in known:
                assert hunt.stdout is not None
                line = hunt.stdout.readline()
                assert line, f"the hunt ended before {name}"
                verdict = msgspec.json.decode(line, type=Verdict)
                known[verdict.mutant] = verdict
            return known[name]

        yield find
        hunt.terminate()


def _asks(item: pytest.Item) -> bool:
    return getattr(item, "originalname", "") == "test_every_planted_bug_is_caught"


@pytest.mark.parametrize("name", MUTANTS)
def test_every_planted_bug_is_caught(verdict_of: Callable[[str], Verdict], name: str) -> None:
    verdict = verdict_of(name)
    if verdict.outcome == "skipped":
        pytest.skip(f"{name} could not be tried: {verdict.text}")
    assert verdict.outcome == "caught", f"{verdict.outcome}: {verdict.text}"
