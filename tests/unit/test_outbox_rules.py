"""What the outbox decides, from its tables."""

from typing import Any

import pytest
from msgspec.structs import replace

from daemon import outbox_rules as rules
from daemon.core.effects import Send
from daemon.core.model.incident import Delivery, Incident
from daemon.core.state import State
from daemon.store.base import OutboxRow
from sinks.base import Absent, Done, Found, Idempotency, Outcome, Reason, Reject, Retry, Unsure

TIMING = rules.Timing()
NOW = 1_800_000_000_000


def make_row(action: str = "create", *, kind: str = "ticket", number: int = 10, **fields: Any) -> OutboxRow:
    send = Send(
        id=number,
        at=NOW - 1000,
        delivery=fields.pop("delivery", 5),
        incident=1,
        generation=1,
        sink="jira",
        kind=kind,  # type: ignore[arg-type]
        action=action,  # type: ignore[arg-type]
        purpose=kind,
        key="samband-0000000000000001-1",
        rank=fields.pop("rank", 3),
        after=fields.pop("after", 0),
    )
    return OutboxRow(send=send, state=fields.pop("state", "waiting"), **fields)


def make_state(incident: str = "open", delivery: str = "open", kind: str = "ticket", **fields: Any) -> State:
    state = State()
    state.incidents.rows[1] = Incident(
        id=1,
        number=1,
        state=incident,  # type: ignore[arg-type]
        opened_at=NOW,
        environment="production",
        resolved_by=fields.pop("resolved_by", ""),
    )
    state.deliveries.rows[5] = Delivery(
        id=5,
        incident=1,
        generation=1,
        sink="jira",
        kind=kind,  # type: ignore[arg-type]
        purpose=kind,
        key="samband-0000000000000001-1",
        state=delivery,  # type: ignore[arg-type]
        confirmed=fields.pop("confirmed", False),
    )
    return state


# ---- back-off ---------------------------------------------------------------------------------------


def test_back_off_doubles_up_to_its_limit_and_half_of_it_is_luck() -> None:
    assert [rules.back_off(n, TIMING, 1.0) for n in (1, 2, 3, 9, 10, 99)] == [
        1_000,
        2_000,
        4_000,
        256_000,
        300_000,
        300_000,
    ]
    assert rules.back_off(3, TIMING, 0.0) == 2_000


def test_the_service_says_when_and_our_own_pause_is_the_least() -> None:
    row = rules.marked(make_row(), NOW)
    later = rules.after_attempt(row, Retry(Reason.THROTTLED, after_ms=7_000), "native", NOW, TIMING, 0.0).row
    sooner = rules.after_attempt(row, Retry(Reason.THROTTLED, after_ms=1), "native", NOW, TIMING, 0.0).row
    assert (later.next_at - NOW, sooner.next_at - NOW) == (7_000, 500)


# ---- outcomes ---------------------------------------------------------------------------------------

UNSURE = Unsure(Reason.TIMEOUT, "no answer")
OUTCOMES: list[tuple[Outcome, Idempotency, str, str, str, str]] = [
    # outcome, class of the sink, kind, action -> state, told
    (Done("OPS-1"), "readback", "ticket", "create", "done", "delivered"),
    (Reject(Reason.REFUSED), "native", "pager", "create", "dead", "failed"),
    (Retry(Reason.UNREACHABLE), "readback", "ticket", "create", "waiting", ""),
    (UNSURE, "native", "pager", "create", "waiting", ""),
    (UNSURE, "readback", "ticket", "create", "unsure", ""),
    (UNSURE, "readback", "ticket", "update", "waiting", ""),
    (UNSURE, "readback", "ticket", "reopen", "waiting", ""),
    (UNSURE, "readback", "status_page", "resolve", "waiting", ""),
    (UNSURE, "none", "pager", "create", "waiting", ""),
    (UNSURE, "none", "message", "create", "unsure", "failed"),
]


