"""Kafka sources at work inside the test: the real runtime on a real store, without the rest of the daemon."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from daemon.assembly import assemble
from daemon.clock import SystemClock
from daemon.core.model.alert import Alert
from daemon.core.records import AlertSeen, decode_records
from daemon.runtime import Runtime
from daemon.settings import Settings
from daemon.settings.kafka import KafkaSource
from daemon.settings.limits import LIMITS, Limits
from daemon.sources.kafka.sources import KafkaSources
from daemon.store.queries import Queries, reading
from daemon.store.sqlite import SqliteStore
from daemon.wiring import Receiver
from tests.integration.samband import until

NAME = "mainframe"


class Following:
    """One runtime and its Kafka sources. `start` after `stop` or `kill` is a restart on the same store."""

    def __init__(self, path: Path, source: Mapping[str, Any], limits: Limits = LIMITS) -> None:
        self.path, self.limits = path, limits
        self.source = KafkaSource.model_validate({"type": "kafka", "start": "earliest", **source})

    async def __aenter__(self) -> "Following":
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        with suppress(AttributeError):
            await self.stop()

    async def start(self) -> None:
        """Recovers what the store holds, and follows."""
        policy = assemble(Settings(sources={NAME: self.source}), from_ms=SystemClock().wall_ms()).policy
        self.store = SqliteStore(self.path, build="test")
        self.runtime = await Runtime.open(policy, self.store, SystemClock())
        await self.runtime.start()
        self.sources = KafkaSources(Receiver(self.runtime))
        await self.follow(self.source)

    async def follow(self, source: KafkaSource | None) -> None:
        """As a reload does; None: the source is not in the configuration any more."""
        await self.sources.replace({NAME: source} if source is not None else {}, self.limits)

    async def stop(self) -> None:
        """Ends it in order."""
        await self.sources.stop()
        await self.runtime.stop()
        del self.runtime

    async def kill(self) -> None:
        """Ends it so that nothing more reaches the store, whatever is under way."""
        self.store.close()
        for _, task in self.sources._followers.values():
            task.cancel()
        assert self.runtime._task is not None
        self.runtime._task.cancel()
        await asyncio.gather(self.runtime._task, return_exceptions=True)
        await self.sources.stop()
        del self.runtime

    # ---- what is there -----------------------------------------------------------------------------------
    def alerts(self) -> list[Alert]:
        """Every alert that is remembered."""
        return list(self.runtime.engine.state.alerts.rows.values())

    def open(self) -> list[str]:
        """Name and resource of the source's alerts that are open."""
        return sorted(f"{one.name}/{one.resource}" for one in self.alerts() if one.open and one.source == NAME)

    def said(self) -> dict[str, str]:
        """What samband says about itself: name of each open alert -> its text."""
        state = self.runtime.engine.state
        found = [one for one in self.alerts() if one.source == "samband" and one.open]
        return {one.name: state.annotations[one.id].decode() for one in found}

    def behind(self) -> list[str]:
        """The partitions that are behind."""
        return sorted(one.name for one in self.runtime.engine.state.streams.rows.values() if one.behind)

    def trouble(self) -> str:
        """What is wrong with the brokers, "" when nothing is."""
        return self.sources._followers[NAME][0]._trouble

    def done(self) -> dict[str, int]:
        """How far each partition has been read."""
        return {key.name: position.next_offset for key, position in self.runtime.positions.items()}

    async def until_open(self, *wanted: str, within_s: float = 60) -> None:
        """Waits until exactly these alerts are open, and what made them so is on disk."""
        await until(lambda: self.open() == sorted(wanted), f"{sorted(wanted)} are open", within_s)
        await self.runtime.submit([])

    async def until_done(self, wanted: int, within_s: float = 120) -> None:
        """Waits until so many messages have been read in all."""
        await until(lambda: sum(self.done().values()) == wanted, f"{wanted} messages are read: {self.done()}", within_s)

    # ---- what is on disk ---------------------------------------------------------------------------------
    def journal(self) -> list[AlertSeen]:
        """Every alert in the journal, in its order."""
        found = []
        for row in Queries(reading(self.path)).journal():
            found += [one for one in decode_records(row.records) if isinstance(one, AlertSeen)]
        return found

    def letters(self) -> list[tuple[str, bytes]]:
        """Reason and bytes of every dead letter."""
        return [(one.reason, one.raw) for one in Queries(reading(self.path)).dead_letters()]
