"""A person reports an incident: it starts as an alert of its own, which nobody but a person ends."""

import msgspec

from daemon.core import membership
from daemon.core.context import Context
from daemon.core.corrections import REPORT_SOURCE
from daemon.core.dedup import see
from daemon.core.effects import Reply
from daemon.core.model.alert import RANK, ParsedAlert, alert_key
from daemon.core.priority import set_by_person
from daemon.core.records import CommandGiven


def report(ctx: Context, record: CommandGiven, index: int) -> Reply:
    """Opens an incident for what a person saw: `title`, and perhaps service, environment, severity, description."""
    given = record.arguments
    title = given.get("title", "").strip()[:300]
    severity = given.get("severity", "error")
    if not title:
        return Reply(index, "invalid", "a report needs 'title': what is wrong")
    if severity not in RANK or severity == "none":
        return Reply(index, "invalid", f"there is no severity {severity!r}; there are critical, error, warning, info")
    priority = given.get("priority", "")
    if priority not in ("", "P1", "P2", "P3", "P4", "P5"):
        return Reply(index, "invalid", f"there is no priority {priority!r}; there are P1 to P5")
    alert = see(ctx, _as_alert(record, title, severity, ctx.state.next_id), None).alert
    if alert is None:
        return Reply(index, "invalid", "the report could not be taken")
    incident = membership.open_incident(ctx, alert)
    membership.join(ctx, alert, incident, None, None)
    ctx.note(incident.id, "reported", title, record.actor)
    if priority:
        set_by_person(ctx, incident, priority, f"as reported by {record.actor}")
    return Reply(index, "ok", f"{incident.ref} is open", incident.id)


def _as_alert(record: CommandGiven, title: str, severity: str, number: int) -> ParsedAlert:
    given = record.arguments
    notes = {"summary": title, "reported_by": record.actor}
    if description := given.get("description", "").strip():
        notes["description"] = description[:4_000]
    return ParsedAlert(
        source=REPORT_SOURCE,
        key=alert_key(REPORT_SOURCE, b"%d" % number),
        name=title,
        firing=True,
        severity=severity,
        service=given.get("service", ""),
        resource="",
        environment=given.get("environment", ""),
        labels=b"{}",
        annotations=msgspec.json.encode(notes, order="sorted"),
        starts_at=None,
        ends_at=None,
        replica="",
        emitter=REPORT_SOURCE,
        invented_end=False,
        event=False,
    )
