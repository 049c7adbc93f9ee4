"""Runs one world to its end and says what was wrong."""

from collections.abc import MutableMapping
from hashlib import blake2b
from typing import Any

import msgspec
import structlog

from daemon import runtime
from tests.simulation.coverage import Coverage
from tests.simulation.life import Life, about
from tests.simulation.loop import VirtualLoop, run_virtual
from tests.simulation.model import violations
from tests.simulation.plan import draw
from tests.simulation.stores import AnyDisk
from tests.simulation.story import story
from tests.simulation.world import World

BUGS = frozenset({"sink_raised", "outbox_failed", "quarantined", "fenced"})
"""Log events that must never be."""


class Report(msgspec.Struct):
    """What came of one world. fingerprint: of all that was decided, sent and received."""

    seed: int
    summary: str
    violations: list[str]
    fingerprint: str
    story: list[str]
    coverage: Coverage


def repeat_command(seed: int) -> str:
    """How to see the same world again."""
    return f"make simulate SEED={seed}   (python -m tests.simulation --seed {seed})"


def simulate(seed: int, *, show_log: bool = False, tell: bool = False, disk: AnyDisk | None = None) -> Report:
    """One world from its seed: the same seed, the same world. tell: its story in any case, not only when it fails.

    disk: another database than SQLite's in memory.
    """
    bugs: list[str] = []
    plan = draw(seed)

    def listen(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        if event["event"] in ("circuit_opened", "circuit_closed") and (life := Life.current()) is not None:
            life.meets(event["event"].replace("_", "-"), event["sink"], about.get())
        meant = {"fenced": "freeze", "quarantined": "poison"}.get(event["event"], "")
        if event["event"] in BUGS and meant not in plan.has:
            bugs.append(f"log: {dict(event)}")
        if show_log:
            return event
        raise structlog.DropEvent

    async def main(loop: VirtualLoop) -> Report:
        world = World(loop, seed, disk=disk)
        world.wants_story = tell
        try:
            await world.run()
            return _report(world, bugs)
        finally:
            world.disk.close()

    before = structlog.get_config()
    structlog.configure(
        processors=[listen, structlog.processors.KeyValueRenderer()],
        wrapper_class=structlog.BoundLogger,
        logger_factory=structlog.PrintLoggerFactory(),
        cache_logger_on_first_use=False,
    )
    bounds = {name: getattr(runtime, name) for name, _ in plan.knobs}
    try:
        for name, value in plan.knobs:
            setattr(runtime, name, value)
        return run_virtual(main)
    finally:
        for name, value in bounds.items():
            setattr(runtime, name, value)
        structlog.configure(**before)


def _report(world: World, bugs: list[str]) -> Report:
    state = world.runtime.engine.state if world.runtime is not None else None
    (batches,) = world.disk.read("SELECT count(*) FROM journal")[0]
    (rows,) = world.disk.read("SELECT count(*) FROM outbox")[0]
    summary = (
        f"{len(world.ledger.answered)} messages, {len(state.incidents.rows) if state else 0} incidents, "
        f"{batches} batches, {rows} sends, {len(world.deaths)} deaths"
    )
    everything = blake2b(digest_size=8)
    for table in ("journal", "outbox", "timeline"):
        everything.update(repr(world.disk.read(f"SELECT * FROM {table}")).encode())
    for fake in world.services.all.values():
        everything.update(repr(fake.requests).encode() + repr(fake.state()).encode())
    found = bugs + violations(world)
    about = [one for wrong in world.wrongs for one in wrong.about]
    told = story(world, about) if found or world.wants_story else []
    return Report(world.seed, summary, found, everything.hexdigest(), told, world.coverage)
