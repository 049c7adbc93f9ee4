"""What commands print: tables for people, JSON for programs; hostile text stays inert on a terminal."""

import json
import re
import sys
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

import typer

from daemon.core.communication import clean

FINE, FOUND, COULD_NOT = 0, 1, 2
"""Exit codes: fine; found something (mistakes, bad lines, a refusal); could not run."""

CELL_CHARS_MAX = 120
_HIDDEN = re.compile("[\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]")
_COLOURS = {"P1": "bold red", "P2": "red", "P3": "yellow"}


def print_json(data: Any) -> None:
    """One JSON document. Characters that steer a terminal or turn text round are escaped, as JSON allows."""
    text = json.dumps(data, ensure_ascii=False, indent=2 if sys.stdout.isatty() else None)
    print(_HIDDEN.sub(lambda found: f"\\u{ord(found[0]):04x}", text))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A table with a head; on a terminal in colour and cut to its width, elsewhere whole."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    terminal = sys.stdout.isatty()
    table = Table(box=None, pad_edge=False, header_style="bold" if terminal else "", show_edge=False)
    for column in columns:
        table.add_column(column, no_wrap=True, overflow="ellipsis" if terminal else "ignore")
    for row in rows:
        texts = [clean(str(cell), CELL_CHARS_MAX) for cell in row]
        table.add_row(*(Text(text, style=_COLOURS.get(text, "")) for text in texts))
    Console(width=None if terminal else 10_000, highlight=False, markup=False).print(table)


def print_block(text: str) -> None:
    """Several lines of text, each made harmless."""
    print("\n".join(clean(line, 500) for line in text.splitlines()))


def say(text: str) -> None:
    """A line for the person at the terminal, on stderr."""
    print(clean(text, 2000), file=sys.stderr)


def stop(text: str, code: int = COULD_NOT) -> NoReturn:
    """Ends the command with an error on stderr."""
    for line in text.splitlines():
        print(clean(line, 2000) if line == line.lstrip() else "    " + clean(line, 2000), file=sys.stderr)
    raise typer.Exit(code)
