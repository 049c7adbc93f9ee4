"""Every log event, declared once with its meaning; JSON lines on a pipe, readable on a terminal.

An event is called with its fields: `log.STARTED(listen="127.0.0.1:8112")`. One line per batch or
incident at most, never one per alert. Alert text may stand in fields: both renderers escape control
characters. Secrets that were registered with `conceal` are masked wherever they turn up.
"""

import logging
import sys
from collections.abc import Iterable
from typing import Literal, TextIO

import orjson
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

Level = Literal["debug", "info", "warning", "error", "critical"]

SECRET_LENGTH_MIN = 4
_secrets: list[str] = []


class Event:
    """One kind of log line. `meaning` says what an operator learns from it, and what to do."""

    __slots__ = ("level", "meaning", "name")

    def __init__(self, name: str, level: Level, meaning: str) -> None:
        self.name, self.level, self.meaning = name, level, meaning
        EVENTS[name] = self

    def __call__(self, **fields: object) -> None:
        """Writes the line."""
        getattr(_logger, self.level)(self.name, **fields)


EVENTS: dict[str, Event] = {}
_logger: structlog.stdlib.BoundLogger = structlog.get_logger("samband")

# Start, stop, configuration
STARTED = Event("started", "info", "The daemon serves: where it listens, version, mode, store.")
STOPPING = Event(
    "stopping", "info", "A signal asked for an orderly stop: no new requests, what was accepted is finished."
)
STOPPED = Event("stopped", "info", "The daemon has stopped; nothing accepted is open.")
STOP_FORCED = Event("stop_forced", "warning", "A second signal: stopped at once. What was answered 2xx is on disk.")
START_FAILED = Event("start_failed", "critical", "The daemon could not start; the text says why and what to do.")
RELOADED = Event("reloaded", "info", "Another configuration is in force.")
RELOAD_FAILED = Event("reload_failed", "error", "The new configuration has mistakes; the old one stays in force.")
CONFIG_NOTICE = Event(
    "config_notice", "warning", "The configuration holds something that is not active yet, or unwise."
)
LOGIN_OPEN = Event(
    "login_open", "warning", "`login: open`: whoever reaches this port on loopback reads and acts without a token."
)
OPERATOR_TOKEN = Event(
    "operator_token", "info", "Where the local operator's token is; whoever can read the file is the operator."
)
RECOVERED = Event(
    "recovered", "info", "State was read from the store: alerts, incidents, open sends, length of the gap."
)

# Intake
REQUEST_REFUSED = Event(
    "request_refused", "warning", "A request on an intake path was refused (not for each: the first, then counted)."
)
ITEMS_REJECTED = Event(
    "items_rejected", "warning", "Items of a request could not be read; they are kept as a dead letter."
)
INTAKE_FAILED = Event("intake_failed", "error", "A bug: a request raised inside samband; it was answered 500.")

# Kafka
KAFKA_CONNECTED = Event("kafka_connected", "info", "A source reads: which topics, and how many partitions.")
KAFKA_TROUBLE = Event(
    "kafka_trouble", "warning", "A source cannot read from its brokers; the text says why. It tries again by itself."
)
KAFKA_LOST = Event(
    "kafka_lost",
    "error",
    "A partition does not go on where it was read to: what is missing, and where reading goes on.",
)
KAFKA_STOPPED = Event(
    "kafka_stopped",
    "error",
    "Too many of a partition's last messages cannot be read: it is not read on until that is mended.",
)
KAFKA_GOES_ON = Event("kafka_goes_on", "info", "A partition that was stopped is read on.")
KAFKA_UNREADABLE = Event(
    "kafka_unreadable", "warning", "Messages could not be read; they are kept as dead letters. One line for many."
)
KAFKA_UNCOPIED = Event(
    "kafka_uncopied", "warning", "A dead-letter topic does not take dead letters; samband has kept them itself."
)
KAFKA_COMMIT_FAILED = Event(
    "kafka_commit_failed", "warning", "Group offsets could not be committed: only lag tools miss them. Said once."
)
KAFKA_FAILED = Event("kafka_failed", "error", "A bug: a Kafka source raised inside samband; it is started again.")

# Runtime
COMMIT_FAILED = Event(
    "commit_failed", "error", "The store did not take a batch; it is retried, requests are answered 503."
)
COMMIT_WORKS_AGAIN = Event("commit_works_again", "info", "The store takes batches again.")
FENCED = Event("fenced", "critical", "Another daemon has taken this store; this one stops and writes nothing more.")
QUARANTINED = Event(
    "quarantined", "error", "A record or deadline raised in the engine, or the store refused it; it was set aside."
)
LEASE_AWAITED = Event(
    "lease_awaited", "info", "The last holder of this store has not let go of it; waiting until its lease has run out."
)
STORE_MOVED = Event(
    "store_moved",
    "warning",
    "The database has failed over, or is another server, since the last commit, and may lack the newest ones. What "
    "waited to be sent may have been sent: it is looked for, or repeated under its key.",
)
STORE_WENT_BACK = Event(
    "store_went_back",
    "error",
    "The database had lost commits that it had called durable (a replica without them was promoted?); they were "
    "committed again, from memory. Replicate synchronously, so that a restart at that moment loses nothing either.",
)
STORE_UNSAFE = Event("store_unsafe", "warning", "The database does not keep what it calls durable; the text says why.")
CLOCK_STEPPED = Event(
    "clock_stepped", "warning", "The wall clock jumped against elapsed time; running waits were moved with it."
)
EMERGENCY = Event("emergency", "critical", "samband cannot do its job; a notice goes out over the emergency sinks.")