@pytest.mark.parametrize(("outcome", "idempotency", "kind", "action", "state", "told"), OUTCOMES)
def test_outcomes(outcome: Outcome, idempotency: Idempotency, kind: str, action: str, state: str, told: str) -> None:
    row = rules.marked(make_row(action, kind=kind), NOW)
    step = rules.after_attempt(row, outcome, idempotency, NOW, TIMING, 0.5)
    assert (step.row.state, step.told) == (state, told)
    assert (step.row.unsure_at == NOW) == isinstance(outcome, Unsure)
    assert row.state == "sending", "rows are not changed in place"


def test_a_row_is_given_up_when_its_first_try_is_too_old() -> None:
    row = replace(rules.marked(make_row(), NOW), first_try_at=NOW - TIMING.give_up_after)
    step = rules.after_attempt(row, Retry(Reason.UNREACHABLE, "refused"), "native", NOW, TIMING, 0.5)
    assert (step.row.state, step.row.reason, step.told) == ("dead", "gave_up", "failed")
    assert "unreachable refused" in step.row.detail


# ---- looks --------------------------------------------------------------------------------------------


def unsure(since: int) -> OutboxRow:
    return make_row(state="unsure", unsure_at=NOW - since, first_try_at=NOW - since, attempts=1)


def test_what_is_found_is_adopted_even_if_nobody_wants_it() -> None:
    step = rules.after_look(unsure(5_000), Found("OPS-9"), False, 1, NOW, TIMING, 0.5)
    assert (step.row.state, step.row.ref, step.told) == ("done", "OPS-9", "delivered")
    assert step.row.unsure_at, "twins of it are still looked for"


@pytest.mark.parametrize("found", [Absent(settled=False), Absent(settled=True)])
def test_an_absence_is_not_believed_while_the_search_may_lag(found: Absent) -> None:
    step = rules.after_look(unsure(TIMING.settle - 1), found, True, 1, NOW, TIMING, 0.5)
    assert (step.row.state, step.told) == ("unsure", "")
    assert NOW < step.row.next_at <= NOW + TIMING.settle


def test_a_settled_absence_lets_it_be_sent_again_or_dropped() -> None:
    row = unsure(TIMING.settle)
    again = rules.after_look(row, Absent(settled=True), True, 9, NOW, TIMING, 0.5)
    unwanted = rules.after_look(row, Absent(settled=True), False, 9, NOW, TIMING, 0.5)
    assert (again.row.state, again.told) == ("waiting", "")
    assert (unwanted.row.state, unwanted.told) == ("superseded", "failed")


# ---- after a crash --------------------------------------------------------------------------------------

CRASHES: list[tuple[str, int, Idempotency, str, str, str, bool]] = [
    # state, attempts, class, kind, action -> state, perhaps sent
    ("waiting", 0, "native", "pager", "create", "waiting", True),
    ("waiting", 2, "native", "pager", "create", "waiting", False),
    ("sending", 2, "native", "pager", "create", "waiting", True),
    ("waiting", 0, "readback", "ticket", "create", "waiting", False),
    ("sending", 1, "readback", "ticket", "create", "unsure", True),
    ("sending", 1, "readback", "ticket", "update", "waiting", True),
    ("waiting", 0, "none", "message", "create", "waiting", False),
    ("sending", 1, "none", "message", "create", "unsure", True),
    ("sending", 1, "none", "pager", "create", "waiting", True),
]


@pytest.mark.parametrize(("state", "attempts", "idempotency", "kind", "action", "expected", "perhaps"), CRASHES)
def test_crashes(
    state: str, attempts: int, idempotency: Idempotency, kind: str, action: str, expected: str, perhaps: bool
) -> None:
    row = rules.recovered(make_row(action, kind=kind, state=state, attempts=attempts), idempotency, NOW)
    assert (row.state, bool(row.unsure_at)) == (expected, perhaps)


# ---- judged anew ------------------------------------------------------------------------------------------

