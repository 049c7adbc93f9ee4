"""`samband replay`: what recorded alerts would have become."""

import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from daemon.cli.options import ConfigOption, JsonOption, read_config
from daemon.cli.output import COULD_NOT, FOUND, print_json, print_table, say, shown_time, stop
from sinks.text import one_line

if TYPE_CHECKING:
    from daemon.core.records import AlertSeen
    from daemon.core.view import IncidentView
    from daemon.rehearsal.recording import Reading, Recording
    from daemon.rehearsal.replay import PolicyFrom, Replay
    from daemon.settings import Settings

SHOWN = 50
BAD_LINES_SHOWN = 20


def replay(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Recorded alerts: native JSON lines, plain or gzipped.")],
    config: ConfigOption = None,
    source: Annotated[str, typer.Option(help="Source of lines that name none.", show_default=False)] = "",
    assignments: Annotated[
        Path | None, typer.Option(metavar="OUT.csv", help="Write line,incident for every line.", show_default=False)
    ] = None,
    run_on: Annotated[str, typer.Option(help="How long the clock runs on after the last line, at most.")] = "24h",
    as_json: JsonOption = False,
) -> None:
    """Shows what recorded alerts would have become: incidents, pages, tickets. Sends nothing.

    Every delivery counts as done at once, and nobody acknowledges. Lines that cannot be read are
    named and left out; then the exit code is 1.

    Example: samband replay alerts.jsonl.gz --config samband.yaml --assignments out.csv
    """
    from daemon.rehearsal.recording import Recording
    from daemon.rehearsal.replay import Replay

    wait = _duration(run_on)
    settings = read_config(config, secrets=False)
    policy_from = _policy_from(settings)
    sources = _readings(settings) if config else None
    if source and sources is not None and source not in sources:
        stop(f"--source {source}: the configuration has: {', '.join(sources)}")
    shown: list[tuple[str, Any]] = []
    replayed = Replay(policy_from, lambda view: shown.append((view.id, _kept(view, as_json))))
    bad: list[str] = []
    try:
        recording = Recording(file, sources, source or ("" if config else "stream"))
        with _progress(recording):
            replayed.run(_readable(recording, bad), wait)
        if assignments is not None:
            _write_assignments(assignments, replayed, recording.lines)
    except (OSError, EOFError) as error:
        stop(f"{getattr(error, 'filename', None) or file}: {getattr(error, 'strerror', None) or error}")
    shown.sort()
    _report(replayed, [one for _, one in shown], recording.lines, as_json)
    for text in replayed.quarantined:
        say(f"set aside by the engine, which is a bug worth a report: {text}")
    if bad:
        say(f"{len(bad)} of {recording.lines} lines could not be read")
    if bad or replayed.quarantined:
        raise typer.Exit(FOUND)


def _duration(text: str) -> int:
    from daemon.settings.durations import parse_duration

    try:
        return min(parse_duration(text), 24 * 3_600_000)
    except ValueError as error:
        stop(f"--run-on {text}: {error}", COULD_NOT)


def _policy_from(settings: "Settings") -> "PolicyFrom":
    """The policy for the time of the recording. Mistakes in the catalogue's files end the command."""
    from daemon.assembly import assemble
    from daemon.rehearsal.replay import POLICY_DAYS
    from daemon.settings import ConfigError

    def policy_from(at_ms: int) -> Any:
        try:
            return assemble(settings, from_ms=at_ms, days=POLICY_DAYS, virtual=True).policy
        except ConfigError as error:
            stop(str(error))

    return policy_from


def _readings(settings: "Settings") -> dict[str, "Reading"]:
    """How the lines of each source are read. Recordings are native whatever their source speaks on the wire."""
    from daemon.rehearsal.recording import Reading
    from daemon.settings.sources import Source

    readings = {}
    for name, one in settings.sources.items():
        kind = getattr(one, "type", "")
        if isinstance(one, Source):
            readings[name] = Reading(one.replica_labels, one.resolves)
        else:
            text = f"source {name} is of type {kind}, which cannot be read yet"
            readings[name] = Reading(unreadable=text)
    return readings


def _readable(recording: "Recording", bad: list[str]) -> Iterator["AlertSeen"]:
    """The lines that can be read; the others are said, the first of them one by one."""
    from daemon.core.records import AlertSeen

    for one in recording:
        if isinstance(one, AlertSeen):
            yield one
            continue
        bad.append(f"{recording.path}:{one.line}: {one.reason}")
        if len(bad) <= BAD_LINES_SHOWN:
            say(one_line(bad[-1], 500))


def _progress(recording: "Recording") -> Any:
    """A progress bar on a terminal, nothing elsewhere."""
    if not sys.stderr.isatty():
        return nullcontext()
    from daemon.cli.progress import Progress

    return Progress(recording)


def _kept(view: "IncidentView", whole: bool) -> Any:
    """What is remembered of an incident: everything that is printed, and no more."""
    from daemon.core.view_json import as_json

    shown = as_json(view, members=whole)
    return shown if whole else {**shown, "services": len(shown["services"]), "derivation": ""}


def _write_assignments(path: Path, replayed: "Replay", lines: int) -> None:
    with open(path, "w", encoding="ascii", newline="") as out:
        out.write("line,incident\n")
        out.writelines(f"{line},{replayed.incident_of(line)}\n" for line in range(1, lines + 1))


def _report(replayed: "Replay", incidents: list[Any], lines: int, as_json: bool) -> None:
    from daemon.core.view_json import rfc3339

    if as_json:
        rows = [
            {
                "at": rfc3339(one.at),
                "incident": one.incident,
                "priority": one.priority,
                "sink": one.sink,
                "to": one.to,
                "kind": one.kind,
                "action": one.action,
            }
            for one in replayed.deliveries
        ]
        print_json({"incidents": incidents, "deliveries": rows})
        return
    standing = [one for one in incidents if not one["merged_into"]]
    made = [(one.kind, one.action) for one in replayed.deliveries]
    pages = made.count(("pager", "create")) + made.count(("pager", "reopen"))
    print(f"{lines} lines, {len(standing)} incidents, {pages} pages, {made.count(('ticket', 'create'))} tickets")
    if not standing:
        return
    print()
    standing.sort(key=lambda one: (one["priority"], one["opened_at"], one["id"]))
    print_table(
        ("PRIORITY", "INCIDENT", "STATE", "OPENED", "ALERTS", "SERVICES", "OWNER", "WHAT"),
        [
            (
                one["priority"],
                one["ref"],
                one["state"],
                shown_time(one["opened_at"]),
                one["alerts"]["firing"] + one["alerts"]["resolved"],
                one["services"],
                one["owner"],
                one["title"],
            )
            for one in standing[:SHOWN]
        ],
    )
    if len(standing) > SHOWN:
        print(f"... and {len(standing) - SHOWN} more; --json prints all, with their members")
