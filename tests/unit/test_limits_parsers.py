"""Whatever the bytes are: every format answers with alerts, rejected items or Unreadable, within its limits."""

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from daemon.settings.limits import LIMITS, Limits
from daemon.sources.formats.base import Context, Format, Unreadable
from daemon.sources.formats.registry import FORMATS, HOOKS

FORMS = list({id(one): one for one in (*FORMATS.values(), *HOOKS.values())}.values())
WORDS = ("name", "status", "severity", "service", "resource", "environment", "labels", "annotations", "dedup_key",
         "starts_at", "ends_at", "startsAt", "endsAt", "generatorURL", "alerts", "alertname", "receiver", "externalURL",
         "firing", "resolved", "replica", "url", "")  # fmt: skip
TIMES = ("0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z", "2026-02-30T00:00:00Z", "2026-10-25T02:30:00+02:00",
         "2026-12-31T23:59:60Z", "2026-01-01", "-1-01-01T00:00:00Z", "2026-01-01T00:00:00+99:99")  # fmt: skip
texts = st.sampled_from(WORDS) | st.sampled_from(TIMES) | st.text(max_size=30)
leaves = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts
values = st.recursive(
    leaves, lambda below: st.lists(below, max_size=4) | st.dictionaries(texts, below, max_size=6), max_leaves=20
)
maps = st.dictionaries(texts, texts, max_size=5)
alerts = st.fixed_dictionaries(
    {},
    optional={
        "name": texts, "status": texts | leaves, "severity": texts | leaves, "labels": maps | values,
        "annotations": maps | values, "starts_at": texts, "ends_at": texts, "startsAt": texts, "endsAt": texts,
        "generatorURL": texts, "dedup_key": texts, "service": texts | leaves,
    },
)  # fmt: skip
documents = st.lists(alerts, max_size=4) | alerts | st.fixed_dictionaries({"alerts": st.lists(alerts)}) | values


def judged(form: Format, body: bytes, limits: Limits = LIMITS) -> bool:
    """Whether everything that was refused has a reason and a code; what was taken is within the limits."""
    context = Context("s", 1_800_000_000_000, client="127.0.0.1", limits=limits)
    try:
        parsed = form.parse(body, context)
    except Unreadable as error:
        return bool(error.text and error.code)
    for alert in parsed.alerts:
        assert len(alert.key) == 16
        assert alert.name
        assert len(alert.labels) <= limits.labels_bytes_max
        assert len(alert.annotations) <= limits.annotations_bytes_max
        kept: dict[str, Any] = json.loads(alert.labels)
        assert len(kept) <= limits.labels_max
        assert all(len(name) <= limits.label_name_chars_max for name in kept)
        assert all(len(value.encode()) <= limits.label_value_bytes_max for value in kept.values())
    return all(one.reason and one.code for one in parsed.rejected)


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
@given(document=documents)
def test_every_document_is_judged(form: Format, document: Any) -> None:
    assert judged(form, json.dumps(document).encode())
    small = Limits(labels_max=2, label_name_chars_max=8, label_value_bytes_max=12, labels_bytes_max=64,
                   annotations_bytes_max=64)  # fmt: skip
    assert judged(form, json.dumps(document, ensure_ascii=False).encode("utf-8", "replace"), small)


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
@given(document=documents, place=st.floats(0, 1), put=st.binary(max_size=4), cut=st.integers(0, 4))
@example(document=[{"name": "A"}], place=0.5, put=b"\xff", cut=0)
@example(document=[{"labels": {"a": "b"}}], place=0.5, put=b"\\ud800", cut=0)
def test_every_broken_document_is_judged(form: Format, document: Any, place: float, put: bytes, cut: int) -> None:
    body = json.dumps(document).encode()
    at = int(place * len(body))
    assert judged(form, body[:at] + put + body[at + cut :])


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
@given(body=st.binary(max_size=60))
def test_any_bytes_are_judged(form: Format, body: bytes) -> None:
    assert judged(form, body)
