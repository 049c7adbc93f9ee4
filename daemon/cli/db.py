"""`samband db`: the store's schema, and whether what it holds is whole."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from daemon.cli.options import ConfigOption, JsonOption, read_config
from daemon.cli.output import FOUND, print_block, print_json, stop

if TYPE_CHECKING:
    from daemon.core.policy import Policy
    from daemon.settings import Settings
    from daemon.store.places import Place
    from daemon.store.queries import Queries

app = typer.Typer(help="The store: upgrade, check, backup, restore, move.", no_args_is_help=True)

DAY_MS = 86_400_000
AHEAD_DAYS = 400


@app.command()
def upgrade(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Brings the store to this build's schema. Stop the daemon and make a backup first: there is no way back.

    Example: samband db upgrade --config samband.yaml
    """
    from daemon.store.migrate import upgrade as upgrade_store

    place = store_of(config)
    with stopping(place.name, "A newer build may have written it; nothing was changed."), place.alone():
        revision = upgrade_store(place.writing())
    if as_json:
        print_json({"store": place.name, "schema": revision})
    else:
        print_block(f"{place.name}: schema {revision}")


@app.command()
def check(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Checks the store: SQLite's own structures, checksums, and whether folding the journal again decides the same.

    A daemon may be running on it. What another configuration decided cannot be folded again; that is
    said, and is no fault.

    Example: samband db check --config samband.yaml
    """
    from daemon.app import build_version
    from daemon.store.check import check as check_store
    from daemon.store.places import SqlitePlace
    from daemon.store.queries import Queries

    settings = read_config(config, secrets=False)
    place = store_of(config)
    if not place.exists():
        stop(f"{place.name}: there is no store; `samband run` makes it, and --config says where")
    path = place.path if isinstance(place, SqlitePlace) else None
    with stopping(place.name):
        queries = Queries(place.reading())
        policy = _policy(settings, queries)
        known = {policy.digest: policy}.get
        checked = check_store(path, queries, known, build=build_version(), name=place.name)
    if as_json:
        found = [{"place": one.place, "text": one.text, "wrong": one.wrong} for one in checked.findings]
        counts = {"live_rows": checked.live_rows, "batches": checked.batches, "folded": checked.folded}
        print_json({"store": place.name, "sound": checked.sound, **counts, "findings": found})
    else:
        for one in checked.findings:
            print_block(f"{one.place}: {one.text}")
        counted = f"{checked.live_rows} live rows, {checked.batches} batches, {checked.folded} of them folded again"
        print_block(f"{place.name}: {'sound' if checked.sound else 'damaged'}: {counted}")
    if not checked.sound:
        raise typer.Exit(FOUND)


def store_of(config: Path | None) -> "Place":
    """The store that the configuration names; ends the command when that cannot be said."""
    from daemon.store.places import place_of

    with stopping("store"):
        return place_of(read_config(config, secrets=False).store)


@contextmanager
def stopping(name: str, more: str = "") -> Iterator[None]:
    """Ends the command with exit 2 and a sentence when the block cannot do what it should."""
    from alembic.util import CommandError
    from sqlalchemy.exc import SQLAlchemyError

    from daemon.store.base import StoreError

    try:
        yield
    except StoreError as error:
        stop(str(error))
    except (CommandError, SQLAlchemyError, OSError) as error:
        said = str(error).partition("\n")[0]
        stop(f"{name}: {said}" + (f"\n{more}" if more else ""))


def _policy(settings: "Settings", queries: "Queries") -> "Policy":
    """The policy in force, its calendars expanded for all the time that the journal covers."""
    from daemon.assembly import assemble
    from daemon.settings import ConfigError

    position = queries.position()
    until = position["now_ms"] if position is not None else 0
    first = next(iter(queries.journal(after=0, until=position["seq"] if position is not None else 0)), None)
    begin = first.now_ms if first is not None else until
    try:
        return assemble(settings, from_ms=begin, days=(until - begin) // DAY_MS + AHEAD_DAYS).policy
    except ConfigError as error:
        stop(str(error))
