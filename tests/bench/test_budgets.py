"""The gate in CI: no step of an alert's way may become dearer unseen."""

import json

import pytest

from tests.bench import budgets

ATTEMPTS = 3
KEPT = json.loads(budgets.FILE.read_text())


def test_no_step_takes_more_of_pythons_instructions() -> None:
    found = budgets.opcodes_per_alert()
    over = budgets.over_opcodes(KEPT["opcodes"], found, budgets_of=KEPT["python"])
    assert not over, "\n".join(over)


def test_no_step_takes_more_cpu_time_beside_fixed_work() -> None:
    """A busy machine may spoil an attempt; it does not spoil three."""
    over: list[str] = []
    for _ in range(ATTEMPTS):
        over = budgets.over_ratios(KEPT["ratio"], budgets.ratios())
        if not over:
            return
    pytest.fail("\n".join(over))


def test_counting_gives_the_same_number_every_time() -> None:
    assert budgets.opcodes_per_alert() == budgets.opcodes_per_alert()


def test_a_dearer_step_is_named_with_figure_and_remedy() -> None:
    kept = KEPT["opcodes"]
    (told,) = budgets.over_opcodes(kept, kept | {"fold new": kept["fold new"] * 1.11}, "3.11", budgets_of="3.11")
    assert told.startswith("fold new: ")
    assert "RAISE=fold-new" in told
    assert budgets.over_opcodes(kept, kept, "3.11", budgets_of="3.11") == []
    assert budgets.over_ratios(KEPT["ratio"], {step: figure * 1.5 for step, figure in KEPT["ratio"].items()})


def test_another_python_is_measured_by_the_reference() -> None:
    kept = KEPT["opcodes"]
    everything = {step: figure * 2 for step, figure in kept.items()}
    assert budgets.over_opcodes(kept, everything, "3.13", budgets_of="3.11") == []
    assert budgets.over_opcodes(kept, everything, "3.11", budgets_of="3.11")


def test_budgets_go_up_only_for_a_step_that_is_named() -> None:
    before, found = {"parse": 10.0, "repeat": 5.0}, {"parse": 12.0, "repeat": 4.0}
    assert budgets.renewed(before, found, set()) == {"parse": 10.0, "repeat": 4.0}
    assert budgets.renewed(before, found, {"parse"}) == {"parse": 12.0, "repeat": 4.0}
