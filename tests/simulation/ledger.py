"""What was said to the daemon and what it has answered for; and what must then be seen of it from outside.

The rules here are few and written anew from `product.md`: an alert is open while the newest episode that
was acknowledged has not been resolved by all who mention it; silence alone ends nothing.
"""

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from daemon.core.model.alert import Alert, ParsedAlert
from daemon.runtime import Runtime

if TYPE_CHECKING:
    from tests.simulation.world import World

SLEW = 0.89
"""Engine time may run a tenth faster than the world's, while it is drawn to the wall clock."""
SLACK_S = 2.0
BUFFER_S = 12.0
"""So long a refresh may take to be seen: its buffer, and a slow disk."""


class Mention(NamedTuple):
    """A firing that was acknowledged: when it was sent, what it said of its end (s of the world, 0 for nothing)."""

    at: float
    until: float
    emitter: str
    start: int | None


class Known:
    """What was said of one key. pending: attempts under way. clear: whether the last one was alone and is answered."""

    def __init__(self) -> None:
        self.firing: dict[tuple[str, int], None] = {}
        self.resolved: dict[tuple[str, int], None] = {}
        self.mention: Mention | None = None
        self.until = 0.0
        self.pending = 0
        self.unanswered: dict[tuple[bool, str, int], None] = {}
        self.last: tuple[float, ParsedAlert] | None = None
        self.clear = False

    def is_open(self) -> bool | None:
        """Whether the alert must be open; None when that cannot be known."""
        if self.unanswered:
            return None
        newest: dict[str, int] = {}
        for replica, start in self.firing:
            newest[replica] = max(newest.get(replica, 0), start)
        if not newest:
            return None
        return any((replica, start) not in self.resolved for replica, start in newest.items())


