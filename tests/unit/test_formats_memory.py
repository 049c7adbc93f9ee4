"""What a source sent before is not worked out again: with the same results, and within a bound."""

import json
from typing import Any

import pytest

from daemon.sources.formats import alertmanager, memory
from daemon.sources.formats.base import Context, Parsed
from daemon.sources.formats.common import TIME_CHARS, parse_time
from daemon.sources.formats.memory import Memory

NOW = 1_795_600_000_000


def parse(body: Any, known: Memory, **more: Any) -> Parsed:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return alertmanager.FORMAT.parse(raw, Context("prometheus", NOW, "10.0.0.7", memory=known, **more))


def test_a_repeat_is_read_as_the_first_was_and_shares_its_texts() -> None:
    known = Memory()
    labels = {"alertname": "Down", "severity": "critical", "instance": "a:9100", "replica": "b", "empty": ""}
    body = [{"labels": labels, "generatorURL": "http://prom:9090/graph?x=1", "annotations": {"summary": "s"}}]
    first, again, fresh = parse(body, known), parse(body, known), parse(body, Memory())
    assert first == again == fresh
    assert first.alerts[0].labels is again.alerts[0].labels
    assert first.alerts[0].emitter is again.alerts[0].emitter
    assert len(known) == 1


def test_what_was_refused_is_refused_again() -> None:
    known = Memory()
    body = [{"labels": {"": "x"}}, {"labels": {"a": "b"}}, {"labels": {"a": 1}}, {"labels": {"a": None}}, {}]
    assert parse(body, known) == parse(body, known) == parse(body, Memory())
    assert len(parse(body, known).rejected) == 4
    assert len(known) == 1


def test_labels_that_are_no_text_are_mended_as_before() -> None:
    known = Memory()
    for _ in range(2):
        beside = parse(b'[{"labels":{"a":"\xff"}},{"labels":{"a":"b"}}]', known)
        assert [alert.labels for alert in beside.alerts] == ['{"a":"\ufffd"}'.encode(), b'{"a":"b"}']


def test_full_it_takes_nothing_in_and_then_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "BYTES_MAX", 10 * (memory.ENTRY_BYTES + 2))
    known = Memory()
    for number in range(20):
        known.learn({b"%d" % (number % 10): (number,)})
        assert len(known) <= 10
    known = Memory()
    for number in range(10):
        known.learn({b"%d" % number: (number,)})
    for number in range(10):
        known.learn({b"x%d" % number: (number,)})
    assert len(known) == 10
    assert known.get(b"3") == (3,)
    assert known.get(b"x3") is None
    known.learn({b"y": (1,)})
    assert len(known) == 0
    assert known.get(b"3") is None
    known.learn({b"y": (1,)})
    assert known.get(b"y") == (1,)


def test_long_keys_are_not_kept() -> None:
    known = Memory()
    labels = {"a": " " * memory.KEY_BYTES_MAX}
    assert parse([{"labels": labels}], known).alerts == parse([{"labels": labels}], known).alerts
    assert len(known) == 0


def test_times_that_are_too_long_to_be_remembered_are_read_all_the_same() -> None:
    assert parse_time("2026-11-25T12:00:00." + "0" * TIME_CHARS + "Z") == parse_time("2026-11-25T12:00:00Z")
