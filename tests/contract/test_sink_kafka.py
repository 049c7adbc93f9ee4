"""The Kafka sink against a real broker: what `test_every_sink` asks of the others, and its record."""

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import pytest
import pytest_asyncio
from aiokafka import AIOKafkaProducer
from msgspec.structs import replace
from pydantic import ValidationError

from daemon.http_client import HttpClient
from sinks.base import Absent, Done, Found, Order, Reason, Reject, Retry, Unsure
from sinks.messages.kafka import Kafka as KafkaSink
from sinks.messages.kafka import KafkaConfig
from tests.contract.sinks_kit import KEY, SETTLE_MS, later, order, view
from tests.contract.test_every_sink import HOSTILE
from tests.counterparts.kafka import Broker, Kafka
from tests.counterparts.kafka_setup import PLAIN
from tests.counterparts.process import free_port

pytestmark = pytest.mark.integration

ALICE = {"mechanism": "PLAIN", "user": PLAIN[0], "password": PLAIN[1]}


class Bench(NamedTuple):
    """The sink at a topic of its own."""

    sink: KafkaSink
    broker: Broker
    topic: str
    http: HttpClient

    async def keys(self) -> list[str]:
        """The Idempotency-Keys in the topic, in order."""
        return [dict(record.headers)["Idempotency-Key"].decode() for record in await self.broker.read(self.topic)]


def make(brokers: str, topic: str, **changes: Any) -> KafkaSink:
    config = {"type": "kafka", "brokers": [brokers], "topic": topic} | changes
    return KafkaSink("kafka", KafkaConfig.model_validate(config), settle_ms=SETTLE_MS)


@asynccontextmanager
async def bench(broker: Broker, *, partitions: int = 3, timeout_s: float = 10.0) -> AsyncIterator[Bench]:
    topic = await broker.create_topic(partitions)
    async with HttpClient(timeout_s) as http:
        yield Bench(make(broker.address, topic), broker, topic, http)
    left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    assert left == [], "a client goes on behind our back"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def own(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Kafka]:
    """A broker that this file alone uses: it is frozen and killed."""
    async with Kafka(tmp_path_factory.mktemp("kafka"), secure=True) as running:
        yield running


# ---- the record ----------------------------------------------------------------------------------------


async def test_a_life_is_four_records_in_one_partition_in_order(kafka: Broker) -> None:
    ended = view(state="resolved", resolved_at=2, firing=0, ended=184, version=5)
    told = [order(), order("update", send=8), order("resolve", shown=ended, send=9), order("reopen", send=10)]
    async with bench(kafka) as one:
        refs = [await one.sink.deliver(each, one.http) for each in told]
        records = await kafka.read(one.topic)
    assert refs == [Done(f"{one.topic}/{records[0].partition}@{offset}") for offset in range(4)]
    assert {(record.key, record.partition) for record in records} == {(b"6a59f1e380000001", records[0].partition)}
    assert [json.loads(record.value)["type"] for record in records] == [
        "incident.opened", "incident.updated", "incident.resolved", "incident.reopened",
    ]  # fmt: skip


async def test_the_record_is_a_cloud_event_in_binary_mode(kafka: Broker) -> None:
    async with bench(kafka) as one:
        await one.sink.deliver(order(), one.http)
        [record] = await kafka.read(one.topic)
    headers = {name: value.decode() for name, value in record.headers}
    assert headers == {
        "content-type": "application/json",
        "Idempotency-Key": f"{KEY}/6a59f1e380000007",
        "ce_specversion": "1.0",
        "ce_id": f"{KEY}/6a59f1e380000007",
        "ce_type": "incident.opened",
        "ce_source": "samband",
        "ce_subject": "6a59f1e380000001",
        "ce_time": "2026-12-02T03:02:10Z",
    }
    assert json.loads(record.value)["key"] == KEY
    rendered = one.sink.render(order())
    assert rendered == one.sink.render(order()), "pure"
    assert (rendered.headers, rendered.body) == (headers, record.value)
    assert rendered.url.endswith(f"/{one.topic}/{record.key.decode()}")


async def test_hostile_text_arrives_inert(kafka: Broker) -> None:
    word = HOSTILE * 100
    hostile = view(title=word, derivation=word, owner=word, cause=word, summary=word, link="javascript:alert(1)")
    async with bench(kafka) as one:
        assert isinstance(await one.sink.deliver(order(shown=hostile, title=word, text=word), one.http), Done)
        [record] = await kafka.read(one.topic)
    assert [part for part in (b"\\u0000", b"\\u001b", "\u202e".encode(), b"javascript:") if part in record.value] == []


