"""Replay on the virtual clock: when lines arrive, what is sent, which incident each line is in at the end."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from daemon.assembly import assemble
from daemon.core.records import AlertSeen
from daemon.core.view import IncidentView
from daemon.core.view_json import rfc3339
from daemon.rehearsal.recording import BadLine, Reading, Recording
from daemon.rehearsal.replay import Replay
from daemon.settings import load

DAY = 86_400_000
CONFIG = """
timezone: UTC
sources: {scripts: {type: native}}
sinks:
  pager: {type: pagerduty, routing_key: "0123456789abcdef0123456789abcdef"}
"""


def line(name: str, at: str = "08:00:00", *, day: int = 6, **fields: Any) -> str:
    moment = f"2026-10-{day:02}T{at}Z"
    times = (
        {"received_at": moment} if fields.get("status") == "resolved" else {"received_at": moment, "starts_at": moment}
    )
    return json.dumps({"name": name, "severity": "critical", "service": "shop", **times, **fields})


class Rehearsed:
    """A replay that has run."""

    def __init__(self, folder: Path, *lines: str, config: str = CONFIG, run_on_ms: int = DAY) -> None:
        (folder / "samband.yaml").write_text(config)
        (folder / "alerts.jsonl").write_text("\n".join(lines) + "\n")
        settings = load(folder / "samband.yaml", secrets=False)
        self.incidents: dict[str, IncidentView] = {}
        self.policies = 0

        def policy_from(at_ms: int) -> Any:
            self.policies += 1
            return assemble(settings, from_ms=at_ms, virtual=True).policy

        self.replay = Replay(policy_from, self._keep)
        recording = Recording(folder / "alerts.jsonl", {"scripts": Reading()})
        self.replay.run((one for one in recording if isinstance(one, AlertSeen)), run_on_ms)
        assert not self.replay.quarantined

    def _keep(self, view: IncidentView) -> None:
        assert view.id not in self.incidents, "an incident is shown twice"
        self.incidents[view.id] = view

    def of(self, number: int) -> IncidentView:
        return self.incidents[self.replay.incident_of(number)]

    def sent(self, kind: str) -> list[tuple[str, str]]:
        return [(rfc3339(one.at)[11:19], one.action) for one in self.replay.deliveries if one.kind == kind]


# ---- reading -----------------------------------------------------------------------------------
def read(
    path: Path, text: bytes, sources: dict[str, Reading] | None = None, default: str = ""
) -> list[AlertSeen | BadLine]:
    path.write_bytes(text)
    return list(Recording(path, sources if sources is not None else {"scripts": Reading()}, default))


@pytest.mark.parametrize(
    ("fields", "arrives"),
    [
        ({"received_at": "2026-10-06T08:00:09Z", "starts_at": "2026-10-06T08:00:01Z"}, "08:00:09"),
        ({"starts_at": "2026-10-06T08:00:01Z", "ends_at": "2026-10-06T08:00:05Z"}, "08:00:01"),
        ({"status": "resolved", "starts_at": "2026-10-06T08:00:01Z", "ends_at": "2026-10-06T08:00:05Z"}, "08:00:05"),
        ({"status": "resolved", "starts_at": "2026-10-06T08:00:01Z"}, "08:00:01"),
    ],
)
def test_a_line_arrives_when_it_was_received_else_when_it_ended_else_when_it_began(
    tmp_path: Path, fields: dict[str, str], arrives: str
) -> None:
    (one,) = read(tmp_path / "a", json.dumps({"name": "X", **fields}).encode())

    assert isinstance(one, AlertSeen)
    assert rfc3339(one.at) == f"2026-10-06T{arrives}Z"


def test_no_line_arrives_before_the_line_above(tmp_path: Path) -> None:
    text = "\n".join([line("A", "08:00:30"), line("B", "08:00:10"), '{"name": "C"}', line("D", "08:00:40")])

    assert [one.at % 60_000 for one in read(tmp_path / "a", text.encode()) if isinstance(one, AlertSeen)] == [
        30_000,
        30_000,
        30_000,
        40_000,
    ]


def test_gzip_is_told_by_its_content_and_blank_lines_and_a_mark_at_the_head_cost_nothing(tmp_path: Path) -> None:
    text = b"\xef\xbb\xbf" + line("A").encode() + b"\r\n\n" + line("B").encode()

    for content in (text, gzip.compress(text)):
        found = read(tmp_path / "alerts", content)

        assert [one.line for one in found] == [1, 3]
        assert all(isinstance(one, AlertSeen) for one in found)


def test_a_file_that_is_cut_off_is_said(tmp_path: Path) -> None:
    with pytest.raises(EOFError):
        read(tmp_path / "a", gzip.compress(line("A").encode() * 500)[:-40])


def test_a_bad_line_is_named_with_its_reason_and_costs_no_other(tmp_path: Path) -> None:
    text = "\n".join(
        [
            '{"name": "no time"}',
            line("A"),
            "{not json",
            "[]",
            line("B", source="nobody"),
            json.dumps({"severity": "critical", "received_at": "2026-10-06T08:00:00Z"}),
            line("C", received_at="yesterday"),
            line("D", source="kafka"),
            line("E", source="scripts"),
        ]
    )

    found = read(
        tmp_path / "a", text.encode(), {"scripts": Reading(), "kafka": Reading(unreadable="not yet")}, "scripts"
    )

    assert [one.line for one in found if isinstance(one, AlertSeen)] == [2, 9]
    reasons = {one.line: one.reason for one in found if isinstance(one, BadLine)}
    assert reasons[1] == "says no time: received_at, starts_at or ends_at is needed"
    assert reasons[3].startswith("not JSON")
    assert reasons[4] == "must be an object"
    assert reasons[5] == "source 'nobody' is not in the configuration, which has: scripts, kafka"
    assert reasons[6].startswith("name is required")
    assert reasons[7].startswith("received_at: not an RFC 3339 time")
    assert reasons[8] == "not yet"


def test_without_a_source_a_line_is_the_only_ones_and_among_several_nobodys(tmp_path: Path) -> None:
    (only,) = read(tmp_path / "a", line("A").encode())
    (which,) = read(tmp_path / "a", line("A").encode(), {"one": Reading(), "two": Reading()})
    (said,) = read(tmp_path / "a", line("A").encode(), {"one": Reading(), "two": Reading()}, "two")

    assert isinstance(only, AlertSeen)
    assert only.alert.source == "scripts"
    assert isinstance(which, BadLine)
    assert "several (one, two): say which with --source" in which.reason
    assert isinstance(said, AlertSeen)
    assert said.alert.source == "two"


def test_a_source_says_how_its_lines_are_read(tmp_path: Path) -> None:
    reading = Reading(ignored=("shard",), resolves=False)
    (one,) = read(tmp_path / "a", line("A", labels={"shard": "3", "rack": "b"}).encode(), {"old": reading})

    assert isinstance(one, AlertSeen)
    assert one.alert.event
    assert one.alert.replica == "3"
    assert one.alert.labels == b'{"rack":"b"}'


# ---- what becomes of it ------------------------------------------------------------------------
def test_a_page_leaves_after_its_wait_and_ends_with_the_alert(tmp_path: Path) -> None:
    done = Rehearsed(tmp_path, line("A"), line("A", "08:20:00", status="resolved", ends_at="2026-10-06T08:20:00Z"))

    assert done.sent("pager") == [("08:00:45", "create"), ("08:30:00", "resolve")]
    assert done.of(1).state == "closed" or done.of(1).state == "resolved"
    assert done.of(1).priority == "P2"


def test_a_kind_without_a_sink_is_shown_under_its_kind(tmp_path: Path) -> None:
    done = Rehearsed(tmp_path, line("A"))

    sinks = {(one.kind, one.sink) for one in done.replay.deliveries}
    assert ("pager", "pager") in sinks
    assert ("ticket", "ticket") in sinks
    assert ("message", "message") in sinks


def test_the_clock_runs_on_after_the_last_line_but_no_longer_than_it_may(tmp_path: Path) -> None:
    assert Rehearsed(tmp_path, line("A")).sent("pager") == [("08:00:45", "create")]
    assert Rehearsed(tmp_path, line("A"), run_on_ms=44_000).sent("pager") == []


def test_what_was_due_between_two_lines_happens_at_its_own_time(tmp_path: Path) -> None:
    later = line("B", "09:00:00", service="other")

    assert Rehearsed(tmp_path, line("A"), later).sent("pager")[0] == ("08:00:45", "create")


def test_every_delivery_is_done_at_once_so_that_what_waits_for_it_goes_on(tmp_path: Path) -> None:
    config = CONFIG + 'timing: {first_page: 0s, resolve_after: 0s}\npolicies: [{when: "", to: [pager]}]\n'
    resolve = line("A", "08:01:00", status="resolved", ends_at="2026-10-06T08:01:00Z")

    done = Rehearsed(tmp_path, line("A"), resolve, line("A", "08:02:00"), config=config)

    assert done.sent("pager") == [("08:00:00", "create"), ("08:01:00", "resolve"), ("08:02:00", "create")]


def test_nobody_acknowledges(tmp_path: Path) -> None:
    assert Rehearsed(tmp_path, line("A")).of(1).acknowledged_at == 0


def test_an_incident_that_was_closed_long_before_the_end_is_still_shown(tmp_path: Path) -> None:
    resolved = line("A", "08:20:00", status="resolved", ends_at="2026-10-06T08:20:00Z")

    done = Rehearsed(tmp_path, line("A"), resolved, line("B", day=9, service="other"))

    closed = done.of(1)
    assert closed.state == "closed"
    assert [member.name for member in closed.members] == ["A"]
    assert done.replay.incident_of(2) == closed.id
    assert len(done.incidents) == 2


# ---- which incident a line is in -----------------------------------------------------------------
def test_repeats_and_resolves_are_in_the_incident_of_their_alert(tmp_path: Path) -> None:
    resolved = line("A", "08:03:00", status="resolved", ends_at="2026-10-06T08:03:00Z")

    done = Rehearsed(tmp_path, line("A"), line("B", service="other"), line("A", "08:01:00"), resolved)

    assert [done.of(number).ref for number in (1, 2, 3, 4)] == ["INC-1", "INC-2", "INC-1", "INC-1"]


def test_a_resolve_of_something_never_seen_and_severity_none_are_in_no_incident(tmp_path: Path) -> None:
    resolved = line("A", status="resolved", ends_at="2026-10-06T08:00:00Z")

    done = Rehearsed(tmp_path, resolved, line("Watchdog", severity="none"), line("C"))

    assert [done.replay.incident_of(number) for number in (1, 2)] == ["", ""]
    assert len(done.incidents) == 1


def test_a_late_resolve_is_in_the_incident_of_the_episode_that_it_ended(tmp_path: Path) -> None:
    first = line("A", starts_at="2026-10-06T08:00:00Z")
    ended: dict[str, Any] = {
        "status": "resolved",
        "starts_at": "2026-10-06T08:00:00Z",
        "ends_at": "2026-10-06T08:05:00Z",
    }
    lines = [first, line("A", "08:05:00", **ended), line("A", "14:00:00"), line("A", "14:00:30", **ended)]

    done = Rehearsed(tmp_path, *lines)

    assert done.of(1).id == done.of(2).id == done.of(4).id
    assert done.of(3).id != done.of(1).id
    assert done.of(3).firing == 1


def test_after_a_merge_a_line_is_in_the_incident_that_survived(tmp_path: Path) -> None:
    chain = "one: {depends_on: [a]}, a: {depends_on: [bridge]}, bridge: {depends_on: [b]}, b: {depends_on: [two]}"
    config = CONFIG + f"services: {{{chain}}}\n"
    lines = [line("A", service="one"), line("B", "08:00:05", service="two")]
    apart = Rehearsed(tmp_path, *lines, config=config)
    assert apart.of(1).id != apart.of(2).id, "four steps apart are not one thing"

    done = Rehearsed(tmp_path, *lines, line("C", "08:00:10", service="bridge"), config=config)

    assert done.of(1).id == done.of(2).id == done.of(3).id
    assert done.of(1).state != "merged"
    assert done.of(1).firing == 3


# ---- as a whole --------------------------------------------------------------------------------
def test_the_same_recording_gives_the_same_again(tmp_path: Path) -> None:
    lines = [line(f"A{n % 7}", f"08:{n:02}:00", service=f"s{n % 5}") for n in range(50)]

    one, two = Rehearsed(tmp_path, *lines), Rehearsed(tmp_path, *lines)

    assert one.replay.deliveries == two.replay.deliveries
    assert one.incidents == two.incidents
    assert [one.replay.incident_of(n) for n in range(51)] == [two.replay.incident_of(n) for n in range(51)]


def test_a_recording_longer_than_the_calendars_gets_new_ones(tmp_path: Path) -> None:
    late = json.dumps({"name": "B", "severity": "error", "service": "other", "received_at": "2028-02-01T03:00:00Z"})

    done = Rehearsed(tmp_path, line("A"), late)

    assert done.policies == 2
    assert done.sent("pager")[-1] == ("07:30:00", "create"), "a P3 at night waits for the morning of 2028"


def test_an_empty_recording_is_no_mistake(tmp_path: Path) -> None:
    done = Rehearsed(tmp_path)

    assert done.incidents == {}
    assert done.replay.incident_of(1) == ""
