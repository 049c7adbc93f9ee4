"""What is wrong with a broker is said as it is, whatever aiokafka makes of it."""

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from daemon.broker_clients import Heard, Trouble, client_options, end, trouble
from daemon.brokers import BrokerSasl, BrokerTls
from tests.counterparts.kafka import Kafka
from tests.counterparts.kafka_setup import PLAIN, SCRAM
from tests.counterparts.process import free_port

pytestmark = pytest.mark.integration

ALICE = {"mechanism": "PLAIN", "user": PLAIN[0], "password": PLAIN[1]}
CAROL = {"user": SCRAM[0], "password": SCRAM[1]}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def broker(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Kafka]:
    async with Kafka(tmp_path_factory.mktemp("kafka"), secure=True) as running:
        yield running


async def attempt(
    brokers: str, sasl: dict[str, Any] | None = None, tls: dict[str, Any] | None = None
) -> Trouble | None:
    """What is wrong with a connection, None when it works."""
    options = client_options(
        [brokers],
        None if tls is None else BrokerTls.model_validate(tls),
        None if sasl is None else BrokerSasl.model_validate(sasl),
    )
    heard = Heard()
    with heard.listening():
        producer = AIOKafkaProducer(**options, request_timeout_ms=2000, enable_idempotence=True)
        try:
            async with asyncio.timeout(3):
                await producer.start()
        except Exception as error:  # noqa: BLE001  (whatever it is: that is the question)
            return trouble(error, heard)
        finally:
            await end(producer, 3)
    return None


async def test_every_way_of_logging_in_works(broker: Kafka) -> None:
    ca = {"ca_file": broker.ca}
    own = ca | {"cert_file": broker.client_cert, "key_file": broker.client_key}
    at = broker.listeners
    assert await attempt(at["PLAINTEXT"]) is None
    assert await attempt(at["SASL"], ALICE) is None
    assert await attempt(at["SASL"], CAROL) is None, "SCRAM-SHA-512 when nothing else is said"
    assert await attempt(at["SASLTLS"], CAROL | {"mechanism": "SCRAM-SHA-256"}, ca) is None
    assert await attempt(at["TLS"], None, ca) is None
    assert await attempt(at["MTLS"], None, own) is None


class Log(logging.Handler):
    """What reaches the log. (pytest's own fixture also listens to loggers that keep their lines to themselves.)"""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.names.append(record.name)


@pytest.fixture
def log() -> Iterator[Log]:
    handler = Log()
    logging.getLogger().addHandler(handler)
    yield handler
    logging.getLogger().removeHandler(handler)


async def test_each_mistake_has_its_own_words(broker: Kafka, log: Log) -> None:
    at, ca = broker.listeners, {"ca_file": broker.ca}
    expected = {
        "refused": (await attempt(f"127.0.0.1:{free_port()}"), "unreachable", "Connect"),
        "no such host": (await attempt("no-such-host.invalid:9092"), "unreachable", "not known"),
        "password": (await attempt(at["SASL"], ALICE | {"password": "wrong-one"}), "credentials", "Invalid username"),
        "user": (await attempt(at["SASL"], CAROL | {"user": "bob"}), "credentials", "invalid credentials"),
        "login that nobody asked for": (await attempt(at["PLAINTEXT"], ALICE), "credentials", "no login"),
        "no login": (await attempt(at["SASL"]), "unreachable", "closes the connection"),
        "no TLS": (await attempt(at["TLS"]), "unreachable", "closes the connection"),
        "no certificate of its own": (await attempt(at["MTLS"], None, ca), "unreachable", "closes the connection"),
        "TLS that nobody speaks": (await attempt(at["PLAINTEXT"], None, ca), "unreachable", "closes the connection"),
        "authority": (await attempt(at["TLS"], None, {}), "tls", "not believed"),
    }
    for name, (found, kind, words) in expected.items():
        assert found is not None, name
        assert (found.kind, words in found.text) == (kind, True), (name, found)
        assert found.remedy
        assert "wrong-one" not in found.text
    assert log.names == []


async def test_a_token_is_read_from_its_file_and_a_refused_one_is_no_dead_broker(broker: Kafka, tmp_path: Path) -> None:
    sasl = {"mechanism": "OAUTHBEARER", "token_file": tmp_path / "token"}
    found = await attempt(broker.listeners["SASL"], sasl)
    assert found is not None
    assert "token" in found.text, "the file is not there"
    (tmp_path / "token").write_text("garbage\n")
    found = await attempt(broker.listeners["SASL"], sasl)
    assert found is not None
    assert found.kind == "credentials"


async def test_a_broker_that_hangs_costs_no_more_than_the_time_out(broker: Kafka) -> None:
    broker.freeze()
    try:
        found = await attempt(broker.listeners["PLAINTEXT"])
    finally:
        broker.thaw()
    assert found is not None
    assert found.kind == "timeout"


async def test_a_client_whose_broker_died_can_be_ended(tmp_path: Path) -> None:
    async with Kafka(tmp_path / "kafka") as running:
        topic = await running.create_topic()
        heard = Heard()
        with heard.listening():
            options = client_options([running.address], None, None)
            producer = AIOKafkaProducer(**options, request_timeout_ms=2000, enable_idempotence=True)
            await producer.start()
        await producer.send_and_wait(topic, b"1")
        await running.kill()
        waiting = await producer.send(topic, b"2")
        await end(producer, 0.2)
        with pytest.raises(KafkaError):
            await waiting
        assert asyncio.all_tasks() == {asyncio.current_task()}, "an idempotent one would try for ever"
        assert heard.said, "what it says later comes to the same ear"


def test_other_clients_words_go_to_the_log(log: Log) -> None:
    with Heard().listening():
        pass
    logging.getLogger("aiokafka.somewhere").error("what nobody listens to")
    assert log.names == ["aiokafka.somewhere"]


def test_a_file_that_is_no_certificate_is_an_error_at_once(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("nothing")
    with pytest.raises(ssl.SSLError):
        client_options(["127.0.0.1:1"], BrokerTls(ca_file=tmp_path / "ca.pem"), None)
