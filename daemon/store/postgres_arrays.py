"""Hot statements for PostgreSQL, built once from the tables in `schema`: all rows of a table in one statement.

Each column travels as one array in binary, which costs a fraction of a value by itself: the statement
reads `INSERT … SELECT * FROM unnest(…)`.
"""

import struct
from collections.abc import Callable, Sequence
from itertools import chain, repeat

from sqlalchemy import BigInteger, Column, LargeBinary

from daemon.store.columns import Values
from daemon.store.writes import Write

_INT8, _BYTEA, _TEXT = 20, 17, 25
"""PostgreSQL's numbers of these types."""

INT_MAX = (1 << 63) - 1


def whole(value: int) -> bytes:
    """A bigint. Raises OverflowError."""
    return int(value).to_bytes(8, "big", signed=True)


def text(value: str) -> bytes:
    """A text. PostgreSQL's cannot hold the character NUL, so another stands for it."""
    return (value.replace("\0", "\ufffd") if "\0" in value else value).encode()


def _wholes(values: Sequence[int]) -> bytes:
    count = len(values)
    return struct.pack(">iiiii" + "iq" * count, 1, 0, _INT8, count, 1, *chain.from_iterable(zip(repeat(8), values)))


def _blobs(values: Sequence[bytes], kind: int = _BYTEA) -> bytes:
    parts = [struct.pack(">iiiii", 1, 0, kind, len(values), 1)]
    for value in values:
        parts.append(len(value).to_bytes(4, "big"))
        parts.append(value)
    return b"".join(parts)


def _texts(values: Sequence[str]) -> bytes:
    return _blobs([text(value) for value in values], _TEXT)


def _kind(column: "Column[object]") -> tuple[str, Callable[[Sequence[object]], bytes]]:
    if isinstance(column.type, BigInteger):
        return "bigint[]", _wholes  # type: ignore[return-value]
    if isinstance(column.type, LargeBinary):
        return "bytea[]", _blobs  # type: ignore[return-value]
    return "text[]", _texts  # type: ignore[return-value]


class Statement:
    """One `Write` as PostgreSQL runs it, under a name of its own."""

    def __init__(self, write: Write, name: str) -> None:
        table = write.table
        columns = list(table.columns)[1 if write.running else 0 :]
        kinds = [_kind(column) for column in columns]
        self.name, self._encoders = name.encode(), [encode for _, encode in kinds]
        if write.gone:
            self.sql, self._encoders = f"DELETE FROM {table.name} WHERE id = ANY($1::bigint[])", [_wholes]  # type: ignore[list-item]  # noqa: S608
            return
        names = ", ".join(f'"{column.name}"' for column in columns)
        arrays = ", ".join(f"${place}::{kind}" for place, (kind, _) in enumerate(kinds, 1))
        self.sql = f"INSERT INTO {table.name} ({names}) SELECT * FROM unnest({arrays})"  # noqa: S608
        if write.update:
            changed = ", ".join(f'"{name}" = excluded."{name}"' for name in write.update)
            self.sql += f" ON CONFLICT (id) DO UPDATE SET {changed}"

    def values(self, rows: Sequence[Values]) -> list[bytes]:
        """The rows as arrays, one a column. Raises struct.error, UnicodeError."""
        return [encode(column) for encode, column in zip(self._encoders, zip(*rows, strict=True), strict=True)]
