"""Replay: what recorded alerts would have become. The same engine as the daemon's, on a virtual clock.

Every delivery is done at the instant it is asked for, and nobody acknowledges.
"""

from collections.abc import Callable, Iterable, Sequence

import msgspec

from daemon.core.communication import picture
from daemon.core.effects import Changes, Send
from daemon.core.engine import Engine
from daemon.core.model.alert import ParsedAlert
from daemon.core.model.ids import public_id
from daemon.core.model.incident import Incident
from daemon.core.policy import DAY, Policy
from daemon.core.records import AlertSeen, AnyRecord, Delivered, PolicyChanged
from daemon.core.state import INCIDENT, State
from daemon.core.view import IncidentView
from daemon.store.base import LiveRow

POLICY_DAYS = 400
"""For so long a policy's calendars reach; a longer recording is given a new one in between."""

PolicyFrom = Callable[[int], Policy]
"""The policy with its calendars expanded from that time (ms) on, for POLICY_DAYS days."""


class DeliveryMade(msgspec.Struct, frozen=True):
    """Something that a sink would have been told. at: ms. to: the team it was meant for."""

    at: int
    incident: str
    priority: str
    sink: str
    to: str
    kind: str
    action: str


class Replay:
    """Folds recorded alerts and remembers what came of them.

    shown: takes the picture of an incident that is closed and leaves, and at the end of those that
    are left, in no particular order.
    """

    def __init__(self, policy_from: PolicyFrom, shown: Callable[[IncidentView], None]) -> None:
        self.deliveries: list[DeliveryMade] = []
        self.quarantined: list[str] = []
        self._policy_from = policy_from
        self._shown = shown
        self._engine: Engine | None = None
        self._good_until = 0
        self._alert_of: dict[int, int] = {}
        self._newest: dict[bytes, int] = {}
        self._earlier: dict[int, int] = {}
        self._home: dict[int, int] = {}
        self._merged: dict[int, int] = {}

    def run(self, alerts: Iterable[AlertSeen], run_on_ms: int = DAY) -> None:
        """Replays the alerts, then lets the clock run on until no wait is left, at most `run_on_ms`."""
        together: list[AlertSeen] = []
        at = 0
        for alert in alerts:
            if together and alert.at != at:
                self._arrive(together, at)
                together = []
            at = alert.at
            together.append(alert)
        if together:
            self._arrive(together, at)
            self._wait_until(at + run_on_ms)
        self._finish()

    def incident_of(self, line: int) -> str:
        """The id of the incident that a line's alert is in at the end, after merges; "" when in none."""
        incident = self._home.get(self._alert_of.get(line, 0), 0)
        while incident in self._merged:
            incident = self._merged[incident]
        return public_id(incident)

    # ---- time --------------------------------------------------------------------------------
    def _arrive(self, alerts: Sequence[AlertSeen], at: int) -> None:
        """What arrives at one instant; what was due before it comes first, at its own instant."""
        records: list[AnyRecord] = list(alerts)
        if self._engine is None:
            self._engine = Engine(self._policy_from(at), now_ms=at)
            self._engine.trace = []
            self._good_until = at + (POLICY_DAYS - 1) * DAY
        self._wait_until(at - 1)
        if at > self._good_until:
            policy = self._policy_from(at)
            self._engine.set_policy(policy)
            self._good_until = at + (POLICY_DAYS - 1) * DAY
            records.insert(0, PolicyChanged(at, policy.digest, policy.mode))
        self._step(self._engine, records, at)
        self._note_lines(self._engine, {one.line: one.alert for one in alerts})

    def _wait_until(self, until: int) -> None:
        engine = self._engine
        while engine is not None and (due := engine.next_due()) and due <= until:
            self._step(engine, (), max(due, engine.now_ms))

    def _step(self, engine: Engine, records: Sequence[AnyRecord], at: int) -> None:
        """Folds, and answers what is asked for as done at once, until nothing more is asked for at this instant."""
        while True:
            changes = engine.fold(records, at)
            sends = [effect for effect in changes.effects if isinstance(effect, Send)]
            for send in sends:
                self._deliver(engine.state, send)
            self._note_gone(engine, changes)
            self.quarantined += [one.reason for one in changes.quarantined]
            records = [Delivered(at, send.id, "") for send in sends if not send.shadow]
            if not records:
                return

    # ---- what is remembered ------------------------------------------------------------------
    def _deliver(self, state: State, send: Send) -> None:
        delivery = state.deliveries.get(send.delivery)
        self.deliveries.append(
            DeliveryMade(
                at=send.at,
                incident=public_id(send.incident),
                priority=f"P{send.rank}",
                sink=send.sink,
                to=delivery.team if delivery is not None else "",
                kind=send.kind,
                action=send.action,
            )
        )

    def _note_lines(self, engine: Engine, alerts: dict[int, ParsedAlert]) -> None:
        """Which alert each line went to. A late resolve belongs to the episode that it ended, not to the newest."""
        for line, number in engine.trace or ():
            parsed = alerts[line]
            newest = self._newest.get(parsed.key)
            if newest != number:
                self._newest[parsed.key] = number
                if newest is not None:
                    self._earlier[number] = newest
            if not parsed.firing:
                number = self._ended_by(engine.state, parsed, number)
            self._alert_of[line] = number
        engine.trace = []

    def _ended_by(self, state: State, parsed: ParsedAlert, number: int) -> int:
        end = parsed.ends_at if parsed.ends_at is not None else parsed.starts_at
        alert = state.alerts.get(number)
        while end is not None and alert is not None and end < alert.decides_at and number in self._earlier:
            number = self._earlier[number]
            alert = state.alerts.get(number)
        return number

    def _note_gone(self, engine: Engine, changes: Changes) -> None:
        """Incidents that were closed leave the state: their last picture is taken from what they left behind."""
        left = [LiveRow(row.kind, row.id, row.history, row.extra) for row in changes.changed if row.history is not None]
        if left:
            gone = State.load(left, 0, 0)
            self._note(gone)
            if any(row.kind == INCIDENT for row in left):
                self._show(gone, engine)

    def _note(self, state: State) -> None:
        for alert in state.alerts.rows.values():
            self._home[alert.id] = alert.incident
        for incident in state.incidents.rows.values():
            if incident.merged_into:
                self._merged[incident.id] = incident.merged_into

    def _show(self, state: State, engine: Engine) -> None:
        for incident in state.incidents.rows.values():
            self._shown(picture(state, engine.policy, incident.id, _as_of(incident, engine.now_ms)))

    def _finish(self) -> None:
        if self._engine is not None:
            self._note(self._engine.state)
            self._show(self._engine.state, self._engine)


def _as_of(incident: Incident, now_ms: int) -> int:
    return incident.closed_at or now_ms
