"""`samband changes`: deploys, feature flags, changes from change management."""

from typing import Annotated

import typer

from daemon.cli.client import TokenOption, UrlOption, connect
from daemon.cli.options import ConfigOption, JsonOption
from daemon.cli.output import FOUND, print_block, print_json, print_table, shown_time, stop

app = typer.Typer(help="Changes: add, list.", no_args_is_help=True)


@app.command("add")
def add(
    summary: Annotated[str, typer.Argument(metavar="SUMMARY", help="What was changed, in a few words.")],
    service: Annotated[str, typer.Option(help="The service, as in the catalogue.")],
    environment: Annotated[str, typer.Option(help="Where; empty: everywhere.")] = "",
    name: Annotated[str, typer.Option("--id", help="Your own name for it, CHG-8812; the same again replaces it.")] = "",
    at: Annotated[str, typer.Option(help="When, RFC 3339; by default now.")] = "",
    link: Annotated[str, typer.Option(help="Where to read on.")] = "",
    config: ConfigOption = None,
    url: UrlOption = "",
    token: TokenOption = "",
    as_json: JsonOption = False,
) -> None:
    """Tells of a change. It pages nobody; incidents near it show it.

    Example: samband changes add "proxy 2.4" --service orders-db --id CHG-8812
    """
    given = {"summary": summary, "service": service, "environment": environment, "id": name, "at": at, "url": link}
    answer = connect(config, url, token).post("/api/v1/changes", {key: text for key, text in given.items() if text})
    if answer.get("rejected"):
        stop(answer["rejected"][0]["reason"], FOUND)
    if as_json:
        print_json(answer)
    else:
        print_block(f"{name or 'the change'} of {service} is known")


@app.command("list")
def list_changes(
    service: Annotated[str, typer.Option(help="Only those of this service.")] = "",
    environment: Annotated[str, typer.Option(help="Only those of this environment.")] = "",
    limit: Annotated[int, typer.Option(min=0, help="At most so many; 0: all.")] = 100,
    config: ConfigOption = None,
    url: UrlOption = "",
    token: TokenOption = "",
    as_json: JsonOption = False,
) -> None:
    """Lists changes of the last 7 days, the newest first.

    Example: samband changes list --service orders-db
    """
    query = {"service": service, "environment": environment}
    items = list(connect(config, url, token).items("/api/v1/changes", query, limit))
    if as_json:
        print_json({"items": items})
        return
    print_table(
        ("AT", "SERVICE", "ENVIRONMENT", "CHANGE", "SOURCE", "WHAT"),
        [
            (shown_time(one["at"]), one["service"], one["environment"], one["id"], one["source"], one["summary"])
            for one in items
        ],
    )
