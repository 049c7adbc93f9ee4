"""What the outbox decides, without its doing: pure functions over rows, state and outcomes.

Rows are never changed in place (a commit may be reading them): every step returns a new one.
All times are engine time in ms.
"""

from collections.abc import Iterable, Mapping
from typing import Literal

import msgspec
from msgspec.structs import replace

from daemon.core.delivery import SUMMARY
from daemon.core.model.incident import Delivery, Incident
from daemon.core.state import State
from daemon.store.base import OutboxRow
from sinks.base import (
    Absent,
    Done,
    Found,
    Idempotency,
    Outcome,
    Reason,
    Reject,
    Retry,
    Unsure,
)

MAKES = frozenset({"create", "reopen"})
"""Actions after which the object is there, and open."""

DETAIL_MAX = 300


class Timing(msgspec.Struct, frozen=True):
    """`delivery:` of the configuration, in ms, and what goes with it.

    timeout: one request. retry_first doubles up to retry_max. settle: how long a service's search may lag.
    circuit_after: that many failures in a row open a sink's circuit, for circuit_pause. overdue: a
    row that is not done within this (P1 and P2; five times as long for the rest) is said aloud.
    watch: how long after an unclear outcome late twins are looked for; watch_every: how often.
    """

    timeout: int = 10_000
    retry_first: int = 1_000
    retry_max: int = 300_000
    give_up_after: int = 86_400_000
    circuit_pause: int = 30_000
    settle: int = 60_000
    circuit_after: int = 5
    overdue: int = 120_000
    watch: int = 14 * 60_000
    watch_every: int = 3 * 60_000


def back_off(tries: int, timing: Timing, luck: float) -> int:
    """The pause after the `tries`-th failure in a row: doubling, capped, with half of it left to `luck` (0 to 1).

    The luck keeps many rows that failed together from coming back together.
    """
    whole = min(timing.retry_first << min(max(tries, 1) - 1, 30), timing.retry_max)
    return whole // 2 + int(whole * luck / 2)


def masked(text: str, secrets: Iterable[str]) -> str:
    """The text without the secrets, short enough to be kept."""
    for secret in sorted(secrets, key=len, reverse=True):
        if secret:
            text = text.replace(secret, "***")
    return text[:DETAIL_MAX]


def overdue_at(row: OutboxRow, timing: Timing, since: int) -> int:
    """When the row counts as overdue. since: when this daemon began to send."""
    return max(row.send.at, since) + (timing.overdue if row.send.rank <= 2 else 5 * timing.overdue)


# ---- after a crash ----------------------------------------------------------------------------------


def recovered(row: OutboxRow, idempotency: Idempotency, now: int) -> OutboxRow:
    """The row as it is taken up at a start.

    A native row's first attempt has no mark of its own (it is durable in the transaction that made it,
    and a repeat is harmless), so one that shows no attempt may have been sent, as may every `sending` row.
    """
    perhaps = row.state == "sending" or (row.state == "waiting" and not row.attempts and idempotency == "native")
    if not perhaps:
        return row
    row = replace(row, unsure_at=now, first_try_at=row.first_try_at or row.send.at, attempts=max(row.attempts, 1))
    return _unclear(row, idempotency)


def revived(row: OutboxRow, idempotency: Idempotency, now: int) -> OutboxRow:
    """A dead row that a person tries again: its time to give up begins anew."""
    fresh = replace(row, state="waiting", attempts=0, next_at=now, first_try_at=0, reason="", detail="")
    return replace(fresh, state="unsure") if row.unsure_at and must_look(row, idempotency) else fresh


def _unclear(row: OutboxRow, idempotency: Idempotency) -> OutboxRow:
    """The row after an attempt that may have been delivered: repeated, looked for, or held."""
    if must_look(row, idempotency) or held_when_unclear(row, idempotency):
        return replace(row, state="unsure")
    return replace(row, state="waiting")


def must_look(row: OutboxRow, idempotency: Idempotency) -> bool:
    """Whether an unclear attempt is followed by a look: where a repeat would make a second object.

    Changes of an object that is there may be repeated: they bring it to the same state again.
    """
    return idempotency == "readback" and row.send.action == "create"


def held_when_unclear(row: OutboxRow, idempotency: Idempotency) -> bool:
    """Whether an unclear attempt is the last one: a second chat line is worse than a missing one."""
    return idempotency == "none" and row.send.kind != "pager"


# ---- after an attempt ---------------------------------------------------------------------------------

Told = Literal["", "delivered", "failed"]


class Step(msgspec.Struct, frozen=True):
    """What became of a row, and what the engine must hear of it ("" for nothing: the row goes on)."""

    row: OutboxRow
    told: Told = ""


def marked(row: OutboxRow, now: int) -> OutboxRow:
    """The row at the start of an attempt; on disk before the socket opens, it says "perhaps sent"."""
    return replace(row, state="sending", attempts=row.attempts + 1, first_try_at=row.first_try_at or now)


