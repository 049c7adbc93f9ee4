"""Every parser of what strangers and operators write: it answers, or it raises what it declares. Nothing else."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from daemon.settings.durations import format_duration, parse_duration
from daemon.settings.hours import parse_window
from daemon.settings.matchers import MatcherError, Matchers, classic, parse_matchers
from daemon.sources.formats import changes, pagerduty_events
from daemon.sources.formats.base import Context, Format, Unreadable
from daemon.sources.formats.common import parse_time
from daemon.sources.formats.registry import FORMATS
from tests.fuzz.strategies import bodies, broken, texts

NOW_MS = 1_800_000_000_000
CONTEXT = Context("s", NOW_MS, client="127.0.0.1")
GOLDEN = Path(__file__).parents[1] / "golden"
ROUTE = pagerduty_events.Route("shop", "checkout", "production")
CHANGES = [
    {"summary": "deploy 1.2", "service": "shop", "at": "2026-12-02T03:02:10Z", "labels": {"a": "b"}, "id": "CHG-1",
     "url": "https://ci.example.org/1", "environment": "production"},
    [{"summary": "flag on", "service": "shop"}, {"summary": "flag off"}],
]  # fmt: skip
WINDOW_WORDS = ("mon", "fri", "-", "08:00", "24:00", "25:61", ",", "daily", "2026-12-24", "Europe/Stockholm")
TESTED = settings(max_examples=150)


def golden(folder: str, begins: str) -> list[bytes]:
    """Real bodies."""
    return [path.read_bytes() for path in sorted((GOLDEN / folder).glob(f"{begins}*.body"))]


def documents(raw: list[bytes]) -> list[Any]:
    """Those of them that are one JSON document."""
    found = []
    for body in raw:
        try:
            found.append(json.loads(body))
        except ValueError:
            continue
    return found


REAL = {name: golden("formats", f"{name}.") for name in FORMATS}


@pytest.mark.parametrize("form", FORMATS.values(), ids=FORMATS)
@given(data=st.data())
@settings(max_examples=150)
def test_real_alerts_altered_and_broken(form: Format, data: st.DataObject) -> None:
    real = REAL[form.name]
    body = data.draw(bodies(documents(real)) | broken(real))
    try:
        parsed = form.parse(body, CONTEXT)
    except Unreadable as error:
        assert error.text
        assert error.code
        return
    for alert in parsed.alerts:
        assert len(alert.key) == 16
        assert alert.severity == alert.severity.strip()
        json.loads(alert.labels)
        json.loads(alert.annotations)
    assert all(one.reason and one.code for one in parsed.rejected)


@given(body=bodies(documents(golden("pagerduty_events", "alert."))))
@TESTED
def test_pagerduty_events(body: bytes) -> None:
    try:
        event = pagerduty_events.decode(body)
        pagerduty_events.check(event)
    except pagerduty_events.Invalid as error:
        assert all(error.errors)
        assert error.code
        return
    alert = pagerduty_events.alert_of(event, event.get("dedup_key") or "k", ROUTE, CONTEXT)
    assert (alert.source, alert.service) == ("shop", "checkout")
    json.loads(alert.annotations)


@given(body=bodies(documents(golden("pagerduty_events", "alert."))))
@TESTED
def test_no_event_is_kept_with_its_key(body: bytes) -> None:
    try:
        event = pagerduty_events.decode(body)
        key = pagerduty_events.routing_key_of(event)
        kept = pagerduty_events.without_key(event)
    except pagerduty_events.Invalid as error:
        assert all(error.errors)
        return
    assert key.encode() not in kept


@given(body=bodies(documents(golden("pagerduty_events", "change."))))
@TESTED
def test_pagerduty_changes(body: bytes) -> None:
    try:
        event = pagerduty_events.decode(body)
        pagerduty_events.check_change(event)
    except pagerduty_events.Invalid as error:
        assert all(error.errors)
        return
    change = pagerduty_events.change_of(event, ROUTE, NOW_MS)
    assert change.summary


@given(body=bodies(CHANGES))
@TESTED
def test_changes(body: bytes) -> None:
    try:
        parsed = changes.parse(body, "deploys")
    except Unreadable as error:
        assert error.text
        return
    for one in parsed.changes:
        assert one.summary
        assert len(one.labels) <= changes.LABELS_BYTES_MAX
    assert all(one.reason and one.code for one in parsed.rejected)


# ---- what people write -----------------------------------------------------------------------------
names = st.text("abc_:é ={}\"\\'`,~!\n", min_size=1, max_size=6)
written = st.lists(st.tuples(names, st.sampled_from(["=", "!=", "=~", "!~", "", "=="]), names | texts), max_size=3).map(
    lambda terms: ",".join("".join(term) for term in terms)
)


@given(text=written | st.text('abc={}"\\,~!() \n|*+?[]', max_size=25) | st.text(max_size=25))
@settings(max_examples=500)
@example(text="{")
@example(text='a=~"\ud800"')
@example(text='a=~"' + "(" * 1200 + '"')
@example(text='a=~"((a{1,1000}){1,1000}){1,1000}"')
def test_matchers(text: str) -> None:
    for read in (parse_matchers, Matchers, classic):
        try:
            read(text)
        except MatcherError as error:
            assert 1 <= error.position <= len(text) + (2 if read is classic else 1)  # Which puts quotes round a value.
            assert error.reason


@given(text=written)
@TESTED
def test_matchers_say_what_they_read(text: str) -> None:
    try:
        terms = parse_matchers(text)
    except MatcherError:
        return
    assert parse_matchers(", ".join(map(str, terms))) == terms


@given(value=texts | st.integers() | st.none() | st.from_regex(r"([0-9]{1,25}(y|w|d|h|m|s|ms))+", fullmatch=True))
@settings(max_examples=500)
def test_durations(value: Any) -> None:
    try:
        ms = parse_duration(value)
    except ValueError as error:
        assert str(error)
        return
    assert ms >= 0
    assert parse_duration(format_duration(ms)) == ms


@given(value=texts | st.lists(st.sampled_from(WINDOW_WORDS), max_size=5).map(" ".join))
@TESTED
def test_windows(value: Any) -> None:
    try:
        parse_window(value)
    except ValueError as error:
        assert str(error)


@given(
    text=texts
    | st.from_regex(
        r"[0-9]{1,5}-[0-9]{1,2}-[0-9]{1,2}[Tt ][0-9]{2}:[0-9]{2}(:[0-9]{2})?(\.[0-9]{1,12})?(Z|[+-][0-9:]{2,5})?"
    )
)
@settings(max_examples=500)
def test_times(text: str) -> None:
    try:
        ms = parse_time(text)
    except ValueError as error:
        assert str(error)
        return
    assert ms is None or -(2**63) < ms < 2**63