# Outbox and sinks
SENT = Event("sent", "info", "A sink confirmed something.")
SEND_RETRIED = Event("send_retried", "warning", "A sink did not take something; it is tried again.")
SEND_UNSURE = Event(
    "send_unsure", "warning", "A sink's answer did not come: it may have happened or not; it is looked up or repeated."
)
SEND_DEAD = Event(
    "send_dead", "error", "A sink never took something: dead-lettered, and an incident about samband tells."
)
CIRCUIT_OPENED = Event("circuit_opened", "warning", "A sink failed too often and is left alone for a while.")
CIRCUIT_CLOSED = Event("circuit_closed", "info", "A sink works again.")
SINK_RAISED = Event("sink_raised", "error", "A bug: a sink raised instead of judging; its row counts as unclear.")
OUTBOX_FAILED = Event("outbox_failed", "error", "A bug: the outbox raised over a row; the row is kept and tried later.")
TWIN_CLOSED = Event(
    "twin_closed", "warning", "A second object for one decision was found at a sink, linked and closed."
)

# Commands
COMMAND = Event("command", "info", "A person or program acted: who, what, on which incident, and the outcome.")
LONG_SILENCE = Event(
    "long_silence",
    "warning",
    "A silence of more than 7 days was made over the compatible API; what it holds pages nobody.",
)
TOKEN_ISSUED = Event("token_issued", "info", "A token was made: for whom, with which role, by whom.")
TOKEN_REVOKED = Event("token_revoked", "info", "A token does not work any more: whose it was, and who revoked it.")
API_FAILED = Event("api_failed", "error", "A bug: a request to the API raised inside samband; it was answered 500.")

LIBRARY = Event("library", "info", "A line of a library's own logger; `logger` names it.")


def conceal(secrets: Iterable[str]) -> None:
    """Masks these texts in every later line. Shorter than four characters is no secret, and would mask words."""
    _secrets.extend(s for s in secrets if len(s) >= SECRET_LENGTH_MIN and s not in _secrets)
    _secrets.sort(key=len, reverse=True)


def masked(text: str) -> str:
    """The text with every concealed secret replaced."""
    for secret in _secrets:
        if secret in text:
            text = text.replace(secret, "***")
    return text


def _mask_value(value: object) -> object:
    match value:
        case str():
            return masked(value)
        case bytes():
            return masked(value.decode("utf-8", "replace"))
        case list() | tuple():
            return [_mask_value(item) for item in value]
        case dict():
            return {key: _mask_value(item) for key, item in value.items()}
        case bool() | int() | float() | None:
            return value
        case _:
            return masked(str(value))


def _mask(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    if _secrets:
        for key, value in event.items():
            event[key] = _mask_value(value)
    return event


def _json(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    line = {
        "at": event.pop("at", None),
        "level": event.pop("level", None),
        "event": event.pop("event", None),
        **event,
    }
    return orjson.dumps(line, default=str).decode()


def configure(*, stream: TextIO | None = None, level: Level = "info", terminal: bool | None = None) -> None:
    """Sets logging up for the process: samband's events and all library loggers go to `stream` (default stderr).

    terminal: None asks the stream. Call it once, before anything logs; again to change the stream.
    """
    out = stream or sys.stderr
    readable = out.isatty() if terminal is None else terminal
    shared: list[Processor] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
        structlog.processors.format_exc_info,
        _mask,
    ]
    render: Processor = (
        structlog.dev.ConsoleRenderer(colors=True, timestamp_key="at", repr_native_str=True, pad_event_to=20)
        if readable
        else _json
    )
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, render],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    _route_libraries(out, shared, render, level)


def _route_libraries(out: TextIO, shared: list[Processor], render: Processor, level: Level) -> None:
    """One handler at the root: our own lines are complete already, those of libraries are rendered alike."""
    handler = logging.StreamHandler(out)
    handler.setFormatter(_Formatter(shared, render))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("samband").setLevel(level.upper())
    logging.captureWarnings(True)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "uvicorn.asgi"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = name != "uvicorn.access"
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)


class _Formatter(logging.Formatter):
    """Leaves samband's own lines as they are, and gives those of libraries the same form."""

    def __init__(self, shared: list[Processor], render: Processor) -> None:
        super().__init__()
        self._shared, self._render = shared, render

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        if record.name == "samband":
            return record.getMessage()
        event: EventDict = {
            "event": LIBRARY.name,
            "logger": record.name,
            "text": record.getMessage(),
        }
        if record.exc_info:
            event["exc_info"] = record.exc_info
        method = record.levelname.lower()
        for process in (*self._shared, self._render):
            event = process(logging.getLogger(record.name), method, event)  # type: ignore[assignment]
        return str(event)
