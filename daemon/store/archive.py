"""A whole store in one file, the same for both databases: `db backup`, `db restore`, `db move`.

A ZIP archive with one member per table, `<table>.rows.zst`: in zstd, in the order of the table's key, each
row as a MessagePack array behind its length (4 bytes, the highest first). The last member,
`manifest.json`, has the schema's revision, and for each table its columns, the number of rows, and SHA-256
over the rows. What a row is packed to does not depend on the database, so the digests of two can be compared.
"""

import hashlib
import io
import os
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import IO, Any

import msgspec
import zstandard
from sqlalchemy import Connection, column, insert, inspect, table, text

from daemon.store import schema
from daemon.store.columns import sealed
from daemon.store.migrate import migrate
from daemon.store.schema import HEAD, metadata

FORMAT = "samband-backup-1"
MANIFEST = "manifest.json"
ROWS_AT_ONCE = 1000
NUMBERS_LIFTED = 10_000
"""A restored store goes on so far beyond its last INC-number: those in between may have been given since."""

_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(list[Any]).decode


class ArchiveError(Exception):
    """The file is no backup, or not as it was written; or what was copied is not what was read."""


class TableFacts(msgspec.Struct):
    """What a manifest says of a table."""

    columns: list[str]
    rows: int
    sha256: str


class Manifest(msgspec.Struct):
    """What is in an archive. made_at: RFC 3339. build: that made it."""

    format: str
    revision: str
    build: str
    made_at: str
    tables: dict[str, TableFacts]


