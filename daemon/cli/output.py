"""What commands print: tables for people, JSON for programs; hostile text stays inert on a terminal."""

import io
import json
import re
import sys
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

import typer

from sinks.text import clean, one_line

FINE, FOUND, COULD_NOT = 0, 1, 2
"""Exit codes: fine; found something (mistakes, bad lines, a refusal); could not run."""

CELL_CHARS_MAX = 120
LOOSE = frozenset({"WHAT", "ALERT", "RESOURCE", "SERVICE", "IN BECAUSE"})
"""Columns that give way where the terminal is narrow."""
_HIDDEN = re.compile("[\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]")
_COLOURS = {"P1": "bold red", "P2": "red", "P3": "yellow"}


def print_json(data: Any) -> None:
    """One JSON document. Characters that steer a terminal or turn text round are escaped, as JSON allows."""
    text = json.dumps(data, ensure_ascii=False, indent=2 if sys.stdout.isatty() else None)
    print(_HIDDEN.sub(lambda found: f"\\u{ord(found[0]):04x}", text))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A table with a head; on a terminal in colour, its loose columns cut to the width, elsewhere whole."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    terminal = sys.stdout.isatty()
    table = Table(box=None, pad_edge=False, header_style="bold" if terminal else "", show_edge=False)
    for column in columns:
        table.add_column(column, no_wrap=column not in LOOSE)
    for row in rows:
        texts = [one_line(str(cell), CELL_CHARS_MAX) for cell in row]
        table.add_row(*(Text(text, _COLOURS.get(text, ""), no_wrap=True, overflow="ellipsis") for text in texts))
    if terminal:
        Console(highlight=False, markup=False).print(table)
        return
    out = io.StringIO()
    Console(file=out, width=10_000, highlight=False, markup=False, color_system=None).print(table)
    print("\n".join(line.rstrip() for line in out.getvalue().splitlines()))


def shown_time(text: str | None) -> str:
    """A time of the API, to the second, for tables; "" for none."""
    return f"{text[:19]}Z" if text else ""


def print_block(text: str) -> None:
    """Text of one or several lines, made harmless."""
    print(clean(text))


def say(text: str) -> None:
    """A word to the person at the terminal, on stderr."""
    print(clean(text), file=sys.stderr)


def stop(text: str, code: int = COULD_NOT) -> NoReturn:
    """Ends the command with an error on stderr."""
    say(text)
    raise typer.Exit(code)
