"""One message in, alerts out: which form it has, what an envelope hides, which labels its topic lends it. Pure."""

import base64
import binascii
import re
from collections.abc import Mapping, Sequence
from hashlib import blake2b

import msgspec

from daemon.core.model.alert import ParsedAlert
from daemon.settings.limits import Limits
from daemon.sources.formats import alertmanager, alertmanager_webhook, native
from daemon.sources.formats import pagerduty_events as events
from daemon.sources.formats.base import Context, Format, Parsed, Rejected, Unreadable
from daemon.sources.formats.common import NOT_JSON, canonical
from daemon.sources.nesting import too_deep

Headers = Sequence[tuple[str, bytes]]

_ENVELOPE = "application/cloudevents"
_ROUTING_KEY = re.compile(rb'("routing_key"\s*:\s*)"(?:[^"\\]|\\.)*"')


class TopicForm(msgspec.Struct, frozen=True):
    """How the messages of one topic are read.

    format: native, alertmanager, cloudevents, pagerduty_events, or header (the message says it).
    labels: of alerts that bring none of that name. types: CloudEvents `type` -> form of the data.
    """

    format: str
    labels: Mapping[str, str] = {}
    types: Mapping[str, str] = {}


class Sender(msgspec.Struct, frozen=True):
    """What parsing needs to know of the source. topics: how each is read."""

    name: str
    ignored: tuple[str, ...]
    resolves: bool
    resolve_timeout_ms: int
    topics: Mapping[str, TopicForm]
    limits: Limits


class _Alertmanager:
    """Alertmanager's API (an array, or one alert by itself) and its webhook, told apart by their shape."""

    name = "alertmanager"
    resolves = True

    def parse(self, body: bytes, context: Context) -> Parsed:
        """See `Format`."""
        text = body.strip()
        if text[:1] != b"{":
            return alertmanager.FORMAT.parse(text, context)
        try:
            hook = "alerts" in _fields(text)
        except NOT_JSON:
            hook = True  # It says what is wrong.
        if hook:
            return alertmanager_webhook.FORMAT.parse(text, context)
        return alertmanager.FORMAT.parse(b"[" + text + b"]", context)


class _PagerDutyEvents:
    """PagerDuty's Events API v2, one event a message. A routing key needs not be there, and is never kept."""

    name = events.NAME
    resolves = True

    def parse(self, body: bytes, context: Context) -> Parsed:
        """See `Format`."""
        try:
            event = events.decode(without_secrets(self.name, body))
            events.check(event)
        except events.Invalid as error:
            raise Unreadable(str(error), error.code) from None
        if event["event_action"] == "acknowledge":
            raise Unreadable("an acknowledgement is not taken from a topic; post it to /v2/enqueue", "acknowledge")
        # Read again after a crash it must be the same alert, so that chance names none.
        own = event.get("dedup_key") or blake2b(body, digest_size=16).hexdigest()
        return Parsed([events.alert_of(event, own, events.Route(context.source, ""), context)])


FORMATS: dict[str, Format] = {"native": native.FORMAT, "alertmanager": _Alertmanager(), events.NAME: _PagerDutyEvents()}
"""The forms of what is in a message, once an envelope is off."""

_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class _Event(msgspec.Struct):
    """The envelope of a CloudEvent in JSON."""

    specversion: str
    id: str
    source: str
    type: str
    datacontenttype: str = ""
    data: msgspec.Raw = msgspec.Raw()
    data_base64: str = ""


_event = msgspec.json.Decoder(_Event).decode
_events = msgspec.json.Decoder(list[msgspec.Raw]).decode


def read(value: bytes, headers: Headers, form: TopicForm, context: Context) -> Parsed:
    """The alerts in a message. Raises Unreadable when it has not the form that it should have."""
    if too_deep(value, context.limits.nesting_depth_max):
        most = context.limits.nesting_depth_max
        raise Unreadable(f"nested more deeply than {most} levels (limits.nesting_depth_max)", "too_deep")
    name = form.format if form.format != "header" else _named(headers)
    known = FORMATS.get(name)
    parsed = known.parse(value, context) if known is not None else _cloudevents(value, headers, form, context)
    count = len(parsed.alerts) + len(parsed.rejected)
    if count > context.limits.batch_alerts_max:
        most = context.limits.batch_alerts_max
        raise Unreadable(f"{count} alerts in one message are more than {most} (limits.batch_alerts_max)", "too_many")
    if not form.labels:
        return parsed
    return Parsed([_lent(alert, form.labels) for alert in parsed.alerts], parsed.rejected, parsed.skewed)


