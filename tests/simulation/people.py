"""People: they acknowledge, hold, split, silence and so on; and at the end they do what waits for a person."""

import asyncio
import contextlib
from random import Random

import msgspec

from daemon.core.effects import Send
from daemon.core.model.ids import public_id
from daemon.core.model.incident import Incident
from daemon.core.model.silence import SilenceKind, Term
from daemon.core.records import AnyRecord, CommandGiven, SilenceExpired, SilencePut
from daemon.runtime import NotDurable
from daemon.sources.again import read_again
from daemon.sources.formats.base import Unreadable
from daemon.store.base import OutboxRow
from tests.simulation.host import Host
from tests.simulation.life import Dead, Silent

NAMES = ("anna", "bo", "carl")
_FIELDS = (*Send.__struct_fields__, *OutboxRow.__struct_fields__[1:])


class People:
    """What they do goes the way of the API: `Runtime.submit`. acts: id of what was answered with ok -> the verb."""

    def __init__(self, host: Host, luck: Random) -> None:
        self._host, self._luck = host, luck
        self.acts: dict[str, str] = {}
        self.silenced: list[tuple[float, float, str]] = []
        self.touched: dict[int, float] = {}
        self.gave_up: dict[str, None] = {}
        self.gave_in = False

    async def run(self, until: float) -> None:
        """Until that time they act now and then."""
        has, luck = self._host.plan.has, self._luck
        pause = until / luck.choice((2, 4, 8))
        while self._host.loop.time() < until:
            await asyncio.sleep(luck.uniform(pause / 10, pause))
            if ("silences" in has or "poison" in has) and luck.random() < 0.4:
                await self._silence()
            elif "corrections" in has and luck.random() < 0.5:
                await self._correct()
            elif "people" in has:
                await self._act()

    # ---- one act -----------------------------------------------------------------------------------------
    async def say(self, verb: str, incident: int, who: str, **arguments: str) -> str:
        """One act on an incident, said once more when no answer comes; the outcome, "" when there was none."""
        runtime = self._host.runtime
        if runtime is None:
            return ""
        name = f"{verb}-{len(self.acts)}-{self._host.loop.time():.3f}"
        self.touched[incident] = self._host.loop.time()
        outcome = ""
        for _ in range(2):
            outcome = await self._submit(CommandGiven(runtime.now_ms(), name, who, verb, incident, arguments))
            if outcome:
                break
            await asyncio.sleep(3)
        self.acts[name] = f"{verb} {outcome}"
        told = f" {arguments}" if arguments else ""
        self._host.say(f"{who}: {verb} {public_id(incident)}{told}: {outcome or 'no answer'}")
        return outcome

    async def _submit(self, record: AnyRecord) -> str:
        life, runtime = self._host.life, self._host.runtime
        if life is None or runtime is None:
            return ""
        try:
            replies = await life.ask(runtime.submit([record]), patience=10.0)
        except (Dead, Silent, NotDurable):
            return ""
        reply = replies[0]
        return f"{reply.status} {reply.text}" if reply is not None else ""

    def _incidents(self) -> list[Incident]:
        runtime = self._host.runtime
        return list(runtime.engine.state.incidents.rows.values()) if runtime is not None else []

    async def _act(self) -> None:
        luck = self._luck
        found = [one for one in self._incidents() if not one.merged_into]
        if not found:
            return
        one, who = luck.choice(found), luck.choice(NAMES)
        verb = luck.choice(("acknowledge",) * 5 + ("unacknowledge", "snooze", "hold", "resume", "assign", "note",
                           "priority", "resolve", "resolve", "reopen", "close", "publish"))  # fmt: skip
        arguments = {
            "snooze": {"for_ms": str(luck.choice((20_000, 200_000)))},
            "hold": {"reason": "waits for the vendor"},
            "assign": {"team": luck.choice(("web", "money", "data"))},
            "note": {"text": f"note {len(self.acts)}"},
            "priority": {"priority": luck.choice(("P1", "P2", "P4", "auto")), "reason": "so it is"},
        }.get(verb, {})
        await self.say(verb, one.id, who, **arguments)

    async def _correct(self) -> None:
        runtime, luck = self._host.runtime, self._luck
        live = [one for one in self._incidents() if one.live and not one.self_cause]
        if runtime is None or not live:
            return
        one = luck.choice(live)
        members = [member.key.hex() for member in runtime.engine.state.members(one.id)]
        if luck.random() < 0.4 and len(members) > 1:
            await self.say("split", one.id, luck.choice(NAMES), alerts=luck.choice(members))
        elif len(live) > 1:
            await self.say("merge", one.id, luck.choice(NAMES), into=public_id(luck.choice(live).id))

    async def _silence(self) -> None:
        runtime, luck = self._host.runtime, self._luck
        if runtime is None:
            return
        known = list(runtime.engine.state.silences.rows.values())
        now, name = runtime.now_ms(), f"silence-{self._host.loop.time():.3f}"
        if known and luck.random() < 0.3:
            await self._submit(SilenceExpired(now, name, luck.choice(NAMES), luck.choice(known).id))
            self._host.say("a silence is ended by a person")
            return
        resource = f"r{luck.randint(0, max(1, self._host.plan.conditions - 1))}"
        term = Term(*luck.choice((("resource", resource), ("service", "shop"), ("service", "payments"))), False, True)
        if "poison" in self._host.plan.has and luck.random() < 0.6:
            term = Term("resource", "poison", False, True)
        begins = now + luck.choice((0, 0, 0, 30_000))
        ends = begins + luck.choice((20_000, 100_000, 400_000))
        kind: SilenceKind = luck.choice(("silence", "maintenance"))
        put = SilencePut(now, name, "anna", 0, kind, f'{term.name}="{term.value}"', (term,), begins, ends, "patching")
        outcome = await self._submit(put)
        self._host.say(f"anna: {kind} {put.matchers} for {(ends - now) // 1000} s: {outcome or 'no answer'}")

    # ---- what waits for a person -------------------------------------------------------------------------
    async def tidy_up(self) -> None:
        """Ends P1s that nobody saw and their tickets, and P1s and P2s that went stale; looks after dead letters."""
        runtime = self._host.runtime
        if runtime is None:
            return
        state = runtime.engine.state
        for one in sorted(self._incidents(), key=lambda one: one.id):
            members = [member for member in state.members(one.id) if not member.end]
            now = runtime.now_ms()
            stale = bool(members) and all(member.event or member.status(now) == "stale" for member in members)
            waits = one.live and one.priority in ("P1", "P2") and (one.cleared or stale)
            if one.live and one.forced and stale:
                waits = True
            if waits or (one.state == "resolved" and one.priority == "P1" and not one.due_close):
                await self.say("resolve", one.id, "carl")
        await self._dead_letters()
        await self._quarantined()

    async def _quarantined(self) -> None:
        """Gives in again what raised in the engine, as `samband dead-letters retry` does."""
        life, runtime = self._host.life, self._host.runtime
        if life is None or runtime is None:
            return
        rows = self._host.disk.read(
            "SELECT id, reason, raw FROM dead_letters WHERE reason LIKE 'quarantined%' ORDER BY id"
        )
        for number, reason, raw in rows:
            with contextlib.suppress(Dead, Silent, NotDurable, Unreadable):
                await life.ask(runtime.intake(read_again(None, reason, raw, runtime.now_ms()).alerts), patience=30.0)
                await life.ask(runtime.drop_letter(number), patience=30.0)
                self.gave_in = True
                self._host.say(f"carl: gives in again what was set aside: {reason}")

    async def _dead_letters(self) -> None:
        life, outbox = self._host.life, self._host.outbox
        if life is None or outbox is None:
            return
        for row in _dead(self._host):
            with contextlib.suppress(Dead, Silent, NotDurable):
                if row.send.action == "resolve" or self._luck.random() < 0.8:
                    refusal = await life.ask(outbox.retry(row, "carl"), patience=30.0)
                    if not refusal:
                        self._host.say(f"carl: retry of {row.send.action} {row.send.key} at {row.send.sink}")
                        continue
                self.gave_up[row.send.key] = None
                await life.ask(outbox.drop(row, "carl", "told by phone"), patience=30.0)
                self._host.say(f"carl: drops {row.send.action} {row.send.key} at {row.send.sink}")


def _dead(host: Host) -> list[OutboxRow]:
    """The dead letters of sinks, as the API would list them."""
    rows = host.disk.read(f"SELECT {', '.join(_FIELDS)} FROM outbox WHERE state = 'dead' ORDER BY id")
    found = [dict(zip(_FIELDS, row, strict=True)) for row in rows]
    return [msgspec.convert({**one, "send": one}, OutboxRow, strict=False) for one in found]
