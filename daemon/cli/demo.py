"""`samband demo`: the daemon with a small estate that breaks, to see what it makes of it."""

import signal
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from daemon.cli.output import stop


def demo(
    seconds: Annotated[float, typer.Option(min=0, help="End after so many seconds; 0: with Ctrl-C.")] = 0,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on; if it is taken, a free one.")] = 8112,
    folder: Annotated[
        Path | None,
        typer.Option(
            "--dir", metavar="DIR", help="Keep configuration, state and log there.", show_default="a temporary one"
        ),
    ] = None,
) -> None:
    """Shows samband at work: a small estate, steady noise, a flapping check, a database outage over eleven services.

    The daemon, its store and every HTTP request are real; a pager, a ticket system and a status page
    on this machine stand in for the services at the far end. Nothing leaves the machine.

    Example: samband demo
    """
    from daemon.demo.show import CouldNotStart, Demo

    def out(text: str) -> None:
        print(text, flush=True)

    # Told to end by somebody else is the same as Ctrl-C: the daemon must not be left behind.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="samband-demo-") as temporary:
        place = folder or Path(temporary)
        try:
            place.mkdir(parents=True, exist_ok=True)
            Demo(place.absolute(), port, out, colour=sys.stdout.isatty()).run(seconds)
        except KeyboardInterrupt:
            print("\nbye")
        except (CouldNotStart, OSError) as error:
            stop(str(error))
