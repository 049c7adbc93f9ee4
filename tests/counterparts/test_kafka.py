"""The broker is what the other tests believe it to be."""

import base64
import json
import ssl
import time
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.abc import AbstractTokenProvider
from aiokafka.errors import KafkaConnectionError, TopicAlreadyExistsError
from aiokafka.helpers import create_ssl_context

from tests.counterparts.fixtures import StartKafka
from tests.counterparts.kafka import Broker, Kafka
from tests.counterparts.kafka_setup import PLAIN, SCRAM

pytestmark = pytest.mark.integration


async def test_a_topic_lives_grows_loses_its_beginning_and_ends(kafka: Broker) -> None:
    topic = await kafka.create_topic(2, max_message_bytes="100000")
    with pytest.raises(TopicAlreadyExistsError):
        await kafka.create_topic(name=topic)
    await kafka.produce(topic, [b"a", None, b"c"], partition=1, key=b"k", headers=[("h", b"v")])
    await kafka.add_partitions(topic, 3)
    await kafka.produce(topic, [b"d"], partition=2)

    assert await kafka.end_offsets(topic) == {0: 0, 1: 3, 2: 1}
    records = await kafka.read(topic)
    assert [(r.partition, r.offset, r.value) for r in records] == [
        (1, 0, b"a"), (1, 1, None), (1, 2, b"c"), (2, 0, b"d"),
    ]  # fmt: skip
    assert (records[0].key, records[0].headers) == (b"k", (("h", b"v"),))

    await kafka.delete_records(topic, {1: 2})
    assert [r.value for r in await kafka.read(topic)] == [b"c", b"d"]

    await kafka.delete_topic(topic)
    await kafka.create_topic(name=topic)
    assert await kafka.read(topic) == []


async def test_the_console_producer_sends_a_message_per_line(kafka: Broker) -> None:
    topic = await kafka.create_topic()
    by_key = ("--reader-property", "parse.key=true", "--reader-property", "key.separator=|")
    await kafka.console_producer(topic, 'k1|{"name": "A"}\nk2|{"name": "B"}\n', *by_key)
    assert [(r.key, r.value) for r in await kafka.read(topic)] == [(b"k1", b'{"name": "A"}'), (b"k2", b'{"name": "B"}')]


async def test_what_was_acknowledged_survives_stop_and_kill(start_kafka: StartKafka) -> None:
    broker = await start_kafka()
    topic = await broker.create_topic()
    await broker.produce(topic, [b"1"])
    assert await broker.stop() == 143
    await broker.start()
    await broker.produce(topic, [b"2"])
    await broker.kill()
    await broker.start()
    await broker.produce(topic, [b"3"])
    assert [r.value for r in await broker.read(topic)] == [b"1", b"2", b"3"]


async def test_every_listener_lets_in_who_may(start_kafka: StartKafka) -> None:
    broker = await start_kafka(secure=True)
    topic = await broker.create_topic()
    plain = {"sasl_mechanism": "PLAIN", "sasl_plain_username": PLAIN[0], "sasl_plain_password": PLAIN[1]}
    scram = {"sasl_plain_username": SCRAM[0], "sasl_plain_password": SCRAM[1]}
    trusts = create_ssl_context(cafile=str(broker.ca))
    shows = create_ssl_context(cafile=str(broker.ca), certfile=str(broker.client_cert), keyfile=str(broker.client_key))
    encrypted = {"security_protocol": "SASL_SSL", "ssl_context": trusts}
    bearer = {"sasl_mechanism": "OAUTHBEARER", "sasl_oauth_token_provider": _Unsecured()}
    ways: list[tuple[str, dict[str, Any]]] = [
        ("SASL", {"security_protocol": "SASL_PLAINTEXT", **plain}),
        ("SASL", {"security_protocol": "SASL_PLAINTEXT", "sasl_mechanism": "SCRAM-SHA-256", **scram}),
        ("SASLTLS", {**encrypted, "sasl_mechanism": "SCRAM-SHA-512", **scram}),
        ("SASLTLS", {**encrypted, **bearer}),
        ("TLS", {"security_protocol": "SSL", "ssl_context": trusts}),
        ("MTLS", {"security_protocol": "SSL", "ssl_context": shows}),
    ]
    for listener, how in ways:
        await _send(broker, topic, listener, how)
    assert await broker.end_offsets(topic) == {0: len(ways)}

    wrong: list[tuple[str, dict[str, Any]]] = [
        ("SASL", {"security_protocol": "SASL_PLAINTEXT", **plain, "sasl_plain_password": "wrong"}),
        ("TLS", {"security_protocol": "SSL", "ssl_context": ssl.create_default_context()}),
        ("MTLS", {"security_protocol": "SSL", "ssl_context": trusts}),
    ]
    for listener, how in wrong:
        with pytest.raises(KafkaConnectionError):
            await _send(broker, topic, listener, how)


async def _send(broker: Kafka, topic: str, listener: str, how: dict[str, Any]) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=broker.listeners[listener], **how)
    try:
        await producer.start()
        await producer.send_and_wait(topic, listener.encode())
    finally:
        await producer.stop()


class _Unsecured(AbstractTokenProvider):  # type: ignore[misc]  # aiokafka ships no types
    """A token that is signed by nobody, which a broker takes as it is set up here."""

    async def token(self) -> str:
        now = int(time.time()) - 5
        parts = [{"alg": "none"}, {"sub": "alice", "iat": now, "exp": now + 600}]
        encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts]
        return ".".join([*encoded, ""])
