"""The command `samband`: one file per group of commands, each importing what it needs when it runs."""

import typer

from daemon.cli import (
    alerts,
    changes,
    check,
    db,
    db_copies,  # noqa: F401  (adds its commands to those of db)
    dead_letters,
    demo,
    explain,
    replay,
    run,
    silence,
    token,
    verbs,
)

app = typer.Typer(
    name="samband",
    help="Turns every monitoring alert into one justified incident in front of the right people.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(run.run)
app.command()(check.check)
app.command()(replay.replay)
app.command()(demo.demo)
app.command()(explain.explain)
app.add_typer(verbs.app, name="incidents")
app.add_typer(alerts.app, name="alerts")
app.add_typer(silence.app, name="silence")
app.add_typer(silence.maintenance, name="maintenance")
app.add_typer(changes.app, name="changes")
app.add_typer(dead_letters.app, name="dead-letters")
app.add_typer(db.app, name="db")
app.add_typer(token.app, name="token")


@app.callback(invoke_without_command=True)
def samband(version: bool = typer.Option(False, "--version", help="Print the version and stop.")) -> None:
    """Turns every monitoring alert into one justified incident in front of the right people."""
    if version:
        from importlib.metadata import version as version_of

        print(f"samband {version_of('samband')}")
        raise typer.Exit(0)


def main() -> None:
    """The command line. Exit codes: 0 fine, 1 found something, 2 could not run."""
    app()
