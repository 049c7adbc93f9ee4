"""Alertmanager's API v2, `POST /api/v2/alerts`: what Prometheus, Grafana, vmalert, Mimir and amtool send.

The rules are Alertmanager's own, word by word (0.34): empty labels are dropped, no start means now,
an end that is not in the future resolves, no end means now + resolve_timeout. What it refuses is
refused with its words; the valid alerts of the same request are kept, as it keeps them.
"""

import re
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from orjson import dumps

from daemon.core.model.alert import ParsedAlert, hasher_of
from daemon.settings.limits import LIMITS, Limits
from daemon.sources.formats.base import Context, Parsed, Rejected, Unreadable
from daemon.sources.formats.common import (
    NOT_JSON,
    TIME_MIN,
    canonical,
    described,
    emitter_at,
    harmless_bytes,
    label_fault,
    parse_time,
    repaired,
    replica_of,
)


class PostableAlert(msgspec.Struct, gc=False):
    """One alert as it is posted. Unknown fields are ignored, as Alertmanager does."""

    labels: dict[str, str]
    annotations: dict[str, str] | None = None
    startsAt: str | None = None
    endsAt: str | None = None
    generatorURL: str | None = None


class Posted(msgspec.Struct, gc=False):
    """The same with the labels as they were written: mostly they have been read before."""

    labels: msgspec.Raw
    annotations: dict[str, str] | None = None
    startsAt: str | None = None
    endsAt: str | None = None
    generatorURL: str | None = None


Identity = tuple[bytes, str, str, str, bytes, str]
"""What follows from an alert's labels: key, name, severity, resource, the labels as canonical JSON, replica."""

_decode = msgspec.json.Decoder(list[Posted] | None).decode
_decode_strictly = msgspec.json.Decoder(list[PostableAlert] | None).decode
_decode_labels = msgspec.json.Decoder(dict[str, str]).decode
_split = msgspec.json.Decoder(list[msgspec.Raw] | None).decode

NAMELESS = "alert without a name"
"""Shown for an alert without `alertname`, which Alertmanager allows, and without any other label that could name it."""


class Invalid(ValueError):
    """An alert that Alertmanager refuses, in its words. `code` is a metric label."""

    def __init__(self, text: str, code: str, status: int = 400) -> None:
        super().__init__(text)
        self.code, self.status = code, status


class Alertmanager:
    """The format of `/api/v2/alerts`."""

    name = "alertmanager"
    resolves = True

    def parse(self, body: bytes, context: Context) -> Parsed:
        """The alerts of a JSON array. Raises Unreadable when it is none."""
        try:
            alerts, refused = _build_all(_decode(body) or (), context)
        except msgspec.ValidationError:
            return _item_by_item(body, context)
        except NOT_JSON as error:
            if mended := repaired(body):
                return self.parse(mended, context)
            raise _unreadable(body, _complaint(body) or error) from None
        if not refused:
            return Parsed(alerts)
        raws = _split(body) or []
        return Parsed(
            alerts, [_rejected(index + context.first, error, bytes(raws[index])) for index, error in refused.items()]
        )


def _item_by_item(body: bytes, context: Context) -> Parsed:
    """The slow way, when some item has a wrong shape: the others are still read."""
    try:
        raws = _split(body) or []
    except NOT_JSON as error:
        if mended := repaired(body):
            return _item_by_item(mended, context)
        raise _unreadable(body, error) from None
    alerts: list[ParsedAlert] = []
    rejected: list[Rejected] = []
    for index, raw in enumerate(raws, context.first):
        try:
            item = _loads(raw)
        except NOT_JSON as error:
            rejected.append(_rejected(index, Invalid(f"item {index}: {error}", "not_json"), bytes(raw)))
            continue
        try:
            one = msgspec.convert(_without_nulls(item), PostableAlert)
            posted = Posted(
                msgspec.Raw(canonical(one.labels)), one.annotations, one.startsAt, one.endsAt, one.generatorURL
            )
            built, refused = _build_all([posted], msgspec.structs.replace(context, first=index))
        except msgspec.ValidationError as error:
            refused = {0: _schema_error(index, item, str(error))}
        else:
            alerts += built
        rejected += [_rejected(index, error, bytes(raw)) for error in refused.values()]
    return Parsed(alerts, rejected)


