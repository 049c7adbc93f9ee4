"""The native form: its fields, its three shapes, and what is a mistake of the sender."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from daemon.core.model.alert import ParsedAlert, alert_key
from daemon.sources.formats import alertmanager, alertmanager_webhook, native
from daemon.sources.formats.base import Context, Parsed, Unreadable

NOW = 1_795_600_000_000
CONTEXT = Context("scripts", NOW, client="10.0.0.7")


def parse(body: bytes | Any, context: Context = CONTEXT) -> Parsed:
    return native.FORMAT.parse(body if isinstance(body, bytes) else json.dumps(body).encode(), context)


def one(**item: Any) -> ParsedAlert:
    parsed = parse({"name": "Down", **item})
    assert not parsed.rejected, parsed.rejected
    (alert,) = parsed.alerts
    return alert


def why(**item: Any) -> tuple[str, str]:
    parsed = parse([{"name": "Good"}, {"name": "Down", **item}])
    assert len(parsed.alerts) == 1
    (refused,) = parsed.rejected
    assert refused.index == 1
    return refused.code, refused.reason


def test_all_fields() -> None:
    alert = one(
        status="resolved", severity="critical", service="shop", resource="s-1", environment="staging",
        labels={"zone": "a", "rack": 7, "up": True, "load": 0.5, "gone": None},
        annotations={"note": "n", "summary": "overruled", "nil": None},
        starts_at="2026-11-25T07:20:00Z", ends_at="2026-11-25T08:20:00+01:00",
        summary="s", description="d", url="u", runbook_url="r", value=99.5, unit="%", threshold=90,
    )  # fmt: skip
    assert (alert.name, alert.firing, alert.severity) == ("Down", False, "critical")
    assert (alert.service, alert.resource, alert.environment) == ("shop", "s-1", "staging")
    assert json.loads(alert.labels) == {"zone": "a", "rack": "7", "up": "true", "load": "0.5"}
    assert json.loads(alert.annotations) == {
        "note": "n", "summary": "s", "description": "d", "url": "u", "runbook_url": "r",
        "value": "99.5", "unit": "%", "threshold": "90",
    }  # fmt: skip
    assert (alert.starts_at, alert.ends_at) == (1_795_591_200_000, 1_795_591_200_000)
    assert alert.emitter == "scripts 10.0.0.7"


def test_what_may_be_left_out() -> None:
    alert = one(service=None, severity=None, labels=None, starts_at=None, received_at="ignored", source=9, unknown=[])
    assert (alert.firing, alert.severity, alert.service, alert.starts_at, alert.ends_at) == (True, "", "", None, None)
    assert (alert.labels, alert.annotations, alert.event) == (b"{}", b"{}", False)


def test_identity() -> None:
    key = one(service="a", labels={"x": "1", "y": "2"}).key
    same = one(service="a", labels={"y": "2", "x": 1}, severity="info", status="resolved", summary="other")
    assert same.key == key
    assert one(service="a", labels={"x": "1", "y": "2", "replica": "r"}).key == key
    others = [
        one(service="b", labels={"x": "1", "y": "2"}),
        one(resource="a", labels={"x": "1", "y": "2"}),
        one(environment="a", labels={"x": "1", "y": "2"}),
        one(service="a", labels={"x": "1"}),
    ]
    assert len({alert.key for alert in others} | {key}) == 5
    own = one(dedup_key="k", service="a")
    assert own.key == one(dedup_key="k", service="b", labels={"q": "r"}).key == alert_key("scripts", b'"k"')
    assert json.loads(own.annotations) == {"dedup_key": "k"}
    assert one(dedup_key=7).key == one(dedup_key="7").key
    assert one(dedup_key="").key == one().key


def test_no_dedup_key_can_be_taken_for_computed_identity() -> None:
    computed = b'["Down","","",""' + b",{}]"
    assert one().key == alert_key("scripts", computed)
    assert one(dedup_key=computed.decode()).key != one().key


def test_a_firing_whose_end_is_past_is_firing_and_counted() -> None:
    parsed = parse([{"name": "A", "ends_at": "2020-01-01T00:00:00Z"}, {"name": "B", "ends_at": "2030-01-01T00:00:00Z"}])
    late, lease = parsed.alerts
    assert (late.firing, late.ends_at, parsed.skewed) == (True, None, 1)
    assert lease.ends_at == 1_893_456_000_000
    assert parse({"name": "A", "status": "resolved", "ends_at": "2020-01-01T00:00:00Z"}).skewed == 0


def test_events() -> None:
    (alert,) = parse({"name": "A"}, Context("scripts", NOW, resolves=False)).alerts
    assert alert.event


def test_shapes() -> None:
    a, b = {"name": "A"}, {"name": "B"}
    assert [x.name for x in parse(a).alerts] == ["A"]
    assert [x.name for x in parse([a, b]).alerts] == ["A", "B"]
    lines = f"{json.dumps(a)}\r\n\n{json.dumps(b)}\n".encode()
    assert [x.name for x in parse(lines).alerts] == ["A", "B"]
    assert [x.name for x in parse(b"\xef\xbb\xbf" + json.dumps(a, indent=2).encode()).alerts] == ["A"]
    assert parse(b"[]").alerts == []


def test_what_is_no_text_is_mended() -> None:
    for body in (b'{"name":"a\\ud800"}', b'[{"name":"a\\ud800"},{"name":"B"}]', b'{"name":"a\xff"}\n{"name":"B"}'):
        assert parse(body).alerts[0].name == "a\ufffd"
        assert not parse(body).rejected


def test_a_bad_line_costs_no_good_one() -> None:
    parsed = parse(b'{"name":"A"}\n{"name":\nnull\n{"name":"B"}\n')
    assert [alert.name for alert in parsed.alerts] == ["A", "B"]
    assert [(x.index, x.code) for x in parsed.rejected] == [(1, "not_json"), (2, "wrong_type")]
    assert parsed.rejected[0].raw == b'{"name":'


@pytest.mark.parametrize("body", [b"", b" \n", b"[", b'{"name":', b"7", b'"x"', b"name=A", b"[{}", b"\xff\xfe"])
def test_bodies_that_are_none_of_the_shapes(body: bytes) -> None:
    with pytest.raises(Unreadable):
        parse(body)


@pytest.mark.parametrize(
    ("item", "code", "says"),
    [
        ({"name": None}, "name", "name is required"),
        ({"name": 7}, "name", "name is required"),
        ({"name": "  "}, "name", "name is required"),
        ({"name": "x" * 2000}, "name", "longer"),
        ({"status": "open"}, "status", "firing or resolved"),
        ({"status": 1}, "status", "firing or resolved"),
        ({"severity": 3}, "severity", "severity must be a text"),
        ({"severity": ["critical"]}, "severity", "severity must be a text"),
        ({"service": {}}, "wrong_type", "service"),
        ({"labels": []}, "labels", "labels must be an object"),
        ({"labels": {"a": {}}}, "wrong_type", "labels.a"),
        ({"annotations": {"a": []}}, "wrong_type", "annotations.a"),
        ({"starts_at": 7}, "bad_time", "starts_at"),
        ({"ends_at": "soon"}, "bad_time", "ends_at"),
        ({"labels": {"a": "x" * 70_000}}, "labels_too_large", "limits.label_value_bytes_max"),
        ({"service": "x" * 70_000}, "too_long", "service is longer"),
    ],
)
def test_mistakes_name_their_field(item: dict[str, Any], code: str, says: str) -> None:
    found, reason = why(**item)
    assert found == code
    assert says in reason


@pytest.mark.parametrize("word", ["FIRING", " Firing "])
def test_status_is_read_in_any_case(word: str) -> None:
    assert one(status=word).firing


def test_recordings_say_when_and_where() -> None:
    def at(**item: Any) -> tuple[int | None, str]:
        return native.recorded(json.dumps(item).encode())

    start, end = "2026-11-25T07:20:00Z", "2026-11-25T07:30:00Z"
    assert at(starts_at=start, ends_at=end, received_at="2026-11-25T07:25:00Z") == (1_795_591_500_000, "")
    assert at(status="resolved", starts_at=start, ends_at=end, source="s") == (1_795_591_800_000, "s")
    assert at(status="resolved", starts_at=start) == (1_795_591_200_000, "")
    assert at(starts_at=start, ends_at=end) == (1_795_591_200_000, "")
    assert at() == (None, "")
    with pytest.raises(ValueError, match="object"):
        native.recorded(b"[]")
    with pytest.raises(ValueError, match="received_at"):
        at(received_at="then")


QUICK = settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@QUICK
@given(st.binary(max_size=200))
def test_any_bytes_are_answered(body: bytes) -> None:
    for form in (native.FORMAT, alertmanager.FORMAT, alertmanager_webhook.FORMAT):
        try:
            form.parse(body, CONTEXT)
        except Unreadable:
            continue


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
FIELDS = st.sampled_from(["name", "status", "labels", "annotations", "starts_at", "ends_at", "dedup_key", "service"])


@pytest.mark.parametrize("form", [native.FORMAT, alertmanager.FORMAT, alertmanager_webhook.FORMAT])
def test_deep_nesting_is_refused_not_followed(form: Any) -> None:
    deep = b"[" * 100_000 + b"]" * 100_000
    bodies = (
        deep,
        b'[{"labels":{"a":1}},' + deep + b"]",
        b'{"alerts":[' + deep + b"]}",
        b'{"name":"A","x":' + deep + b"}",
    )
    for body in bodies:
        try:
            assert form.parse(body, CONTEXT).rejected
        except Unreadable:
            continue


@QUICK
@given(st.lists(st.dictionaries(FIELDS, JSON, max_size=6), max_size=4))
def test_any_items_are_taken_or_reported(items: list[Any]) -> None:
    parsed = parse(items)
    assert len(parsed.alerts) + len(parsed.rejected) == len(items)
    for alert in parsed.alerts:
        assert all(isinstance(value, str) for value in json.loads(alert.labels).values())


@QUICK
@given(
    st.lists(JSON | st.dictionaries(st.sampled_from(["labels", "annotations", "startsAt", "endsAt"]), JSON), max_size=4)
)
def test_any_alertmanager_items_are_taken_or_reported(items: list[Any]) -> None:
    parsed = alertmanager.FORMAT.parse(json.dumps(items).encode(), CONTEXT)
    assert len(parsed.alerts) + len(parsed.rejected) == len(items)


@pytest.mark.shared_data
def test_labelled_streams_are_read_whole(shared_data: Path) -> None:
    with gzip.open(shared_data / "correlation/overlay8/alerts.jsonl.gz") as lines:
        body = b"".join(line for line, _ in zip(lines, range(2_000), strict=False))
    parsed = parse(body, Context("scripts", 0))
    assert len(parsed.alerts) == 2_000
    assert not parsed.rejected
