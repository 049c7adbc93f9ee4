"""`samband incidents ...`: the responder's verbs. Each stands in the timeline with who and when."""

from pathlib import Path
from typing import Annotated

import typer

from daemon.cli.client import Client, TokenOption, UrlOption, actor, connect, incident_path
from daemon.cli.incidents import IncidentArgument, app
from daemon.cli.matchers import MatchersArgument, matchers_of
from daemon.cli.options import ConfigOption, JsonOption
from daemon.cli.output import FOUND, print_block, print_json, stop

__all__ = ["app"]

NoteOption = Annotated[str, typer.Option("--note", help="A line for the timeline, with the act.")]


def _act(
    verb: str, incident: str, said: dict[str, object], note: str, where: tuple[Path | None, str, str], as_json: bool
) -> None:
    client = connect(*where)
    given = {"actor": actor(), "note": note, **said}
    _answered(
        client.post(f"{incident_path(incident)}/{verb}", {key: value for key, value in given.items() if value}), as_json
    )


def _answered(answer: dict[str, object], as_json: bool) -> None:
    if as_json:
        print_json(answer)
    else:
        print_block(str(answer.get("text") or "done"))


@app.command()
def create(
    title: Annotated[str, typer.Argument(metavar="TITLE", help="What is wrong, in a few words.")],
    service: Annotated[str, typer.Option(help="The service concerned, as in the catalogue.")] = "",
    environment: Annotated[str, typer.Option(help="By default the service's own.")] = "",
    severity: Annotated[str, typer.Option(help="critical, error, warning or info.")] = "error",
    priority: Annotated[str, typer.Option(help="P1 to P5, instead of the one that follows.")] = "",
    description: Annotated[str, typer.Option(help="What was seen.")] = "",
    config: ConfigOption = None,
    url: UrlOption = "",
    token: TokenOption = "",
    as_json: JsonOption = False,
) -> None:
    """Reports an incident that no alert has told of. It stays open until a person resolves it.

    Example: samband incidents create "Customers cannot log in" --service portal --severity critical
    """
    given = {
        "title": title,
        "service": service,
        "environment": environment,
        "severity": severity,
        "priority": priority,
        "description": description,
        "actor": actor(),
    }
    answer = connect(config, url, token).post("/api/v1/incidents", {key: text for key, text in given.items() if text})
    _answered(answer, as_json)


@app.command()
def ack(
    incident: IncidentArgument,
    note: NoteOption = "",
    config: ConfigOption = None,
    url: UrlOption = "",
    token: TokenOption = "",
    as_json: JsonOption = False,
) -> None:
    """Acknowledges an incident: you have it.

    Example: samband incidents ack INC-4211
    """
    _act("ack", incident, {}, note, (config, url, token), as_json)


@app.command()
def unack(
    incident: IncidentArgument,
    note: NoteOption = "",
    config: ConfigOption = None,
    url: UrlOption = "",
    token: TokenOption = "",
    as_json: JsonOption = False,
) -> None:
    """Takes an acknowledgement back: nobody has it, and it goes on as if it were new.

    Example: samband incidents unack INC-4211 --note "I am off shift"
    """
    _act("unack", incident, {}, note, (config, url, token), as_json)


@app.command()
def snooze(
    incident: IncidentArgument,
    for_: Annotated[str, typer.Option("--for", help="How long: 30m, 2h.")] = "30m",
    note: NoteOption = "",
    config: ConfigOption = None,
    url: UrlOption = "",
    token: TokenOption = "",
    as_json: JsonOption = False,
) -> None:
    """Acknowledges an incident for a while; if it still fires then, it is open again and rings again.

    Example: samband incidents snooze INC-4211 --for 2h
    """
    _act("snooze", incident, {"for": for_}, note, (config, url, token), as_json)


@app.command()
def hold(
    incident: IncidentArgument,
    reason: Annotated[str, typer.Option(help="What it waits for.")],
    note: NoteOption = "",
    config: ConfigOption = None,
    url: UrlOption = "",
    token: TokenOption = "",
    as_json: JsonOption = False,
) -> None:
    """Puts an incident on hold: it waits for somebody else.

    Example: samband incidents hold INC-4211 --reason "the vendor sends a part"
    """
    _act("hold", incident, {"reason": reason}, note, (config, url, token), as_json)


@app.command()
def resume(
    incident: IncidentArgument,
    note: NoteOption = "",
    config: ConfigOption = None,
    url: UrlOption = "",
    token: TokenOption = "",
    as_json: JsonOption = False,
) -> None:
    """Takes an incident off hold; it is yours.

    Example: samband incidents resume INC-4211
    """
    _act("resume", incident, {}, note, (config, url, token), as_json)