def after_attempt(
    row: OutboxRow, outcome: Outcome, idempotency: Idempotency, now: int, timing: Timing, luck: float
) -> Step:
    """The row after `outcome`. `row` is as `marked` made it; detail must have been masked."""
    match outcome:
        case Done(ref):
            return _done(row, ref, now)
        case Reject(reason, detail):
            return Step(replace(row, state="dead", reason=reason.value, detail=detail), "failed")
        case Retry(reason, detail, after):
            tried = replace(row, state="waiting", reason=reason.value, detail=detail)
            return _again(tried, after, now, timing, luck)
        case Unsure(reason, detail, after):
            tried = replace(row, reason=reason.value, detail=detail, unsure_at=now)
            if held_when_unclear(row, idempotency):
                return Step(replace(tried, state="unsure"), "failed")
            return _again(_unclear(tried, idempotency), after, now, timing, luck)


def after_look(
    row: OutboxRow, found: Found | Absent | Retry, wanted: bool, looks: int, now: int, timing: Timing, luck: float
) -> Step:
    """The unsure row after a look at the sink: adopted, sent again (or dropped when nobody wants it), or looked for
    again."""
    match found:
        case Found(ref):
            return _done(row, ref, now)
        case Absent(settled):
            if not settled or now - row.unsure_at < timing.settle:
                return Step(replace(row, next_at=now + min(back_off(looks, timing, luck), timing.settle)))
            if not wanted:
                return Step(dropped(row, now), "failed")
            return Step(replace(row, state="waiting", next_at=now))
        case Retry(reason, detail, after):
            tried = replace(row, reason=reason.value, detail=detail)
            return _again(tried, after, now, timing, luck, looks)


def dropped(row: OutboxRow, now: int) -> OutboxRow:
    """The row, no longer wanted."""
    return replace(row, state="superseded", done_at=now)


def _done(row: OutboxRow, ref: str, now: int) -> Step:
    return Step(replace(row, state="done", ref=ref, done_at=now, reason="", detail=""), "delivered")


def _again(row: OutboxRow, after: int, now: int, timing: Timing, luck: float, tries: int = 0) -> Step:
    """The row with its next time, or given up."""
    if now - row.first_try_at >= timing.give_up_after:
        detail = f"last: {row.reason} {row.detail}"[:DETAIL_MAX]
        return Step(replace(row, state="dead", reason=Reason.GAVE_UP.value, detail=detail), "failed")
    return Step(replace(row, next_at=now + max(after, back_off(tries or row.attempts, timing, luck))))


# ---- before an attempt ----------------------------------------------------------------------------------

Verdict = Literal["send", "look", "end", "drop", "wait", "lost"]
"""send it; look for it first; end the object that it may have made and nobody wants any more; drop it;
let it wait for something else (no time helps); nothing is left to render it from."""


def verdict(
    row: OutboxRow,
    idempotency: Idempotency,
    state: State,
    later: Iterable[OutboxRow],
    failed: Mapping[int, OutboxRow],
) -> Verdict:
    """Whether the row is still to be sent, judged anew before every attempt.

    later: younger rows of the same delivery, not yet done. failed: delivery -> its create (or reopen)
    that was dead-lettered, or that was held as unclear. What `after` says has been looked at before.
    """
    send = row.send
    delivery = state.deliveries.get(send.delivery)
    incident = state.incidents.get(delivery.incident) if delivery is not None else None
    if delivery is None or incident is None:
        return "lost" if row.unsure_at else "drop"
    if send.action in MAKES:
        return _verdict_on_create(row, idempotency, delivery, incident)
    if send.action == "update" and not row.unsure_at and _told_later(later):
        return "drop"
    create = failed.get(send.delivery)
    if delivery.confirmed or (create is not None and create.state == "unsure"):
        return "send"
    if create is None:
        return "drop"
    if send.action == "resolve":
        return "send" if create.unsure_at else "drop"
    return "wait"


def _verdict_on_create(row: OutboxRow, idempotency: Idempotency, delivery: Delivery, incident: Incident) -> Verdict:
    if row.state == "unsure":
        return "look"
    if _wanted(row, delivery, incident):
        return "send"
    if not row.unsure_at or (idempotency == "readback" and row.send.action == "create"):
        return "drop"  # Never sent, or looked for and certainly absent.
    return "end" if row.send.action == "create" else "send"


def _wanted(row: OutboxRow, delivery: Delivery, incident: Incident) -> bool:
    """Whether an object that is not there yet should still be made.

    The ticket of a P1 that is over stays for a person, so it is made; and a P1's page is never dropped by
    the all clear, only by a person or a merge.
    """
    if delivery.purpose == SUMMARY:
        return True
    if delivery.state == "open":
        return incident.live or delivery.kind == "ticket"
    by_person = incident.resolved_by not in ("", "clear")
    return delivery.kind == "pager" and row.send.rank == 1 and incident.state == "resolved" and not by_person


def _told_later(later: Iterable[OutboxRow]) -> bool:
    """Whether a younger row brings the object to the newest state anyway."""
    return any(row.send.action in ("update", "resolve") for row in later)


def counts_as_failure(outcome: Outcome | Found | Absent) -> bool:
    """Whether the outcome speaks against the sink as a whole: it did not answer, or not properly."""
    return isinstance(outcome, Retry | Unsure) and outcome.reason != Reason.THROTTLED
