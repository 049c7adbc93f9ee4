"""The table itself: what was missed fails once, in its own test, and the page keeps what stands around it."""

from pathlib import Path

import pytest

from tests.bench.table import BEGIN, END, Line, Table, percentile, write


def test_a_missed_goal_is_told_with_figure_and_goal_and_only_once() -> None:
    table = Table()
    table.add(
        Line("Part", "slow", "5", "4", "1.25×", "≤ 1×", met=False), Line("Part", "fine", "1", goal="≤ 2", met=True)
    )
    with pytest.raises(AssertionError, match=r"slow: 5, Alertmanager 4, 1\.25×; the goal is ≤ 1×"):
        table.check()
    table.add(Line("Part", "next", "1"))
    table.check()


def test_the_page_keeps_what_stands_around_the_table(tmp_path: Path) -> None:
    page, table = tmp_path / "page.md", Table()
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    table.add(Line("Part", "what", "1", met=False))
    write(page, table, tmp_path, "make bench")
    text = page.read_text()
    assert text.startswith(f"before\n{BEGIN}\n`make bench`, ")
    assert "| what | 1 |  |  | **missed** |" in text
    assert text.endswith(f"\n{END}\nafter\n")
    assert "old" not in text
    page.write_text("no markers")
    with pytest.raises(ValueError, match="missing"):
        write(page, table, tmp_path, "make bench")


def test_percentiles_are_figures_that_were_measured() -> None:
    assert [percentile([3.0, 1.0, 2.0], rank) for rank in (1, 50, 99, 100)] == [1.0, 2.0, 3.0, 3.0]