@app.command()
def assign(
    incident: IncidentArgument,
    team: Annotated[str, typer.Argument(metavar="TEAM", help="The team that owns it from now on.")],
    note: NoteOption = "",
    config: ConfigOption = None,
    url: UrlOption = "",
    token: TokenOption = "",
    as_json: JsonOption = False,
) -> None:
    """Gives an incident to a team. The machine does not take it back.

    Example: samband incidents assign INC-4211 databases
    """
    _act("assign", incident, {"team": team}, note, (config, url, token), as_json)


@app.command()
def priority(
    incident: IncidentArgument,
    wanted: Annotated[str, typer.Argument(metavar="PRIORITY", help="P1 to P5; auto: as its alerts say again.")],
    reason: Annotated[str, typer.Option(help="Why.")],
    note: NoteOption = "",
    config: ConfigOption = None,
    url: UrlOption = "",
    token: TokenOption = "",
    as_json: JsonOption = False,
) -> None:
    """Sets an incident's priority. The machine never overrides a person's choice.

    Example: samband incidents priority INC-4211 P3 --reason "only the test shop"
    """
    _act("priority", incident, {"priority": wanted, "reason": reason}, note, (config, url, token), as_json)


@app.command()
def note(
    incident: IncidentArgument,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="What is to stand in the timeline.")],
    config: ConfigOption = None,
    url: UrlOption = "",
    token: TokenOption = "",
    as_json: JsonOption = False,
) -> None:
    """Writes a line into an incident's timeline.

    Example: samband incidents note INC-4211 "failed over to the second site"
    """
    _act("note", incident, {"text": text}, "", (config, url, token), as_json)


@app.command()
def resolve(
    incident: IncidentArgument,
    note: NoteOption = "",
    config: ConfigOption = None,
    url: UrlOption = "",
    token: TokenOption = "",
    as_json: JsonOption = False,
) -> None:
    """Resolves an incident, at every sink. What still fires after timing.reopen_window opens it again.

    Example: samband incidents resolve INC-4211
    """
    _act("resolve", incident, {}, note, (config, url, token), as_json)


@app.command()
def reopen(
    incident: IncidentArgument,
    note: NoteOption = "",
    config: ConfigOption = None,
    url: UrlOption = "",
    token: TokenOption = "",
    as_json: JsonOption = False,
) -> None:
    """Opens a resolved incident again.

    Example: samband incidents reopen INC-4211 --note "customers still see it"
    """
    _act("reopen", incident, {}, note, (config, url, token), as_json)


@app.command()
def close(
    incident: IncidentArgument,
    note: NoteOption = "",
    config: ConfigOption = None,
    url: UrlOption = "",
    token: TokenOption = "",
    as_json: JsonOption = False,
) -> None:
    """Closes a resolved incident of which nothing fires, before its time; a P1 waits for this.

    Example: samband incidents close INC-4211
    """
    _act("close", incident, {}, note, (config, url, token), as_json)


@app.command()
def publish(
    incident: IncidentArgument,
    note: NoteOption = "",
    config: ConfigOption = None,
    url: UrlOption = "",
    token: TokenOption = "",
    as_json: JsonOption = False,
) -> None:
    """Publishes the draft that waits for a person on the status page (status_page: {publish: approve}).

    Example: samband incidents publish INC-4211
    """
    _act("publish", incident, {}, note, (config, url, token), as_json)


@app.command()
def merge(
    incident: IncidentArgument,
    into: Annotated[str, typer.Option(metavar="INCIDENT", help="The incident that goes on.")],
    note: NoteOption = "",
    config: ConfigOption = None,
    url: UrlOption = "",
    token: TokenOption = "",
    as_json: JsonOption = False,
) -> None:
    """Makes an incident part of another: one page, one ticket, one timeline to follow.

    Example: samband incidents merge INC-4212 --into INC-4211
    """
    _act("merge", incident, {"into": into}, note, (config, url, token), as_json)


@app.command()
def split(
    incident: IncidentArgument,
    matchers: MatchersArgument,
    note: NoteOption = "",
    config: ConfigOption = None,
    url: UrlOption = "",
    token: TokenOption = "",
    as_json: JsonOption = False,
) -> None:
    """Moves the alerts that match into an incident of their own. It is remembered that they are not one thing.

    Example: samband incidents split INC-4211 service=search
    """
    client = connect(config, url, token)
    keys = _members(client, incident, matchers_of(matchers))
    said: dict[str, object] = {"alerts": keys}
    _act("split", incident, said, note, (config, url, token), as_json)


def _members(client: Client, incident: str, matchers: str) -> list[str]:
    """The keys of the incident's alerts that match; ends the command when there is none."""
    number = client.get(incident_path(incident))["id"]
    keys = [one["key"] for one in client.items("/api/v1/alerts", {"filter": matchers}, 0) if one["incident"] == number]
    if not keys:
        stop(f"no alert of {incident} matches {matchers}", FOUND)
    return keys
