"""What samband says about itself when a sink does not take what it is told (promise 3).

Two conditions per sink, each one alert that begins and ends: `sink-failing`, while something that
should have been told is overdue there; `dead-letter`, while something that was given up still
matters. Neither is ever about an incident about samband itself.
"""

from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count

from daemon.core.records import AnyRecord, Overdue, SelfNoticed
from daemon.outbox_rules import MAKES, Timing, overdue_at
from daemon.runtime import Runtime
from daemon.store.base import OutboxRow

FAILING, DEAD = "sink-failing", "dead-letter"


class Notices:
    """Keeps what is overdue and what is dead, and tells the engine when a condition begins or ends."""

    def __init__(self, runtime: Runtime, timing: Timing) -> None:
        self._runtime, self.timing = runtime, timing
        self._since = 0
        self._due: list[tuple[int, int, OutboxRow]] = []
        self._turn = count()
        self._late: dict[int, OutboxRow] = {}
        self._dead: dict[int, OutboxRow] = {}
        self._said: dict[tuple[str, str], None] = {}
        self._untold: list[AnyRecord] = []

    def start(self) -> None:
        """Finds out from the state what has been said before the restart and was not taken back."""
        self._since = self._runtime.now_ms()
        for incident in self._runtime.engine.state.incidents.rows.values():
            # Whether it lasts, its alert says: a person may have resolved the incident meanwhile.
            if incident.firing and incident.self_cause in (FAILING, DEAD):
                self._said[incident.self_cause, incident.self_sink] = None

    def expect(self, row: OutboxRow) -> None:
        """The row is to be done in time; what a restart takes up, or a person tries again, gets its time again."""
        since = self._since if row.attempts else max(self._since, row.next_at)
        self._wait(overdue_at(row, self.timing, since), row)

    def shift(self, by: int) -> None:
        """Moves all bounds by so many ms."""
        self._since += by
        self._due = [(until + by, turn, row) for until, turn, row in self._due]

    def _wait(self, until: int, row: OutboxRow) -> None:
        heappush(self._due, (until, next(self._turn), row))

    def remember(self, row: OutboxRow) -> None:
        """The row is dead, and that has been said."""
        self._dead[row.send.id] = row
        if not self._own(row):
            self._said[DEAD, row.send.sink] = None

    def forget(self, number: int) -> None:
        """The row is not dead any more; the next tick finds out whether anything still is."""
        self._dead.pop(number, None)

    def dead(self, row: OutboxRow, now: int) -> list[AnyRecord]:
        """What to tell the engine in the transaction in which the row dies; the next tick knows that it was said."""
        if self._own(row):
            return []
        text = f"{row.send.sink} does not take {row.send.action} of {row.send.purpose}: {row.reason} {row.detail}"
        return [SelfNoticed(now, DEAD, row.send.sink, text.strip(), True)]

    async def tick(self, now: int, head: Callable[[int], bool], waiting: Callable[[int], bool]) -> None:
        """Tells what has become overdue, and what is over. Raises NotDurable: it is told at the next tick.

        head: whether a row is the one whose turn it is. waiting: whether it is still to be done.
        """
        self._late = {number: row for number, row in self._late.items() if waiting(number)}
        self._dead = {number: row for number, row in self._dead.items() if self._matters(row)}
        self._find_overdue(now, head, waiting)
        conditions = self._conditions()
        begun = [condition for condition in conditions if condition not in self._said]
        ended = [condition for condition in self._said if condition not in conditions]
        records = [
            *self._untold,
            *(self._notice(now, cause, sink, True) for cause, sink in begun),
            *(self._notice(now, cause, sink, False) for cause, sink in ended),
        ]
        if not records:
            return
        told = len(self._untold)
        await self._runtime.submit(records)
        del self._untold[:told]
        self._said.update(dict.fromkeys(begun))
        for condition in ended:
            self._said.pop(condition, None)

    def _find_overdue(self, now: int, head: Callable[[int], bool], waiting: Callable[[int], bool]) -> None:
        while self._due and self._due[0][0] <= now:
            row = heappop(self._due)[2]
            number = row.send.id
            if not waiting(number):
                continue
            if head(number):
                self._late[number] = row
                self._untold.append(Overdue(now, number, row.reason))
            else:
                # It waits for another one; that one is told about.
                self._wait(now + self.timing.overdue, row)

    def _conditions(self) -> dict[tuple[str, str], None]:
        said = [(FAILING, row.send.sink) for row in self._late.values() if not self._own(row)]
        said += [(DEAD, row.send.sink) for row in self._dead.values() if not self._own(row)]
        return dict.fromkeys(said)

    def _notice(self, now: int, cause: str, sink: str, firing: bool) -> SelfNoticed:
        if not firing:
            text = f"{sink} has been told everything again"
        elif cause == FAILING:
            text = f"{sink} does not take what it is told in time; it is still being tried"
        else:
            text = f"{sink} refused something for good; it is a dead letter"
        return SelfNoticed(now, cause, sink, text, firing)

    def _own(self, row: OutboxRow) -> bool:
        """Whether the row is about an incident about samband itself."""
        incident = self._runtime.engine.state.incidents.get(row.send.incident)
        return incident is not None and bool(incident.self_cause)

    def _matters(self, row: OutboxRow) -> bool:
        """Whether what a dead letter leaves wrong still is: something is missing, or stands that should not."""
        state = self._runtime.engine.state
        delivery = state.deliveries.get(row.send.delivery)
        incident = state.incidents.get(delivery.incident) if delivery is not None else None
        if incident is None:
            return False
        missing = row.send.action in MAKES or row.send.action == "update"
        return incident.live or not missing or bool(row.unsure_at)
