"""What the steps of one fold share: state, policy, the time, and what they want the world to hear."""

from daemon.core.correlation import Evidence
from daemon.core.effects import Effect, Noted
from daemon.core.policy import Policy
from daemon.core.state import State


class Context:
    """Handed from step to step. `now` is the time of the record or deadline at hand, ms.

    touched: incidents that the record changed, in order; they are settled once, at its end.
    homes: where the last alert of a subject went at this instant; its like go there without looking again.
    heard: when the alert at hand reached us, or the log that it was read from; never after `now`.
    counts: (counter, label) -> how often, for the metrics.
    """

    def __init__(self, state: State, policy: Policy, now: int = 0) -> None:
        self.state = state
        self.policy = policy
        self.now = self.heard = now
        self.effects: list[Effect] = []
        self.homes: dict[object, Evidence] = {}
        self.touched: dict[int, None] = {}
        self.counts: dict[tuple[str, str], int] = {}

    def note(self, incident: int, kind: str, text: str, actor: str = "") -> None:
        """Adds a line to the incident's timeline."""
        self.effects.append(Noted(incident, self.now, kind, text, actor))

    def count(self, counter: str, label: str = "") -> None:
        """Counts for the metrics."""
        key = (counter, label)
        self.counts[key] = self.counts.get(key, 0) + 1
