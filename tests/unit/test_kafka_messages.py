"""One message in, alerts out: its form, its envelope, what its topic lends it."""

import base64
import json
from typing import Any

import pytest

from daemon.settings.limits import LIMITS
from daemon.sources.again import read_again
from daemon.sources.formats.base import Context, Parsed, Unreadable
from daemon.sources.kafka.messages import TopicForm, read, without_secrets
from daemon.sources.senders import Source

NOW = 1_795_600_000_000
NATIVE = {"name": "Down", "severity": "error", "resource": "r1"}
BINARY = [("ce_specversion", b"1.0"), ("ce_id", b"7"), ("ce_source", b"/host/a"), ("ce_type", b"com.example.alert")]
EVENT = {"specversion": "1.0", "id": "7", "source": "/host/a", "type": "com.example.alert", "data": NATIVE}
PAGERDUTY = {
    "event_action": "trigger", "dedup_key": "disk", "routing_key": "e93facc04764012d7bfb002500d5d1a6",
    "payload": {"summary": "disk full", "source": "srv1", "severity": "critical"},
}  # fmt: skip


def parsed(value: Any, form: str, *headers: tuple[str, bytes], **more: Any) -> Parsed:
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    return read(body, headers, TopicForm(form, **more), Context("mainframe", NOW))


def names(value: Any, form: str, *headers: tuple[str, bytes], **more: Any) -> list[str]:
    return [one.name for one in parsed(value, form, *headers, **more).alerts]


AM = {"labels": {"alertname": "Up", "instance": "i1"}}


@pytest.mark.parametrize(
    ("value", "form", "headers", "wanted"),
    [
        (NATIVE, "native", [], ["Down"]),
        ([NATIVE, NATIVE], "native", [], ["Down", "Down"]),
        ([AM], "alertmanager", [], ["Up"]),
        (AM, "alertmanager", [], ["Up"]),
        ({"version": "4", "status": "firing", "alerts": [AM]}, "alertmanager", [], ["Up"]),
        (PAGERDUTY, "pagerduty_events", [], ["disk full"]),
        (NATIVE, "cloudevents", BINARY, ["Down"]),
        (NATIVE, "cloudevents", [*BINARY, ("content-type", b"application/json; charset=utf-8")], ["Down"]),
        (EVENT, "cloudevents", [("content-type", b"application/cloudevents+json; charset=UTF-8")], ["Down"]),
        (EVENT, "cloudevents", [], ["Down"]),
        ([EVENT, EVENT], "cloudevents", [("Content-Type", b"application/cloudevents-batch+json")], ["Down", "Down"]),
        ({**EVENT, "data": None, "data_base64": base64.b64encode(json.dumps(NATIVE).encode()).decode()}, "cloudevents",
         [], ["Down"]),
        (NATIVE, "header", [("format", b"native")], ["Down"]),
        ([AM], "header", [("Format", b" Alertmanager ")], ["Up"]),
        (NATIVE, "header", BINARY, ["Down"]),
        (EVENT, "header", [("content-type", b"application/cloudevents+json")], ["Down"]),
    ],
)  # fmt: skip
def test_each_form_is_read(value: Any, form: str, headers: list[tuple[str, bytes]], wanted: list[str]) -> None:
    assert names(value, form, *headers) == wanted


@pytest.mark.parametrize(
    ("value", "form", "headers", "code"),
    [
        (b"<xml/>", "native", [], "not_json"),
        (b"<xml/>", "alertmanager", [], "not_json"),
        (b"{", "alertmanager", [], "not_json"),
        (b"[" * 100 + b"]" * 100, "native", [], "too_deep"),
        ([NATIVE] * 6, "native", [], "too_many"),
        (NATIVE, "header", [], "no_format"),
        (NATIVE, "header", [("format", b"xml")], "no_format"),
        (NATIVE, "header", [("format", b"header")], "no_format"),
        (NATIVE, "cloudevents", [], "cloudevent"),
        (NATIVE, "cloudevents", BINARY[:1], "cloudevent"),
        (NATIVE, "cloudevents", [*BINARY, ("content-type", b"text/xml")], "content_type"),
        ({**EVENT, "data_base64": "?"}, "cloudevents", [], "cloudevent"),
        ({**EVENT, "data": 5}, "cloudevents", [], "not_json"),
        ({"a": 1}, "cloudevents", [("content-type", b"application/cloudevents-batch+json")], "cloudevent"),
        ({**PAGERDUTY, "event_action": "acknowledge"}, "pagerduty_events", [], "acknowledge"),
        ({**PAGERDUTY, "payload": {}}, "pagerduty_events", [], "invalid_event"),
    ],
)
def test_what_cannot_be_read_says_why(value: Any, form: str, headers: list[tuple[str, bytes]], code: str) -> None:
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    context = Context("mainframe", NOW, limits=LIMITS.model_copy(update={"batch_alerts_max": 5}))
    with pytest.raises(Unreadable) as caught:
        read(body, headers, TopicForm(form), context)
    assert caught.value.code == code


