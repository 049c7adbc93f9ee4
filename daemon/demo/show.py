"""Runs the demo: the receivers, the real daemon beside them, the script over real HTTP, and what one sees of it."""

import contextlib
import http.client
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from daemon.demo.estate import CATALOGUE, COMPONENTS, CONFIGURATION, CYCLE_S, NOTES, Step, script
from daemon.demo.receivers import Desk, Pager, PublicPage
from sinks.text import clean, cut

START_S_MAX, STOP_S_MAX = 20.0, 15.0
LOOK_EVERY_S = 0.5
LEASE_S = 240
LINE_MAX = 160
_COLOURS = {"ALERT": "2", "INCIDENT": "1;33", "PAGE": "1;31", "TICKET": "36", "STATUS": "35", "---": "1"}


class CouldNotStart(Exception):
    """The daemon of the demo did not come up; the text says why."""


class Demo:
    """One run of the demo in `folder`, where the configuration, the state and the daemon's log are.

    port: the daemon's; a free one when it is taken. out: takes each line that is shown, `colour`ed or not.
    """

    def __init__(self, folder: Path, port: int, out: Callable[[str], None], *, colour: bool) -> None:
        self.port = port if _is_free(port) else _free_port()
        self._folder, self._out, self._colour = folder, out, colour
        self._speaking = threading.Lock()
        self._seen: dict[str, tuple[Any, ...]] = {}
        self._firing: dict[str, float] = {}
        self._receivers = [Pager(self.say), Desk(self.say), PublicPage(self.say, COMPONENTS)]
        pager, desk, public = (one.port for one in self._receivers)
        (folder / "catalogue.yaml").write_text(CATALOGUE)
        text = CONFIGURATION.format(port=self.port, pager=pager, desk=desk, public=public)
        (folder / "samband.yaml").write_text(text)
        self._log = folder / "samband.log"
        self._daemon: subprocess.Popen[bytes] | None = None

    def run(self, seconds: float) -> None:
        """Shows the script, again and again, for so long; 0: until interrupted. Raises CouldNotStart."""
        try:
            self._start()
            self._introduce()
            began = time.monotonic()
            while not seconds or time.monotonic() < began + seconds:
                left = began + seconds - time.monotonic() if seconds else CYCLE_S
                self._cycle(min(CYCLE_S, left))
        finally:
            self._stop()

    # ---- the script ----------------------------------------------------------------------------
    def _cycle(self, seconds: float) -> None:
        steps, notes, began = script(), list(NOTES), time.monotonic()
        while (elapsed := time.monotonic() - began) < seconds:
            while notes and notes[0][0] <= elapsed:
                self.say("---", notes.pop(0)[1])
            while steps and steps[0].at <= elapsed:
                self._send(steps.pop(0))
            self._look()
            time.sleep(LOOK_EVERY_S)

    def _send(self, step: Step) -> None:
        now = time.time()
        begin = self._firing.setdefault(step.name, now) if step.firing else self._firing.pop(step.name, now)
        if step.via == "native":
            self._ask("POST", "/api/v1/alerts", _native(step, begin, now))
        else:
            self._ask("POST", "/api/v2/alerts", [_prometheus(step, begin, now)])
        state = step.severity if step.firing else "resolved"
        self.say("ALERT", f"{state:<9} {step.service:<11} {step.name:<20} {step.summary}")

    def _look(self) -> None:
        """Says what is new of the incidents."""
        for one in self._ask("GET", "/api/v1/incidents")["items"]:
            count = one["alerts"]["firing"] + one["alerts"]["resolved"]
            shown = (one["priority"], one["state"], one["merged_into"], len(one["services"]), count)
            if self._seen.get(one["ref"]) != shown:
                self._seen[one["ref"]] = shown
                state = "merged into another" if one["merged_into"] else one["state"]
                self.say("INCIDENT", f"{one['ref']:<6} {one['priority']} {state:<12} {one['title']}")

    def _ask(self, method: str, path: str, body: Any = None) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        with contextlib.closing(connection):
            data = None if body is None else json.dumps(body)
            connection.request(method, path, data, {"content-type": "application/json"} if data else {})
            raw = connection.getresponse().read()
        return json.loads(raw) if raw.strip() else {}

    # ---- what is seen --------------------------------------------------------------------------
    def say(self, kind: str, text: str) -> None:
        """Prints a line with the time; further lines of the text are set below it."""
        first, *rest = [cut(line, LINE_MAX) for line in clean(text).split("\n")]
        mark, plain = (f"\x1b[{_COLOURS.get(kind, '0')}m", "\x1b[0m") if self._colour else ("", "")
        lines = [f"{time.strftime('%H:%M:%S')} {mark}{kind:<8}{plain} {first}"]
        lines += [f"{'':<17} {mark}{line}{plain}" for line in rest]
        with self._speaking:
            self._out("\n".join(lines))

    def _introduce(self) -> None:
        base = f"http://127.0.0.1:{self.port}"
        self._out(
            f"samband runs on {base}; everything it needs is in {self._folder}\n"
            "  look from another terminal:\n"
            f"    samband incidents list --url {base}\n"
            f"    samband alerts list --url {base}\n"
            f"    curl -s {base}/api/v1/incidents\n"
            f"    curl -s {base}/metrics\n"
            "  add an alert of your own:\n"
            f"    curl -s {base}/api/v1/alerts -H 'content-type: application/json' \\\n"
            """      -d '{"name": "Hello", "severity": "critical", "service": "wiki"}'\n"""
            "  Ctrl-C ends it.\n"
        )

    # ---- the daemon ----------------------------------------------------------------------------
    def _start(self) -> None:
        command = [sys.executable, "-m", "daemon.cli", "run", "--config", str(self._folder / "samband.yaml")]
        kept = {name: value for name, value in os.environ.items() if not name.startswith("SAMBAND_")}
        with self._log.open("ab") as log:
            # A session of its own: Ctrl-C is ours to pass on, after the last word.
            self._daemon = subprocess.Popen(  # noqa: S603  # our own command
                command,
                cwd=self._folder,
                env=kept,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_S_MAX
        while time.monotonic() < deadline and self._daemon.poll() is None:
            with contextlib.suppress(OSError, http.client.HTTPException, ValueError):
                self._ask("GET", "/api/v1/incidents")
                return
            time.sleep(0.1)
        raise CouldNotStart(f"the daemon did not start; it said:\n{self._log.read_text(errors='replace')[-2000:]}")

    def _stop(self) -> None:
        if self._daemon is not None and self._daemon.poll() is None:
            self._daemon.terminate()
            try:
                self._daemon.wait(STOP_S_MAX)
            except subprocess.TimeoutExpired:
                self._daemon.kill()
                self._daemon.wait()
        for receiver in self._receivers:
            receiver.close()


def _prometheus(step: Step, begin: float, now: float) -> dict[str, Any]:
    """The alert as Prometheus posts it to an Alertmanager."""
    return {
        "labels": {
            "alertname": step.name,
            "severity": step.severity,
            "service": step.service,
            "instance": f"{step.resource}:9100",
        },
        "annotations": {"summary": step.summary},
        "startsAt": _time(begin),
        "endsAt": _time(now + LEASE_S if step.firing else now),
        "generatorURL": f"http://prometheus.example:9090/graph?g0.expr={step.name}",
    }


def _native(step: Step, begin: float, now: float) -> dict[str, Any]:
    told = {
        "name": step.name,
        "severity": step.severity,
        "service": step.service,
        "resource": step.resource,
        "summary": step.summary,
        "starts_at": _time(begin),
    }
    return told if step.firing else {**told, "status": "resolved", "ends_at": _time(now)}


def _time(seconds: float) -> str:
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    return f"{whole}.{int(seconds % 1 * 1000):03d}Z"


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
