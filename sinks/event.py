"""What happens to an incident, as JSON: the event of the webhook and of Kafka (docs/schemas/incident-event.json)."""

from typing import Any

from daemon.core.view_json import as_json, rfc3339
from sinks.base import Order
from sinks.text import cleaned

TYPE = {
    "create": "incident.opened",
    "update": "incident.updated",
    "resolve": "incident.resolved",
    "reopen": "incident.reopened",
}
"""Action -> type of the event."""


def event_of(order: Order) -> dict[str, Any]:
    """The message: type, key, sent_at and the incident in the form of the API. A raise is news of an open incident.

    A summary has beside the worst incident all of them, and the text.
    """
    raised = order.action == "create" and order.purpose.startswith("raise")
    event = {
        "type": "incident.updated" if raised else TYPE[order.action],
        "key": order.key,
        "sent_at": rfc3339(order.sent_at),
        "incident": cleaned(as_json(order.incident)),
    }
    if order.purpose == "summary":
        event["type"] = "incident.summary"
        event["text"] = cleaned(order.text)
        event["incidents"] = [cleaned(as_json(one)) for one in order.incidents]
    return event


def idempotency_key(order: Order) -> str:
    """The same for every try of one order, another for every other: the object's key and the outbox row's id."""
    return f"{order.key}/{order.send:016x}"
