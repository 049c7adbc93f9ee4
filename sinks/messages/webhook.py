"""The generic webhook: what happens to an incident, as JSON, to an address of one's own."""

import re
from collections.abc import Iterable, Sequence
from typing import Literal

from pydantic import Field, SecretStr, field_validator, model_validator

from daemon.core.model.incident import Kind
from sinks.base import (
    Absent,
    Done,
    Found,
    Http,
    HttpError,
    Idempotency,
    Order,
    Outcome,
    Problem,
    Reason,
    Reject,
    Request,
    Retry,
)
from sinks.calls import Calls, Stop, encode
from sinks.config import Secret, SecretFile, SinkConfig, secret_file_field
from sinks.event import event_of, idempotency_key

SECRET_PART_MIN = 8
"""Shorter parts of an address or header are words that stand in other texts too."""


class WebhookConfig(SinkConfig):
    """Messages to an HTTP address of one's own."""

    type: Literal["webhook"] = Field(description="Generic webhook")
    url: Secret = Field(default=None, description="Address that is posted to; may hold a secret, so a file is better")
    url_file: SecretFile = secret_file_field("Address that is posted to")
    headers: dict[str, SecretStr] = Field(default={}, description="Further headers: {Authorization: Bearer ...}")

    @field_validator("headers")
    @classmethod
    def _sendable(cls, headers: dict[str, SecretStr]) -> dict[str, SecretStr]:
        for name, value in headers.items():
            if not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", name):
                raise ValueError(f"{name!r} is no name of a header")
            if name.lower() in ("idempotency-key", "content-type", "content-length", "host"):
                raise ValueError(f"{name} is set by samband: remove it")
            if re.search(r"[\x00-\x1f\x7f]", value.get_secret_value()):
                raise ValueError(f"the value of {name} has a control character in it")
        return headers

    @model_validator(mode="after")
    def _complete(self) -> "WebhookConfig":
        self.need("url")
        if self.url is not None and not re.fullmatch(r"https?://[^\s/]\S*", self.url.get_secret_value()):
            raise ValueError("url must start with http:// or https://")
        return self


class Webhook:
    """The sink. It is told of everything; what it makes of a repeat is told apart by Idempotency-Key."""

    Config = WebhookConfig
    kind: Kind = "message"
    idempotency: Idempotency = "none"
    reopens = True
    reports = False

    def __init__(self, name: str, config: WebhookConfig) -> None:
        self.name = name
        self._url = config.secret("url")
        own = {header: value.get_secret_value() for header, value in config.headers.items()}
        self._headers = {"Content-Type": "application/json"} | own
        self.secrets: Sequence[str] = _secrets(self._url, own.values())

    def render(self, order: Order) -> Request:
        """The one request of the order."""
        body = encode(event_of(order))
        return Request("POST", self._url, self._headers | {"Idempotency-Key": idempotency_key(order)}, body)

    async def deliver(self, order: Order, http: Http) -> Outcome:
        """Posts it; any 2xx is a yes."""
        try:
            await Calls(http, "", {}, self.secrets).write(self.render(order))
        except Stop as stop:
            return stop.outcome
        return Done()

    async def find(self, order: Order, http: Http, since_ms: int) -> Found | Absent | Retry:
        """Nothing can be looked up at a receiver of messages, so an absence is never settled."""
        return Absent(settled=False)

    async def close_twin(self, order: Order, ref: str, http: Http) -> Outcome:
        """Never asked for: messages cannot be taken back."""
        return Reject(Reason.REFUSED, "a message cannot be taken back")

    async def check(self, http: Http) -> list[Problem]:
        """Whether anything answers at the address (HEAD; its status says nothing about POST)."""
        try:
            await http.request(Request("HEAD", self._url, self._headers))
        except HttpError as error:
            return [Problem(f"nothing answers at the webhook's address: {error.reason}", "check url and the network")]
        return []


def _secrets(url: str, values: Iterable[str]) -> tuple[str, ...]:
    """The address and the headers' values, and the parts of them that are long enough to be a secret of their own."""
    login, _, rest = url.partition("://")[2].rpartition("@")
    _, slash, target = rest.partition("/")
    parts = [part for text in (login, target, *values) for part in re.split(r"[\s/?&=#:;,]", text)]
    long = (part for part in (slash + target, *parts) if len(part) >= SECRET_PART_MIN)
    return tuple(dict.fromkeys((url, *values, *long)))
