"""The protocol between the outbox and a sink: what a sink is told, and what it answers.

A sink is one file per service. It renders (pure), makes its calls through the HTTP port that is
handed in (Kafka's makes its own, since it speaks no HTTP), and judges the answer. It keeps no state
and never retries: attempts, back-off, circuits and the order of things belong to the outbox.
"""

import enum
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol

import msgspec

from daemon.core.model.incident import Action, Kind
from daemon.core.view import IncidentView

Idempotency = Literal["native", "readback", "none"]
"""native: the service deduplicates by our key. readback: we look before we repeat.
none: a repeat may double, so a pager's repeat says that it is one, and the rest is held."""


class Reason(enum.StrEnum):
    """Why a delivery did not succeed: a closed set, and a metric label."""

    UNREACHABLE = "unreachable"
    TIMEOUT = "timeout"
    THROTTLED = "throttled"
    SERVER_ERROR = "server_error"
    CREDENTIALS = "credentials"
    REFUSED = "refused"
    NOT_FOUND = "not_found"
    CONFLICT = "conflict"
    BAD_ANSWER = "bad_answer"
    GAVE_UP = "gave_up"
    DROPPED = "dropped"


class Request(msgspec.Struct, frozen=True):
    """One HTTP request. body: JSON bytes, or b"". Header values may hold secrets: never log them."""

    method: str
    url: str
    headers: Mapping[str, str] = {}
    body: bytes = b""

    def __repr__(self) -> str:
        """Neither headers nor body: both may hold secrets, and a traceback prints its locals."""
        return f"Request({self.method}, {len(self.body)} bytes)"


class Response(msgspec.Struct, frozen=True):
    """Its answer. Header names are in lower case; the body is cut at 1 MiB."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body as JSON, or None when it is none."""
        try:
            return msgspec.json.decode(self.body)
        except msgspec.DecodeError:
            return None


class HttpError(Exception):
    """No answer came. `sent` is False only when the request certainly did not reach the service."""

    def __init__(self, reason: Reason, detail: str, *, sent: bool) -> None:
        super().__init__(detail)
        self.reason, self.detail, self.sent = reason, detail, sent


class Http(Protocol):
    """The port through which sinks reach the world. Raises HttpError.

    timeout_s: how long one request may take (`delivery.timeout`), which holds for a sink that speaks another
    protocol as well.
    """

    timeout_s: float

    async def request(self, request: Request) -> Response:
        """Sends one request and returns the whole answer."""
        ...


class Order(msgspec.Struct, frozen=True):
    """What a sink is to do: bring the object `key` in line with `incident`.

    key: the object's key at the sink, stable over retries (`samband-<incident>-<generation>`, with
    `#raise-N` for a raise). purpose: page, ticket, entry, message, raise-N, summary, update, resolve.
    ref: the sink's own name of the object, "" while unknown. A raise is an object (and a delivery)
    of its own, with a key of its own, and gets its own resolve.
    repeat: this may already have been delivered, and the sink cannot tell.
    duplicate_of: the object is a duplicate of that incident (ref and link), "" otherwise.
    text: the page of section 10, ready made; `title` its first line without the reference.
    sent_at: ms. options: the team's own options were merged into the sink's config beforehand.
    components: status-page component -> worst state over all open incidents, for status pages.
    send: id of the outbox row, stable over its retries (the webhook's Idempotency-Key).
    incidents: of a message with the purpose summary: the worst that are open; `text` lists them.
    """

    action: Action
    purpose: str
    key: str
    incident: IncidentView
    title: str
    text: str
    sent_at: int
    first_try_at: int
    ref: str = ""
    repeat: bool = False
    duplicate_of: str = ""
    components: Mapping[str, str] = {}
    send: int = 0
    incidents: tuple[IncidentView, ...] = ()


class Done(msgspec.Struct, frozen=True):
    """It is done; `ref` is the object's name at the sink ("" if it gives none)."""

    ref: str = ""


