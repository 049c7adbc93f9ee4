"""A Kafka topic: what happens to incidents, as events that are keyed by the incident.

Each event goes over a connection of its own, by an idempotent producer with acks=all. That costs some
milliseconds, and in return there is no state: a reload, a renewed certificate or token, and a broker
that was away for an hour need nothing.

Its class is read-back. A producer's idempotence ends with the producer, so it tells nobody what became
of a record whose acknowledgement was lost; but a log can be read, and every record carries its
Idempotency-Key. A record that comes to light after the search (a broker that hung) cannot be taken back,
and a change whose acknowledgement was lost is sent again without a look: both carry the key of the
first, by which a consumer tells them apart.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any, Literal
from urllib.parse import quote

from pydantic import Field

from daemon.brokers import BrokerAddresses, BrokerSasl, BrokerTls, secrets_of
from daemon.core.model.incident import Kind
from daemon.core.view_json import rfc3339
from sinks.base import (
    Absent,
    Done,
    Found,
    Http,
    Idempotency,
    Order,
    Outcome,
    Problem,
    Reason,
    Reject,
    Request,
    Retry,
    Unsure,
)
from sinks.calls import encode
from sinks.config import SinkConfig
from sinks.event import event_of, idempotency_key
from sinks.text import detail

SKEW_MS = 60_000
"""A record is looked for from so long before the attempt on: the clocks of the broker and of this machine differ."""


class KafkaConfig(SinkConfig):
    """Events to a topic of one's own."""

    type: Literal["kafka"] = Field(description="Kafka topic")
    brokers: BrokerAddresses = Field(description="host:port of some brokers")
    topic: str = Field(min_length=1, max_length=249, pattern=r"^[A-Za-z0-9._-]+$", description="Topic that is written")
    source: str = Field("samband", min_length=1, description="`ce_source` of the events, a URI reference")
    tls: BrokerTls | None = Field(None, description="TLS: {ca_file, cert_file, key_file}, or {}")
    sasl: BrokerSasl | None = Field(None, description="Login: {mechanism, user, password_file}")


