"""Alertmanager's API v2 and its webhook: every rule of what is posted, and what is refused."""

import json
from typing import Any

import msgspec
import pytest

from daemon.core.model.alert import ParsedAlert
from daemon.settings.limits import LIMITS
from daemon.sources.formats import alertmanager, alertmanager_webhook
from daemon.sources.formats.base import Context, Parsed, Unreadable
from daemon.sources.formats.common import TIME_MAX, TIME_MIN, base_url, parse_time
from tests import shared_data

NOW = 1_795_600_000_000
CONTEXT = Context("prometheus", NOW, client="10.0.0.7")
ZERO = "0001-01-01T00:00:00.000Z"


def rfc(ms: int) -> str:
    from daemon.core.view_json import rfc3339

    return rfc3339(ms)


def parse(*items: Any, context: Context = CONTEXT) -> Parsed:
    return alertmanager.FORMAT.parse(json.dumps(items).encode(), context)


def one(item: dict[str, Any], context: Context = CONTEXT) -> ParsedAlert:
    parsed = parse(item, context=context)
    assert not parsed.rejected, parsed.rejected
    (alert,) = parsed.alerts
    return alert


def test_times_as_alertmanager_sets_them() -> None:
    labels = {"alertname": "A"}
    bare = one({"labels": labels})
    assert (bare.starts_at, bare.ends_at, bare.firing, bare.invented_end) == (NOW, NOW + 300_000, True, True)
    zeroes = one({"labels": labels, "startsAt": ZERO, "endsAt": "0001-01-01T00:00:00Z"})
    assert (zeroes.starts_at, zeroes.ends_at, zeroes.invented_end) == (NOW, NOW + 300_000, True)
    ended = one({"labels": labels, "endsAt": rfc(NOW - 5_000)})
    assert (ended.starts_at, ended.ends_at, ended.firing, ended.invented_end) == (
        NOW - 5_000,
        NOW - 5_000,
        False,
        False,
    )
    now = one({"labels": labels, "startsAt": rfc(NOW - 9_000), "endsAt": rfc(NOW)})
    assert not now.firing, "an end that is now is a resolve"
    lease = one({"labels": labels, "startsAt": rfc(NOW - 9_000), "endsAt": rfc(NOW + 1)})
    assert (lease.firing, lease.starts_at, lease.ends_at) == (True, NOW - 9_000, NOW + 1)
    longer = Context("prometheus", NOW, resolve_timeout_ms=60_000)
    assert one({"labels": labels}, longer).ends_at == NOW + 60_000


def test_names_severity_resource_and_what_is_left_to_the_engine() -> None:
    alert = one(
        {"labels": {"alertname": "Down", "severity": "page", "instance": "h1:9100", "service": "shop", "x": ""}}
    )
    assert (alert.name, alert.severity, alert.resource) == ("Down", "page", "h1:9100")
    assert (alert.service, alert.environment) == ("", "")
    assert json.loads(alert.labels) == {
        "alertname": "Down",
        "instance": "h1:9100",
        "service": "shop",
        "severity": "page",
    }
    assert alert.labels == b'{"alertname":"Down","instance":"h1:9100","service":"shop","severity":"page"}'
    assert one({"labels": {"job": "j", "a": "b"}}).name == "a=b job=j"
    assert one({"labels": {"__name__": "up", "a": "b"}}).name == "up"


def test_key_is_the_labels_without_replicas_in_any_order_and_with_severity() -> None:
    key = one({"labels": {"a": "1", "b": "2"}}).key
    assert one({"labels": {"b": "2", "a": "1", "c": ""}}).key == key
    assert one({"labels": {"b": "2", "a": "1"}, "annotations": {"x": "y"}}).key == key
    replica = one({"labels": {"b": "2", "a": "1", "prometheus_replica": "r-0"}})
    assert (replica.key, replica.replica) == (key, "r-0")
    assert b"replica" not in replica.labels
    both = one({"labels": {"b": "2", "a": "1", "prometheus_replica": "r-0", "replica": "x"}})
    assert (both.key, both.replica) == (key, "r-0,x")
    assert one({"labels": {"a": "1", "b": "2", "severity": "info"}}).key != key
    assert one({"labels": {"a": "1", "b": "2"}}, Context("other", NOW)).key != key


def test_emitter_is_the_server_that_the_generator_url_names() -> None:
    labels = {"alertname": "A", "replica": "b"}
    url = "http://Prom-1:9090/graph?g0.expr=up"
    assert one({"labels": labels, "generatorURL": url}).emitter == "prometheus http://prom-1:9090"
    assert one({"labels": labels}).emitter == "prometheus b"
    assert one({"labels": {"alertname": "A"}}).emitter == "prometheus 10.0.0.7"


