"""`samband db backup`, `restore` and `move`: the whole store as a file, back from it, and into another database."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from daemon.cli.db import app, stopping, store_of
from daemon.cli.options import ConfigOption, JsonOption
from daemon.cli.output import FOUND, print_block, print_json, stop


@app.command()
def backup(
    file: Annotated[Path, typer.Argument(help="Where to; a file that is there is replaced.")],
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Writes the whole store, as it is at one moment, to a file. The daemon may run on; it is not held up.

    The file is the same for both databases, and holds what alerts said: keep it as you keep the store.

    Example: samband db backup /backup/samband-monday.zip --config samband.yaml
    """
    from daemon.app import build_version
    from daemon.store import archive

    place = store_of(config)
    if not place.exists():
        stop(f"{place.name}: there is no store; `samband run` makes it, and --config says where")
    made_at = datetime.now(UTC).isoformat(timespec="seconds")
    with stopping(str(file)), place.snapshot(file) as connection:
        if not archive.revision_in(connection):
            stop(f"{place.name}: there is no store in this database; `samband run` makes it")
        manifest = archive.write(connection, file, build=build_version(), made_at=made_at)
    _tell(as_json, {"store": place.name, "file": str(file), "schema": manifest.revision}, manifest.tables)


@app.command()
def restore(
    file: Annotated[Path, typer.Argument(help="What `samband db backup` wrote.")],
    force: Annotated[
        bool, typer.Option("--force", help="Also when there is a store already: that one gives way.")
    ] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Makes the store anew from a backup, of either database. Stop the daemon first.

    Numbers of incidents go on 10,000 beyond the backup's, since those in between may have been given. What
    waited to be sent may have been sent since: sinks are asked first, or told again under the same key.

    Example: samband db restore /backup/samband-monday.zip --config samband.yaml
    """
    from daemon.store import archive

    place = store_of(config)
    if not file.is_file():
        stop(f"{file}: there is no such file")
    try:
        with stopping(place.name), place.alone(), place.refilled(force=force) as connection:
            manifest = archive.restore(connection, file)
    except archive.ArchiveError as error:
        stop(f"{file}: {error}\nNothing was changed.", FOUND)
    _tell(as_json, {"store": place.name, "file": str(file), "schema": manifest.revision}, manifest.tables)


@app.command()
def move(
    to: Annotated[str, typer.Option(help="DSN of an empty PostgreSQL database; its password better in ~/.pgpass.")],
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Copies the store into a PostgreSQL database, and compares the two row by row. Stop the daemon first.

    The old store stays as it is. Afterwards name the new one in the configuration.

    Example: samband db move --to postgresql://samband@db.example:5432/samband --config samband.yaml
    """
    from daemon.store import archive
    from daemon.store.places import PostgresqlPlace
    from daemon.store.schema import HEAD

    source = store_of(config)
    if not source.exists():
        stop(f"{source.name}: there is no store; `samband run` makes it, and --config says where")
    with stopping("--to"):
        target = PostgresqlPlace(to, source.state)
        name = target.name
    try:
        with (
            stopping(f"{source.name} to {name}"),
            source.alone(),
            source.writing().connect() as old,
            target.alone(),
            target.refilled(force=False) as new,
        ):
            tables = archive.copy(old, new)
    except archive.ArchiveError as error:
        stop(f"{source.name}: {error}\nNothing was changed.", FOUND)
    _tell(as_json, {"store": source.name, "to": name, "schema": HEAD}, tables)
    if not as_json:
        print_block("Now name it in the configuration, with the DSN alone in a file: ")
        print_block("store: {type: postgresql, dsn_file: /etc/samband/dsn}")


def _tell(as_json: bool, said: dict[str, Any], tables: "dict[str, Any]") -> None:
    counts = {name: facts.rows for name, facts in tables.items()}
    if as_json:
        digests = {name: facts.sha256 for name, facts in tables.items()}
        print_json({**said, "rows": counts, "sha256": digests})
    else:
        places = " -> ".join(said[key] for key in ("file", "store", "to") if key in said)
        print_block(f"{places}: {sum(counts.values())} rows, {counts.get('incidents', 0)} incidents")
