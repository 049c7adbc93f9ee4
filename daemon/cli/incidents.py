"""`samband incidents list, show`: what is open, and why it is one thing. The verbs are in `verbs`."""

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from daemon.cli.client import TokenOption, UrlOption, connect, incident_path
from daemon.cli.options import ConfigOption, JsonOption
from daemon.cli.output import print_block, print_json, print_table, shown_time

app = typer.Typer(help="Incidents: list, show, and what a responder does with them.", no_args_is_help=True)

IncidentArgument = Annotated[str, typer.Argument(metavar="INCIDENT", help="INC-4211, or its id.")]


@app.command("list")
def list_incidents(
    state: Annotated[str, typer.Option(help="open, acknowledged, resolved, closed, ...; several with commas.")] = "",
    priority: Annotated[str, typer.Option(help="P1 to P5; several with commas.")] = "",
    service: Annotated[str, typer.Option(help="Only those that concern this service.")] = "",
    owner: Annotated[str, typer.Option(help="Only those of this team.")] = "",
    limit: Annotated[int, typer.Option(min=0, help="At most so many; 0: all.")] = 100,
    config: ConfigOption = None,
    url: UrlOption = "",
    token: TokenOption = "",
    as_json: JsonOption = False,
) -> None:
    """Lists incidents, the newest first.

    Example: samband incidents list --state open,acknowledged --priority P1,P2
    """
    query = {"state": state, "priority": priority, "service": service, "owner": owner}
    items = list(connect(config, url, token).items("/api/v1/incidents", query, limit))
    if as_json:
        print_json({"items": items})
        return
    print_table(
        ("PRIORITY", "INCIDENT", "STATE", "OPENED", "FIRING", "RESOLVED", "OWNER", "WHAT"),
        [
            (
                one["priority"],
                one["ref"],
                one["state"],
                shown_time(one["opened_at"]),
                one["alerts"]["firing"],
                one["alerts"]["resolved"],
                one["owner"],
                one["title"],
            )
            for one in items
        ],
    )


@app.command()
def show(
    incident: IncidentArgument,
    config: ConfigOption = None,
    url: UrlOption = "",
    token: TokenOption = "",
    as_json: JsonOption = False,
) -> None:
    """Shows one incident: its members and why they are in, what was sent where, and its timeline.

    Example: samband incidents show INC-4211
    """
    found = connect(config, url, token).get(incident_path(incident))
    if as_json:
        print_json(found)
        return
    print_block(_head(found))
    changes = [
        (shown_time(one.get("at")), one.get("service"), one.get("id") or "", one.get("summary"))
        for one in found.get("changes", [])
    ]
    _section("CHANGED", ("AT", "SERVICE", "CHANGE", "WHAT"), changes)
    members = [_member(one) for one in found.get("members", [])]
    _section("MEMBERS", ("STATUS", "SEVERITY", "SERVICE", "ALERT", "RESOURCE", "IN BECAUSE"), members)
    deliveries = [_delivery(one) for one in found.get("deliveries", [])]
    _section("DELIVERIES", ("SINK", "PURPOSE", "STATE", "REFERENCE", "ATTEMPTS"), deliveries)
    timeline = [
        (shown_time(one.get("at")), one.get("actor") or "samband", one.get("text")) for one in found.get("timeline", [])
    ]
    _section("TIMELINE", ("AT", "WHO", "WHAT"), timeline)


def _head(found: dict[str, Any]) -> str:
    alerts = found["alerts"]
    held = f", {alerts['held']} held" if alerts["held"] else ""
    told = (
        ("STATE", f"{found['state']}, merged into {found['merged_into']}" if found["merged_into"] else found["state"]),
        ("SINCE", found["opened_at"]),
        ("ALERTS", f"{alerts['firing']} firing, {alerts['resolved']} resolved{held}"),
        ("SERVICES", ", ".join(found["services"])),
        ("LIKELY", found["cause"]),
        ("WHY", found["derivation"]),
        ("WHO", found["owner"]),
        ("ACKED", found["acknowledged_at"]),
        ("RESOLVED", found["resolved_at"]),
    )
    title = f"{found['priority']} {found['title']} ({found['ref']})"
    return "\n".join([title, *(f"{word:<10}{text}" for word, text in told if text)])


def _member(one: dict[str, Any]) -> tuple[object, ...]:
    evidence = one.get("evidence") or {}
    why = ": ".join(str(part) for part in (one.get("reason"), evidence.get("facts")) if part)
    if one.get("held"):
        why += f" (held: {', '.join(one['held'])})"
    return one.get("status"), one.get("severity"), one.get("service"), one.get("name"), one.get("resource"), why


def _delivery(one: dict[str, Any]) -> tuple[object, ...]:
    return one.get("sink"), one.get("purpose"), one.get("state"), one.get("reference") or "", one.get("attempts")


def _section(name: str, columns: tuple[str, ...], rows: Sequence[tuple[object, ...]]) -> None:
    if rows:
        print(f"\n{name}")
        print_table(columns, rows)