SENT: dict[str, Any] = {"unsure_at": NOW - 1, "attempts": 1}
CREATES: list[tuple[dict[str, Any], dict[str, Any], Idempotency, str]] = [
    ({}, {}, "readback", "send"),
    ({"state": "unsure", **SENT}, {"delivery": "closed"}, "readback", "look"),
    ({}, {"incident": "resolved", "delivery": "closed"}, "readback", "drop"),
    # Its ticket stays for a person, and so it must be there.
    ({}, {"incident": "resolved", "delivery": "open"}, "readback", "send"),
    ({"kind": "status_page"}, {"incident": "resolved", "kind": "status_page"}, "readback", "drop"),
    # Looked for and not found (else it would be unsure): nothing is there to be ended.
    (SENT, {"incident": "resolved", "delivery": "closed"}, "readback", "drop"),
    # Perhaps there, and not to be seen: it is ended instead of being made again.
    ({"kind": "pager", **SENT}, {"incident": "resolved", "delivery": "closed", "kind": "pager"}, "native", "end"),
    ({"kind": "pager"}, {"incident": "merged", "delivery": "closed", "kind": "pager"}, "native", "drop"),
    ({"kind": "pager", "rank": 1}, {"incident": "merged", "delivery": "closed", "kind": "pager"}, "native", "drop"),
    # The all clear drops no P1's page; a person does.
    (
        {"kind": "pager", "rank": 1},
        {"incident": "resolved", "delivery": "closed", "kind": "pager", "resolved_by": "clear"},
        "native",
        "send",
    ),
    (
        {"kind": "pager", "rank": 1},
        {"incident": "resolved", "delivery": "closed", "kind": "pager", "resolved_by": "anna"},
        "native",
        "drop",
    ),
]


@pytest.mark.parametrize(("row", "state", "idempotency", "expected"), CREATES)
def test_creates_are_judged_anew(
    row: dict[str, Any], state: dict[str, Any], idempotency: Idempotency, expected: str
) -> None:
    assert rules.verdict(make_row(**row), idempotency, make_state(**state), [], {}) == expected


DEAD = make_row(number=9, state="dead")
DEAD_PERHAPS = make_row(number=9, state="dead", unsure_at=NOW - 1)
HELD = make_row(number=9, state="unsure", unsure_at=NOW - 1)
OTHERS: list[tuple[str, bool, OutboxRow | None, str]] = [
    # action, the object is confirmed, its failed create -> verdict
    ("update", True, None, "send"),
    ("resolve", True, None, "send"),
    ("update", False, None, "drop"),
    ("resolve", False, None, "drop"),
    ("update", False, DEAD, "wait"),
    ("resolve", False, DEAD, "drop"),
    ("resolve", False, DEAD_PERHAPS, "send"),
    ("update", False, HELD, "send"),
    ("resolve", False, HELD, "send"),
]


@pytest.mark.parametrize(("action", "confirmed", "failed", "expected"), OTHERS)
def test_changes_need_an_object(action: str, confirmed: bool, failed: OutboxRow | None, expected: str) -> None:
    state = make_state("resolved", "closed", confirmed=confirmed)
    known = {5: failed} if failed is not None else {}
    assert rules.verdict(make_row(action), "readback", state, [], known) == expected


def test_an_update_is_superseded_by_a_younger_one_unless_it_may_have_been_delivered() -> None:
    state = make_state(confirmed=True)
    younger = [make_row("resolve", number=11)]
    assert rules.verdict(make_row("update"), "readback", state, younger, {}) == "drop"
    assert rules.verdict(make_row("update", **SENT), "readback", state, younger, {}) == "send"
    assert rules.verdict(make_row("update"), "readback", state, [make_row("create", number=11)], {}) == "send"


def test_what_has_left_the_state_cannot_be_rendered() -> None:
    assert rules.verdict(make_row("resolve"), "readback", State(), [], {}) == "drop"
    assert rules.verdict(make_row("resolve", **SENT), "readback", State(), [], {}) == "lost"


def test_secrets_are_masked_longest_first() -> None:
    assert rules.masked("key abcdef and abc", ["abc", "abcdef", ""]) == "key *** and ***"
    assert len(rules.masked("x" * 1000, [])) == rules.DETAIL_MAX