def test_one_bad_event_of_a_batch_costs_no_other() -> None:
    found = parsed(
        [EVENT, {**EVENT, "id": 7}, EVENT], "cloudevents", ("content-type", b"application/cloudevents-batch+json")
    )
    assert len(found.alerts) == 2
    assert [(one.index, one.code) for one in found.rejected] == [(1, "cloudevent")]


def test_the_type_of_an_event_says_what_its_data_is_and_its_source_who_talks() -> None:
    found = parsed({**EVENT, "data": [AM]}, "cloudevents", types={"com.example.alert": "alertmanager"})
    (one,) = found.alerts
    assert (one.name, one.emitter) == ("Up", "mainframe /host/a")
    assert parsed(EVENT, "cloudevents").alerts[0].emitter == "mainframe /host/a"


def test_labels_of_the_topic_identify_like_its_own() -> None:
    (plain,) = parsed({**NATIVE, "labels": {"zone": "a"}}, "native").alerts
    (north,) = parsed({**NATIVE, "labels": {"zone": "a"}}, "native", labels={"site": "north"}).alerts
    (south,) = parsed({**NATIVE, "labels": {"zone": "a"}}, "native", labels={"site": "south"}).alerts
    assert json.loads(north.labels) == {"site": "north", "zone": "a"}
    assert len({plain.key, north.key, south.key}) == 3
    (own,) = parsed({**NATIVE, "labels": {"site": "east"}}, "native", labels={"site": "north"}).alerts
    assert json.loads(own.labels) == {"site": "east"}
    assert own == parsed({**NATIVE, "labels": {"site": "east"}}, "native").alerts[0]


def test_an_event_without_a_key_is_the_same_alert_when_it_is_read_again() -> None:
    event = {name: value for name, value in PAGERDUTY.items() if name not in ("dedup_key", "routing_key")}
    assert parsed(event, "pagerduty_events").alerts == parsed(event, "pagerduty_events").alerts
    other = {**event, "payload": {**PAGERDUTY["payload"], "source": "srv2"}}  # type: ignore[dict-item]
    assert parsed(event, "pagerduty_events").alerts[0].key != parsed(other, "pagerduty_events").alerts[0].key


@pytest.mark.parametrize("text", [json.dumps(PAGERDUTY), '{"routing_key" : "e93f\\"acc", x', '[{"routing_key":"a"}]'])
def test_no_routing_key_is_kept(text: str) -> None:
    kept = without_secrets("header", text.encode())
    assert b'"***"' in kept
    assert b"e93f" not in kept
    assert b'"a"' not in kept


def test_what_holds_none_is_kept_as_it_is() -> None:
    raw = json.dumps(NATIVE).encode()
    assert without_secrets("native", raw) is raw


@pytest.mark.parametrize(("form", "raw"), [("header", NATIVE), ("native", [NATIVE]), ("cloudevents", EVENT)])
def test_a_dead_letter_is_read_again_as_its_topic_is(form: str, raw: Any) -> None:
    source = Source("mainframe", "kafka", topics={"alerts": TopicForm(form, {"site": "north"})})
    body = json.dumps(raw).encode()
    found = read_again(source, "alerts/3 at 12: not JSON", body, NOW)
    assert [(one.name, json.loads(one.labels)) for one in found.alerts] == [("Down", {"site": "north"})]
    with pytest.raises(Unreadable):
        read_again(source, "others/3 at 12: not JSON", body, NOW)
