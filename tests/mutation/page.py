"""The table in docs/mutation.md, made from the mutants."""

from tests.mutation.planting import ROOT, load

PAGE = ROOT / "docs" / "mutation.md"
BEGIN, END = "<!-- the mutants begin -->\n", "<!-- the mutants end -->\n"


def table() -> str:
    """The mutants as a table."""
    lines = ["| planted bug | breaks | in | caught by |", "|---|---|---|---|"]
    for one in load():
        tests = "<br>".join(f"`{test.removeprefix('tests/')}`" for test in one.caught_by)
        lines.append(f"| {one.name.replace('-', ' ')} | {one.breaks} | `{one.file}` | {tests} |")
    return "\n".join(lines) + "\n"


def on_page() -> str:
    """The table as the page has it."""
    return PAGE.read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0]


def write() -> None:
    """Puts the table into the page."""
    before, begin, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    PAGE.write_text(before + begin + table() + END + rest.partition(END)[2], encoding="utf-8")
