"""What several formats need: canonical JSON, times, emitters, and the bounds that hold for all."""

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache

import msgspec
import orjson

from daemon.settings.limits import LIMITS, Limits

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)
TIME_MIN = -62_135_596_800_000
"""0001-01-01T00:00:00Z in ms: Go's zero time, which means "not set"."""
TIME_MAX = 253_402_300_799_999
"""9999-12-31T23:59:59.999Z in ms."""

NOT_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What decoders raise for bytes that are no JSON, or JSON that is nested too deeply."""

_CUT_MARK = " …"

TIME_CHARS, URL_CHARS = 40, 1024
"""As long as times and addresses mostly are; longer ones are read each time, so that no sender fills memory with them.
"""


canonical: Callable[[Mapping[str, str]], bytes] = msgspec.json.Encoder(order="sorted").encode
"""The canonical JSON object: sorted keys, no blanks, UTF-8.

Not by orjson: the bytes that it returns hold 4 KiB each, which is many times an alert's labels.
"""


def described(values: Mapping[str, str], limits: Limits = LIMITS) -> bytes:
    """Annotations as canonical JSON within their bound: the longest values lose their ends, marked with an ellipsis."""
    encoded, bound = canonical(values), limits.annotations_bytes_max
    keep = bound // 2
    while len(encoded) > bound and keep > 8:
        values = {name[:200]: _shortened(value, keep) for name, value in values.items()}
        encoded = canonical(values)
        keep //= 2
    return encoded if len(encoded) <= bound else b"{}"


def harmless_bytes(limits: Limits) -> int:
    """Labels whose JSON is no longer than this break no limit on names and values; longer ones are looked at."""
    return min(limits.label_name_chars_max, limits.label_value_bytes_max, limits.labels_bytes_max)


def label_fault(labels: Mapping[str, str], encoded: bytes, replica: str, limits: Limits) -> str:
    """Which limit the labels of an alert are over, for its sender; "" when they are within all of them.

    replica: the values of the ignored labels, which are no longer among them.
    """
    if len(labels) > limits.labels_max:
        return f"{len(labels)} labels are more than {limits.labels_max} (limits.labels_max)"
    for name, value in labels.items():
        if len(name) > limits.label_name_chars_max:
            most = f"{limits.label_name_chars_max} characters (limits.label_name_chars_max)"
            return f"the label name {name[:40]!r}... is longer than {most}"
        if fault := value_fault(f"the label {name[:100]!r}", value, limits):
            return fault
    if fault := value_fault("the label that tells replicas apart", replica, limits):
        return fault
    if len(encoded) > limits.labels_bytes_max:
        return f"labels are longer than {limits.labels_bytes_max} bytes (limits.labels_bytes_max)"
    return ""


def value_fault(what: str, value: str, limits: Limits) -> str:
    """Whether one value is over its limit, as text for its sender."""
    most = limits.label_value_bytes_max
    if len(value) * 4 <= most or len(value.encode("utf-8", "replace")) <= most:
        return ""
    return f"{what} is longer than {most} bytes (limits.label_value_bytes_max)"


def _shortened(value: str, keep: int) -> str:
    return value if len(value) <= keep else value[: keep - len(_CUT_MARK)].removesuffix(_CUT_MARK) + _CUT_MARK


def repaired(body: bytes) -> bytes | None:
    """The JSON text with U+FFFD for what is no text in it: broken UTF-8, lone surrogates. None if it is no JSON at all.

    Go's decoder does the same; one mangled host name must not cost the other alerts of a request.
    """
    try:
        value = json.loads(body.decode("utf-8", "replace"))
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    except (ValueError, RecursionError):
        return None
    mended = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()
    return mended if mended != body and orjson_reads(mended) else None


def orjson_reads(body: bytes) -> bool:
    """Whether the strict decoders take it."""
    try:
        orjson.loads(body)
    except orjson.JSONDecodeError:
        return False
    return True


def parse_time(text: str) -> int | None:
    """RFC 3339 -> ms since 1970, within the years 1 to 9999. None for "". Raises ValueError otherwise.

    A time without an offset is taken as UTC, and a leap second as the end of its minute.
    """
    return _known_time(text) if len(text) <= TIME_CHARS else _parse_time(text)


def _parse_time(text: str) -> int | None:
    if not text:
        return None
    if len(text) < 19 or text[4] != "-" or text[10] not in "Tt ":
        raise ValueError(f"not an RFC 3339 time: {text[:40]!r}")
    try:
        return _to_ms(text)
    except ValueError:
        if text[16:19] != ":60" and text[-1] != "z":
            raise ValueError(f"not an RFC 3339 time: {text[:40]!r}") from None
    leap = text[16:19] == ":60"
    try:
        return _to_ms((text[:16] + ":59.999" + _offset(text[19:]) if leap else text).upper())
    except ValueError:
        raise ValueError(f"not an RFC 3339 time: {text[:40]!r}") from None


_known_time = lru_cache(maxsize=8192)(_parse_time)
"""The alerts of one request mostly share their times."""


def _to_ms(text: str) -> int:
    parsed = datetime.fromisoformat(text)
    if parsed.tzinfo is None:
        parsed = parsed.replace(tzinfo=UTC)
    ms = (parsed - _EPOCH) // _MS
    return ms if TIME_MIN <= ms <= TIME_MAX else min(max(ms, TIME_MIN), TIME_MAX)


def _offset(rest: str) -> str:
    return rest.lstrip(".0123456789")


def replica_of(labels: dict[str, str], ignored: tuple[str, ...]) -> str:
    """Takes the ignored labels out of `labels`; their values, joined, tell replicas apart ("" if there are none)."""
    values = [labels.pop(name) for name in ignored if name in labels]
    return ",".join(values)


_PAGES = (
    "/graph",
    "/alerting/",
    "/vmalert/",
    "/explore",
    "/query",
    "/alerts",
    "/alert",
)
"""Where the path of an alert's own page begins, in Prometheus, Grafana, vmalert, Loki, Mimir and Thanos."""


def emitter_at(source: str, url: str) -> str:
    """The emitter that an alert's page stands for: its source, and the page's `base_url`. "" if it is no URL."""
    return _known_emitter(source, url) if len(url) <= URL_CHARS else _emitter_at(source, url)


def _emitter_at(source: str, url: str) -> str:
    server = base_url(url)
    return f"{source} {server}" if server else ""


_known_emitter = lru_cache(maxsize=8192)(_emitter_at)
"""One text for all alerts of a server: thousands of open ones share it."""


def base_url(url: str) -> str:
    """Scheme, host and path prefix of an alert's page: what stays the same for one server. "" if it is no URL."""
    scheme, found, rest = url.partition("?")[0].partition("://")
    if not found or scheme.lower() not in ("http", "https"):
        return ""
    host, slash, path = rest.partition("/")
    if not host or len(host) > 255:
        return ""
    path = slash + path
    ends = [at for page in _PAGES if (at := path.find(page)) >= 0]
    prefix = path[: min(ends)] if ends else ""
    return f"{scheme.lower()}://{host.rpartition('@')[2].lower()}{prefix[:200]}"