class Counted:
    """Rows that pass by, packed, counted and digested."""

    def __init__(self, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        self._columns, self._rows, self._count, self._digest = list(columns), rows, 0, hashlib.sha256()

    def __iter__(self) -> Iterator[tuple[list[Any], bytes]]:
        """Each row, and the same packed."""
        for row in self._rows:
            # PostgreSQL's text cannot hold NUL, so no archive does.
            plain = [value.replace("\0", "\ufffd") if isinstance(value, str) else value for value in row]
            packed = _pack(plain)
            self._count += 1
            self._digest.update(packed)
            yield plain, packed

    def facts(self) -> TableFacts:
        """What passed so far."""
        return TableFacts(self._columns, self._count, self._digest.hexdigest())


# ---- reading a store ---------------------------------------------------------------------------------


def revision_in(connection: Connection) -> str:
    """The revision of the schema that is there, "" when there is none."""
    if not inspect(connection).has_table("alembic_version"):
        return ""
    return str(connection.execute(text("SELECT version_num FROM alembic_version")).scalar() or "")


def holds_anything(connection: Connection) -> bool:
    """Whether a daemon has ever claimed a scope there."""
    return inspect(connection).has_table("scope") and bool(
        connection.execute(text("SELECT count(*) FROM scope")).scalar()
    )


def tables_in(connection: Connection) -> dict[str, list[str]]:
    """The tables of a store of any revision, each with its columns."""
    looked = inspect(connection)
    there = set(looked.get_table_names())
    names = [one.name for one in metadata.sorted_tables if one.name in there]
    return {name: [str(found["name"]) for found in looked.get_columns(name)] for name in names}


def rows_of(connection: Connection, name: str, columns: Sequence[str]) -> Counted:
    """The rows of a table in the order of its key, read as they are asked for."""
    key = inspect(connection).get_pk_constraint(name)["constrained_columns"]
    names, order = (", ".join(f'"{one}"' for one in some) for some in (columns, key))
    query = text(f"SELECT {names} FROM {name} ORDER BY {order}")  # noqa: S608  (names of our own tables)
    found = connection.execute(query, execution_options={"yield_per": ROWS_AT_ONCE})
    return Counted(columns, found)


# ---- archives ------------------------------------------------------------------------------------------


def write(connection: Connection, path: Path, *, build: str, made_at: str) -> Manifest:
    """Writes what the connection's transaction sees to a file that only its owner may read; durable when it returns.

    A file that is there is replaced once the new one is whole. Raises OSError, sqlalchemy.exc.SQLAlchemyError.
    """
    manifest = Manifest(FORMAT, revision_in(connection), build, made_at, {})
    part = path.with_name(path.name + ".part")
    part.unlink(missing_ok=True)
    try:
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
                for name, columns in tables_in(connection).items():
                    rows = rows_of(connection, name, columns)
                    with (
                        archive.open(f"{name}.rows.zst", "w", force_zip64=True) as member,
                        zstandard.ZstdCompressor(level=3).stream_writer(member, closefd=False) as packed,
                    ):
                        for _, raw in rows:
                            packed.write(len(raw).to_bytes(4, "big") + raw)
                    manifest.tables[name] = rows.facts()
                archive.writestr(MANIFEST, msgspec.json.format(msgspec.json.encode(manifest)))
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
        sync(path.parent)
    finally:
        part.unlink(missing_ok=True)
    return manifest


def manifest_of(archive: zipfile.ZipFile) -> Manifest:
    """The manifest of an archive. Raises ArchiveError."""
    try:
        found = msgspec.json.decode(archive.read(MANIFEST), type=Manifest)
    except (KeyError, msgspec.DecodeError, zipfile.BadZipFile) as error:
        raise ArchiveError(f"no backup of samband, or one of a newer samband: {error}") from error
    if found.format != FORMAT or not set(found.tables) <= set(metadata.tables):
        raise ArchiveError(f"a backup of another form ({found.format}); restore it with the samband that made it")
    return found


def restore(connection: Connection, path: Path) -> Manifest:
    """Fills a database without tables from an archive, and brings it to this build's schema.

    Everything is checked against the manifest on the way; the caller rolls back when it raises ArchiveError,
    OSError, alembic.util.CommandError (a newer build made it), or sqlalchemy.exc.SQLAlchemyError.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            manifest = manifest_of(archive)
            migrate(connection, manifest.revision)
            for name, facts in manifest.tables.items():
                with archive.open(f"{name}.rows.zst") as member:
                    fill(connection, name, Counted(facts.columns, _unpacked(member)), facts)
    except (zipfile.BadZipFile, KeyError, zstandard.ZstdError, msgspec.DecodeError) as error:
        raise ArchiveError(f"not as it was written: {error}") from error
    migrate(connection)
    connection.execute(
        text("UPDATE scope SET next_number = next_number + :lift, holder = '', lease_until = 0, lineage = ''"),
        {"lift": NUMBERS_LIFTED},
    )
    _perhaps_sent(connection)
    return manifest


def _perhaps_sent(connection: Connection) -> None:
    """What waited may have been sent since the backup was made."""
    outbox = schema.outbox
    for row in connection.execute(outbox.select().where(outbox.c.state == "waiting")).mappings().all():
        values = sealed(tuple({**row, "state": "sending"}.values())[:-1])
        change = outbox.update().where(outbox.c.id == row["id"])
        connection.execute(change.values(state="sending", crc=values[-1]))


def fill(connection: Connection, name: str, rows: Counted, wanted: TableFacts | None = None) -> TableFacts:
    """Puts rows into an empty table, which numbers what comes after them.

    Raises ArchiveError when they are not as `wanted`.
    """
    columns = rows.facts().columns
    target = table(name, *(column(one) for one in columns))
    passing = iter(rows)
    while chunk := [dict(zip(columns, plain, strict=True)) for plain, _ in islice(passing, ROWS_AT_ONCE)]:
        connection.execute(insert(target), chunk)
    facts = rows.facts()
    if wanted is not None and facts != wanted:
        raise ArchiveError(f"table {name}: {facts.rows} rows that are not the {wanted.rows} that were written")
    if connection.dialect.name == "postgresql" and metadata.tables[name].primary_key.columns.keys() == ["id"]:
        connection.execute(
            text(
                f"SELECT setval(sequence, greatest((SELECT max(id) FROM {name}), 1)) "  # noqa: S608
                "FROM (SELECT pg_get_serial_sequence(:name, 'id') AS sequence) s WHERE sequence IS NOT NULL"
            ),
            {"name": name},
        )
    return facts


def _unpacked(member: IO[bytes]) -> Iterator[list[Any]]:
    """The rows of a member, one by one. Raises ArchiveError, zstandard.ZstdError, msgspec.DecodeError."""
    with zstandard.ZstdDecompressor().stream_reader(member) as plain:
        stream = io.BufferedReader(plain, 1 << 20)
        while head := stream.read(4):
            raw = stream.read(int.from_bytes(head, "big"))
            yield _unpack(raw)


def sync(place: Path) -> None:
    """Makes a file, or the names in a folder, durable."""
    found = os.open(place, os.O_RDONLY)
    try:
        os.fsync(found)
    finally:
        os.close(found)


# ---- from one database to another ---------------------------------------------------------------------------


def copy(source: Connection, target: Connection) -> dict[str, TableFacts]:
    """Copies a store of this build's revision into a database without tables, reads it back and compares.

    Raises ArchiveError when the two differ; the caller rolls back then. Raises also as `restore`.
    """
    if revision_in(source) != HEAD:
        raise ArchiveError(
            f"its schema is {revision_in(source)}, this build needs {HEAD}; run `samband db upgrade` first"
        )
    migrate(target)
    found = {}
    for name, columns in tables_in(source).items():
        read = fill(target, name, rows_of(source, name, columns))
        back = rows_of(target, name, columns)
        for _ in back:
            pass
        if back.facts() != read:
            raise ArchiveError(f"table {name}: what was written is not what was read")
        found[name] = read
    return found