def _loads(raw: msgspec.Raw) -> Any:
    """The item as plain values. Splitting a list does not look into strings, so it may still be no JSON."""
    try:
        return msgspec.json.decode(raw)
    except NOT_JSON:
        return msgspec.json.decode(repaired(bytes(raw)) or raw)


def _without_nulls(item: Any) -> Any:
    """A label or annotation that is null counts as empty in Alertmanager, so it is dropped."""
    if not isinstance(item, dict):
        return item
    return {
        name: {k: v for k, v in value.items() if v is not None} if isinstance(value, dict) else value
        for name, value in item.items()
    }


def _rejected(index: int, error: Invalid, raw: bytes) -> Rejected:
    return Rejected(index, str(error), error.code, raw, error.status)


def _schema_error(index: int, item: Any, text: str) -> Invalid:
    """Alertmanager's own answer: a missing `labels` is a schema failure, a wrong type a parse error."""
    if item is None:
        return Invalid(f"{index} in body is required", "required", 422)
    if isinstance(item, dict) and item.get("labels") is None:
        return Invalid(f"{index}.labels in body is required", "required", 422)
    return Invalid(
        f'parsing alerts body from "" failed, because item {index}: {text}',
        "wrong_type",
        400,
    )


def _complaint(body: bytes) -> Exception | None:
    """What is wrong with it, and where in the whole body."""
    try:
        _decode_strictly(body)
    except NOT_JSON as error:
        return error
    return None


def _unreadable(body: bytes, error: Exception) -> Unreadable:
    if not body.strip():
        return Unreadable("alerts in body is required", "empty", 422)
    return Unreadable(f'parsing alerts body from "" failed, because {error}', "not_json")


def _build_all(posted: Sequence[Posted], context: Context) -> tuple[list[ParsedAlert], dict[int, Invalid]]:
    """The alerts, and by index those that Alertmanager refuses. The hot loop: everything common stands outside.

    Raises as msgspec does for labels that are none.
    """
    source, now, limits, event = context.source, context.received_ms, context.limits, context.resolves is False
    raws = [bytes(one.labels) for one in posted]
    fresh: dict[bytes, Identity] = {}
    identify: Callable[[bytes], Identity] | None = None
    times, emitters = _Times(), _Emitters(source)
    alerts: list[ParsedAlert] = []
    refused: dict[int, Invalid] = {}
    for index, (one, raw, identity) in enumerate(zip(posted, raws, map(context.memory.get, raws), strict=True)):
        try:
            starts, ends = times[one.startsAt], times[one.endsAt]
            if starts is None or ends is None or starts > ends or starts == TIME_MIN:
                starts, ends, invented = _completed(starts, ends, context)
            else:
                invented = False
            if identity is None:
                if identify is None:
                    identify = _identifier(context)
                identity = fresh[raw] = identify(raw)
            key, name, severity, resource, labels, replica = identity
            url = one.generatorURL or ""
            emitter = emitters[url]
            if not emitter:
                if url and not _is_uri(url):
                    raise _no_uri(index + context.first, url)
                emitter = f"{source} {replica or context.client}"
            told = annotated(one.annotations, url, limits)
            alerts.append(
                ParsedAlert(
                    source, key, name, ends > now, severity, "", resource, "", labels, told,
                    starts, ends, replica, emitter, invented, event,
                )
            )  # fmt: skip
        except Invalid as error:
            refused[index] = error
        except NOT_JSON:
            raise
        except ValueError as error:  # of parse_time
            refused[index] = Invalid(f'parsing alerts body from "" failed, because {error}', "bad_time")
    if fresh:
        context.memory.learn(fresh)
    return alerts, refused


class _Times(dict[str | None, int | None]):
    """The times of one request, each read once: its alerts mostly share them. Raises ValueError."""

    def __missing__(self, text: str | None) -> int | None:
        at = self[text] = parse_time(text) if text else None
        return at