# ---- what may go wrong -------------------------------------------------------------------------------------


async def test_a_refused_connection_was_certainly_not_delivered() -> None:
    async with HttpClient(3) as http:
        outcome = await make(f"127.0.0.1:{free_port()}", "incidents").deliver(order(), http)
    assert isinstance(outcome, Retry)
    assert outcome.reason is Reason.UNREACHABLE


async def test_a_topic_that_is_not_there_is_waited_for(kafka: Broker) -> None:
    async with HttpClient(1) as http:
        sink = make(kafka.address, "nobody-has-made-this")
        outcome = await sink.deliver(order(), http)
        assert isinstance(outcome, Retry)
        assert outcome.reason is Reason.NOT_FOUND
        assert isinstance(await sink.find(order(), http, SETTLE_MS), Retry)


async def test_wrong_credentials_are_refused_for_good(own: Kafka) -> None:
    async with HttpClient(5) as http:
        sink = make(own.listeners["SASL"], "incidents", sasl=ALICE | {"password": "another"})
        outcome = await sink.deliver(order(), http)
    assert isinstance(outcome, Reject)
    assert outcome.reason is Reason.CREDENTIALS
    assert "another" not in outcome.detail


async def test_an_event_that_the_topic_does_not_take_is_a_dead_letter(kafka: Broker) -> None:
    topic = await kafka.create_topic(max_message_bytes="200")
    async with HttpClient(5) as http:
        outcome = await make(kafka.address, topic).deliver(order(), http)
    assert isinstance(outcome, Reject)
    assert outcome.reason is Reason.REFUSED


async def test_over_tls_and_with_a_login_it_arrives(own: Kafka) -> None:
    async with bench(own) as one:
        secure = make(own.listeners["SASLTLS"], one.topic, sasl=ALICE, tls={"ca_file": own.ca})
        assert isinstance(await secure.deliver(order(), one.http), Done)
        assert await secure.check(one.http) == []
        assert len(await one.keys()) == 1


async def _while_frozen(one: Bench, broker: Kafka, told: Order) -> object:
    """The outcome of a delivery whose broker hangs once the record is under way."""
    producing = asyncio.Event()
    send = AIOKafkaProducer.send

    async def sending(producer: Any, *given: Any, **named: Any) -> Any:
        broker.freeze()
        producing.set()
        return await send(producer, *given, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AIOKafkaProducer, "send", sending)
        outcome = await one.sink.deliver(told, one.http)
    assert producing.is_set()
    return outcome


async def test_a_broker_that_hangs_is_unsure_and_ends_with_one_record(own: Kafka) -> None:
    async with bench(own, timeout_s=1.0) as one:
        outcome = await _while_frozen(one, own, order())
        assert isinstance(outcome, Unsure)
        assert outcome.reason is Reason.TIMEOUT
        looked = await one.sink.find(later(order()), one.http, 10)
        assert isinstance(looked, Retry), "nobody can say yet"
        own.thaw()
        slow = HttpClient(10.0)
        async with slow:
            found = await _settled(one, slow)
            if isinstance(found, Absent):  # It had not left this machine, and never will.
                assert isinstance(await one.sink.deliver(later(order()), slow), Done)
            assert isinstance(await one.sink.find(later(order()), slow, 10), Found)
        await asyncio.sleep(0.5)
        assert await one.keys() == [f"{KEY}/6a59f1e380000007"]


async def _settled(one: Bench, http: HttpClient) -> Found | Absent:
    started = time.monotonic()
    while True:
        found = await one.sink.find(later(order()), http, int((time.monotonic() - started) * 1000))
        if isinstance(found, Found) or found == Absent(settled=True):
            return found
        await asyncio.sleep(0.2)


async def test_a_broker_that_dies_loses_nothing_and_comes_back(own: Kafka) -> None:
    async with bench(own, timeout_s=2.0) as one:
        assert isinstance(await one.sink.deliver(order(), one.http), Done)
        await own.kill()
        assert isinstance(await one.sink.deliver(order("update", send=8), one.http), Retry)
        await own.start()
        one.http.timeout_s = 10.0
        assert isinstance(await one.sink.deliver(order("update", send=8), one.http), Done)
        assert await one.keys() == [f"{KEY}/6a59f1e380000007", f"{KEY}/0000000000000008"]


# ---- read back -----------------------------------------------------------------------------------------------