class Kafka:
    """The sink."""

    Config = KafkaConfig
    kind: Kind = "message"
    idempotency: Idempotency = "readback"
    reopens = True
    reports = False

    def __init__(self, name: str, config: KafkaConfig, *, settle_ms: int) -> None:
        from daemon import broker_clients  # aiokafka takes long to import, and most have no Kafka

        self.name = name
        self._config, self._settle_ms, self._clients = config, settle_ms, broker_clients
        self.secrets: Sequence[str] = secrets_of(config.sasl)

    def render(self, order: Order) -> Request:
        """The record, written as a request: its headers and value; the last part of the URL is its key."""
        event, key = event_of(order), idempotency_key(order)
        headers = {
            "content-type": "application/json",
            "Idempotency-Key": key,
            "ce_specversion": "1.0",
            "ce_id": key,
            "ce_type": event["type"],
            "ce_source": self._config.source,
            "ce_subject": order.incident.id,
            "ce_time": rfc3339(order.sent_at),
        }
        url = f"kafka://{self._config.brokers[0]}/{self._config.topic}/{quote(order.incident.id)}"
        return Request("PRODUCE", url, headers, encode(event))

    async def deliver(self, order: Order, http: Http) -> Outcome:
        """Appends the record. Until it is handed to the producer, it was certainly not sent."""
        from aiokafka import AIOKafkaProducer

        record, heard = self.render(order), self._clients.Heard()
        sending: asyncio.Future[Any] | None = None
        try:
            async with self._client(AIOKafkaProducer, http, heard, acks="all", enable_idempotence=True) as producer:
                async with asyncio.timeout(http.timeout_s):
                    await producer.start()
                    await producer.partitions_for(self._config.topic)
                    headers = [(name, value.encode()) for name, value in record.headers.items()]
                    key = order.incident.id.encode()
                    sending = await producer.send(self._config.topic, record.body, key=key, headers=headers)
                    at = await asyncio.shield(sending)
        except Exception as error:  # noqa: BLE001  (aiokafka raises almost anything; all of it is an outcome)
            return self._failed(error, heard, sent=sending is not None)
        return Done(f"{at.topic}/{at.partition}@{at.offset}")

    async def find(self, order: Order, http: Http, since_ms: int) -> Found | Absent | Retry:
        """Reads what was appended since the attempt, and looks for the order's Idempotency-Key."""
        from aiokafka import AIOKafkaConsumer

        heard, wanted = self._clients.Heard(), ("Idempotency-Key", idempotency_key(order).encode())
        first_ms = order.sent_at - order.first_try_at if order.first_try_at else 0
        from_ms = int(time.time() * 1000) - max(since_ms, first_ms) - SKEW_MS
        try:
            async with self._client(AIOKafkaConsumer, http, heard, self._config.topic) as consumer:
                async with asyncio.timeout(http.timeout_s):
                    await consumer.start()
                    async for record in _appended(consumer, from_ms):
                        if wanted in record.headers:
                            return Found(f"{record.topic}/{record.partition}@{record.offset}")
        except Exception as error:  # noqa: BLE001  (likewise)
            told = self._failed(error, heard, sent=False)
            return Retry(told.reason, told.detail)
        return Absent(settled=since_ms >= self._settle_ms)

    async def close_twin(self, order: Order, ref: str, http: Http) -> Outcome:
        """Never asked for: what stands in a log cannot be taken back."""
        return Reject(Reason.REFUSED, "a record cannot be taken back")

    async def check(self, http: Http) -> list[Problem]:
        """Whether a broker lets samband in and knows the topic. Whether it may write there shows only in writing."""
        from aiokafka import AIOKafkaProducer

        heard = self._clients.Heard()
        try:
            async with self._client(AIOKafkaProducer, http, heard) as producer:
                async with asyncio.timeout(http.timeout_s):
                    await producer.start()
                    await producer.partitions_for(self._config.topic)
        except Exception as error:  # noqa: BLE001  (likewise)
            trouble = self._clients.trouble(error, heard)
            return [Problem(detail(f"{self._config.topic}: {trouble.text}", self.secrets), trouble.remedy)]
        return []

    @contextlib.asynccontextmanager
    async def _client(self, kind: Any, http: Http, heard: Any, *topics: str, **options: Any) -> AsyncIterator[Any]:
        """A client that is not started yet, and ends with the block. Raises OSError, ssl.SSLError for files."""
        config, within_s = self._config, http.timeout_s
        with heard.listening():
            common = self._clients.client_options(config.brokers, config.tls, config.sasl)
            client = kind(*topics, **common, **options, request_timeout_ms=max(int(within_s * 1000), 1))
            try:
                yield client
            except BaseException:
                await self._clients.end(client, 0)  # It must not go on trying behind our back.
                raise
            await self._clients.end(client, within_s)

    def _failed(self, error: Exception, heard: Any, *, sent: bool) -> Retry | Reject | Unsure:
        """The outcome of an attempt that raised. sent: the record may have left."""
        from aiokafka import errors

        trouble = self._clients.trouble(error, heard)
        reason = _REASONS[trouble.kind]
        said = detail(trouble.text, self.secrets)
        if isinstance(error, errors.MessageSizeTooLargeError | errors.RecordListTooLargeError):
            return Reject(Reason.REFUSED, "the event is larger than the topic takes: raise its max.message.bytes")
        if reason is Reason.CREDENTIALS:
            return Reject(reason, said)
        # A topic that is not there may be made; a broker that has just started also says so.
        if not sent or isinstance(error, errors.UnknownTopicOrPartitionError | errors.NotEnoughReplicasError):
            return Retry(reason, said)
        return Unsure(reason, said)


_REASONS = {
    "unreachable": Reason.UNREACHABLE,
    "timeout": Reason.TIMEOUT,
    "credentials": Reason.CREDENTIALS,
    "tls": Reason.UNREACHABLE,
    "not_found": Reason.NOT_FOUND,
    "failed": Reason.SERVER_ERROR,
}


async def _appended(consumer: Any, from_ms: int) -> AsyncIterator[Any]:
    """The records of the consumer's topic from a time on, up to where it ended when the search began."""
    partitions = consumer.assignment()
    starts = await consumer.offsets_for_times(dict.fromkeys(partitions, from_ms))
    wanted = {partition: start.offset for partition, start in starts.items() if start is not None}
    if not wanted:
        return
    ends = await consumer.end_offsets(list(wanted))
    consumer.unsubscribe()
    consumer.assign(list(wanted))
    for partition, offset in wanted.items():
        consumer.seek(partition, offset)
    while any([await consumer.position(partition) < ends[partition] for partition in wanted]):
        for records in (await consumer.getmany(timeout_ms=100)).values():
            for record in records:
                yield record
