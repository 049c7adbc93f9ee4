"""Clients of Kafka's brokers, and the truth about what is wrong when no broker can be reached.

aiokafka raises the same error for a dead broker, a wrong password and a wrong authority; what it was stands
only in its log. `Heard` collects that log for one client, and `trouble` makes a sentence and a remedy of both.
"""

import asyncio
import contextlib
import logging
import ssl
from collections import deque
from collections.abc import Coroutine, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from aiokafka import errors
from aiokafka.abc import AbstractTokenProvider
from aiokafka.helpers import create_ssl_context

from daemon.brokers import BrokerSasl, BrokerTls

HEARD_MAX = 20
"""So many of a client's last words are kept: in an outage it says some eighty a second."""

FORCED_S = 1.0
"""How long a part of a client may take to end that is ended by force."""


def client_options(brokers: Sequence[str], tls: BrokerTls | None, sasl: BrokerSasl | None) -> dict[str, Any]:
    """The options of every aiokafka client. Raises OSError or ssl.SSLError for files that cannot be used."""
    options: dict[str, Any] = {"bootstrap_servers": list(brokers), "client_id": "samband"}
    options["security_protocol"] = ("SASL_" if sasl else "") + ("SSL" if tls else "PLAINTEXT")
    if sasl is None and tls is None:
        return options
    if tls is not None:
        files = {"cafile": tls.ca_file, "certfile": tls.cert_file, "keyfile": tls.key_file}
        options["ssl_context"] = create_ssl_context(**{name: str(file) for name, file in files.items() if file})
    if sasl is not None:
        options["sasl_mechanism"] = sasl.mechanism
        if sasl.token_file is not None:
            options["sasl_oauth_token_provider"] = _TokenFile(sasl.token_file)
        elif sasl.password is not None:
            options["sasl_plain_username"] = sasl.user
            options["sasl_plain_password"] = sasl.password.get_secret_value()
    return options


class _TokenFile(AbstractTokenProvider):  # type: ignore[misc]  # aiokafka ships no types
    """The token as it stands in its file now."""

    def __init__(self, file: Path) -> None:
        self._file = file

    async def token(self) -> str:
        """Raises OSError when the file cannot be read."""
        return (await asyncio.to_thread(self._file.read_text, "utf-8")).strip()


# ---- what aiokafka says ---------------------------------------------------------------------------


class Heard:
    """The last words that aiokafka said of the clients that were started inside `with heard:`.

    They do not go to the log besides. said: the lines. errors: what was wrong, in aiokafka's own exceptions.
    """

    def __init__(self) -> None:
        self.said: deque[str] = deque(maxlen=HEARD_MAX)
        self.errors: deque[BaseException] = deque(maxlen=HEARD_MAX)

    @contextlib.contextmanager
    def listening(self) -> Iterator["Heard"]:
        """Listens to clients that are made and started inside; what they say later comes here as well."""
        _listen()
        token = _ear.set(self)
        try:
            yield self
        finally:
            _ear.reset(token)

    def take(self, record: logging.LogRecord) -> None:
        """Keeps one line."""
        self.said.append(record.getMessage())
        given = record.args if isinstance(record.args, tuple) else ()
        self.errors.extend(one for one in given if isinstance(one, BaseException))


_ear: ContextVar[Heard | None] = ContextVar("heard of aiokafka", default=None)


