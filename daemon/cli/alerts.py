"""`samband alerts`: what fires, and what has ended lately."""

from typing import Annotated

import typer

from daemon.cli.client import TokenOption, UrlOption, connect
from daemon.cli.options import ConfigOption, JsonOption
from daemon.cli.output import print_json, print_table, shown_time

app = typer.Typer(help="Alerts: list.", no_args_is_help=True)


@app.callback()
def alerts() -> None:
    """Alerts: list."""


@app.command("list")
def list_alerts(
    matchers: Annotated[
        str, typer.Option("--filter", help="Matchers as in Alertmanager, for example 'service=\"shop\"'.")
    ] = "",
    source: Annotated[str, typer.Option(help="Only those of this source.")] = "",
    status: Annotated[str, typer.Option(help="firing, stale, resolved or expired.")] = "",
    limit: Annotated[int, typer.Option(min=0, help="At most so many; 0: all.")] = 100,
    config: ConfigOption = None,
    url: UrlOption = "",
    token: TokenOption = "",
    as_json: JsonOption = False,
) -> None:
    """Lists what fires, and what has ended while its incident is open or 24 h.

    Example: samband alerts list --status firing --filter 'severity="critical"'
    """
    query = {"filter": matchers, "source": source, "status": status}
    items = list(connect(config, url, token).items("/api/v1/alerts", query, limit))
    if as_json:
        print_json({"items": items})
        return
    print_table(
        ("STATUS", "SEVERITY", "SERVICE", "ALERT", "RESOURCE", "SINCE", "SOURCE", "INCIDENT"),
        [
            (
                one["status"],
                one["severity"],
                one["service"],
                one["name"],
                one["resource"],
                shown_time(one["starts_at"]),
                one["source"],
                one["incident"] or "",
            )
            for one in items
        ],
    )
