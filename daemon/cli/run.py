"""`samband run`: the daemon."""

import typer

from daemon.cli.options import ConfigOption


def run(config: ConfigOption = None) -> None:
    """Runs the daemon in the foreground until SIGTERM or SIGINT; a second signal stops it at once.

    SIGHUP reads the configuration again. It logs to stderr: JSON lines on a pipe, readable on a
    terminal. Exit code 2: it could not start; 1: it had to stop.

    Example: samband run --config samband.yaml
    """
    from daemon.app import run as run_daemon

    raise typer.Exit(run_daemon(config))
