"""Why a broker cannot be reached, in words: aiokafka says it in its log only, and there far too often.

For nothing that listens, a wrong password and a wrong certificate it raises the same error, "Unable to
bootstrap". So its log is listened to: each source's tasks carry a context of their own, by which a line
finds the source that it is about.
"""

import logging
import time
from contextvars import ContextVar

from daemon import log

EVERY_S = 60.0
"""A line of aiokafka that belongs to nobody is passed on so often; those of a source are told by the source."""


class Reason:
    """What aiokafka last complained of for one source. `text` is "" while it has not."""

    def __init__(self) -> None:
        self.text = ""

    def take(self) -> str:
        """The last complaint; it is forgotten with that."""
        text, self.text = self.text, ""
        return text


listening: ContextVar[Reason | None] = ContextVar("kafka_reason", default=None)
"""Set it, and what aiokafka complains of in tasks that are started from here goes there."""


class _Ear(logging.Handler):
    """Takes the lines of aiokafka's loggers."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._passed: dict[str, float] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Keeps the line for its source, or passes it on, not too often."""
        reason = listening.get()
        if reason is not None:
            text = record.getMessage()
            if record.exc_info and record.exc_info[1] is not None:
                text += f": {record.exc_info[1]!r}"
            if _tells(text) or not _tells(reason.text):
                reason.text = text
            return
        now = time.monotonic()
        if now - self._passed.get(str(record.msg), -EVERY_S) >= EVERY_S:
            self._passed[str(record.msg)] = now
            log.LIBRARY(logger=record.name, text=record.getMessage())


def listen() -> None:
    """From here on aiokafka's log is listened to; again it changes nothing."""
    logger = logging.getLogger("aiokafka")
    if not any(isinstance(handler, _Ear) for handler in logger.handlers):
        logger.addHandler(_Ear())
        logger.setLevel(logging.WARNING)
        logger.propagate = False


_REMEDIES = (
    (("authentication failed", "saslauthenticationfailed", "invalid credentials"), "user or password is wrong",
     "compare sasl: with what the brokers have"),
    (("unsupportedsaslmechanism", "mechanism"), "the broker does not offer this SASL mechanism",
     "use one that its listener has"),
    (("certificate_verify_failed", "certificate verify failed"), "the broker's certificate is not trusted",
     "name its authority in tls: {ca_file}"),
    (("certificate required", "bad certificate", "certificate_required", "unknown ca", "tlsv1_alert_unknown_ca",
      "handshake_failure"), "the broker does not take samband's certificate",
     "give it one in tls: {cert_file, key_file} that it trusts"),
    (("wrong_version_number", "wrong version number", "record layer failure"), "the listener does not speak TLS",
     "take tls out, or name the port that does"),
    (("connect call failed", "connection refused", "errno 111"), "nothing listens there",
     "start the broker, or correct brokers"),
    (("name or service not known", "getaddrinfo", "nodename nor servname", "name resolution"),
     "there is no such host", "correct brokers"),
    (("closed", "0 bytes read", "eof occurred", "incompleteread", "connection reset"),
     "the broker cut the connection", "its listener may want TLS or SASL (tls:, sasl:), or other ones than it gets"),
    (("no such file",), "a file is missing", "put it there"),
    (("not authorized", "authorizationfailed"), "it is not allowed to read the topic",
     "give its user the rights to describe and read it"),
)  # fmt: skip
_CREATED_FOR_NOTHING = ("unable to bootstrap", "unable to update metadata")


def _tells(text: str) -> bool:
    low = text.lower()
    return bool(text) and not any(words in low for words in _CREATED_FOR_NOTHING)


def explained(complaint: str, error: BaseException | None = None) -> str:
    """What is wrong and what to do, from aiokafka's complaint, else from the error that it raised."""
    for text in (complaint, repr(error) if error is not None else ""):
        low = text.lower()
        for words, meaning, remedy in _REMEDIES:
            if any(word in low for word in words):
                return f"{meaning}; {remedy} ({_short(text)})"
    if "timeout" in f"{complaint} {error!r}".lower() or complaint.rstrip().endswith(":"):
        where = f" ({_short(complaint)})" if complaint else ""
        return f"the broker does not answer; it may be overloaded, or its listener may want TLS or SASL{where}"
    return _short(complaint) or (f"{type(error).__name__}: {_short(str(error))}" if error is not None else "unknown")


def _short(text: str) -> str:
    return " ".join(text.split())[:300].rstrip(" :")
