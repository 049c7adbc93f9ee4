"""The counterparts as fixtures: each is there for one test, on free ports, and gone after it."""

import os
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Protocol

import pytest
import pytest_asyncio

from tests.counterparts import kafka as counterpart
from tests.counterparts.alertmanager import Alertmanager
from tests.counterparts.kafka import Broker, Kafka
from tests.counterparts.listener import Gauges, Listener
from tests.counterparts.prometheus import Prometheus, Rule


class StartPrometheus(Protocol):
    """Starts a Prometheus; may be called several times in a test."""

    def __call__(
        self,
        alertmanagers: Sequence[str],
        rules: Sequence[Rule],
        targets: Sequence[str] = (),
        *,
        external_labels: dict[str, str] | None = None,
        token: str | None = None,
    ) -> Awaitable[Prometheus]: ...


class StartAlertmanager(Protocol):
    """Starts an Alertmanager with this receiver."""

    def __call__(self, receiver: dict[str, object]) -> Awaitable[Alertmanager]: ...


class StartKafka(Protocol):
    """Starts a broker of the test's own, to be stopped, killed and frozen; may be called several times in a test."""

    def __call__(self, *, secure: bool = False) -> Awaitable[Kafka]: ...


@pytest.fixture
async def listener() -> AsyncIterator[Listener]:
    """A server that writes down what it is sent."""
    async with Listener() as running:
        yield running


@pytest.fixture
async def gauges() -> AsyncIterator[Gauges]:
    """Something to scrape, whose values the test sets."""
    async with Gauges() as running:
        yield running


@pytest.fixture
async def start_prometheus(tmp_path: Path) -> AsyncIterator[StartPrometheus]:
    """Starts real Prometheus servers, each in a folder of its own."""
    async with AsyncExitStack() as started:
        number = 0

        async def start(
            alertmanagers: Sequence[str],
            rules: Sequence[Rule],
            targets: Sequence[str] = (),
            *,
            external_labels: dict[str, str] | None = None,
            token: str | None = None,
        ) -> Prometheus:
            nonlocal number
            number += 1
            folder = tmp_path / f"prometheus-{number}"
            server = Prometheus(folder, alertmanagers, rules, targets, external_labels=external_labels, token=token)
            return await started.enter_async_context(server)

        yield start


@pytest.fixture
async def start_alertmanager(tmp_path: Path) -> AsyncIterator[StartAlertmanager]:
    """Starts a real Alertmanager with one receiver."""
    async with AsyncExitStack() as started:

        async def start(receiver: dict[str, object]) -> Alertmanager:
            return await started.enter_async_context(Alertmanager(tmp_path / "alertmanager", receiver))

        yield start


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def kafka(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Broker]:
    """The broker that all tests share, each with topics of its own: one's own, where the environment names it."""
    if own := os.environ.get(counterpart.SETTING):
        yield Broker(own)
        return
    async with Kafka(tmp_path_factory.mktemp("kafka")) as broker:
        yield broker


@pytest.fixture
async def start_kafka(tmp_path: Path) -> AsyncIterator[StartKafka]:
    """Starts brokers for one test alone."""
    async with AsyncExitStack() as started:
        number = 0

        async def start(*, secure: bool = False) -> Kafka:
            nonlocal number
            number += 1
            return await started.enter_async_context(Kafka(tmp_path / f"kafka-{number}", secure=secure))

        yield start
