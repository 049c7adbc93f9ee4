"""All intake paths, as bare ASGI: authenticate, read, parse, hand over, and answer when it is durable.

No framework, and nothing per alert but the format's own work: one metric update, and at most one
log line, per request.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import partial

import msgspec

from daemon import log, metrics
from daemon.access import Keys
from daemon.core.model.alert import ParsedAlert
from daemon.settings.limits import LIMITS, Limits
from daemon.sources import answers, pagerduty_events
from daemon.sources.answers import Answer
from daemon.sources.body import Body, BodyError, Buffered, ClientGone, Receive, Scope, Send, unpack
from daemon.sources.formats.base import Context, Format, Parsed, Rejected, Unreadable
from daemon.sources.formats.common import NOT_JSON
from daemon.sources.formats.memory import Memory
from daemon.sources.nesting import too_deep
from daemon.sources.rates import OVER_RETRY_S, Rates
from daemon.sources.receiver import Receiver, Unavailable
from daemon.sources.remains import Remains
from daemon.sources.senders import (
    AM_ALERTS,
    HOOKS_PREFIX,
    NATIVE_ALERTS,
    SOURCES_PREFIX,
    Refused,
    Request,
    Senders,
    Source,
)

PIECE_BYTES = 256 * 1024
PIECE_ITEMS = 128
"""Larger arrays are parsed in pieces, so that the loop is never held for more than about a millisecond."""

UNPACKED_APART_BYTES = 1024
"""Longer compressed bodies are unpacked in a thread: a small one can become large, and that takes a while."""

_NATIVE_TYPES = frozenset(
    {"", "application/json", "application/x-ndjson", "application/ndjson", "application/jsonl", "application/jsonlines",
     "text/plain", "application/octet-stream"}
)  # fmt: skip


class Intake:
    """The ASGI application for the intake paths. `handles` says which requests are its own.

    keys: the tokens that samband issued.
    """

    def __init__(
        self,
        sources: Mapping[str, Source],
        receiver: Receiver,
        limits: Limits = LIMITS,
        keys: Keys | None = None,
    ) -> None:
        self._receiver, self._keys, self.limits = receiver, keys, limits
        self.buffered = Buffered()
        self._rates = Rates(time.monotonic, limits)
        self._remains = Remains(receiver)
        self.replace(sources)

    def replace(self, sources: Mapping[str, Source], limits: Limits | None = None) -> None:
        """Other sources, and other limits if they are given, are in force from the next request on."""
        self.limits = self._rates.limits = limits or self.limits
        self._senders = Senders(sources, self._keys)
        self._memories: dict[tuple[str, str], Memory] = defaultdict(Memory)
        self._events = pagerduty_events.PagerDutyEvents(
            sources, self._receiver, self._remains.keep, self._rates, self.limits
        )
        self._remains.replace(sources)
        self._rates.keep(sources)

    @staticmethod
    def handles(method: str, path: str) -> bool:
        """Whether the request belongs to the intake; reads on the same paths belong to the API."""
        if path.endswith(AM_ALERTS) and (path == AM_ALERTS or path.startswith(SOURCES_PREFIX)):
            return method not in ("GET", "HEAD")
        if path == NATIVE_ALERTS:
            return method == "POST"
        return path.startswith(HOOKS_PREFIX) or path in pagerduty_events.PATHS

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request; `scope["stranger"]` says why it is not one of this machine (`access.Arrival`)."""
        path: str = scope["path"]
        client = scope.get("client")
        request = Request(
            scope["method"],
            path,
            scope["headers"],
            client[0] if client else "",
            path.endswith(AM_ALERTS),
            scope["stranger"],
        )
        source = ""
        try:
            with Body(self.limits, self.buffered, request.header(b"content-length")) as body:
                if path in pagerduty_events.PATHS:
                    source, answer = await self._events.take(request, partial(self._read, request, body, receive))
                else:
                    found, form = self._senders.identify(request)
                    source = found.name
                    answer = await self._take(request, found, form, body, receive)
        except Refused as refused:
            answer = refused.answer
        except ClientGone:
            return
        except Exception as error:  # noqa: BLE001
            # A bug of ours: the sender must still get an answer, so that it sends again.
            log.INTAKE_FAILED(source=source, path=path, error=repr(error), exc_info=True)
            answer = answers.failure(500, "samband failed on this request; its log says how")
        metrics.intake_requests(source, answer.status).inc()
        if answer.status >= 400:
            self._remains.refused(source, path, answer)
        await answer.send(send, scope)

    async def _read(self, request: Request, body: Body, receive: Receive, limit: int) -> bytes:
        """A body of at most `limit` bytes, unpacked, its nesting looked at. Raises BodyError."""
        raw = await body.read(receive, limit)
        encoding = request.header(b"content-encoding")
        plain = await self._unpacked(encoding, body, raw, limit) if encoding else raw
        if too_deep(plain, self.limits.nesting_depth_max):
            raise BodyError(400, self._too_deep())
        return plain

    def _too_deep(self) -> str:
        return f"nested more deeply than {self.limits.nesting_depth_max} levels (limits.nesting_depth_max)"

    async def _unpacked(self, encoding: str, body: Body, raw: bytes, limit: int) -> bytes:
        limit = min(limit, self.limits.body_bytes_max)
        if len(raw) <= UNPACKED_APART_BYTES:
            plain = unpack(raw, encoding, limit)
        else:
            plain = await asyncio.to_thread(unpack, raw, encoding, limit)
        body.count(len(plain))
        return plain

    # ---- the body --------------------------------------------------------------------------------
    async def _take(self, request: Request, source: Source, form: Format, body: Body, receive: Receive) -> Answer:
        try:
            self._rates.admit(source.name)
            raw = await body.read(receive, self.limits.body_bytes_max)
        except BodyError as error:
            return self._body_failure(request, error)
        began = time.perf_counter()
        try:
            self._check_type(request, raw)
            encoding = request.header(b"content-encoding")
            plain = await self._unpacked(encoding, body, raw, self.limits.body_bytes_max) if encoding else raw
            metrics.intake_bytes(source.name).inc(len(plain))
            if too_deep(plain, self.limits.nesting_depth_max):
                raise Unreadable(self._too_deep(), "too_deep")
            parsed = await self._parse(plain, form, self._context(request, source, form))
        except BodyError as error:
            if error.status in (400, 415):
                await self._remains.bury(source, form, "encoding", error.text, raw)
            return self._body_failure(request, error)
        except Unreadable as error:
            await self._remains.bury(source, form, error.code, error.text, raw)
            return (
                answers.am_unreadable(error.status, error.text, error.code)
                if request.mirror
                else answers.failure(error.status, error.text)
            )
        answer = await self._hand_over(request, source, form, parsed)
        if answer.status == 200:
            metrics.INTAKE_SECONDS.observe(time.perf_counter() - began)
        return answer

    async def _hand_over(self, request: Request, source: Source, form: Format, parsed: Parsed) -> Answer:
        """Gives the alerts to the engine, and answers when they are durable."""
        self._rates.spend(source.name, len(parsed.alerts) + len(parsed.rejected))
        alerts = await self._receiver.within(parsed.alerts, self.limits.open_alerts_max)
        over = len(parsed.alerts) - len(alerts)
        if alerts:
            try:
                await self._receiver.intake(alerts)
            except Unavailable as error:
                return answers.unavailable(error.retry_after_s, f"cannot be made durable now: {error.reason}")
            self._remains.accepted(source, form, alerts, parsed.skewed)
        if parsed.rejected:
            await self._remains.bury_items(source, form, parsed.rejected, len(parsed.alerts))
        if over:
            return self._over(source, form, parsed, over)
        if request.mirror:
            return answers.am_rejected(parsed.rejected) if parsed.rejected else answers.AM_OK
        return answers.accepted(len(alerts), parsed.rejected)

    def _over(self, source: Source, form: Format, parsed: Parsed, over: int) -> Answer:
        """New alerts of a source that has as many open ones as it may: the sender keeps them, and comes again."""
        self._remains.over(source, form, "open_alerts_max", over)
        most = f"{self.limits.open_alerts_max} alerts open (limits.open_alerts_max)"
        text = f"the source {source.name} has {most}; {over} new ones of this request were not taken"
        taken = len(parsed.alerts) - over
        return answers.unavailable(OVER_RETRY_S, text, 429, accepted=taken, rejected=answers.listed(parsed.rejected))

    def _context(self, request: Request, source: Source, form: Format) -> Context:
        return Context(
            source.name,
            self._receiver.now_ms(),
            client=request.client,
            ignored=source.ignored,
            resolves=source.resolves,
            resolve_timeout_ms=source.resolve_timeout_ms,
            limits=self.limits,
            memory=self._memories[source.name, form.name],
        )

    @staticmethod
    def _check_type(request: Request, raw: bytes) -> None:
        kind = request.header(b"content-type").partition(";")[0].strip().lower()
        if request.mirror:
            # An empty body is a schema failure there, whatever its type.
            if kind != "application/json" and raw:
                raise BodyError(415, kind)
        elif kind not in _NATIVE_TYPES and not kind.endswith("+json"):
            raise BodyError(415, f"Content-Type {kind[:100]!r} is not JSON; send application/json")

    @staticmethod
    def _body_failure(request: Request, error: BodyError) -> Answer:
        if error.retry_after_s:
            return answers.unavailable(error.retry_after_s, error.text, error.status)
        if request.mirror and error.status == 415:
            return answers.am_media_type(error.text)
        return answers.failure(error.status, error.text)

    async def _parse(self, body: bytes, form: Format, context: Context) -> Parsed:
        """The alerts of a body. Raises BodyError 413 when they are too many, and Unreadable."""
        pieces = _pieces(body, self.limits.batch_alerts_max)
        if pieces is None:
            return self._counted(form.parse(body, context))
        alerts: list[ParsedAlert] = []
        rejected: list[Rejected] = []
        skewed = 0
        for first, piece in pieces:
            part = form.parse(piece, msgspec.structs.replace(context, first=first))
            alerts += part.alerts
            rejected += part.rejected
            skewed += part.skewed
            await asyncio.sleep(0)
        return Parsed(alerts, rejected, skewed)

    def _counted(self, parsed: Parsed) -> Parsed:
        if len(parsed.alerts) + len(parsed.rejected) > self.limits.batch_alerts_max:
            raise _too_many(self.limits.batch_alerts_max)
        return parsed


def _pieces(body: bytes, most: int) -> Iterator[tuple[int, bytes]] | None:
    """A large JSON array as smaller ones, each with the index of its first item; None for anything else."""
    if len(body) < PIECE_BYTES or body[:1] != b"[":
        return None
    try:
        items = msgspec.json.decode(body, type=list[msgspec.Raw])
    except NOT_JSON:
        return None
    if len(items) > most:
        raise _too_many(most)
    return (
        (first, b"[" + b",".join(items[first : first + PIECE_ITEMS]) + b"]")
        for first in range(0, len(items), PIECE_ITEMS)
    )


def _too_many(most: int) -> BodyError:
    return BodyError(413, f"more than {most} alerts in one request (limits.batch_alerts_max); send fewer at a time")
