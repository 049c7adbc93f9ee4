"""The clients of one Kafka source: made of its configuration, and closed without waiting for a broker that is gone."""

import asyncio
from collections.abc import Awaitable, Iterable, Mapping
from typing import Any, TypeVar

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from daemon.broker_clients import Client, Heard, client_options, end, trouble
from daemon.settings.kafka import KafkaSource

T = TypeVar("T")

ANSWER_S = 10.0
"""How long a broker may take for one answer; several of aiokafka's calls would wait for ever."""
STOP_S = 3.0
METADATA_MS = 10_000
FETCH_BYTES_MAX = 16 * 1024 * 1024
"""One fetch of one broker; a single larger message still comes."""
MESSAGE_BYTES_MAX = 64 * 1024 * 1024
"""What the producer of dead letters would send at most; the broker has limits of its own."""

TROUBLES = (KafkaError, OSError, TimeoutError, asyncio.TimeoutError, AssertionError, ValueError, AttributeError)
"""What aiokafka raises when brokers come and go; some of it is no KafkaError."""


class Unreachable(Exception):
    """The brokers cannot be reached; the text says why and what to do."""


async def answer(work: Awaitable[T], within_s: float = ANSWER_S) -> T:
    """What the broker answers. Raises TimeoutError when it does not, and what aiokafka raises."""
    return await asyncio.wait_for(work, within_s)


def options(source: KafkaSource) -> dict[str, Any]:
    """What every client is made with. Raises OSError and ssl.SSLError for certificates that cannot be read."""
    return {
        **client_options(source.brokers, source.tls, source.sasl),
        "request_timeout_ms": int(ANSWER_S * 1000),
        "metadata_max_age_ms": METADATA_MS,
        "retry_backoff_ms": 200,
    }


def told(error: BaseException, heard: Heard) -> str:
    """What is wrong with the brokers, and what to do."""
    found = trouble(error, heard)
    return f"{found.text}; {found.remedy}"


class _Admin(AIOKafkaAdminClient):  # type: ignore[misc]  # it ships no types
    """Ends like the other clients."""

    async def stop(self) -> None:
        """Ends it."""
        await self.close()


class Link:
    """The clients of one connection to a cluster: one reads, one looks after what surrounds it.

    Usable as `async with`; entering raises Unreachable. One that fails is closed and made anew.
    """

    def __init__(self, source: KafkaSource, heard: Heard) -> None:
        self._source, self._heard = source, heard
        self._closing: list[Client] = []
        self._options: dict[str, Any] = {}
        self._looker: AIOKafkaConsumer | None = None

    async def __aenter__(self) -> "Link":
        self._heard.said.clear()
        self._heard.errors.clear()
        try:
            self._options = await asyncio.to_thread(options, self._source)
            self.admin = _Admin(**self._options)
            await self._started(self.admin)
            self.reader = await self.consumer(fetch_max_bytes=FETCH_BYTES_MAX)
            self.keeper = await self.consumer(group_id=self._source.group)
        except TROUBLES as error:
            await self.close()
            raise Unreachable(told(error, self._heard)) from error
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def consumer(self, **more: Any) -> AIOKafkaConsumer:
        """A consumer that decides nothing by itself, closed with the link."""
        made = AIOKafkaConsumer(
            **self._options,
            enable_auto_commit=False,
            auto_offset_reset="none",
            isolation_level="read_committed",
            **more,
        )
        await self._started(made)
        return made

    async def producer(self) -> AIOKafkaProducer:
        """A producer that waits for every replica, closed with the link."""
        made = AIOKafkaProducer(
            **self._options, acks="all", enable_idempotence=True, max_request_size=MESSAGE_BYTES_MAX
        )
        await self._started(made)
        return made

    async def _started(self, client: Any) -> None:
        self._closing.append(client)
        await answer(client.start())

    async def close(self) -> None:
        """Closes everything, however the broker is."""
        closing, self._closing = self._closing, []
        await asyncio.gather(*(end(client, STOP_S) for client in reversed(closing)))

    # ---- what the cluster says -----------------------------------------------------------------------
    async def partitions(self, topics: Iterable[str]) -> Mapping[str, list[int]]:
        """The partitions of each topic that there is. Raises what aiokafka raises."""
        found = await answer(self.admin.describe_topics(list(topics)))
        return {
            one["topic"]: sorted(part["partition"] for part in one["partitions"])
            for one in found
            if not one["error_code"] and one["partitions"]
        }

    async def record_at(self, place: TopicPartition, offset: int) -> Any:
        """The first message at this offset or after it, None when there is none. Raises what aiokafka raises."""
        if self._looker is None:
            self._looker = await self.consumer(max_partition_fetch_bytes=65_536)
        looker = self._looker
        looker.assign([place])
        looker.seek(place, offset)
        try:
            async with asyncio.timeout(ANSWER_S):
                while True:
                    for records in (await looker.getmany(place, timeout_ms=200, max_records=1)).values():
                        return records[0]
                    if looker.last_poll_timestamp(place) and looker.last_stable_offset(place) <= max(
                        offset, await looker.position(place)
                    ):
                        return None
        finally:
            looker.unsubscribe()


async def complaints(source: KafkaSource) -> list[str]:
    """What would keep the source from working, asked of the brokers; creates nothing."""
    heard = Heard()
    with heard.listening():
        try:
            async with Link(source, heard) as link:
                there = await link.partitions(source.followed)
        except Unreachable as error:
            return [str(error)]
        except TROUBLES as error:
            return [told(error, heard)]
    return [f"there is no topic {topic}, or it may not be seen" for topic in source.followed if topic not in there]
