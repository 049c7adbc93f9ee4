"""`samband dead-letters`: what could not be read, and what no sink ever took."""

from typing import Annotated
from urllib.parse import quote

import typer

from daemon.cli.client import TokenOption, UrlOption, actor, connect
from daemon.cli.options import ConfigOption, JsonOption
from daemon.cli.output import print_block, print_json, print_table, shown_time

app = typer.Typer(help="Dead letters: list, show, retry, drop.", no_args_is_help=True)

IdArgument = Annotated[str, typer.Argument(metavar="ID", help="As `list` shows it: in-12, out-...")]


@app.command("list")
def list_letters(
    kind: Annotated[str, typer.Option(help="input (could not be read) or send (no sink took it); both without.")] = "",
    limit: Annotated[int, typer.Option(min=0, help="At most so many; 0: all.")] = 100,
    config: ConfigOption = None,
    url: UrlOption = "",
    token: TokenOption = "",
    as_json: JsonOption = False,
) -> None:
    """Lists dead letters, input first, each kind oldest first.

    Example: samband dead-letters list --kind send
    """
    items = list(connect(config, url, token).items("/api/v1/dead-letters", {"kind": kind}, limit))
    if as_json:
        print_json({"items": items})
        return
    print_table(
        ("ID", "AT", "FROM", "BYTES", "INCIDENT", "ACTION", "WHAT"),
        [
            (
                one["id"],
                shown_time(one["at"]),
                one["origin"],
                one["bytes"] or "",
                one["incident"] or "",
                one["action"] or "",
                " ".join(filter(None, (one["reason"], one["detail"]))),
            )
            for one in items
        ],
    )


@app.command("show")
def show(
    letter: IdArgument,
    config: ConfigOption = None,
    url: UrlOption = "",
    token: TokenOption = "",
    as_json: JsonOption = False,
) -> None:
    """Shows one dead letter with its bytes.

    Example: samband dead-letters show in-12
    """
    found = connect(config, url, token).get(_path(letter))
    if as_json:
        print_json(found)
        return
    print_block(f"{found['id']} from {found['origin']}, {found['at']}: {found['reason']} {found['detail']}".rstrip())
    if found["text"] or found["base64"]:
        print_block(found["text"] or f"no text; base64:\n{found['base64']}")


@app.command("retry")
def retry(
    letter: IdArgument,
    config: ConfigOption = None,
    url: UrlOption = "",
    token: TokenOption = "",
    as_json: JsonOption = False,
) -> None:
    """Tries one again: input is read as its source is configured now, a send is rendered from the newest state.

    Example: samband dead-letters retry in-12
    """
    answer = connect(config, url, token).post(f"{_path(letter)}/retry", _said())
    if as_json:
        print_json(answer)
    else:
        print_block(answer["text"])


@app.command("drop")
def drop(
    letter: IdArgument,
    reason: Annotated[str, typer.Option(help="Why nobody needs it any more.")] = "",
    config: ConfigOption = None,
    url: UrlOption = "",
    token: TokenOption = "",
    as_json: JsonOption = False,
) -> None:
    """Drops one that nobody needs any more.

    Example: samband dead-letters drop in-12 --reason "a test"
    """
    answer = connect(config, url, token).post(
        f"{_path(letter)}/drop", {**_said(), **({"reason": reason} if reason else {})}
    )
    if as_json:
        print_json(answer)
    else:
        print_block(answer["text"])


def _path(letter: str) -> str:
    return f"/api/v1/dead-letters/{quote(letter, safe='')}"


def _said() -> dict[str, str]:
    who = actor()
    return {"actor": who} if who else {}
