"""`samband token`: tokens for other people and programs, through the running daemon, else directly in the store."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

import typer

from daemon.cli.client import Client, TokenOption, UrlOption, actor, connect
from daemon.cli.options import ConfigOption, JsonOption, read_config
from daemon.cli.output import FOUND, print_block, print_json, print_table, say, shown_time, stop

if TYPE_CHECKING:
    from daemon.access import Issued
    from daemon.store.base import Store

app = typer.Typer(help="Tokens: create, list, revoke.", no_args_is_help=True)

PATH = "/api/v1/tokens"


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Whose token it is: grafana, ci, anna.")],
    role: Annotated[str, typer.Option(help="ingest sends, reader reads, responder also acts, admin may everything.")],
    source: Annotated[str, typer.Option(help="Of role ingest: the only source that it may send for.")] = "",
    config: ConfigOption = None,
    url: UrlOption = "",
    token: TokenOption = "",
    as_json: JsonOption = False,
) -> None:
    """Makes a token and prints it, once: only its digest is kept.

    Example: samband token create grafana --role reader
    """

    def ask(client: Client) -> Any:
        return client.post(PATH, {"name": name, "role": role, "source": source})

    def make(store: "Store", known: "list[Issued]") -> Any:
        from daemon.api.tokens import shown
        from daemon.tokens import TokenRefused, issue, wall_ms

        if source and source not in read_config(config, secrets=False).sources:
            stop(f"source: there is no source {source!r}", FOUND)
        try:
            kept, made = issue(known, name, role, source, actor() or "operator", wall_ms())
        except TokenRefused as error:
            stop(str(error), FOUND)
        _write(store, kept)
        return {**shown(kept), "token": made}

    made = _through(config, url, token, ask, make)
    if as_json:
        print_json(made)
    else:
        say(f"{made['name']} ({made['role']}{', ' + made['source'] if made['source'] else ''}); it is shown only now:")
        print_block(made["token"])


@app.command("list")
def list_tokens(
    config: ConfigOption = None, url: UrlOption = "", token: TokenOption = "", as_json: JsonOption = False
) -> None:
    """Lists the tokens that were issued, without themselves.

    Example: samband token list
    """

    def read(store: "Store", known: "list[Issued]") -> Any:
        from daemon.api.tokens import shown

        return {"items": [shown(one) for one in known], "next": None}

    found = _through(config, url, token, lambda client: client.get(PATH), read)
    if as_json:
        print_json(found)
        return
    print_table(
        ("NUMBER", "NAME", "ROLE", "SOURCE", "CREATED", "BY", "REVOKED"),
        [
            (
                one["id"],
                one["name"],
                one["role"],
                one["source"],
                shown_time(one["created_at"]),
                one["created_by"],
                shown_time(one["revoked_at"]),
            )
            for one in found["items"]
        ],
    )


@app.command()
def revoke(
    name: Annotated[str, typer.Argument(help="Name or number of the token.")],
    config: ConfigOption = None,
    url: UrlOption = "",
    token: TokenOption = "",
    as_json: JsonOption = False,
) -> None:
    """Revokes a token: it does not work any more.

    Example: samband token revoke grafana
    """

    def take(store: "Store", known: "list[Issued]") -> Any:
        from daemon.tokens import named, revoked, wall_ms

        found = named(known, name)
        if found is None:
            stop(f"there is no token {name[:100]!r} that works", FOUND)
        _write(store, revoked(found, wall_ms()))
        return {"revoked": True, "name": found.name}

    done = _through(config, url, token, lambda client: client.delete(f"{PATH}/{quote(name, safe='')}"), take)
    if as_json:
        print_json(done)
    else:
        print_block(f"{done['name']}: revoked")


def _through(
    config: Path | None,
    url: str,
    token: str,
    ask: Callable[[Client], Any],
    direct: "Callable[[Store, list[Issued]], Any]",
) -> Any:
    """Asks the daemon at `url`, or the one that has the store open; when there is none, works on the store itself."""
    from daemon.app import build_version
    from daemon.store.base import Locked, StoreError
    from daemon.store.places import place_of
    from daemon.store.queries import Queries

    if url:
        return ask(connect(config, url, token))
    settings = read_config(config, secrets=False)
    try:
        place = place_of(settings.store)
        if not place.exists():
            stop(f"{place.name}: there is no store; `samband run` makes it, and --config says where")
        store = place.open(build_version())
        try:
            return direct(store, Queries(place.reading()).tokens())
        finally:
            store.close()
    except Locked:
        return ask(connect(config, url, token))
    except StoreError as error:
        stop(str(error))


def _write(store: "Store", one: "Issued") -> None:
    """Writes a token as a daemon does: in a batch of its own, under a new epoch."""
    from daemon.store.base import Batch
    from daemon.tokens import wall_ms

    found = store.claim("default", wall_ms())
    store.commit(
        Batch(
            scope="default",
            epoch=found.epoch,
            seq=found.seq + 1,
            now_ms=found.now_ms,
            policy=found.policy,
            mode=found.mode,
            next_id=found.next_id,
            next_number=found.next_number,
            tokens=[one],
            positions=found.positions,
        )
    )