class _Emitters(dict[str, str]):
    """The emitters of one request, by the address of an alert's page; "" where there is none."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self._source = source

    def __missing__(self, url: str) -> str:
        emitter = self[url] = emitter_at(self._source, url)
        return emitter


def _no_uri(place: int, url: str) -> Invalid:
    text = f"{place}.generatorURL in body must be of type uri: {quoted(url)}"
    return Invalid(text, "not_uri", 422)


def _identifier(context: Context) -> Callable[[bytes], Identity]:
    """What works out the identity that follows from labels; all that is the same for a whole request stands outside.

    It raises Invalid, and what msgspec raises for labels that are none.
    """
    ignored, limits, hasher = context.ignored, context.limits, hasher_of(context.source)
    harmless, many = harmless_bytes(limits), limits.labels_max
    without_replica = frozenset(ignored).isdisjoint

    def identify(raw: bytes) -> Identity:
        labels, replica = _decode_labels(raw), ""
        if not without_replica(labels):
            replica = replica_of(labels, ignored)
        if not all(labels.values()):
            labels = {name: value for name, value in labels.items() if value}
        if not labels or "" in labels:
            raise _no_label_set(labels)
        encoded = canonical(labels)
        if len(encoded) > harmless or len(labels) > many or len(replica) > harmless:
            _check_labels(labels, encoded, replica, limits)
        if encoded == raw:
            encoded = raw  # As Prometheus writes them: one copy then does for the alert and for the memory.
        get = labels.get
        name = get("alertname") or readable_name(labels)
        return hasher(encoded).digest(), name, get("severity", ""), get("instance", ""), encoded, replica

    return identify


def _check_labels(labels: dict[str, str], encoded: bytes, replica: str, limits: Limits) -> None:
    if fault := label_fault(labels, encoded, replica, limits):
        raise Invalid(fault, "labels_too_large")


_is_uri = re.compile(r"(?:/|[A-Za-z][A-Za-z0-9+.-]*:)[^\x00-\x20\x7f]*").fullmatch
"""Near enough to Go's `url.ParseRequestURI`, by which Alertmanager checks generator URLs."""


def quoted(text: str) -> str:
    """The text in double quotes, its beginning if it is long."""
    return dumps(text[:200]).decode()


def _completed(starts: int | None, ends: int | None, context: Context) -> tuple[int, int, bool]:
    """Start, end, and whether the end was made up, where they are not both given in order. Raises Invalid."""
    ends = None if ends == TIME_MIN else ends
    if starts is None or starts == TIME_MIN:
        starts = context.received_ms if ends is None else ends
    invented = ends is None
    if ends is None:
        ends = context.received_ms + context.resolve_timeout_ms
    if starts > ends:
        raise Invalid("start time must be before end time", "start_after_end")
    return starts, ends, invented


def _no_label_set(labels: dict[str, str]) -> Invalid:
    if labels:
        return Invalid('invalid label set: invalid name ""', "label_name")
    return Invalid("at least one label pair required", "no_labels")


def annotated(annotations: dict[str, str] | None, url: str, limits: Limits = LIMITS) -> bytes:
    """Annotations with the generator's URL as `url`; where the sender has a `url` of its own, as `generator_url`.

    Canonical JSON, within its bound. Raises Invalid for an annotation without a name.
    """
    if annotations is None:
        annotations = {}
    elif "" in annotations:
        raise Invalid('invalid annotations: invalid name ""', "annotation_name")
    if url:
        annotations["generator_url" if "url" in annotations else "url"] = url
    encoded = canonical(annotations)
    return encoded if len(encoded) <= limits.annotations_bytes_max else described(annotations, limits)


def without_generator(annotations: dict[str, str]) -> tuple[dict[str, str], str]:
    """The inverse of `annotated`: the sender's own annotations, and the generator's URL."""
    url = annotations.pop("generator_url", "") or annotations.pop("url", "")
    return annotations, url


def readable_name(labels: dict[str, str]) -> str:
    """A name for an alert without `alertname`: another label that names it, else its labels in a row."""
    for label in ("alert", "name", "__name__", "rule"):
        if labels.get(label):
            return labels[label]
    text = re.sub(
        r"\s+",
        " ",
        " ".join(f"{name}={value}" for name, value in sorted(labels.items())),
    )
    return text[:120] or NAMELESS


FORMAT = Alertmanager()
