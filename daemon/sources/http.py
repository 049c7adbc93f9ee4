"""All intake paths, as bare ASGI: authenticate, read, parse, hand over, and answer when it is durable.

No framework, and nothing per alert but the format's own work: one metric update, and at most one
log line, per request.
"""

import asyncio
import time
from collections.abc import Iterator, Mapping
from functools import partial

import msgspec

from daemon import log, metrics
from daemon.core.model.alert import ParsedAlert
from daemon.sources import answers, pagerduty_events
from daemon.sources.answers import Answer
from daemon.sources.body import (
    BODY_BYTES_MAX,
    BodyError,
    ClientGone,
    Receive,
    Scope,
    Send,
    read_body,
    unpack,
)
from daemon.sources.formats.base import Context, Format, Parsed, Rejected, Unreadable
from daemon.sources.formats.registry import FORMATS, HOOKS
from daemon.sources.receiver import Receiver, Unavailable
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

DEAD_LETTER_BYTES_MAX = 1024 * 1024
PIECE_BYTES = 256 * 1024
PIECE_ITEMS = 128
"""Larger arrays are parsed in pieces, so that the loop is never held for more than about a millisecond."""

REFUSALS_LOGGED_EVERY_S = 60.0

_NATIVE_TYPES = frozenset(
    {"", "application/json", "application/x-ndjson", "application/ndjson", "application/jsonl", "application/jsonlines",
     "text/plain", "application/octet-stream"}
)  # fmt: skip