class Retry(msgspec.Struct, frozen=True):
    """Certainly not done; try again, not before `after_ms` when the service said so (0: our back-off)."""

    reason: Reason
    detail: str = ""
    after_ms: int = 0


class Reject(msgspec.Struct, frozen=True):
    """Certainly not done, and a repeat would not help: a dead letter with this reason."""

    reason: Reason
    detail: str = ""


class Unsure(msgspec.Struct, frozen=True):
    """Perhaps done: a time-out or a 5xx after the request was sent."""

    reason: Reason
    detail: str = ""
    after_ms: int = 0


Outcome = Done | Retry | Reject | Unsure


class Found(msgspec.Struct, frozen=True):
    """The object is there. `twins`: further objects with the same marker, newest last."""

    ref: str
    twins: tuple[str, ...] = ()


class Absent(msgspec.Struct, frozen=True):
    """It was not found. Only a settled absence (the search can no longer lag) allows another create."""

    settled: bool


class Problem(msgspec.Struct, frozen=True):
    """What `check --live` found wrong, and what would mend it."""

    text: str
    remedy: str


class Sink(Protocol):
    """One service. Attributes are constants of the class or follow from its config.

    name: of the configuration. reopens: a resolved object can be opened again (else a new one is
    made). reports: acknowledgements come back (callback or polling).
    """

    name: str
    kind: Kind
    idempotency: Idempotency
    reopens: bool
    reports: bool
    secrets: Sequence[str]

    def render(self, order: Order) -> Request | None:
        """The first request that the order leads to (None: to none). Pure: the same order, the same bytes."""
        ...

    async def deliver(self, order: Order, http: Http) -> Outcome:
        """Carries the order out. Never raises but for a bug; HttpError is turned into an outcome."""
        ...

    async def find(self, order: Order, http: Http, since_ms: int) -> Found | Absent | Retry:
        """Looks for the object by its key. `since_ms`: how long ago the unclear attempt was made."""
        ...

    async def close_twin(self, order: Order, ref: str, http: Http) -> Outcome:
        """Links the twin `ref` to the order's own object and closes it (readback sinks only)."""
        ...

    async def check(self, http: Http) -> list[Problem]:
        """What would not work, asked of the service without creating anything."""
        ...


def no_answer(error: HttpError) -> Outcome:
    """The outcome of a request that got no answer: sent means unsure, not sent means retry."""
    if error.sent:
        return Unsure(error.reason, error.detail)
    return Retry(error.reason, error.detail)


def retry_after_ms(response: Response, now_s: float | None = None) -> int:
    """Retry-After in ms (seconds or, relative to `now_s`, an HTTP date), 0 when absent or unreadable."""
    text = response.headers.get("retry-after", "").strip()
    if text.isdigit():
        return min(int(text), 86_400) * 1000
    if text and now_s is not None:
        from email.utils import parsedate_to_datetime

        try:
            return max(0, int((parsedate_to_datetime(text).timestamp() - now_s) * 1000))
        except ValueError:
            return 0
    return 0


def judge(response: Response, *, throttled: frozenset[int] = frozenset({429})) -> Outcome | None:
    """What every HTTP service means by its status: None for 2xx, otherwise the outcome.

    A 5xx after a request was read is unsure; so is a 408. A sink overrules what its service means otherwise.
    """
    status, detail = response.status, response.body[:300].decode("utf-8", "replace")
    if 200 <= status < 300:
        return None
    if status in throttled:
        return Retry(Reason.THROTTLED, detail, retry_after_ms(response))
    if status in (401, 403):
        return Reject(Reason.CREDENTIALS, detail)
    if status in (404, 410):
        return Reject(Reason.NOT_FOUND, detail)
    if status == 409:
        return Reject(Reason.CONFLICT, detail)
    if status >= 500 or status == 408:
        return Unsure(Reason.SERVER_ERROR, f"{status}: {detail}", retry_after_ms(response))
    return Reject(Reason.REFUSED, f"{status}: {detail}")
