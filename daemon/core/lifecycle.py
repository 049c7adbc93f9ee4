"""The states of an incident as a table: which event leads where, and what is forbidden."""

from typing import Literal

from daemon.core.model.incident import IncidentState

Event = Literal[
    "acknowledge",
    "unacknowledge",
    "hold",
    "resume",
    "resolve",
    "clear",
    "fire",
    "reopen",
    "close",
    "merge",
    "lapse",
]

TRANSITIONS: dict[IncidentState, dict[Event, IncidentState]] = {
    "open": {
        "acknowledge": "acknowledged",
        "hold": "on_hold",
        "resolve": "resolved",
        "clear": "resolved",
        "merge": "merged",
    },
    "acknowledged": {
        "acknowledge": "acknowledged",
        "unacknowledge": "open",
        "lapse": "open",
        "hold": "on_hold",
        "resolve": "resolved",
        "clear": "resolved",
        "merge": "merged",
    },
    "on_hold": {
        "acknowledge": "acknowledged",
        "resume": "acknowledged",
        "resolve": "resolved",
        "clear": "resolved",
        "merge": "merged",
    },
    "resolved": {"resolve": "resolved", "fire": "reopened", "reopen": "reopened", "close": "closed"},
    "closed": {},
    "reopened": {
        "acknowledge": "acknowledged",
        "hold": "on_hold",
        "resolve": "resolved",
        "clear": "resolved",
        "merge": "merged",
    },
    "merged": {},
}
"""State -> event -> next state. What is not listed is forbidden and changes nothing.

`clear` is all members ended and the wait over; `fire` a member that fires again; `lapse` an
acknowledgement without activity; `merge` into another incident. Everything else is a person's act.
"""


class Forbidden(Exception):
    """The state does not allow the event; the text says so to people."""


def after(state: IncidentState, event: Event) -> IncidentState:
    """The state after the event. Raises Forbidden."""
    following = TRANSITIONS[state].get(event)
    if following is None:
        raise Forbidden(f"an incident that is {state.replace('_', ' ')} cannot {_WORDS.get(event, event)}")
    return following


_WORDS = {
    "acknowledge": "be acknowledged",
    "resolve": "be resolved",
    "hold": "be put on hold",
    "merge": "be merged",
    "reopen": "be reopened",
    "resume": "be taken off hold",
    "unacknowledge": "be unacknowledged",
    "close": "be closed",
}