class Intake:
    """The ASGI application for the intake paths. `handles` says which requests are its own."""

    def __init__(
        self,
        sources: Mapping[str, Source],
        receiver: Receiver,
        body_bytes_max: int = BODY_BYTES_MAX,
    ) -> None:
        self._receiver, self._limit = receiver, body_bytes_max
        self._logged: dict[tuple[str, int], float] = {}
        self.replace(sources)

    def replace(self, sources: Mapping[str, Source]) -> None:
        """Other sources are in force from the next request on."""
        self._senders = Senders(sources)
        self._events = pagerduty_events.PagerDutyEvents(sources, self._receiver, self._keep)
        self._received = {
            (source.name, form.name, status): metrics.ALERTS_RECEIVED.labels(source.name, form.name, status)
            for source in sources.values()
            for form in _formats_of(source)
            for status in ("firing", "resolved")
        }

    @staticmethod
    def handles(method: str, path: str) -> bool:
        """Whether the request belongs to the intake; reads on the same paths belong to the API."""
        if path.startswith(HOOKS_PREFIX) or path in pagerduty_events.PATHS:
            return True
        if path == NATIVE_ALERTS:
            return method == "POST"
        if path == AM_ALERTS or (path.startswith(SOURCES_PREFIX) and path.endswith(AM_ALERTS)):
            return method not in ("GET", "HEAD")
        return False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        path: str = scope["path"]
        client = scope.get("client")
        request = Request(
            scope["method"],
            path,
            scope["headers"],
            client[0] if client else "",
            path.endswith(AM_ALERTS),
        )
        source = ""
        try:
            if path in pagerduty_events.PATHS:
                source, answer = await self._events.take(request, partial(self._read, request, receive))
            else:
                found, form = self._senders.identify(request)
                source = found.name
                answer = await self._take(request, found, form, receive)
        except Refused as refused:
            answer = refused.answer
        except ClientGone:
            return
        except Exception as error:  # noqa: BLE001
            # A bug of ours: the sender must still get an answer, so that it sends again.
            log.INTAKE_FAILED(source=source, path=path, error=repr(error), exc_info=True)
            answer = answers.failure(500, "samband failed on this request; its log says how")
        metrics.INTAKE_REQUESTS.labels(source, str(answer.status)).inc()
        if answer.status >= 400:
            self._log_refusal(source, path, answer)
        await answer.send(send)

    async def _read(self, request: Request, receive: Receive, limit: int) -> bytes:
        """The body, unpacked. Raises BodyError."""
        raw = await read_body(receive, min(limit, self._limit))
        encoding = request.header(b"content-encoding")
        return unpack(raw, encoding, min(limit, self._limit)) if encoding else raw

    # ---- the body --------------------------------------------------------------------------------
    async def _take(self, request: Request, source: Source, form: Format, receive: Receive) -> Answer:
        try:
            raw = await read_body(receive, self._limit)
        except BodyError as error:
            return self._body_failure(request, error)
        began = time.perf_counter()
        try:
            self._check_type(request, raw)
            encoding = request.header(b"content-encoding")
            body = unpack(raw, encoding, self._limit) if encoding else raw
            metrics.INTAKE_BYTES.labels(source.name).inc(len(body))
            parsed = await self._parse(body, form, self._context(request, source))
        except BodyError as error:
            if error.status in (400, 415):
                await self._bury(source, form, "encoding", error.text, raw)
            return self._body_failure(request, error)
        except Unreadable as error:
            await self._bury(source, form, error.code, error.text, raw)
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
        if parsed.alerts:
            try:
                await self._receiver.intake(parsed.alerts)
            except Unavailable as error:
                return answers.unavailable(error.retry_after_s, f"cannot be made durable now: {error.reason}")
            self._count(source, form, parsed)
        if parsed.rejected:
            await self._bury_items(source, form, parsed.rejected, len(parsed.alerts))
        if request.mirror:
            return answers.am_rejected(parsed.rejected) if parsed.rejected else answers.AM_OK
        return answers.accepted(len(parsed.alerts), parsed.rejected)

    def _context(self, request: Request, source: Source) -> Context:
        return Context(
            source.name,
            self._receiver.now_ms(),
            client=request.client,
            ignored=source.ignored,
            resolves=source.resolves,
            resolve_timeout_ms=source.resolve_timeout_ms,
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
        if request.mirror and error.status == 415:
            return answers.am_media_type(error.text)
        return answers.failure(error.status, error.text)

    @staticmethod
    async def _parse(body: bytes, form: Format, context: Context) -> Parsed:
        pieces = _pieces(body)
        if pieces is None:
            return form.parse(body, context)
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

    # ---- what stays behind -----------------------------------------------------------------------
    def _count(self, source: Source, form: Format, parsed: Parsed) -> None:
        firing = sum(1 for alert in parsed.alerts if alert.firing)
        for status, number in (
            ("firing", firing),
            ("resolved", len(parsed.alerts) - firing),
        ):
            if number:
                self._received[source.name, form.name, status].inc(number)
        if parsed.skewed:
            metrics.CLOCK_SKEW.labels(source.name).inc(parsed.skewed)

    async def _bury_items(self, source: Source, form: Format, rejected: list[Rejected], good: int) -> None:
        codes: dict[str, int] = {}
        for one in rejected:
            codes[one.code] = codes.get(one.code, 0) + 1
        for code, number in codes.items():
            metrics.ALERTS_REJECTED.labels(source.name, form.name, code).inc(number)
        first = rejected[0]
        text = f"{len(rejected)} of {len(rejected) + good} items rejected; item {first.index}: {first.reason}"
        log.ITEMS_REJECTED(
            source=source.name,
            rejected=len(rejected),
            accepted=good,
            first=first.reason[:300],
        )
        await self._keep(source, first.code, text, b"\n".join(one.raw for one in rejected))

    async def _bury(self, source: Source, form: Format, code: str, text: str, raw: bytes) -> None:
        metrics.ALERTS_REJECTED.labels(source.name, form.name, code).inc()
        await self._keep(source, code, text, raw)

    async def _keep(self, source: Source, code: str, text: str, raw: bytes) -> None:
        cut = "" if len(raw) <= DEAD_LETTER_BYTES_MAX else f" (cut from {len(raw)} bytes)"
        try:
            await self._receiver.dead_letter(source.name, text[:500] + cut, raw[:DEAD_LETTER_BYTES_MAX])
        except Unavailable:
            metrics.DEAD_LETTERS_LOST.inc()
            return
        metrics.DEAD_LETTERS.labels(source.name, code).inc()

    def _log_refusal(self, source: str, path: str, answer: Answer) -> None:
        """One line a minute for each source and status; `samband_intake_requests_total` counts them all."""
        now = time.monotonic()
        if now - self._logged.get((source, answer.status), -REFUSALS_LOGGED_EVERY_S) < REFUSALS_LOGGED_EVERY_S:
            return
        self._logged[source, answer.status] = now
        log.REQUEST_REFUSED(
            source=source,
            path=path[:200],
            status=answer.status,
            answer=answer.body[:300].decode("utf-8", "replace"),
        )


def _formats_of(source: Source) -> list[Format]:
    forms = [HOOKS[source.type]] if source.type in HOOKS else []
    return forms + ([FORMATS[source.type]] if source.type in FORMATS else [])


def _pieces(body: bytes) -> Iterator[tuple[int, bytes]] | None:
    """A large JSON array as smaller ones, each with the index of its first item; None for anything else."""
    if len(body) < PIECE_BYTES or body[:1] != b"[":
        return None
    try:
        items = msgspec.json.decode(body, type=list[msgspec.Raw])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return (
        (first, b"[" + b",".join(items[first : first + PIECE_ITEMS]) + b"]")
        for first in range(0, len(items), PIECE_ITEMS)
    )
