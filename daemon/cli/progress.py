"""The progress bar of a replay, on stderr, drawn beside the work."""

import threading
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from daemon.rehearsal.recording import Recording

REDRAW_S = 0.2


class Progress:
    """Shows how much of a recording has been read, until it is left."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._done = threading.Event()
        columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
        self._bar = Bar(*columns, console=Console(stderr=True), transient=True, auto_refresh=False)
        self._thread = threading.Thread(target=self._draw, name="progress", daemon=True)

    def __enter__(self) -> None:
        self._bar.start()
        self._thread.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()
        self._bar.stop()

    def _draw(self) -> None:
        task = self._bar.add_task("replay", total=1.0)
        while not self._done.wait(REDRAW_S):
            self._bar.update(task, completed=self._recording.share, description=f"{self._recording.lines} lines")
            self._bar.refresh()
