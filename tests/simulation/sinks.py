"""Around the sinks: the failpoints of their conversations, and a pager that cannot tell a repeat."""

from collections.abc import Sequence

from daemon.core.model.incident import Action, Kind
from sinks.base import (
    Absent,
    Done,
    Found,
    Http,
    Idempotency,
    Order,
    Outcome,
    Problem,
    Reason,
    Reject,
    Request,
    Retry,
    Sink,
)
from sinks.calls import Calls, Stop, encode
from tests.simulation.life import Life, about

BUZZER = "buzzer"


class Watched:
    """A sink as it is, with failpoints before and after each conversation."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self.name, self.kind, self.idempotency = sink.name, sink.kind, sink.idempotency
        self.reopens, self.reports, self.secrets = sink.reopens, sink.reports, sink.secrets

    def render(self, order: Order) -> Request | None:
        """See `Sink`."""
        return self._sink.render(order)

    async def deliver(self, order: Order, http: Http) -> Outcome:
        """See `Sink`."""
        await Life.reaches("before-deliver", self.name, order.key)
        about.set(order.key)
        outcome = await self._sink.deliver(order, http)
        await Life.reaches("after-deliver", self.name, order.key)
        return outcome

    async def find(self, order: Order, http: Http, since_ms: int) -> Found | Absent | Retry:
        """See `Sink`."""
        await Life.reaches("before-find", self.name, order.key)
        about.set(order.key)
        found = await self._sink.find(order, http, since_ms)
        await Life.reaches("after-find", self.name, order.key)
        return found

    async def close_twin(self, order: Order, ref: str, http: Http) -> Outcome:
        """See `Sink`."""
        await Life.reaches("before-twin", self.name, order.key)
        about.set(order.key)
        outcome = await self._sink.close_twin(order, ref, http)
        await Life.reaches("after-twin", self.name, order.key)
        return outcome

    async def check(self, http: Http) -> list[Problem]:
        """See `Sink`."""
        return await self._sink.check(http)


class Buzzer:
    """A pager of the class `none`: the service knows no keys, so a repeat rings again, and must say that it is one."""

    name = BUZZER
    kind: Kind = "pager"
    idempotency: Idempotency = "none"
    reopens = False
    reports = False
    secrets: Sequence[str] = ()

    def render(self, order: Order) -> Request | None:
        """The one request of the order; only a create rings."""
        action: Action = order.action
        body = {"action": action, "key": order.key, "title": order.title, "repeat": order.repeat, "send": order.send}
        return Request("POST", "http://buzzer/", {"Content-Type": "application/json"}, encode(body))

    async def deliver(self, order: Order, http: Http) -> Outcome:
        """Posts it; any 2xx is a yes."""
        try:
            request = self.render(order)
            assert request is not None
            await Calls(http, "", {}, self.secrets).write(request)
        except Stop as stop:
            return stop.outcome
        return Done(order.key)

    async def find(self, order: Order, http: Http, since_ms: int) -> Found | Absent | Retry:
        """Nothing can be looked up."""
        return Absent(settled=False)

    async def close_twin(self, order: Order, ref: str, http: Http) -> Outcome:
        """Never asked for."""
        return Reject(Reason.REFUSED, "a ring cannot be taken back")

    async def check(self, http: Http) -> list[Problem]:
        """Nothing to ask."""
        return []
