"""What the simulated worlds have reached: failpoints, sinks and faults, counted and shown.

A failpoint is *passed* whenever a life goes by it, and *died at* when the life ends there. The fault
of a passing is what befell the last request to that sink.
"""

from collections import Counter
from collections.abc import Iterator

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

FINE = frozenset({"", "slow", "garbage"})
"""After these it is done: what is answered to a write is not read, where nothing but its status matters."""
THROTTLED = frozenset({"throttled", "throttled_bare"})
NOT_SENT = frozenset({"refused", "no_connection"}) | THROTTLED
"""Certainly not done."""
UNCLEAR = frozenset({"unavailable", "error", "error_after", "hang", "hang_after", "late", "reset", "reset_after"})
"""Perhaps done."""
FINAL = frozenset({"rejected", "credentials"})
"""Not done, and a repeat would not help."""
AGAIN = {sink: {""} | NOT_SENT | (UNCLEAR if sink != "hook" else frozenset()) for sink in SINKS}
"""After these a row is tried again, by sink: the hook holds what is unclear."""

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
    disk: Counter[str] = msgspec.field(default_factory=Counter)

    def add(self, other: "Coverage") -> None:
        """Takes in what another run has counted."""
        self.passed.update(other.passed)
        self.died.update(other.died)
        self.disk.update(other.disk)

    def counts(self) -> list[list[tuple[str, int]]]:
        """As plain lists, for another process."""
        named = [Counter({"|".join(key): count for key, count in one.items()}) for one in (self.passed, self.died)]
        return [list(one.items()) for one in (*named, self.disk)]

    @staticmethod
    def of(counts: list[list[tuple[str, int]]]) -> "Coverage":
        """The inverse of `counts`."""
        passed, died, disk = counts
        found = Coverage(disk=Counter(dict(disk)))
        for whole, part in ((found.passed, passed), (found.died, died)):
            for name, count in part:
                point, sink, fault = name.split("|")
                whole[point, sink, fault] = count
        return found


# ---- what has to be reached, and the table -----------------------------------------------------------------
def cells() -> Iterator[tuple[str, str, str]]:
    """Every failpoint, sink and fault that can come together."""
    for point in SINK_POINTS:
        for sink in SINKS:
            if can_exist(point, sink):
                for fault in FAULTS:
                    if can_follow(point, sink, fault):
                        yield point, sink, fault


def can_follow(point: str, sink: str, fault: str) -> bool:
    """Whether the failpoint can be passed when the last request about the same object met that fault."""
    side, _, name = point.partition("-")
    match name:
        case "row" | "drop" | "twin":
            # Made, dropped, or closed as a twin: what was asked before was about something else.
            return fault == ""
        case "delivered":
            return fault in FINE
        case "dead":
            return fault in FINAL
        case "retry":
            return fault in (NOT_SENT if sink == "hook" else NOT_SENT | UNCLEAR)
        case "unsure":
            return fault in UNCLEAR
        case "mark":
            return fault in AGAIN[sink]
        case "deliver" | "send" | "find" if side == "before":
            return fault in AGAIN[sink] and (name != "find" or fault in UNCLEAR)
        case "opened":
            # To a circuit all failures are alike. What is unclear at the hook is not tried again.
            return fault in ({"refused"} if sink == "hook" else {"refused", "hang", "error"})
        case "closed":
            return fault == ""
    return True


def leads_to(point: str, sink: str) -> frozenset[str]:
    """The faults that lead there; none when any does."""
    name = point.partition("-")[2]
    found: dict[str, frozenset[str]] = {
        "dead": FINAL,
        "retry": NOT_SENT,
        "unsure": UNCLEAR - {"unavailable"},
        "find": UNCLEAR,
        "twin": frozenset({"late"}),
        "drop": frozenset({"refused"}),
        "opened": frozenset({"refused"} if sink == "hook" else {"refused", "hang", "error"}),
        "closed": frozenset({"refused"}),
        "delivered": FINE - {""},
    }
    if sink == "pager":
        found["mark"] = NOT_SENT | UNCLEAR  # A native row has no mark of its own at the first attempt.
    return found.get(name, frozenset())


def missing(coverage: Coverage) -> list[str]:
    """What was not reached: failpoints that were not passed, or not died at, and cells that were not passed."""
    found = [f"{point}: never passed" for point in SYSTEM_POINTS if not coverage.passed[point, "", ""]]
    died = {(point, sink) for point, sink, _ in coverage.died}
    found += [f"{point}: never died at" for point in SYSTEM_POINTS if (point, "") not in died]
    found += [
        f"{point} of {sink}: never died at"
        for point in SINK_POINTS
        for sink in SINKS
        if can_exist(point, sink) and (point, sink) not in died
    ]
    found += [
        f"{point} of {sink} after {fault or 'no fault'}: never passed"
        for point, sink, fault in cells()
        if not coverage.passed[point, sink, fault]
    ]
    return found


def table(coverage: Coverage) -> list[str]:
    """Failpoints in rows, sinks in columns: faults met there of those that can be, and deaths there."""
    lines = ["failpoint            " + "".join(f"{sink:>16}" for sink in SINKS)]
    for point in SINK_POINTS:
        row = f"{point:<21}"
        for sink in SINKS:
            wanted = [fault for fault in FAULTS if can_exist(point, sink) and can_follow(point, sink, fault)]
            met = sum(1 for fault in wanted if coverage.passed[point, sink, fault])
            died = sum(count for (at, of, _), count in coverage.died.items() if (at, of) == (point, sink))
            row += f"{f'{met}/{len(wanted)} +{died}' if wanted else '-':>16}"
        lines.append(row)
    lines.append("")
    for point in SYSTEM_POINTS:
        passed = sum(count for (at, _, _), count in coverage.passed.items() if at == point)
        died = sum(count for (at, _, _), count in coverage.died.items() if at == point)
        lines.append(f"{point:<21}{passed:>10} passed{died:>8} died")
    lines.append("")
    lines += [f"disk: {mood:<12}{count:>8}" for mood, count in sorted(coverage.disk.items())]
    return lines
