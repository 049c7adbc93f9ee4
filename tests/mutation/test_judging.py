"""When a mutant counts as caught, and when a run says nothing about the tests."""

from pathlib import Path

import pytest

from tests.mutation.catching import Report, judge
from tests.mutation.planting import Copy, Mutant, Outdated, planted

MUTANT = Mutant(
    "m",
    "a rule",
    "daemon/clock.py",
    "        return self._now\n",
    "        return 0\n",
    ["a.py::test_it", "a.py::test_both"],
)
WRONG, BOTH = "E   AssertionError: assert 0 == 1", "a.py::test_both"


@pytest.mark.parametrize(
    ("report", "outcome"),
    [
        (Report(True, failed={"a.py::test_it": WRONG, BOTH: WRONG}), "caught"),
        (Report(True, failed={"a.py::test_it[one]": WRONG, BOTH: WRONG}, passed=["a.py::test_it[two]"]), "caught"),
        (Report(True, passed=["a.py::test_it"], failed={BOTH: WRONG}), "survived"),
        (Report(True, passed=[BOTH], failed={"a.py::test_it": WRONG}), "survived"),
        (Report(True, failed={"a.py::test_it_too": WRONG, BOTH: WRONG}), "broken"),
        (Report(True, failed={"a.py::test_it": "E   NameError: name 'x' is not defined", BOTH: WRONG}), "broken"),
        (Report(True, failed={"a.py::test_it": WRONG, BOTH: WRONG}, collected=["ImportError"]), "broken"),
        (Report(False, failed={"a.py::test_it": WRONG, BOTH: WRONG}), "broken"),
        (Report(True, skipped={"a.py::test_it": "no server"}, failed={BOTH: WRONG}), "skipped"),
    ],
)
def test_verdicts(report: Report, outcome: str) -> None:
    assert judge(MUTANT, report, 1.0).outcome == outcome


def test_a_run_that_ends_without_a_report_says_nothing() -> None:
    assert judge(MUTANT, "it took more than 120 s", 120.0).outcome == "broken"


@pytest.mark.parametrize("source", ["", 2 * MUTANT.find])
def test_a_bug_whose_text_is_not_there_once_is_to_be_renewed(source: str) -> None:
    with pytest.raises(Outdated, match=r"not once; renew the mutant in tests/mutation/mutants\.toml"):
        planted(MUTANT, source)


def test_a_bug_is_in_the_copy_only_and_gone_afterwards(tmp_path: Path) -> None:
    copy = Copy(tmp_path)
    path = tmp_path / MUTANT.file
    before, times = path.read_text(), set[int]()
    for _ in range(2):
        with copy.with_bug(MUTANT):
            assert path.read_text() == before.replace(MUTANT.find, MUTANT.replace)
            times.add(int(path.stat().st_mtime))
        assert path.read_text() == before
        times.add(int(path.stat().st_mtime))
    assert len(times) == 3, "each state of the file has a time of its own, by which Python knows it"