@pytest.mark.parametrize(
    ("url", "base"),
    [
        ("http://p:9090/prom/graph", "http://p:9090/prom"),
        ("https://g.example/alerting/grafana/abc/view", "https://g.example"),
        ("https://g.example/grafana/alerting/grafana/abc/view", "https://g.example/grafana"),
        ("http://vm:8880/vmalert/alert", "http://vm:8880"),
        ("https://user:pw@p.example/graph", "https://p.example"),
        ("http://p:9090/...", "http://p:9090"),
        ("my.prometheusserver.url", ""),
        ("javascript:alert(1)", ""),
        ("http://", ""),
    ],
)
def test_base_url(url: str, base: str) -> None:
    assert base_url(url) == base


def test_annotations_carry_the_generator_url_and_give_it_back() -> None:
    url = "http://p/graph?x"
    alert = one({"labels": {"a": "b"}, "annotations": {"summary": "s"}, "generatorURL": url})
    assert json.loads(alert.annotations) == {"summary": "s", "url": url}
    assert alertmanager.without_generator(json.loads(alert.annotations)) == ({"summary": "s"}, url)
    own = one({"labels": {"a": "b"}, "annotations": {"url": "http://mine"}, "generatorURL": url})
    assert alertmanager.without_generator(json.loads(own.annotations)) == ({"url": "http://mine"}, url)
    assert one({"labels": {"a": "b"}}).annotations == b"{}"


def test_long_annotations_are_cut_and_long_labels_refused() -> None:
    alert = one({"labels": {"a": "b"}, "annotations": {"summary": "å" * 3000, "description": "d" * 300_000}})
    assert len(alert.annotations) <= LIMITS.annotations_bytes_max
    cut = json.loads(alert.annotations)
    assert cut["summary"] == "å" * 3000
    assert cut["description"].endswith("…")
    refused = parse({"labels": {"a": "x" * LIMITS.labels_bytes_max}})
    assert [one.code for one in refused.rejected] == ["labels_too_large"]


@pytest.mark.parametrize(
    ("item", "reason", "status"),
    [
        ({"labels": {}}, "at least one label pair required", 400),
        ({"labels": {"a": ""}}, "at least one label pair required", 400),
        ({"labels": {"a": None}}, "at least one label pair required", 400),
        ({"labels": {"": "b"}}, 'invalid label set: invalid name ""', 400),
        ({"labels": {"a": "b"}, "annotations": {"": "b"}}, 'invalid annotations: invalid name ""', 400),
        (
            {"labels": {"a": "b"}, "startsAt": "2024-01-02T00:00:00Z", "endsAt": "2024-01-01T00:00:00Z"},
            "start time must be before end time",
            400,
        ),
        ({"labels": {"a": "b"}, "startsAt": rfc(NOW + 600_000)}, "start time must be before end time", 400),
        ({}, "1.labels in body is required", 422),
        ({"labels": None}, "1.labels in body is required", 422),
        (None, "1 in body is required", 422),
        ({"labels": {"a": "b"}, "generatorURL": "foo"}, '1.generatorURL in body must be of type uri: "foo"', 422),
    ],
)
def test_what_alertmanager_refuses_in_its_words_while_the_others_are_kept(item: Any, reason: str, status: int) -> None:
    good = {"labels": {"alertname": "Good"}}
    parsed = parse(good, item, good)
    assert [alert.name for alert in parsed.alerts] == ["Good", "Good"]
    assert [(one.index, one.reason, one.status) for one in parsed.rejected] == [(1, reason, status)]
    assert json.loads(parsed.rejected[0].raw) == item


@pytest.mark.parametrize("item", [{"labels": {"a": 1}}, {"labels": {"a": "b"}, "startsAt": "soon"}, 7, "x", [1]])
def test_wrong_types_are_parse_errors_of_their_item_only(item: Any) -> None:
    parsed = parse({"labels": {"alertname": "Good"}}, item)
    assert len(parsed.alerts) == 1
    (refused,) = parsed.rejected
    assert refused.index == 1
    assert refused.code in ("wrong_type", "bad_time", "required")


def test_what_go_mends_is_mended() -> None:
    for body in (b'[{"labels":{"a":"\\ud800x"}}]', b'[{"labels":{"a":"\xffx"}}]'):
        (alert,) = alertmanager.FORMAT.parse(body, CONTEXT).alerts
        assert json.loads(alert.labels) == {"a": "�x"}
    for text in (b"\\ud800", b"\xff"):
        beside = alertmanager.FORMAT.parse(b'[{"labels":{"a":1}},{"labels":{"a":"' + text + b'"}}]', CONTEXT)
        assert (len(beside.alerts), len(beside.rejected)) == (1, 1)
    assert one({"labels": {"a": "b\u0000c"}}).labels == b'{"a":"b\\u0000c"}'
    assert one({"labels": {"a": "b"}, "startsAt": "", "annotations": None, "generatorURL": None, "foo": 1}).firing


@pytest.mark.parametrize(
    ("body", "status"), [(b"", 422), (b"  ", 422), (b"[", 400), (b"{}", 400), (b"x", 400), (b'"a"', 400)]
)
def test_bodies_that_are_no_list(body: bytes, status: int) -> None:
    with pytest.raises(Unreadable) as caught:
        alertmanager.FORMAT.parse(body, CONTEXT)
    assert caught.value.status == status


