"""`samband db`: the store's schema, and whether what it holds is whole."""

import typer

app = typer.Typer(help="The store: upgrade, check.", no_args_is_help=True)


@app.callback()
def db() -> None:
    """The store."""
