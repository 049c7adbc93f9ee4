"""Notices out of band: when nothing can be committed, the outbox is no way to say so.

A notice goes straight to the `emergency:` sinks, at most one per cause in `EVERY_S`, under the key
`samband-<host>-<cause>`, so that a pager makes one incident of all of them; when samband can do its
job again, the same key is resolved. What such a sink answers is logged, and nothing is kept.
"""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from daemon import log
from daemon.clock import Clock
from daemon.core.model.incident import Action
from daemon.core.view import IncidentView
from sinks.base import Done, Http, Order, Outcome, Retry, Sink, Unsure

EVERY_S = 900
"""A cause that lasts is said again after so long."""
TRIES = 5
RELIEF_TRIES = 120
"""So often it is tried to take a notice back: a page that nobody ends wakes people up again."""
PAUSE_S = 5.0
PAUSE_MAX_S = 30.0


class Emergency:
    """The sinks for such notices. host: the name of this machine, part of the key. clock: for times shown.

    pause_s: between two tries at a sink.
    """

    def __init__(self, sinks: Sequence[Sink], http: Http, host: str, clock: Clock, pause_s: float = PAUSE_S) -> None:
        self._http, self._host, self._clock, self._pause_s = http, host, clock, pause_s
        self._sinks = {sink.name: sink for sink in sinks}
        self._last: dict[str, float] = {}
        self._since: dict[str, int] = {}
        self._running: set[asyncio.Task[None]] = set()
        self._told: dict[str, dict[str, Sink]] = {}
        self._send_id = 0
        self._turns: dict[str, asyncio.Lock] = {}
        self._closing = asyncio.Event()

    def set_sinks(self, sinks: Sequence[Sink]) -> None:
        """Other sinks, for notices from now on. What others were told before is taken back there all the same."""
        self._sinks = {sink.name: sink for sink in sinks}

    def tell(self, cause: str, text: str) -> None:
        """Sends a notice in the background, unless one of that cause has left within `EVERY_S`.

        cause: a short word, part of the key. text: what happened and the remedy, without secrets.
        """
        now = asyncio.get_running_loop().time()
        if cause in self._last and now - self._last[cause] < EVERY_S:
            return
        self._last[cause] = now
        self._since.setdefault(cause, self._clock.wall_ms())
        self._told.setdefault(cause, {}).update(self._sinks)
        self._send(cause, "create", text, {name: [sink] for name, sink in self._sinks.items()})

    def relieve(self, cause: str) -> None:
        """The cause is over: what was told of that cause is resolved, in the background."""
        if cause in self._since:
            told = self._told.pop(cause)
            # Where it was told; should that be refused (a key that was changed since), as the sink is configured now.
            ways = {name: [sink, self._sinks.get(name, sink)] for name, sink in told.items()}
            self._send(cause, "resolve", "samband works again", ways)
            del self._since[cause]
            self._last.pop(cause, None)

    async def close(self) -> None:
        """Waits for notices that are on their way (each tries for some seconds at most from here on)."""
        self._closing.set()
        await asyncio.gather(*self._running)

    def _send(self, cause: str, action: Action, text: str, ways: Mapping[str, Sequence[Sink]]) -> None:
        """ways: name of a sink -> the sinks to try, one after the other, until one takes it."""
        order = self._order(cause, action, text)
        for name, sinks in ways.items():
            turn = self._turns.setdefault(name, asyncio.Lock())
            task = asyncio.create_task(self._in_turn(cause, sinks, turn, order), name=f"emergency {name}")
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    async def _in_turn(self, cause: str, sinks: Sequence[Sink], turn: asyncio.Lock, order: Order) -> None:
        """A resolve that overtook its notice would leave a page that nobody ends."""
        async with turn:
            for sink in dict.fromkeys(sinks):
                if await self._deliver(cause, sink, order):
                    return

    def _goes_on(self, cause: str, order: Order, tries: int) -> bool:
        """Whether it is tried again: a relief for long, unless the cause has come back, or samband stops."""
        if order.action == "resolve" and cause not in self._since and not self._closing.is_set():
            return tries < RELIEF_TRIES
        return tries < TRIES

    async def _pause(self, tries: int, after_ms: int) -> None:
        longer = min(self._pause_s * max(1, tries - TRIES + 1), max(PAUSE_MAX_S, self._pause_s))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._closing.wait(), max(longer, after_ms / 1000))

    async def _deliver(self, cause: str, sink: Sink, order: Order) -> bool:
        """Whether the sink has taken it."""
        tries = 0
        while True:
            tries += 1
            outcome = await sink.deliver(order, self._http)
            match outcome:
                case Done():
                    log.SENT(sink=sink.name, action=order.action, key=order.key)
                    return True
                case Retry() | Unsure() if self._goes_on(cause, order, tries):
                    # A second page under one key is the same page; at other sinks twice is better than never.
                    order = replace(order, repeat=order.repeat or isinstance(outcome, Unsure))
                    await self._pause(tries, outcome.after_ms)
                case _:
                    log.SEND_DEAD(sink=sink.name, action=order.action, key=order.key, detail=_masked(sink, outcome))
                    return False

    def _order(self, cause: str, action: Action, text: str) -> Order:
        now, key = self._clock.wall_ms(), f"samband-{self._host}-{cause}"
        self._send_id = max(self._send_id + 1, now)  # What an outbox row's id is elsewhere; unique over restarts.
        title = f"samband on {self._host} cannot do its job: {cause}"[:100]
        return Order(
            action=action,
            purpose="page" if action == "create" else "resolve",
            key=key,
            incident=self._view(key, title, text, self._since[cause], now if action == "resolve" else 0),
            title=title,
            text=f"{title}\n{text}",
            sent_at=now,
            first_try_at=now,
            send=self._send_id,
        )

    def _view(self, key: str, title: str, text: str, since: int, until: int) -> IncidentView:
        """What stands for an incident; samband itself keeps none of it."""
        return IncidentView(
            id=key,
            ref=key,
            title=title,
            state="resolved" if until else "open",
            generation=1,
            priority="P1",
            impact="high",
            urgency="high",
            derivation="samband cannot do its job",
            owner="",
            environment="production",
            cause="",
            opened_at=since,
            acknowledged_at=0,
            acknowledged_by="",
            resolved_at=until,
            resolved_by="samband" if until else "",
            closed_at=0,
            merged_into="",
            cleared=False,
            itself=True,
            firing=0 if until else 1,
            ended=1 if until else 0,
            held=0,
            services=(),
            members=(),
            summary=text,
            link="",
            told=(),
            version=0,
        )


def _masked(sink: Sink, outcome: Outcome) -> str:
    """What the sink said, without its secrets."""
    text = f"{getattr(outcome, 'reason', '')} {getattr(outcome, 'detail', '')}"
    for secret in sink.secrets:
        text = text.replace(secret, "***") if secret else text
    return text
