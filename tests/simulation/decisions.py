"""What the daemon decided, batch by batch, held against the records that it had: order, and who is rung for what.

The state is looked at for who belongs to what; no rule of the engine is used.
"""

from typing import TYPE_CHECKING, Any

from daemon.core.effects import Changes, Noted, Send
from daemon.core.model.incident import Incident
from daemon.core.records import AlertSeen, CommandGiven, PolicyChanged
from daemon.core.state import State

if TYPE_CHECKING:
    from tests.simulation.world import World

PAGERS = ("pager", "buzzer")


class Told:
    """What people have been rung for in one incident: the best priority, teams, and tier-1 services."""

    def __init__(self) -> None:
        self.rank = 9
        self.names: dict[str, None] = {}

    def take(self, rank: int, names: list[str]) -> None:
        """They have been rung for this."""
        self.rank = min(self.rank, rank)
        self.names |= dict.fromkeys(names)


class Decisions:
    """Looks at one batch after the other."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._told: dict[tuple[int, int], Told] = {}
        self._merged: dict[int, int] = {}

    def look(self, entry: Any, changes: Changes, state: State) -> None:
        """Judges what came of a batch."""
        if any(isinstance(record, PolicyChanged) and record.before == "shadow" for record in entry.records):
            self._told.clear()  # What only seemed told is told now.
        notes = [effect for effect in changes.effects if isinstance(effect, Noted)]
        self._nothing_forbidden(entry, notes, state)
        for effect in changes.effects:
            if isinstance(effect, Noted) and effect.kind == "merged" and effect.text.startswith("into "):
                self._merge(effect.incident, state)
            elif isinstance(effect, Noted) and effect.kind == "raise":
                self._raised(effect, state)
            elif isinstance(effect, Send) and effect.kind == "pager" and effect.action == "create":
                # What joins in the same batch may have come before or after the ring: it is not known what was told.
                known = not any(isinstance(one, AlertSeen | CommandGiven) for one in entry.records)
                self._ring(effect, state, known=known)

    def _nothing_forbidden(self, entry: Any, notes: list[Noted], state: State) -> None:
        """No deadline fires before a record of the same or an earlier instant that forbids it."""
        resolved = {note.incident: note.at for note in notes if note.kind == "resolved" and not note.actor}
        if not resolved:
            return
        for record in entry.records:
            if not isinstance(record, AlertSeen) or not record.alert.firing:
                continue
            alert = state.alerts.rows.get(state.by_key.get(record.alert.key, 0))
            at = resolved.get(state.root(alert.incident)) if alert is not None else None
            if alert is None or at is None or not alert.open or alert.held:
                continue
            if max(record.at, alert.began_at, alert.last_sign) <= at:
                text = f"{alert.name} fired at {record.at}, and its incident was resolved at {at} all the same"
                self._world.wrong(text, alert.key.hex(), f"{alert.incident:016x}")

    # ---- rings -------------------------------------------------------------------------------------------------
    def _known(self, incident: Incident) -> Told:
        return self._told.setdefault((incident.id, incident.generation), Told())

    def _merge(self, loser: int, state: State) -> None:
        root = state.incidents.rows.get(state.root(loser))
        gone = state.incidents.rows.get(loser)
        if root is None or gone is None:
            return
        told = self._known(gone)
        if told.rank < 9:
            self._known(root).take(told.rank, list(told.names))

    def _ring(self, send: Send, state: State, *, known: bool) -> None:
        """People are rung: it is kept for what, and for the first time it must not be the second."""
        incident = state.incidents.rows.get(state.root(send.incident))
        if incident is None or send.shadow or send.sink != "pager":
            return
        twin = self._other_page(send, state) if send.purpose == "page" else ""
        if twin:
            self._world.wrong(f"a second page for one incident: {send.key} beside {twin}", f"{incident.id:016x}")
        if known and not incident.held and not state.active_silences:
            self._known(incident).take(send.rank, _concerned(state, incident))

    def _raised(self, note: Noted, state: State) -> None:
        """People are to be rung again: it must be worse, or concern somebody else, than what they were told."""
        incident = state.incidents.rows.get(state.root(note.incident))
        if incident is None or note.text == "acknowledgement lapsed":
            return
        told = self._known(incident)
        for reason in note.text.split(", "):
            word, _, what = reason.partition(" ")
            new = int(what[1]) < told.rank if word == "now" else what not in told.names
            if not new:
                known = f"P{told.rank} {list(told.names)}"
                text = f"{incident.ref} rings again because {reason}, and that had been told: {known}"
                self._world.wrong(text, f"{incident.id:016x}")

    def _other_page(self, send: Send, state: State) -> str:
        """Another first page of the same incident and generation that was asked for and not ended."""
        root = state.root(send.incident)
        for other in state.incident_deliveries(root):
            same = other.sink == send.sink and other.purpose == "page" and other.generation == send.generation
            if same and other.state == "open" and other.id != send.delivery and not other.shadow:
                return other.key
        return ""


def _concerned(state: State, incident: Incident) -> list[str]:
    """Whom it concerns: its team, and tier-1 services that fire."""
    rows = state.incident_services(incident.id)
    return list(dict.fromkeys([f"team {incident.owner}", *(row.service for row in rows if row.tier == 1 and row.loud)]))
