"""`POST /v2/enqueue` and `POST /v2/change/enqueue`: PagerDuty's Events API v2, answered as PagerDuty answers.

The routing key in the body is the sender's credential and names source and service. It is compared
by its digest, and stands in no answer, log line, metric or dead letter.
"""

import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from math import ceil
from typing import Any

import msgspec
import orjson

from daemon import metrics
from daemon.access import digest, matching
from daemon.settings.limits import Limits
from daemon.sources.answers import Answer
from daemon.sources.body import BodyError
from daemon.sources.formats import pagerduty_events as events
from daemon.sources.formats.base import Context
from daemon.sources.formats.pagerduty_events import Invalid, Route
from daemon.sources.rates import OVER_RETRY_S, Rates
from daemon.sources.receiver import Receiver, Unavailable
from daemon.sources.senders import Request, Source

ENQUEUE = "/v2/enqueue"
CHANGE_ENQUEUE = "/v2/change/enqueue"
PATHS = frozenset({ENQUEUE, CHANGE_ENQUEUE})

BODY_BYTES_MAX = 512 * 1024
"""PagerDuty's limit of one event, bytes; after decompression too."""

Read = Callable[[int], Awaitable[bytes]]
"""Reads the request's body, of at most so many bytes, and unpacks it. Raises BodyError."""
Bury = Callable[[Source, str, str, bytes], Awaitable[None]]
"""Keeps a dead letter: source, code, reason, bytes."""


class _Sender(msgspec.Struct, frozen=True):
    """Who sent an event: the configured source, and what its routing key stands for."""

    source: Source
    route: Route


class PagerDutyEvents:
    """The two paths. bury: keeps what a known sender sent and could not be read."""

    def __init__(
        self, sources: Mapping[str, Source], receiver: Receiver, bury: Bury, rates: Rates, limits: Limits
    ) -> None:
        self._receiver, self._bury, self._rates, self._limits = receiver, bury, rates, limits
        self._senders: dict[str, _Sender] = {}
        self._keys: dict[str, tuple[bytes, ...]] = {}
        for source in sources.values():
            for number, (key, route) in enumerate(source.routes):
                name = f"{source.name} {number}"
                self._senders[name], self._keys[name] = _Sender(source, route), (key,)

    async def take(self, request: Request, read: Read) -> tuple[str, Answer]:
        """The name of the source ("" while it is unknown) and the answer. Raises what `read` raises but BodyError."""
        if request.method != "POST":
            return "", _refused(405, ["only POST is answered here"], (b"allow", b"POST"))
        if not self._senders:
            return "", _refused(404, ["there is no source of type pagerduty_events"])
        began = time.perf_counter()
        try:
            body = await read(BODY_BYTES_MAX)
            event = events.decode(body)
            sender = self._sender(event)
            self._rates.admit(sender.source.name)
            self._rates.spend(sender.source.name, 1)
            # From here on nothing can carry the key further, even when it stands in the details as well.
            kept = events.without_key(event)
            event = events.decode(kept)
        except BodyError as error:
            return "", _unread(error)
        except Invalid as error:
            return "", _refused(400, error.errors)
        source = sender.source
        metrics.intake_bytes(source.name).inc(len(body))
        try:
            if request.path == CHANGE_ENQUEUE:
                answer = await self._change(event, sender)
            else:
                answer = await self._alert(event, sender, request.client)
        except Invalid as error:
            metrics.ALERTS_REJECTED.labels(source.name, events.NAME, error.code).inc()
            await self._bury(source, error.code, str(error), kept)
            return source.name, _refused(400, error.errors)
        except Unavailable as error:
            return source.name, _later(503, error.retry_after_s, f"cannot be made durable now: {error.reason}")
        metrics.INTAKE_SECONDS.observe(time.perf_counter() - began)
        return source.name, answer

    def _sender(self, event: dict[str, Any]) -> _Sender:
        """Who sent the event. Raises Invalid, in the same words for every key that is not known."""
        found = matching(digest(events.routing_key_of(event)), self._keys)
        if not found:
            raise Invalid(["Invalid routing key"], "routing_key")
        return self._senders[found[0]]

    async def _alert(self, event: dict[str, Any], sender: _Sender, client: str) -> Answer:
        events.check(event)
        # As PagerDuty: a trigger without a key is an alert of its own each time, and the answer says under which key.
        dedup_key: str = event.get("dedup_key") or uuid.uuid4().hex
        if event["event_action"] == "acknowledge":
            route = sender.route
            await self._receiver.acknowledge(events.key_of(dedup_key, route), route.source)
        else:
            source = sender.source
            context = Context(
                source.name, self._receiver.now_ms(), client, resolves=source.resolves, limits=self._limits
            )
            alert = events.alert_of(event, dedup_key, sender.route, context)
            if not await self._receiver.within([alert], self._limits.open_alerts_max):
                metrics.ALERTS_REJECTED.labels(source.name, events.NAME, "open_alerts_max").inc()
                most = f"{self._limits.open_alerts_max} alerts open (limits.open_alerts_max)"
                return _later(429, OVER_RETRY_S, f"the source {sender.route.source} has {most}")
            await self._receiver.intake([alert])
            status = "firing" if alert.firing else "resolved"
            metrics.ALERTS_RECEIVED.labels(source.name, events.NAME, status).inc()
        return _answer(202, "success", "Event processed", dedup_key=dedup_key)

    async def _change(self, event: dict[str, Any], sender: _Sender) -> Answer:
        events.check_change(event)
        await self._receiver.changes([events.change_of(event, sender.route, self._receiver.now_ms())])
        return _answer(202, "success", "Change event processed")


# ---- answers -------------------------------------------------------------------------------------
def _answer(status: int, word: str, message: str, *headers: tuple[bytes, bytes], **more: Any) -> Answer:
    return Answer(status, orjson.dumps({"status": word, "message": message, **more}), headers)


def _refused(status: int, errors: list[str], *headers: tuple[bytes, bytes]) -> Answer:
    return _answer(status, "invalid event", "Event object is invalid", *headers, errors=errors)


def _unread(error: BodyError) -> Answer:
    if error.status in (429, 503):
        return _later(error.status, error.retry_after_s, error.text)
    text = f"Event object is too large: {error.text}" if error.status == 413 else error.text
    return _refused(error.status, [text])


def _later(status: int, seconds: float, text: str) -> Answer:
    word = "throttle exceeded" if status == 429 else "unavailable"
    return _answer(status, word, text, (b"retry-after", str(max(1, ceil(seconds))).encode()))
