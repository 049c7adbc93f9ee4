"""Messages that could not be read: copied to a topic of their own, with where they stood and why in the headers.

samband's own dead letters are what is relied on; the copy is for those who look after the topic.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from aiokafka import AIOKafkaProducer
from aiokafka.admin import NewTopic

from daemon import log, metrics
from daemon.core.model.stream import StreamKey
from daemon.sources.kafka.connection import ANSWER_S, TROUBLES, Link, answer

AGAIN_S = 60.0
"""After a topic did not take one, others are not tried for so long: reading must not wait for it each time."""
EXISTS = 36
COPIES_MAX = 3
"""Replicas of a dead-letter topic that samband makes, where there are so many brokers."""


class Unread(msgspec.Struct, frozen=True):
    """A message, or items of one, that could not be read. code: a metric label. raw: what may be kept of it."""

    key: StreamKey
    offset: int
    timestamp: int
    code: str
    text: str
    raw: bytes
    message_key: bytes | None = None

    @property
    def reason(self) -> str:
        """Why and where, for a dead letter."""
        return f"{self.key.name} at {self.offset}: {self.text}"


class Copies:
    """Copies dead letters of one connection. topics: where to, by the topic they stood in; "" for nowhere."""

    def __init__(self, link: Link, topics: Mapping[str, str]) -> None:
        self._link, self._topics = link, topics
        self._producer: AIOKafkaProducer | None = None
        self._there: set[str] = set()
        self._not_before: dict[str, float] = {}

    async def copy(self, letters: Sequence[Unread]) -> None:
        """Returns when the brokers have them, or have shown that they do not take them. Never raises for that."""
        for topic in dict.fromkeys(self._topics[one.key.topic] for one in letters):
            own = [one for one in letters if self._topics[one.key.topic] == topic]
            if not topic:
                continue
            if time.monotonic() < self._not_before.get(topic, 0.0):
                metrics.KAFKA_UNCOPIED.labels(own[0].key.source, own[0].key.topic).inc(len(own))
                continue
            try:
                await self._send(topic, own)
            except TROUBLES as error:
                self._not_before[topic] = time.monotonic() + AGAIN_S
                metrics.KAFKA_UNCOPIED.labels(own[0].key.source, own[0].key.topic).inc(len(own))
                log.KAFKA_UNCOPIED(source=own[0].key.source, topic=topic, text=repr(error)[:300])

    async def _send(self, topic: str, letters: Sequence[Unread]) -> None:
        if topic not in self._there:
            await self._make(topic)
        if self._producer is None:
            self._producer = await self._link.producer()
        producer = self._producer
        async with asyncio.timeout(ANSWER_S):
            sent = [await producer.send(topic, one.raw, key=one.message_key, headers=_headers(one)) for one in letters]
            await asyncio.gather(*sent)

    async def _make(self, topic: str) -> None:
        """Makes the topic when there is none. Raises KafkaError when that is not allowed."""
        if topic not in await self._link.partitions([topic]):
            brokers = len((await answer(self._link.admin.describe_cluster()))["brokers"])
            made = await answer(self._link.admin.create_topics([NewTopic(topic, 1, min(brokers, COPIES_MAX))]))
            for _, code, *more in made.topic_errors:
                if code not in (0, EXISTS):
                    raise OSError(f"the topic {topic} cannot be made: {code} {more}")
        self._there.add(topic)


def _headers(one: Unread) -> list[tuple[str, Any]]:
    told = {
        "reason": one.text[:1000],
        "code": one.code,
        "source": one.key.source,
        "topic": one.key.topic,
        "partition": str(one.key.partition),
        "offset": str(one.offset),
        "timestamp": str(one.timestamp),
    }
    return [(name, text.encode()) for name, text in told.items()]