async def test_a_record_is_found_by_its_key_and_no_other(kafka: Broker) -> None:
    async with bench(kafka) as one:
        done = await one.sink.deliver(order(), one.http)
        await one.sink.deliver(order(shown=view(id="6a59f1e380000002"), send=11), one.http)
        assert isinstance(done, Done)
        assert await one.sink.find(later(order()), one.http, 0) == Found(done.ref)
        assert await one.sink.find(later(order(send=12)), one.http, 0) == Absent(settled=False)


async def test_it_is_looked_for_from_the_first_attempt_on(kafka: Broker) -> None:
    """Also when the newest unclear attempt is a moment old, and the partitions have become more since."""
    async with bench(kafka, partitions=1) as one:
        headers = [("Idempotency-Key", f"{KEY}/6a59f1e380000007".encode())]
        hour_ago = int(time.time() * 1000) - 3_600_000
        await kafka.produce(one.topic, [b"{}"], headers=headers, at_ms=hour_ago)
        await kafka.add_partitions(one.topic, 4)
        assert await one.sink.find(order(), one.http, 1000) == Absent(settled=False)
        first = replace(order(), first_try_at=order().sent_at - 3_600_000)
        assert await one.sink.find(first, one.http, 1000) == Found(f"{one.topic}/0@0")


async def test_an_absence_is_settled_only_when_a_record_can_no_longer_be_late(kafka: Broker) -> None:
    async with bench(kafka) as one:
        assert await one.sink.find(order(), one.http, SETTLE_MS - 1) == Absent(settled=False)
        assert await one.sink.find(order(), one.http, SETTLE_MS) == Absent(settled=True)


async def test_a_twin_cannot_be_taken_back(kafka: Broker) -> None:
    async with bench(kafka) as one:
        first = await one.sink.deliver(order(), one.http)
        await one.sink.deliver(later(order()), one.http)
        assert isinstance(first, Done)
        assert await one.sink.find(later(order()), one.http, 0) == Found(first.ref), "no twin that could be closed"
        assert isinstance(await one.sink.close_twin(order(), first.ref, one.http), Reject)
        assert len(set(await one.keys())) == 1, "a consumer tells them apart"


# ---- configuration ---------------------------------------------------------------------------------------------


async def test_check_finds_nothing_wrong_and_makes_nothing(kafka: Broker) -> None:
    async with bench(kafka) as one:
        assert await one.sink.check(one.http) == []
        assert await one.keys() == []


async def test_check_says_what_is_wrong_and_the_remedy(own: Kafka) -> None:
    topic = await own.create_topic()
    wrong: list[tuple[KafkaSink, str]] = [
        (make(f"127.0.0.1:{free_port()}", topic), "no broker is reached"),
        (make(own.address, "nobody-has-made-this"), "no such topic"),
        (make(own.listeners["SASL"], topic, sasl=ALICE | {"password": "another"}), "refuses the login"),
        (make(own.listeners["TLS"], topic, tls={}), "not believed"),
        (make(own.listeners["TLS"], topic), "closes the connection"),
    ]
    async with HttpClient(2) as http:
        for sink, words in wrong:
            [problem] = await sink.check(http)
            assert words in problem.text
            assert problem.remedy


async def test_secrets_stay_in_their_place(own: Kafka, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    sasl = ALICE | {"password": "kafka-secret-password"}
    sink = make(own.listeners["SASL"], "incidents", sasl=sasl)
    async with HttpClient(2) as http:
        seen = [repr(await sink.deliver(order(), http)), repr(await sink.check(http))]
        seen.append(repr(await sink.find(order(), http, 0)))
    config = KafkaConfig.model_validate({"type": "kafka", "brokers": ["k:9092"], "topic": "t", "sasl": sasl})
    seen += [repr(sink), repr(sink.render(order())), caplog.text, repr(config), config.model_dump_json()]
    with pytest.raises(ValidationError) as caught:
        KafkaConfig.model_validate({"type": "kafka", "brokers": 7, "sasl": sasl | {"colour": "red"}})
    seen.append(str(caught.value))
    assert sink.secrets == ("kafka-secret-password",)
    assert [text for text in seen if "kafka-secret" in text] == []


@pytest.mark.parametrize(
    "changes",
    [
        {"brokers": []},
        {"brokers": ["kafka-1"]},
        {"topic": "with a blank"},
        {"sasl": {"user": "u"}},
        {"tls": {"cert_file": "/run/cert.pem"}},
        {"sasl": {"mechanism": "OAUTHBEARER"}},
        {"url": "http://k:9092"},
    ],
)
def test_what_cannot_be_is_a_mistake_of_the_configuration(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        KafkaConfig.model_validate({"type": "kafka", "brokers": ["k:9092"], "topic": "t", **changes})
