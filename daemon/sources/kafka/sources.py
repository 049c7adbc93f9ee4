"""All Kafka sources of the configuration: each followed by a task of its own, whatever becomes of the others."""

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING

from daemon import log
from daemon.core.records import StreamMoved
from daemon.settings.kafka import KafkaSource
from daemon.settings.limits import Limits
from daemon.sources.kafka.messages import Sender, TopicForm
from daemon.sources.receiver import Haul, LogReceiver, Unavailable

if TYPE_CHECKING:
    from daemon.sources.kafka.follower import Follower

AGAIN_S = 15.0
LANDING_S = 10.0
"""How long a source that is reloaded may take for what it has read."""


class KafkaSources:
    """Starts, replaces and stops what follows topics."""

    def __init__(self, receiver: LogReceiver) -> None:
        self._receiver = receiver
        self._followers: dict[str, tuple[Follower, asyncio.Task[None]]] = {}

    async def replace(self, sources: Mapping[str, KafkaSource], limits: Limits) -> None:
        """These sources are followed from here on. One that has not changed goes on where it is."""
        stale = [name for name, (one, _) in self._followers.items() if one.source != sources.get(name)]
        await self._end(stale)
        await self._forget({source for source, _ in self._receiver.streams()} - set(sources))
        for name, source in sources.items():
            sender = sender_of(name, source, limits)
            if name in self._followers:
                self._followers[name][0].replace(sender)
                continue
            from daemon.sources.kafka.follower import Follower  # aiokafka takes a while, and most have no Kafka

            follower = Follower(name, source, sender, self._receiver)
            self._followers[name] = (follower, asyncio.create_task(self._follow(follower), name=f"kafka {name}"))

    async def stop(self) -> None:
        """Nothing is read any more; what was handed over is the receiver's."""
        await self._end(list(self._followers))

    async def _end(self, names: list[str]) -> None:
        ending = [self._followers.pop(name) for name in names]
        for _, task in ending:
            task.cancel()
        await asyncio.gather(*(task for _, task in ending), return_exceptions=True)
        await asyncio.gather(*(follower.settled(LANDING_S) for follower, _ in ending))

    async def _forget(self, sources: set[str]) -> None:
        """What no source reads any more holds up nothing."""
        now = self._receiver.now_ms()
        gone = [
            StreamMoved(now, source, name, "gone") for source, name in self._receiver.streams() if source in sources
        ]
        try:
            if gone:
                await self._receiver.follow(Haul({}, records=list(gone)))
        except Unavailable as error:
            log.KAFKA_TROUBLE(source=", ".join(sorted(sources)), text=f"cannot be forgotten now: {error.reason}")

    @staticmethod
    async def _follow(follower: "Follower") -> None:
        while True:
            try:
                return await follower.run()
            except Exception as error:  # noqa: BLE001
                # A bug of ours: the other sources go on, and so does this one, from its stored positions.
                log.KAFKA_FAILED(source=follower.name, error=repr(error), exc_info=True)
                await asyncio.sleep(AGAIN_S)


def sender_of(name: str, source: KafkaSource, limits: Limits) -> Sender:
    """What parsing needs to know of a source."""
    return Sender(
        name=name,
        ignored=source.replica_labels,
        resolves=source.resolves,
        resolve_timeout_ms=source.resolve_timeout,
        topics=forms_of(source),
        limits=limits,
    )


def forms_of(source: KafkaSource) -> dict[str, TopicForm]:
    """How the messages of each of its topics are read."""
    return {topic: TopicForm(one.format or "native", one.labels, one.types) for topic, one in source.followed.items()}
