"""Late twins: objects that an attempt with an unclear outcome made after all, found later and closed.

A service's search may lag behind, and a request may be carried out long after its sender gave up.
So an object of a read-back sink whose making was ever in doubt is looked for several times more.
"""

from msgspec.structs import replace

from daemon import log
from daemon import outbox_orders as orders
from daemon.core.model.incident import Delivery
from daemon.outbox_lanes import shifted
from daemon.outbox_rules import Timing
from daemon.runtime import Runtime
from daemon.store.base import OutboxRow
from sinks.base import Done, Found, Http, Order, Sink


class Twins:
    """Rows to look back at."""

    def __init__(self, runtime: Runtime, timing: Timing, http: Http, style: orders.Style) -> None:
        self._runtime, self._http = runtime, http
        self.timing, self.style = timing, style
        self._watched: dict[int, tuple[int, OutboxRow]] = {}

    def watch(self, row: OutboxRow, now: int) -> None:
        """Looks back at the row from time to time, if it ever was in doubt and for so long as a twin may appear.

        At least once: while there was no daemon nobody looked.
        """
        if row.unsure_at:
            first = max(row.unsure_at + self.timing.settle, now + self.timing.settle // 2)
            self._watched[row.send.id] = (first, row)

    def shift(self, by: int) -> None:
        """Moves all looks by so many ms."""
        self._watched = {number: (at + by, shifted(row, by)) for number, (at, row) in self._watched.items()}

    def due(self, now: int) -> list[OutboxRow]:
        """The rows that should be looked back at now."""
        return [row for at, row in self._watched.values() if at <= now]

    async def look(self, sink: Sink, row: OutboxRow) -> None:
        """Looks once, and closes what should not be there. What fails is tried again at the next look."""
        now, state = self._runtime.now_ms(), self._runtime.engine.state
        delivery = state.deliveries.get(row.send.delivery)
        last = now - row.unsure_at >= self.timing.watch
        if sink.idempotency == "none" or delivery is None or delivery.incident not in state.incidents.rows:
            del self._watched[row.send.id]
            return
        order = orders.build(row, sink.idempotency, state, self._runtime.engine.policy, now, self.style)
        clean = await self._look_for_twins(sink, row, order, now)
        if clean and self._is_over(delivery):
            # What was carried out long after its sender gave up may have opened it, or changed it, once more.
            clean = isinstance(await sink.deliver(replace(order, action="resolve"), self._http), Done)
        if last and clean:
            del self._watched[row.send.id]
        else:
            self._watched[row.send.id] = (now + self.timing.watch_every, row)

    def _is_over(self, delivery: Delivery) -> bool:
        """Whether the object was ended, and neither something is still to be said there nor it was opened again."""
        others = self._runtime.engine.state.deliveries.rows.values()
        open_again = any(
            one.key == delivery.key and one.sink == delivery.sink and one.state == "open" for one in others
        )
        return delivery.state == "closed" and delivery.confirmed and not delivery.sends and not open_again

    async def _look_for_twins(self, sink: Sink, row: OutboxRow, order: Order, now: int) -> bool:
        """Whether there is none, or none any more."""
        if sink.idempotency != "readback" or row.send.action != "create":
            return True
        found = await sink.find(order, self._http, now - row.unsure_at)
        return not isinstance(found, Found) or await self._close(sink, row, order, found)

    async def _close(self, sink: Sink, row: OutboxRow, order: Order, found: Found) -> bool:
        """Closes the twins; True when none is left. An object of a row that was dropped is simply ended."""
        own = order.ref
        clean = True
        for ref in (found.ref, *found.twins):
            if ref == own:
                continue
            if own:
                outcome = await sink.close_twin(order, ref, self._http)
            else:
                outcome = await sink.deliver(replace(order, action="resolve", ref=ref), self._http)
            clean = clean and isinstance(outcome, Done)
            if isinstance(outcome, Done):
                log.TWIN_CLOSED(sink=sink.name, key=row.send.key, ref=ref, own=own)
        return clean
