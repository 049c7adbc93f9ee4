"""One attempt at a sink: what may not leave, and when none may be made."""

import random
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from daemon.core.model.incident import Kind
from daemon.outbox_attempts import Attempts
from daemon.outbox_lanes import Lane
from daemon.outbox_orders import Style
from daemon.outbox_rules import Timing
from daemon.store.base import OutboxRow
from sinks.base import Absent, Done, Found, Http, Idempotency, Order, Outcome, Problem, Reason, Reject, Request, Retry
from tests.unit.stage import Stage, lease, player

Scene = Callable[[Stage, Attempts, OutboxRow], Awaitable[None]]


class Parrot:
    """A sink as somebody else may write one: it puts its own token into what it complains of."""

    name, reopens, reports = "desk", False, False
    kind: Kind = "ticket"
    idempotency: Idempotency = "readback"
    secrets: Sequence[str] = ("s3cret-token",)

    def __init__(self) -> None:
        self.asked = 0

    def render(self, order: Order) -> Request | None:
        """See Sink."""
        return None

    async def deliver(self, order: Order, http: Http) -> Outcome:
        """See Sink."""
        self.asked += 1
        return Reject(Reason.REFUSED, "401: no project for Bearer s3cret-token")

    async def find(self, order: Order, http: Http, since_ms: int) -> Found | Absent | Retry:
        """See Sink."""
        return Retry(Reason.REFUSED, "no project for Bearer s3cret-token")

    async def close_twin(self, order: Order, ref: str, http: Http) -> Outcome:
        """See Sink."""
        return Done()

    async def check(self, http: Http) -> list[Problem]:
        """See Sink."""
        return []


def play(tmp_path: Path, scene: Scene) -> None:
    """A ticket that is to be made, and who makes attempts."""
    nowhere: Any = None

    async def whole(stage: Stage) -> None:
        runtime = await stage.start()
        await runtime.intake([lease()])
        (row,) = [one for one in stage.sends if one.send.sink == "desk"]
        await scene(stage, Attempts(runtime, Timing(), nowhere, Style(), random.Random(1)), row)

    player(tmp_path / "samband.db")(whole)


def test_a_secret_that_a_sink_repeats_is_masked(tmp_path: Path) -> None:
    async def scene(stage: Stage, attempts: Attempts, row: OutboxRow) -> None:
        lane = Lane(Parrot(), Timing())
        step = await attempts.deliver(lane, row, None)
        assert (step.row.state, step.row.detail) == ("dead", "401: no project for Bearer ***")
        now = stage.runtime.now_ms()
        unsure = replace(row, state="unsure", unsure_at=now, first_try_at=now)
        step = await attempts.look(lane, unsure, 1, wanted=True)
        assert step.row.detail == "no project for Bearer ***"

    play(tmp_path, scene)


def test_nothing_is_sent_that_could_outlast_the_lease(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nine seconds are left, and a request may take ten."""

    async def scene(stage: Stage, attempts: Attempts, row: OutboxRow) -> None:
        sink = Parrot()
        monkeypatch.setattr(stage.store, "held_s", lambda: 9.0)
        step = await attempts.deliver(Lane(sink, Timing()), row, None)
        assert (sink.asked, step.row.state, step.told) == (0, "waiting", "")
        assert step.row.next_at > stage.runtime.now_ms()
        monkeypatch.setattr(stage.store, "held_s", lambda: 11.0)
        await attempts.deliver(Lane(sink, Timing()), row, None)
        assert sink.asked == 1

    play(tmp_path, scene)