class _Ear(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        heard = _ear.get()
        if heard is not None:
            heard.take(record)
        else:
            logging.getLogger().handle(record)


def _listen() -> None:
    logger = logging.getLogger("aiokafka")
    if not any(isinstance(handler, _Ear) for handler in logger.handlers):
        logger.addHandler(_Ear())
        logger.propagate = False
        logger.setLevel(logging.WARNING)  # below that it shows what it sends, passwords included


class Client(Protocol):
    """A producer or consumer of aiokafka."""

    async def stop(self) -> None:
        """Ends it."""
        ...


async def end(client: Client, within_s: float) -> None:
    """Stops a client, with force after that time: nothing that it had to send leaves any more.

    With a dead broker `stop` may hang, or raise even CancelledError, and an idempotent producer would go on
    trying for ever; nothing of that comes out of here.
    """
    if await _ends(client.stop(), within_s):
        return
    waiting, sender = getattr(client, "_message_accumulator", None), getattr(client, "_sender", None)
    if waiting is not None:
        waiting.fail_all(errors.ProducerClosed())
    connections = getattr(client, "client", None) or getattr(client, "_client", None)
    for part in (sender, connections):
        if part is not None:
            await _ends(part.close(), FORCED_S)


async def _ends(work: Coroutine[Any, Any, None], within_s: float) -> bool:
    """Whether it came to its end in that time; how is nobody's concern."""
    task = asyncio.ensure_future(work)
    await asyncio.wait({task}, timeout=within_s)
    ended = task.done()
    if not ended:
        task.cancel()
        await asyncio.wait({task}, timeout=FORCED_S)
    if task.done() and not task.cancelled():
        task.exception()  # Looked at, so that nobody reports it.
    return ended


# ---- what it means ----------------------------------------------------------------------------------

Kind = Literal["unreachable", "timeout", "credentials", "tls", "not_found", "failed"]


@dataclass(frozen=True)
class Trouble:
    """What is wrong with a broker, in a sentence that holds no secret, and what would mend it."""

    kind: Kind
    text: str
    remedy: str


_SILENT = "the broker closes the connection without a word"
_OTHER_PORT = "it may speak another protocol on that port: compare tls, sasl and the port with its listeners"
_NO_RIGHT = "give this user the right to it"

_NOTHING_SHOWN = Trouble(
    "credentials", "the broker lets us in and shows us nothing", "check that the token is valid, and this user's rights"
)
_NO_TOPIC = Trouble("not_found", "there is no such topic, or this user may not see it", "make it, or give the right")
_SAYINGS = (
    ("No broker metadata", _NOTHING_SHOWN),
    ("Broker id None", _NOTHING_SHOWN),
    ("not found in cluster metadata", _NO_TOPIC),
)
"""Words of aiokafka's log for what it raises no error for, and what they mean."""

_MEANINGS: tuple[tuple[type[BaseException], Kind, str, str], ...] = (
    (errors.SaslAuthenticationFailed, "credentials", "the broker refuses the login: {said}", "check user and password"),
    (errors.UnsupportedSaslMechanismError, "credentials", "the broker refuses this mechanism", "change sasl.mechanism"),
    (errors.IllegalSaslStateError, "credentials", "the broker wants no login on this port", _OTHER_PORT),
    (errors.TopicAuthorizationFailedError, "credentials", "the broker does not allow this topic: {said}", _NO_RIGHT),
    (errors.GroupAuthorizationFailedError, "credentials", "the broker does not allow this group: {said}", _NO_RIGHT),
    (errors.ClusterAuthorizationFailedError, "credentials", "the broker does not allow it: {said}", _NO_RIGHT),
    (
        errors.UnknownTopicOrPartitionError,
        "not_found",
        "there is no such topic, or this user may not see it",
        "make it",
    ),
    (errors.RequestTimedOutError, "timeout", "the broker does not answer in time", "see whether it hangs"),
    (errors.KafkaTimeoutError, "timeout", "the broker does not answer in time", "see whether it hangs"),
    (TimeoutError, "timeout", "the broker does not answer in time", "see whether it hangs, or wants TLS"),
    (errors.NodeNotReadyError, "unreachable", "no broker is reached", "check brokers, and that one runs there"),
    (errors.NoBrokersAvailable, "unreachable", "no broker is reached", "check brokers, and that one runs there"),
    (ConnectionResetError, "unreachable", _SILENT, _OTHER_PORT),
    (asyncio.IncompleteReadError, "unreachable", _SILENT, _OTHER_PORT),
)
"""What an error means when it is one of these; the first that fits."""


def trouble(error: BaseException, heard: Heard) -> Trouble:
    """What an error of a client means, given what was heard of it: the newest words weigh most."""
    found = _meaning(error)
    if found is not None and found.kind not in ("timeout", "unreachable"):
        return found
    for said in reversed(heard.said):
        for words, means in _SAYINGS:
            if words in said:
                return means
    for one in reversed(heard.errors):
        if (meant := _meaning(one)) is not None:
            return meant
    text = type(error).__name__ + (f": {heard.said[-1]}" if heard.said else "")
    return found or Trouble("failed", text, "look at the broker's own log")


def _meaning(error: BaseException) -> Trouble | None:
    if isinstance(error, ssl.SSLCertVerificationError):
        text = f"the broker's certificate is not believed: {error.verify_message}"
        return Trouble("tls", text, "name the authority that has signed it in tls.ca_file, and the host as it does")
    if isinstance(error, ssl.SSLError):
        return Trouble("tls", f"no TLS with the broker: {error.reason or 'it breaks off'}", _OTHER_PORT)
    for kind_of_error, kind, text, remedy in _MEANINGS:
        if isinstance(error, kind_of_error):
            return Trouble(kind, text.format(said=_said_by(error)), remedy)
    if isinstance(error, errors.KafkaConnectionError):
        return Trouble("unreachable", _SILENT, _OTHER_PORT) if "closed" in str(error) else None
    if isinstance(error, OSError) and error.filename:
        return Trouble("failed", f"{error.filename} cannot be read: {error.strerror}", "make it readable for samband")
    if isinstance(error, OSError):
        text = error.strerror or type(error).__name__
        return Trouble("unreachable", f"no broker is reached: {text}", "check brokers, and that one runs there")
    return None


def _said_by(error: BaseException) -> str:
    """What the broker says, without the error's number and name."""
    return str(error.args[0]) if error.args else type(error).__name__
