"""`samband silence` and `samband maintenance`: what holds alerts back, and until when."""

from pathlib import Path
from typing import Annotated
from urllib.parse import quote, urlencode

import typer

from daemon.cli.client import TokenOption, UrlOption, actor, connect
from daemon.cli.matchers import MatchersArgument, matchers_of
from daemon.cli.options import ConfigOption, JsonOption
from daemon.cli.output import print_block, print_json, print_table, shown_time

app = typer.Typer(help="Silences: add, list, expire.", no_args_is_help=True)
maintenance = typer.Typer(help="Maintenance windows: add, list, end.", no_args_is_help=True)

Where = tuple[Path | None, str, str]
CommentOption = Annotated[str, typer.Option("--comment", "-c", help="Why; pages show it where it holds something.")]
DryOption = Annotated[bool, typer.Option("--dry-run", help="Only say how many alerts match now.")]
StateOption = Annotated[str, typer.Option(help="pending, active, expired; several with commas.")]
IdArgument = Annotated[str, typer.Argument(metavar="ID", help="As `list` shows it.")]


@app.command("add")
def add_silence(
    matchers: MatchersArgument,
    for_: Annotated[str, typer.Option("--for", help="How long, at most 7d.")] = "1h",
    comment: CommentOption = "",
    dry_run: DryOption = False,
    config: ConfigOption = None,
    url: UrlOption = "",
    token: TokenOption = "",
    as_json: JsonOption = False,
) -> None:
    """Silences the alerts that match: they join incidents and count, but nobody is told. A recovery always passes.

    Example: samband silence add service=shop 'alertname=~Disk.*' --for 2h --comment "patching"
    """
    _add("silences", matchers, {"for": for_, "comment": comment, "dry_run": dry_run}, (config, url, token), as_json)


@app.command("list")
def list_silences(
    state: StateOption = "pending,active",
    limit: Annotated[int, typer.Option(min=0, help="At most so many; 0: all.")] = 100,
    config: ConfigOption = None,
    url: UrlOption = "",
    token: TokenOption = "",
    as_json: JsonOption = False,
) -> None:
    """Lists silences, the newest first, and how many alerts each holds now.

    Example: samband silence list --state active,expired
    """
    _list("silences", state, limit, (config, url, token), as_json)


@app.command("expire")
def expire_silence(
    silence: IdArgument,
    config: ConfigOption = None,
    url: UrlOption = "",
    token: TokenOption = "",
    as_json: JsonOption = False,
) -> None:
    """Ends a silence now. What still fires goes on by itself.

    Example: samband silence expire 0f5c2a11-0000-4000-8000-000000000042
    """
    _end("silences", silence, (config, url, token), as_json)


@maintenance.command("add")
def add_window(
    matchers: MatchersArgument,
    for_: Annotated[str, typer.Option("--for", help="How long.")] = "",
    start: Annotated[str, typer.Option(help="When it begins, RFC 3339; by default now.")] = "",
    end: Annotated[str, typer.Option(help="When it ends, RFC 3339, instead of --for.")] = "",
    comment: CommentOption = "",
    dry_run: DryOption = False,
    config: ConfigOption = None,
    url: UrlOption = "",
    token: TokenOption = "",
    as_json: JsonOption = False,
) -> None:
    """Plans a maintenance window: within it the alerts that match tell nobody.

    Example: samband maintenance add service=orders-db --start 2026-12-01T22:00:00Z --for 3h --comment CHG-8812
    """
    given: dict[str, object] = {"for": for_, "starts_at": start, "ends_at": end, "comment": comment, "dry_run": dry_run}
    _add("maintenance", matchers, given, (config, url, token), as_json)


@maintenance.command("list")
def list_windows(
    state: StateOption = "pending,active",
    limit: Annotated[int, typer.Option(min=0, help="At most so many; 0: all.")] = 100,
    config: ConfigOption = None,
    url: UrlOption = "",
    token: TokenOption = "",
    as_json: JsonOption = False,
) -> None:
    """Lists maintenance windows, the newest first.

    Example: samband maintenance list
    """
    _list("maintenance", state, limit, (config, url, token), as_json)


@maintenance.command("end")
def end_window(
    window: IdArgument,
    config: ConfigOption = None,
    url: UrlOption = "",
    token: TokenOption = "",
    as_json: JsonOption = False,
) -> None:
    """Ends a maintenance window now, or calls off one that has not begun.

    Example: samband maintenance end 0f5c2a11-0000-4000-8000-000000000042
    """
    _end("maintenance", window, (config, url, token), as_json)


def _add(name: str, matchers: list[str], said: dict[str, object], where: Where, as_json: bool) -> None:
    text = matchers_of(matchers)
    given = {"matchers": text, "actor": actor(), **said}
    answer = connect(*where).post(f"/api/v1/{name}", {key: value for key, value in given.items() if value})
    if as_json:
        print_json(answer)
        return
    print_block(f"{text}\n{answer['text']}")
    made = answer["silence"]
    if made is not None:
        command = "silence expire" if name == "silences" else "maintenance end"
        print_block(f"To end it before: samband {command} {made['id']}")


def _list(name: str, state: str, limit: int, where: Where, as_json: bool) -> None:
    items = list(connect(*where).items(f"/api/v1/{name}", {"state": state}, limit))
    if as_json:
        print_json({"items": items})
        return
    print_table(
        ("ID", "STATE", "HOLDS", "BEGINS", "ENDS", "BY", "MATCHERS", "WHAT"),
        [
            (
                one["id"],
                one["state"],
                one["holding"],
                shown_time(one["starts_at"]),
                shown_time(one["ends_at"]),
                one["created_by"],
                one["matchers"],
                one["comment"],
            )
            for one in items
        ],
    )


def _end(name: str, uuid: str, where: Where, as_json: bool) -> None:
    who = actor()
    query = f"?{urlencode({'actor': who})}" if who else ""
    answer = connect(*where).delete(f"/api/v1/{name}/{quote(uuid, safe='')}{query}")
    if as_json:
        print_json(answer)
    else:
        print_block(answer["text"])
