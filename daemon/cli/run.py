"""`samband run`: the daemon."""

from daemon.cli.options import ConfigOption


def run(config: ConfigOption = None) -> None:
    """Runs the daemon in the foreground until SIGTERM or SIGINT; a second signal stops it at once.

    Example: samband run --config samband.yaml
    """
