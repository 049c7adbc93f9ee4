"""Options that several commands have, and what they stand for."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from daemon.cli.output import stop

if TYPE_CHECKING:
    from daemon.settings import Settings

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config", metavar="FILE", help="The configuration; without it the defaults hold.", show_default=False
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


def read_config(path: Path | None, *, secrets: bool = True) -> "Settings":
    """The settings; ends the command (exit 2) and names every mistake when they cannot be used."""
    from daemon.settings import ConfigError, load

    try:
        return load(path, secrets=secrets)
    except ConfigError as error:
        stop(str(error))