def without_secrets(form: str, value: bytes) -> bytes:
    """The message as it may be kept: PagerDuty's routing keys are secrets."""
    if form != events.NAME and b'"routing_key"' not in value:
        return value
    return _ROUTING_KEY.sub(rb'\1"' + events.HIDDEN.encode() + b'"', value)


def header(headers: Headers, name: str) -> str:
    """The last header of that name, in any case, as text; "" without."""
    for key, value in reversed(headers):
        if key.lower() == name and value is not None:
            return value.decode("utf-8", "replace").strip()
    return ""


def _named(headers: Headers) -> str:
    """The form that a message says it has."""
    name = header(headers, "format").lower()
    if name in FORMATS or name == "cloudevents":
        return name
    if header(headers, "ce_specversion") or header(headers, "content-type").lower().startswith(_ENVELOPE):
        return "cloudevents"
    known = ", ".join([*FORMATS, "cloudevents"])
    said = f"the header `format` says {name[:40]!r}" if name else "there is no header `format`"
    raise Unreadable(f"{said}; it must be one of {known}", "no_format")


# ---- CloudEvents ---------------------------------------------------------------------------------
def _cloudevents(value: bytes, headers: Headers, form: TopicForm, context: Context) -> Parsed:
    """Binary mode (attributes in headers), else structured mode: one event in JSON, or several."""
    if version := header(headers, "ce_specversion"):
        if missing := [name for name in ("ce_id", "ce_source", "ce_type") if not header(headers, name)]:
            raise Unreadable(f"a CloudEvent (specversion {version[:10]}) without {', '.join(missing)}", "cloudevent")
        kind, emitter = header(headers, "ce_type"), header(headers, "ce_source")
        return _data(value, header(headers, "content-type"), kind, emitter, form, context)
    if not header(headers, "content-type").lower().startswith(_ENVELOPE + "-batch"):
        return _structured(value, form, context)
    try:
        raws = _events(value)
    except NOT_JSON as error:
        raise Unreadable(f"not a batch of CloudEvents: {error}", "cloudevent") from None
    alerts: list[ParsedAlert] = []
    rejected: list[Rejected] = []
    skewed = 0
    for index, raw in enumerate(raws):
        try:
            parsed = _structured(bytes(raw), form, context)
        except Unreadable as error:
            rejected.append(Rejected(index, error.text, error.code, bytes(raw)))
            continue
        alerts += parsed.alerts
        rejected += parsed.rejected
        skewed += parsed.skewed
    return Parsed(alerts, rejected, skewed)


def _structured(value: bytes, form: TopicForm, context: Context) -> Parsed:
    try:
        event = _event(value)
    except NOT_JSON as error:
        raise Unreadable(f"not a CloudEvent: {error}", "cloudevent") from None
    data = bytes(event.data)
    if event.data_base64:
        try:
            data = base64.b64decode(event.data_base64, validate=True)
        except binascii.Error as error:
            raise Unreadable(f"data_base64 is not Base64: {error}", "cloudevent") from None
    return _data(data, event.datacontenttype, event.type, event.source, form, context)


def _data(data: bytes, content: str, kind: str, emitter: str, form: TopicForm, context: Context) -> Parsed:
    media = content.partition(";")[0].strip().lower()
    if media and media not in ("application/json", "text/json") and not media.endswith("+json"):
        raise Unreadable(f"the data of the CloudEvent is {media[:60]}, not JSON", "content_type")
    known = FORMATS[form.types.get(kind, "native")]
    return known.parse(data, msgspec.structs.replace(context, client=emitter[:255]))


# ---- labels of the topic -----------------------------------------------------------------------------
_labels = msgspec.json.Decoder(dict[str, str]).decode


def _lent(alert: ParsedAlert, lent: Mapping[str, str]) -> ParsedAlert:
    """The alert with the labels that it did not bring; they identify it like its own."""
    own = _labels(alert.labels)
    added = {name: value for name, value in lent.items() if name not in own}
    if not added:
        return alert
    key = blake2b(canonical(added), digest_size=16, key=alert.key).digest()
    return msgspec.structs.replace(alert, key=key, labels=canonical({**own, **added}))