class Ledger:
    """Kept beside the daemon. answered: key, status and start of all that was acknowledged -> when first."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self.answered: dict[tuple[bytes, bool, int | None], float] = {}
        self.known: dict[bytes, Known] = {}
        self.contacts: dict[str, list[float]] = {}
        self.names: dict[bytes, str] = {}
        self.starts: list[float] = []
        self.clock_wrong = False
        self.critical: list[tuple[float, ParsedAlert]] = []
        self.attempts: list[tuple[float, float, list[ParsedAlert], bool]] = []

    # ---- what senders do -----------------------------------------------------------------------------------
    def tries(self, alerts: list[ParsedAlert]) -> int:
        """A sender begins to send; the number of its attempt."""
        now = self._world.loop.time()
        for alert in alerts:
            self.names.setdefault(alert.key, f"{alert.name} on {alert.resource}")
            known = self.known.setdefault(alert.key, Known())
            known.clear = False
            known.last = (now, alert) if not known.pending else None
            known.pending += 1
            talk = self.contacts.setdefault(alert.emitter, [])
            if not talk or talk[-1] < now:
                talk.append(now)
        return len(alerts)

    def ends(self, alerts: list[ParsedAlert], began: float, *, answered: bool) -> None:
        """An attempt is over, and it was answered that the daemon has them, or it was not."""
        self.attempts.append((began, self._world.loop.time(), alerts, answered))
        for alert in alerts:
            known = self.known[alert.key]
            known.pending -= 1
            said = (alert.firing, alert.replica, alert.starts_at or 0)
            if answered:
                known.unanswered.pop(said, None)
            elif (alert.key, alert.firing, alert.starts_at) not in self.answered:
                known.unanswered[said] = None
            known.clear = answered and not known.pending and known.last is not None and known.last[1] is alert
        if answered:
            self._answered(alerts, began)

    def _answered(self, alerts: list[ParsedAlert], began: float) -> None:
        world, base = self._world, self._world.clock.true_ms() - self._world.loop.time() * 1000
        for alert in alerts:
            self.answered.setdefault((alert.key, alert.firing, alert.starts_at), world.loop.time())
            known = self.known[alert.key]
            episode = (alert.replica, alert.starts_at or 0)
            if alert.firing:
                known.firing[episode] = None
                until = (alert.ends_at - base) / 1000 if alert.ends_at and not alert.invented_end else 0.0
                known.mention = Mention(began, until, alert.emitter, alert.starts_at)
                known.until = max(known.until, until)
                if _critical(alert):
                    self.critical.append((began, alert))
            else:
                known.resolved[episode] = None
                known.until = 0.0  # Whatever mentions it from here on, late copies too, brings a lease of its own.
        world.journal.is_durable(alerts)

    # ---- what befalls the daemon -----------------------------------------------------------------------------
    def clock_set(self) -> None:
        """The machine's clock is wrong from here on."""
        self.clock_wrong = True

    def started(self, runtime: Runtime) -> None:
        """A life has begun."""
        self.starts.append(self._world.loop.time())

    # ---- from time to time -------------------------------------------------------------------------------------
    def look(self) -> None:
        """Compares what the daemon shows of its alerts with what it was told. Only while it runs undisturbed."""
        world = self._world
        runtime, life = world.runtime, world.life
        if runtime is None or life is None or not runtime.healthy or life.frozen_until or self.clock_wrong:
            return
        state, now = runtime.engine.state, world.loop.time()
        for key, known in self.known.items():
            alert = state.alerts.rows.get(state.by_key.get(key, 0))
            if alert is not None and not known.pending and not alert.event:
                for text in self._wrong(alert, known, now):
                    world.wrong(f"{self.names[key]}: {text}", key.hex())

    def _wrong(self, alert: Alert, known: Known, now: float) -> Iterator[str]:
        runtime = self._world.runtime
        assert runtime is not None
        poisoned = "poison" in self._world.plan.has  # What raised waits as a dead letter for a person.
        expected = known.is_open() if alert.source == "scripts" and not poisoned else None
        if expected is not None and expected != alert.open:
            yield f"it is {'open' if alert.open else 'ended (' + alert.end + ')'}, and was said to be otherwise"
        heard = known.mention
        if not alert.open or heard is None or not self.starts or heard.at < self.starts[-1]:
            return
        if known.until > now + BUFFER_S and now > heard.at + BUFFER_S and alert.status(runtime.now_ms()) == "stale":
            yield f"it is shown as stale, and was mentioned {now - heard.at:.0f} s ago"
        if known.clear and known.last is not None and known.last[1].firing and now > known.last[0] + BUFFER_S:
            parsed = known.last[1]
            shown = runtime.engine.state.annotations.get(alert.id)
            if parsed.starts_at == alert.heard_start and shown != parsed.annotations:
                yield f"its annotations are older than those of {now - known.last[0]:.0f} s ago"

    # ---- silence is not recovery --------------------------------------------------------------------------------
    def ended_by_silence(self, alert: Alert, at: float) -> None:
        """The engine took the alert to have ended, because its emitter talked on without it, or because of its age."""
        known = self.known.get(alert.key)
        if known is None or known.mention is None or self.clock_wrong or self._world.people.gave_in:
            return
        timing = self._world.configuration.policy.timing
        for text in self._too_early(alert, known, known.mention, at, timing.lapse_after / 1000, timing):
            self._world.wrong(f"{self.names[alert.key]} was ended as {alert.end} too early: {text}", alert.key.hex())

    def _too_early(
        self, alert: Alert, known: Known, heard: Mention, at: float, after: float, timing: object
    ) -> Iterator[str]:
        start = max((one for one in self.starts if one <= at), default=0.0)
        if alert.end == "expired":
            wait = timing.event_expires / 1000  # type: ignore[attr-defined]
            if at < max(heard.at, start) + wait * SLEW - SLACK_S:
                yield f"mentioned {at - heard.at:.0f} s ago, restarted {at - start:.0f} s ago, {wait:.0f} s must pass"
            return
        talk = sorted(one for one in (*self.contacts.get(heard.emitter, ()), *self.starts) if one <= at)
        lead = max(heard.until - heard.at, 0.0)
        # A restart gives every lease its last lead anew, whatever was said before.
        if heard.at > start and at < known.until + after * SLEW - SLACK_S:
            yield f"its lease ended {at - known.until:.0f} s ago, and {after:.0f} s must pass"
        if at < start + (lead + after) * SLEW - SLACK_S:
            yield f"samband was started {at - start:.0f} s ago, and {lead + after:.0f} s must pass"
        if not talk or at - talk[-1] > max(lead, 300.0) + BUFFER_S:
            yield "its own emitter had not been heard"
        resumed = _resumed(talk, max(lead, 10.0) + BUFFER_S)
        gap = timing.lapse_after_gap / 1000  # type: ignore[attr-defined]
        if resumed > max(heard.at, start) + SLACK_S and at < resumed + gap * SLEW - SLACK_S:
            yield f"its emitter was silent until {at - resumed:.0f} s ago, and {gap:.0f} s must pass"


def _resumed(talk: list[float], pause: float) -> float:
    """Since when it has been talking without such a pause."""
    since = talk[-1] if talk else 0.0
    for one in reversed(talk):
        if since - one > pause:
            break
        since = one
    return since


def _critical(alert: ParsedAlert) -> bool:
    return alert.severity == "critical" and (alert.environment or _labels(alert).get("env")) == "production"


def service_of(alert: ParsedAlert) -> str:
    """The service that it names."""
    return alert.service or _labels(alert).get("service", "")


def _labels(alert: ParsedAlert) -> dict[str, str]:
    found: dict[str, str] = json.loads(alert.labels)
    return found
