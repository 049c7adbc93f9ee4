"""`samband explain`: why an incident is as it is, and what would happen to an alert now."""

from typing import Annotated, Any

import typer

from daemon.cli.client import TokenOption, UrlOption, connect, incident_path
from daemon.cli.options import ConfigOption, JsonOption
from daemon.cli.output import print_block, print_json, stop

Sections = tuple[tuple[str, str], ...]

INCIDENT: Sections = (
    ("together", "WHY ONE INCIDENT"),
    ("considered", "WHAT ELSE WAS CONSIDERED"),
    ("prioritised", "WHY THIS PRIORITY"),
    ("people", "WHY THESE PEOPLE"),
    ("held", "WHAT IS HELD"),
    ("next", "WHAT HAPPENS NEXT"),
)
ALERT: Sections = (
    ("alert", "WHAT IT IS"),
    ("known", "WHETHER IT IS KNOWN"),
    ("considered", "WHAT IT WOULD BE NEAR TO"),
    ("home", "WHERE IT WOULD GO"),
    ("held", "WHETHER IT WOULD BE HELD"),
    ("told", "WHO WOULD BE TOLD"),
    ("prioritised", "WITH WHAT PRIORITY"),
    ("people", "WHY THESE PEOPLE"),
    ("next", "WHAT WOULD HAPPEN NEXT"),
)


def explain(
    incident: Annotated[str, typer.Argument(metavar="INCIDENT", help="INC-4211, or its id.")] = "",
    alert: Annotated[
        str, typer.Option("--alert", metavar="MATCHERS", help="An alert that might come, by its labels.")
    ] = "",
    config: ConfigOption = None,
    url: UrlOption = "",
    token: TokenOption = "",
    as_json: JsonOption = False,
) -> None:
    """Explains an incident: why these alerts, this priority, these people. Or says what would happen to an alert now.

    Example: samband explain INC-4211

    Or: samband explain --alert 'alertname="Down",service="orders-db",severity="critical"'
    """
    if bool(incident) == bool(alert):
        stop("samband explain takes either an incident (INC-4211) or --alert MATCHERS")
    client = connect(config, url, token)
    if incident:
        told, sections = client.get(f"{incident_path(incident)}/explain"), INCIDENT
    else:
        told, sections = client.post("/api/v1/explain", {"alert": alert}), ALERT
    if as_json:
        print_json(told)
    else:
        print_block(rendered(told, sections))


def rendered(told: dict[str, Any], sections: Sections) -> str:
    """The explanation as text: a section for each question, a line for each sentence."""
    lines = [_head(told)]
    for name, title in sections:
        if told[name] is not None:
            lines += ["", title, *(f"  {sentence}" for sentence in told[name]["text"])]
    return "\n".join(lines)


def _head(told: dict[str, Any]) -> str:
    incident = told.get("incident")
    if incident is not None:
        return f"{incident['priority']} {incident['title']} ({incident['ref']}), {incident['state'].replace('_', ' ')}"
    alert = told["alert"]
    where = alert["service"] or alert["resource"]
    return f"{alert['name']}{f' on {where}' if where else ''}, from source {alert['source']}: if it fired now"
