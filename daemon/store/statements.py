"""Hot statements over the sqlite3 module, built once from the tables in `schema`.

One statement writes many rows. That is not for SQLite's sake: the sqlite3 module gives the GIL up
and takes it back around every step, and beside a busy event loop each of these trades may wait for
a whole switch interval. A thousand rows in six statements trade it a dozen times, not a thousand.
"""

import sqlite3
from collections.abc import Sequence
from itertools import chain

from sqlalchemy import Table

ROWS_MAX = 512
VARIABLES_MAX = 32_766
"""SQLite's own limit of parameters in one statement."""


class Bulk:
    """One statement for 1, 2, 4, … rows; any number of rows is written as a sum of these, largest first."""

    def __init__(self, head: str, one: str, tail: str, width: int) -> None:
        self._texts: list[tuple[int, str]] = []
        size = 1
        while size <= ROWS_MAX and size * width <= VARIABLES_MAX:
            self._texts.append((size, head + ", ".join([one] * size) + tail))
            size *= 2
        self._texts.reverse()

    def run(self, connection: sqlite3.Connection, rows: Sequence[Sequence[object]]) -> None:
        """Executes it for all the rows; none is fine. Raises sqlite3.Error."""
        position, count = 0, len(rows)
        for size, text in self._texts:
            while count - position >= size:
                part = rows[position : position + size]
                connection.execute(text, tuple(chain.from_iterable(part)))
                position += size


def insert(table: Table, *, update: Sequence[str] = (), running: bool = False) -> Bulk:
    """INSERT of whole rows in the order of the table's columns; `update`: columns set when the id is there.

    running: the table numbers its rows itself, so its first column is left out.
    """
    columns = [f'"{column.name}"' for column in table.columns][1 if running else 0 :]
    head = f"INSERT INTO {table.name} ({', '.join(columns)}) VALUES "  # noqa: S608  (names of our own tables)
    one = f"({', '.join('?' * len(columns))})"
    tail = ""
    if update:
        tail = " ON CONFLICT (id) DO UPDATE SET " + ", ".join(f'"{name}" = excluded."{name}"' for name in update)
    return Bulk(head, one, tail, len(columns))


def delete(table: Table) -> Bulk:
    """DELETE by id."""
    return Bulk(f"DELETE FROM {table.name} WHERE id IN (", "?", ")", 1)  # noqa: S608
