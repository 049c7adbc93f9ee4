"""What the simulated worlds have reached: failpoints, sinks and faults, counted and shown.

A failpoint is *passed* whenever a life goes by it, and *died at* when the life ends there. The fault
of a passing is what befell the last request to that sink.
"""

from collections import Counter

import msgspec

SINKS = ("pager", "desk", "page", "hook", "buzzer")
READ_BACK = ("desk", "page")

FAULTS: dict[str, str] = {
    "": "nothing went wrong",
    "refused": "the connection is refused",
    "no_connection": "no connection comes about in time",
    "throttled": "429 with Retry-After",
    "throttled_bare": "429 without it",
    "unavailable": "503 with Retry-After, not carried out",
    "error": "500, 502 or 503, not carried out",
    "error_after": "500, though it was carried out",
    "hang": "time-out, not carried out",
    "hang_after": "time-out, though it was carried out",
    "late": "time-out; it is carried out long after",
    "reset": "the connection is reset before it was carried out",
    "reset_after": "the connection is reset, though it was carried out",
    "garbage": "carried out, and the answer is no JSON",
    "slow": "carried out, after seconds",
    "rejected": "400: it will never be taken",
    "credentials": "401: the credentials are wrong for a while",
}
"""What can become of a request."""

COMMITS = ("alerts", "refresh", "reload", "base", "start", "command", "clock", "deadlines", "notice", "letter", "stop")
"""Kinds of batch, by what is in it."""
ROWS = ("row", "mark", "retry", "delivered", "unsure", "dead", "drop")
"""Kinds of change of an outbox row: made, *sending*, to be tried again, done, unclear, dead, not wanted any more."""
CONVERSATIONS = ("deliver", "find", "twin", "send")
"""A row at its sink, a look for what an unclear attempt made, a twin that is closed; and each single request."""

SYSTEM_POINTS = (
    "intake-read",
    "intake-answer",
    *(f"{side}-{name}" for name in (*COMMITS, "claim", "tidy") for side in ("before", "after")),
)
SINK_POINTS = (
    *(f"{side}-{name}" for name in (*ROWS, *CONVERSATIONS) for side in ("before", "after")),
    "circuit-opened",
    "circuit-closed",
)


def can_exist(point: str, sink: str) -> bool:
    """Whether the failpoint stands on this sink's way at all."""
    name = point.partition("-")[2]
    if name in ("find", "twin"):
        return sink in READ_BACK
    if name == "unsure":
        return sink in (*READ_BACK, "hook")  # Pagers repeat: the native one by its key, the other with a mark.
    return True


class Coverage(msgspec.Struct):
    """Counts, by failpoint, sink and fault."""

    passed: Counter[tuple[str, str, str]] = msgspec.field(default_factory=Counter)
    died: Counter[tuple[str, str, str]] = msgspec.field(default_factory=Counter)
    met: Counter[tuple[str, str]] = msgspec.field(default_factory=Counter)
    disk: Counter[str] = msgspec.field(default_factory=Counter)

    def add(self, other: "Coverage") -> None:
        """Takes in what another run has counted."""
        self.passed.update(other.passed)
        self.died.update(other.died)
        self.met.update(other.met)
        self.disk.update(other.disk)
