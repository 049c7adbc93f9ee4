"""The JSON form of an incident, and times as RFC 3339 made by hand."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from daemon.core.view_json import as_json, rfc3339, rfc3339_or_none
from tests.contract.sinks_kit import view

FIRST, LAST = -62_135_596_800_000, 253_402_300_799_999


@given(st.integers(FIRST, LAST))
def test_times_are_those_of_the_calendar(ms: int) -> None:
    instant = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms)
    shown = instant.isoformat(timespec="milliseconds" if ms % 1000 else "seconds").replace("+00:00", "Z")
    assert rfc3339(ms) == shown


def test_not_yet_is_null() -> None:
    assert rfc3339_or_none(0) is None


def test_the_contract_names_these_fields() -> None:
    shown = as_json(view())
    assert list(shown) == [
        "id", "ref", "title", "state", "priority", "impact", "urgency", "derivation", "owner", "services", "cause",
        "opened_at", "acknowledged_at", "resolved_at", "closed_at", "merged_into", "alerts",
    ]  # fmt: skip
    assert shown["merged_into"] is None


def test_members_are_shown_when_asked_for() -> None:
    member = as_json(view(), members=True)["members"][0]
    assert member["key"] == "00ff" * 8
    assert member["reason"] == "first"
    assert member["evidence"] == {"facts": "", "strength": 0}
    assert member["url"] is None
