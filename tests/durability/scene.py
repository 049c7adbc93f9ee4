"""The daemon under strace between senders and four sinks: two that are read back, one native, one of class none."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from daemon.assembly import assemble
from daemon.core.policy import Policy
from daemon.settings import load
from tests.durability.load import Load
from tests.durability.traced import Traced
from tests.fakes.webhook import FakeWebhook
from tests.integration.estate import configuration
from tests.integration.samband import Sinks

TIMING = {"first_page": "500ms", "ticket": "0s", "resolve_after": "1s", "priority_down_after": "0s"}


@dataclass
class Scene:
    """The daemon, who sends to it, and who is told."""

    samband: Traced
    load: Load
    sinks: Sinks
    hook: FakeWebhook

    @property
    def store(self) -> Path:
        """The database file."""
        return self.samband.folder / "state" / "samband.db"

    @property
    def ports(self) -> dict[str, int]:
        """Name of a sink -> the port that it listens on."""
        fakes = {"pager": self.sinks.pager, "desk": self.sinks.desk, "page": self.sinks.page, "hook": self.hook}
        return {name: int(fake.url.rpartition(":")[2]) for name, fake in fakes.items()}

    def policy(self) -> Policy:
        """What the daemon decides by."""
        return assemble(load(self.samband.config, secrets=False), from_ms=0).policy


@asynccontextmanager
async def traced_scene(folder: Path, env: dict[str, str] | None = None, **changes: Any) -> AsyncIterator[Scene]:
    """The scene, its daemon not started yet. changes: of the configuration."""
    async with Sinks() as sinks, FakeWebhook() as hook:
        everybody = {**sinks.config(), "hook": {"type": "webhook", "url": f"{hook.url}/in"}}
        rules = [{"when": 'priority=~"P1|P2|P3|P4"', "to": list(everybody)}]
        config = configuration(sinks, **{"sinks": everybody, "policies": rules, "timing": TIMING, **changes})
        samband = Traced(folder / "samband", config, env)
        try:
            yield Scene(samband, Load(samband), sinks, hook)
        finally:
            await samband.kill()
