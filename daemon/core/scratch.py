"""A throw-away state with copies of the few entities that a question concerns.

The engine can fold into it what it likes: nothing in it is shared with the state that it was taken
from. Marking and undoing on the living state would be shorter, but an answer to a reader must not
depend on undo being perfect, nor on nobody folding between the two.
"""

from collections.abc import Iterable, Iterator
from itertools import islice

import msgspec

from daemon.core.state import ALERT, APART, DELIVERY, EMITTER, INCIDENT, SERVICE, SILENCE, State

MEMBERS_MAX = 100
"""So many members of one incident are copied, and its lead; counts stand in the incident itself."""


class _Copied(msgspec.Struct, frozen=True):
    kind: int
    id: int
    image: bytes
    extra: bytes


def scratch(state: State, incidents: Iterable[int], keys: Iterable[bytes]) -> State:
    """A state with these incidents, all that belongs to them, the alerts of these keys, and what suppresses."""
    wanted = dict.fromkeys(_wanted(state, incidents, keys))
    rows = []
    for kind, number in wanted:
        image = state.image(kind, number)
        if image is not None:
            rows.append(_Copied(kind, number, *image))
    return State.load(rows, state.next_id, state.next_number)


def _wanted(state: State, incidents: Iterable[int], keys: Iterable[bytes]) -> Iterator[tuple[int, int]]:
    alerts = [state.by_key[key] for key in keys if key in state.by_key]
    for incident in incidents:
        for one in state.family(state.root(incident)):
            if one not in state.incidents.rows:
                continue  # an alert that is in no incident, or in one that has left
            yield INCIDENT, one
            yield from ((SERVICE, row.id) for row in state.incident_services(one))
            yield from ((DELIVERY, row.id) for row in state.incident_deliveries(one))
            alerts += islice(state.member_ids.get(one, ()), MEMBERS_MAX)
            alerts.append(state.incidents[one].lead)
    for number in alerts:
        alert = state.alerts.get(number)
        if alert is not None:
            yield ALERT, number
            yield EMITTER, state.by_emitter.get(alert.emitter, 0)
    yield from ((SILENCE, number) for number in state.active_silences)
    yield from ((APART, number) for number in state.aparts.rows)
