"""What could not be read, read again: after the sender's form was mended here, or its bytes were by hand."""

import json

import msgspec
import orjson

from daemon.core.model.alert import ParsedAlert
from daemon.core.records import AlertSeen, decode_records
from daemon.sources.formats.base import Context, Format, Parsed, Unreadable
from daemon.sources.formats.registry import FORMATS, HOOKS
from daemon.sources.kafka.messages import FORMATS as MESSAGES
from daemon.sources.kafka.messages import TopicForm, read
from daemon.sources.senders import Source

QUARANTINED = "quarantined:"
"""How the reason of a letter begins that holds a record which the engine could not fold."""


def read_again(source: Source | None, reason: str, raw: bytes, now_ms: int) -> Parsed:
    """The alerts in a dead letter. Raises Unreadable: as before, or nobody knows its source any more."""
    if reason.startswith(QUARANTINED):
        return Parsed(_of_records(raw))
    if source is None:
        raise Unreadable("its source is not in the configuration any more; add it again, or drop this", "source", 422)
    context = Context(
        source.name,
        now_ms,
        ignored=source.ignored,
        resolves=source.resolves,
        resolve_timeout_ms=source.resolve_timeout_ms,
    )
    forms: list[Format] = [table[source.type] for table in (FORMATS, HOOKS) if source.type in table]
    forms += _of_topic(source, reason)
    failure = Unreadable(f"a source of type {source.type} has no form that could be read again; drop this", "type", 422)
    best = Parsed([])
    for body in (raw, _as_array(raw)):
        for form in forms if body else ():
            try:
                parsed = form.parse(body, context)
            except Unreadable as error:
                failure = error
                continue
            if (len(parsed.alerts), -len(parsed.rejected)) > (len(best.alerts), -len(best.rejected)):
                best = parsed
            elif parsed.rejected:
                failure = Unreadable(parsed.rejected[0].reason, parsed.rejected[0].code, 422)
    if not best.alerts:
        raise failure
    return best


class _Topic:
    """The form of a topic's messages, as far as it can be read without their headers."""

    resolves = True

    def __init__(self, form: TopicForm) -> None:
        self.name, self._form = form.format, form

    def parse(self, body: bytes, context: Context) -> Parsed:
        """See `Format`."""
        return read(body, (), self._form, context)


def _of_topic(source: Source, reason: str) -> list[Format]:
    """How a letter may be read that stood in a topic, which its reason begins with."""
    form = source.topics.get(reason.partition("/")[0])
    if form is None:
        return []
    names = dict.fromkeys([form.format, *MESSAGES, "cloudevents"])
    return [_Topic(msgspec.structs.replace(form, format=name)) for name in names if name != "header"]


def _of_records(raw: bytes) -> list[ParsedAlert]:
    try:
        records = decode_records(raw)
    except msgspec.DecodeError as error:
        raise Unreadable(f"not a record of this build: {error}", "record", 422) from None
    alerts = [record.alert for record in records if isinstance(record, AlertSeen)]
    if not alerts:
        raise Unreadable("it holds no alert, so it cannot be given in again; drop it", "record", 422)
    return alerts


def _as_array(raw: bytes) -> bytes:
    """Items that were rejected one by one stand behind each other: as the array that they came from. b"" if not."""
    text = raw.decode("utf-8", "replace")
    decoder, items, at = json.JSONDecoder(), [], 0
    try:
        while (at := _blanks(text, at)) < len(text):
            item, at = decoder.raw_decode(text, at)
            items.append(item)
        return orjson.dumps(items)
    except (ValueError, RecursionError, TypeError):
        return b""


def _blanks(text: str, at: int) -> int:
    while at < len(text) and text[at].isspace():
        at += 1
    return at