def test_empty_lists_hold_nothing() -> None:
    assert alertmanager.FORMAT.parse(b"[]", CONTEXT).alerts == []
    assert alertmanager.FORMAT.parse(b"null", CONTEXT).alerts == []


def test_a_piece_of_a_larger_body_counts_from_its_first_item() -> None:
    piece = msgspec.structs.replace(CONTEXT, first=128)
    parsed = parse({"labels": {"a": "b"}}, {}, context=piece)
    assert [(one.index, one.reason) for one in parsed.rejected] == [(129, "129.labels in body is required")]


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("2026-11-25T09:20:00.5+02:00", 1_795_591_200_500),
        ("2026-11-25t07:20:00.500z", 1_795_591_200_500),
        ("2026-11-25 07:20:00.500999999Z", 1_795_591_200_500),
        ("2026-11-25T07:20:00", 1_795_591_200_000),
        ("2016-12-31T23:59:60Z", 1_483_228_799_999),
        ("2016-12-31T23:59:60.7+01:00", 1_483_225_199_999),
        ("0001-01-01T00:00:00Z", TIME_MIN),
        ("0001-01-01T00:00:00+14:00", TIME_MIN),
        ("9999-12-31T23:59:59.999999999Z", TIME_MAX),
        ("9999-12-31T23:59:59-12:00", TIME_MAX),
        ("", None),
    ],
)
def test_rfc_3339(text: str, ms: int | None) -> None:
    assert parse_time(text) == ms


@pytest.mark.parametrize(
    "text", ["now", "2026-11-25", "20261125T072000Z000000", "2026-13-01T00:00:00Z", "1795591200000"]
)
def test_other_times_are_none(text: str) -> None:
    with pytest.raises(ValueError, match="RFC 3339"):
        parse_time(text)


# ---- the webhook ---------------------------------------------------------------------------------
def hook(*alerts: Any, **more: Any) -> Parsed:
    body = {"version": "4", "status": "firing", "externalURL": "http://am:9093/", "alerts": list(alerts), **more}
    return alertmanager_webhook.FORMAT.parse(json.dumps(body).encode(), CONTEXT)


def test_webhook_alerts_have_the_key_of_the_api_and_no_lease() -> None:
    labels = {"alertname": "Down", "severity": "page", "replica": "a"}
    parsed = hook(
        {"status": "firing", "labels": labels, "startsAt": rfc(NOW - 1000), "endsAt": "0001-01-01T00:00:00Z"},
        {"status": "resolved", "labels": labels, "startsAt": rfc(NOW - 1000), "endsAt": rfc(NOW)},
        {"status": "firing", "labels": labels, "startsAt": rfc(NOW), "endsAt": rfc(NOW + 60_000)},
    )
    firing, resolved, leased = parsed.alerts
    assert firing.key == one({"labels": labels}).key
    assert (firing.firing, firing.ends_at, firing.starts_at) == (True, None, NOW - 1000)
    assert (resolved.firing, resolved.ends_at) == (False, NOW)
    assert leased.ends_at is None
    assert firing.emitter == "prometheus http://am:9093"
    assert firing.replica == "a"


def test_webhook_status_of_the_whole_stands_in_for_a_missing_one() -> None:
    (alert,) = hook({"labels": {"alertname": "A"}}, status="resolved").alerts
    assert (alert.firing, alert.ends_at, alert.emitter) == (False, None, "prometheus http://am:9093")
    (other,) = hook({"labels": {"alertname": "A"}}, externalURL="am.local").alerts
    assert other.emitter == "prometheus 10.0.0.7"


def test_webhook_rejects_items_not_bodies() -> None:
    good = {"status": "firing", "labels": {"alertname": "A"}}
    parsed = hook(
        good, {"status": "firing"}, {"status": "odd", "labels": {"a": "b"}}, {"status": "firing", "labels": {}}, good
    )
    assert [one.index for one in parsed.rejected] == [1, 2, 3]
    assert len(parsed.alerts) == 2
    assert hook().alerts == []


@pytest.mark.parametrize("body", [b"[]", b"{}", b"x", b'{"alerts":7}'])
def test_webhook_bodies_that_are_none(body: bytes) -> None:
    with pytest.raises(Unreadable):
        alertmanager_webhook.FORMAT.parse(body, CONTEXT)


@pytest.mark.shared_data
@pytest.mark.parametrize(
    "path", shared_data.files("payloads/prometheus-alertmanager/*.json"), ids=lambda path: path.name
)
def test_recorded_webhooks_are_read_whole(path: Any) -> None:
    body = path.read_bytes()
    parsed = alertmanager_webhook.FORMAT.parse(body, CONTEXT)
    sent = json.loads(body)["alerts"]
    assert not parsed.rejected
    assert [alert.firing for alert in parsed.alerts] == [item["status"] == "firing" for item in sent]
    assert [alert.name for alert in parsed.alerts] == [item["labels"]["alertname"] for item in sent]
    assert len({alert.key for alert in parsed.alerts}) == len(sent)
