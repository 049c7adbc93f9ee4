"""What the steps of one fold share: state, policy, the time, and what they want the world to hear."""

from collections import defaultdict

from daemon.core.correlation import Evidence
from daemon.core.effects import Effect, Noted
from daemon.core.model.alert import Alert
from daemon.core.policy import Policy
from daemon.core.state import State


class Home:
    """Where the last alert of a subject went at this instant; its like go there without looking again.

    first: that alert; evidence: what it joined by. incident, row: ids of where it was counted. waiting: so many of its
    like came since; they are members, and are not counted yet.
    """

    __slots__ = ("evidence", "first", "incident", "row", "waiting")

    def __init__(self, first: Alert, evidence: Evidence, incident: int, row: int) -> None:
        self.first, self.evidence, self.incident, self.row = first, evidence, incident, row
        self.waiting = 0


class Context:
    """Handed from step to step. `now` is the time of the record or deadline at hand, ms.

    touched: incidents that the record changed, in order; they are settled once, at its end.
    homes: by subject, for this instant; crowded: those of them where somebody waits to be counted.
    heard: when the alert at hand reached us, or the log that it was read from; never after `now`.
    counts: (counter, label) -> how often, for the metrics.
    """

    def __init__(self, state: State, policy: Policy, now: int = 0) -> None:
        self.state = state
        self.policy = policy
        self.now = self.heard = now
        self.effects: list[Effect] = []
        self.homes: dict[object, Home] = {}
        self.crowded: list[Home] = []
        self.touched: dict[int, None] = {}
        self.counts: dict[tuple[str, str], int] = defaultdict(int)

    def note(self, incident: int, kind: str, text: str, actor: str = "") -> None:
        """Adds a line to the incident's timeline."""
        self.effects.append(Noted(incident, self.now, kind, text, actor))

    def count(self, counter: str, label: str = "") -> None:
        """Counts for the metrics."""
        self.counts[counter, label] += 1
