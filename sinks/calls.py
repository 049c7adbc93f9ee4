"""One order's conversation with a service: reads and writes, each judged at once.

A call that ends the conversation raises `Stop` with its outcome, so that what a sink does reads as
a straight line. A read changes nothing, so its failure is never unsure.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from sinks.base import Http, HttpError, Outcome, Reason, Reject, Request, Response, Retry, Unsure, judge, no_answer
from sinks.text import detail, masked

Judge = Callable[[Response], Outcome | None]


class Stop(Exception):
    """The conversation is over, with this outcome."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(type(outcome).__name__)
        self.outcome = outcome


def encode(body: Any) -> bytes:
    """The body as JSON, b"" for None."""
    return b"" if body is None else msgspec.json.encode(body)


class Calls:
    """Calls under one base address with one set of headers. Details of outcomes hold no secret."""

    def __init__(
        self, http: Http, url: str, headers: Mapping[str, str], secrets: Sequence[str], judged: Judge = judge
    ) -> None:
        self._http, self._url, self._headers, self._secrets, self._judge = http, url, headers, secrets, judged

    async def read(self, path: str, *, body: Any = None, missing: bool = False) -> Any:
        """The JSON that the service answers (GET, or POST with a body for a search).

        missing: a 404 is an answer, None. Raises Stop with Retry or Reject.
        """
        request = self.request("POST" if body is not None else "GET", path, body)
        response = await self._send(request, reading=True)
        if missing and response.status == 404:
            return None
        outcome, found = self._judge(response), response.json()
        if outcome is None and found is None:
            outcome = Retry(Reason.BAD_ANSWER, f"the answer to {request.method} {path} is not JSON")
        if outcome is not None:
            raise self._stop(outcome, reading=True)
        return found

    async def write(self, request: Request) -> Response:
        """Sends a request that changes something. Raises Stop unless it was answered 2xx."""
        response = await self._send(request, reading=False)
        if (outcome := self._judge(response)) is not None:
            raise self._stop(outcome, reading=False)
        return response

    def request(self, method: str, path: str, body: Any = None) -> Request:
        """A request for `write`."""
        return Request(method, self._url + path, self._headers, encode(body))

    async def _send(self, request: Request, *, reading: bool) -> Response:
        try:
            response = await self._http.request(request)
        except HttpError as error:
            raise self._stop(no_answer(error), reading=reading) from None
        return response if response.status < 300 else without_secrets(response, self._secrets)

    def _stop(self, outcome: Outcome, *, reading: bool) -> Stop:
        cleaned = clean_outcome(outcome, self._secrets)
        return Stop(as_retry(cleaned) if isinstance(cleaned, Unsure) and reading else cleaned)


def dig(value: Any, *path: str) -> Any:
    """The value under `path` in what a service answered; None when it is shaped otherwise."""
    for key in path:
        if not isinstance(value, dict):
            return None
        value = value.get(key)
    return value


def items(value: Any, *path: str) -> list[Any]:
    """Likewise, for lists: [] when there is none."""
    found = dig(value, *path)
    return found if isinstance(found, list) else []


def without_secrets(response: Response, secrets: Sequence[str]) -> Response:
    """The answer with secrets masked in its body: services repeat what they were sent."""
    text = masked(response.body.decode("utf-8", "replace"), secrets)
    return Response(response.status, response.headers, text.encode("utf-8", "replace"))


def clean_outcome(outcome: Outcome, secrets: Sequence[str]) -> Outcome:
    """The outcome with its detail fit for a log."""
    if isinstance(outcome, Retry | Reject | Unsure):
        return msgspec.structs.replace(outcome, detail=detail(outcome.detail, secrets))
    return outcome


def as_retry(outcome: Outcome) -> Retry:
    """Any failure as "try again": for what only reads."""
    if isinstance(outcome, Retry | Unsure):
        return Retry(outcome.reason, outcome.detail, outcome.after_ms)
    if isinstance(outcome, Reject):
        return Retry(outcome.reason, outcome.detail)
    return Retry(Reason.BAD_ANSWER, "unexpected outcome of a read")
