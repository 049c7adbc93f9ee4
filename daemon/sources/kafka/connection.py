"""The clients of one Kafka source: made of its configuration, and closed without waiting for a broker that is gone."""

import asyncio
import contextlib
import ssl
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.abc import AbstractTokenProvider
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from daemon.settings.kafka import KafkaSource, KafkaTls
from daemon.sources.kafka import reasons

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


class _Token(AbstractTokenProvider):  # type: ignore[misc]  # it ships no types
    """A token from a file, which something else keeps fresh."""

    def __init__(self, file: str) -> None:
        self._file = Path(file)

    async def token(self) -> str:
        """The token as it stands there now."""
        return (await asyncio.to_thread(self._file.read_text, "utf-8")).strip()


def options(source: KafkaSource) -> dict[str, Any]:
    """What every client is made with. Raises OSError and ssl.SSLError for certificates that cannot be read."""
    sasl = source.sasl
    found: dict[str, Any] = {
        "bootstrap_servers": list(source.brokers),
        "client_id": "samband",
        "request_timeout_ms": int(ANSWER_S * 1000),
        "metadata_max_age_ms": METADATA_MS,
        "retry_backoff_ms": 200,
        "security_protocol": {
            (False, False): "PLAINTEXT",
            (True, False): "SSL",
            (False, True): "SASL_PLAINTEXT",
            (True, True): "SASL_SSL",
        }[source.tls is not None, sasl is not None],
    }
    if source.tls is not None:
        found["ssl_context"] = _trust(source.tls)
    if sasl is not None:
        found["sasl_mechanism"] = sasl.mechanism
        if sasl.mechanism == "OAUTHBEARER":
            found["sasl_oauth_token_provider"] = _Token(sasl.token_file)
        else:
            found["sasl_plain_username"] = sasl.user
            found["sasl_plain_password"] = sasl.secret
    return found


def _trust(tls: KafkaTls) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=tls.ca_file or None)
    if tls.cert_file:
        context.load_cert_chain(tls.cert_file, tls.key_file)
    return context


class Link:
    """The clients of one connection to a cluster: one reads, one looks after what surrounds it.

    Usable as `async with`; entering raises Unreachable. One that fails is closed and made anew.
    """

    def __init__(self, source: KafkaSource, reason: reasons.Reason) -> None:
        self._source, self._reason = source, reason
        self._closing: list[Callable[[], Awaitable[Any]]] = []
        self._options: dict[str, Any] = {}
        self._looker: AIOKafkaConsumer | None = None

    async def __aenter__(self) -> "Link":
        reasons.listen()
        reasons.listening.set(self._reason)
        self._reason.take()
        try:
            self._options = await asyncio.to_thread(options, self._source)
            self.admin = AIOKafkaAdminClient(**self._options)
            await self._started(self.admin.start, self.admin.close)
            self.reader = await self.consumer(fetch_max_bytes=FETCH_BYTES_MAX)
            self.keeper = await self.consumer(group_id=self._source.group)
        except TROUBLES as error:
            await self.close()
            raise Unreachable(reasons.explained(self._reason.take(), error)) from error
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
        await self._started(made.start, made.stop)
        return made

    async def producer(self) -> AIOKafkaProducer:
        """A producer that waits for every replica, closed with the link."""
        made = AIOKafkaProducer(
            **self._options, acks="all", enable_idempotence=True, max_request_size=MESSAGE_BYTES_MAX
        )
        await self._started(made.start, made.stop)
        return made

    async def _started(self, start: Callable[[], Awaitable[Any]], stop: Callable[[], Awaitable[Any]]) -> None:
        self._closing.append(stop)
        await answer(start())

    async def close(self) -> None:
        """Closes everything, however the broker is."""
        closing, self._closing = self._closing, []
        await asyncio.gather(*(close(stop) for stop in reversed(closing)))

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


async def close(stop: Callable[[], Awaitable[Any]]) -> None:
    """Stops a client; while its broker is dead that may hang, or raise CancelledError."""
    task = asyncio.ensure_future(stop())
    with contextlib.suppress(TimeoutError):
        await asyncio.wait({task}, timeout=STOP_S)
    if not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=1.0)
    if task.done() and not task.cancelled():
        task.exception()


async def complaints(source: KafkaSource) -> list[str]:
    """What would keep the source from working, asked of the brokers; creates nothing."""
    try:
        async with Link(source, reasons.Reason()) as link:
            there = await link.partitions(source.followed)
    except Unreachable as error:
        return [str(error)]
    except TROUBLES as error:
        return [reasons.explained("", error)]
    return [f"there is no topic {topic}, or it may not be seen" for topic in source.followed if topic not in there]
