"""What an alert from Kafka costs: reading beside bare aiokafka, and the whole way beside the same alerts over HTTP."""

import asyncio
import gc
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from daemon.core.model.alert import ParsedAlert
from daemon.core.model.stream import Position, Positions, StreamKey, decode_positions
from daemon.settings.kafka import KafkaSource
from daemon.settings.limits import LIMITS
from daemon.sources.formats.alertmanager import FORMAT
from daemon.sources.formats.base import Context
from daemon.sources.kafka.sources import KafkaSources
from daemon.sources.receiver import Haul
from daemon.store.queries import Queries, reading
from tests.bench.load import requests, send
from tests.bench.servers import LOAD_CORE, Server, cpu_ticks, pin, samband
from tests.bench.table import Line, Table, times
from tests.counterparts.kafka import Kafka
from tests.integration.samband import until

pytestmark = pytest.mark.bench

Way = Callable[[str, str, int], Awaitable[float]]
"""Address, topic, number of alerts -> CPU seconds of this process."""

READING = "Reading, decoding and positions, from Kafka, CPU µs an alert"
WHOLE = "The whole way, durable, from Kafka and over HTTP, CPU µs an alert"
ROUNDS = 5
READ = {1: 100_000, 100: 200_000}
"""Alerts of one round, by how many stand in a message."""
SLICE = {1: 5_000, 100: 20_000}
CONNECTIONS = {1: 64, 100: 8}
BARE_AT_MOST, HTTP_AT_MOST = 1.5, 1.0
WITHIN_S = 300.0


def bodies(first: int, count: int, batch: int) -> list[bytes]:
    """Messages: the bodies of the requests that the other benches send."""
    return [request.partition(b"\r\n\r\n")[2] for request in requests(range(first, first + count), batch)]


@asynccontextmanager
async def broker(folder: Path) -> AsyncIterator[Kafka]:
    """A broker that keeps off the core of what is measured."""
    async with Kafka(folder) as one:
        pin(one.pid, LOAD_CORE)
        yield one


@pytest.fixture(autouse=True)
def collector_of_the_daemon() -> Iterator[None]:
    """Garbage is collected in this process as rarely as `daemon.app` has it."""
    before = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    yield
    gc.set_threshold(*before)
    gc.unfreeze()


# ---- reading ---------------------------------------------------------------------------------------------


class Taking:
    """Takes every haul at once and keeps the positions: `sources.receiver.LogReceiver` without a fold or a store."""

    def __init__(self) -> None:
        self.known: dict[StreamKey, Position] = {}
        self.alerts = 0

    def now_ms(self) -> int:
        return int(time.time() * 1000)

    def positions(self) -> Positions:
        return self.known

    def streams(self) -> list[tuple[str, str]]:
        return []

    def said(self, cause: str, about: str) -> bool:
        return False

    async def within(self, alerts: list[ParsedAlert], open_max: int) -> list[ParsedAlert]:
        return alerts

    def follow(self, haul: Haul) -> Awaitable[object]:
        self.known.update(haul.positions)
        self.alerts += len(haul.alerts)
        done = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done


async def as_samband_reads(address: str, topic: str, alerts: int) -> float:
    """CPU seconds until samband's source has handed over so many alerts with their positions."""
    source = KafkaSource(type="kafka", brokers=(address,), topic=topic, format="alertmanager", start="earliest")
    receiver = Taking()
    following, began = KafkaSources(receiver), time.process_time()
    await following.replace({"stream": source}, LIMITS)
    await until(lambda: receiver.alerts >= alerts, "everything read", WITHIN_S)
    used = time.process_time() - began
    await following.stop()
    return used


def to_alerts() -> Callable[[bytes], int]:
    """The decoding that every way in needs: alerts in samband's own form, each with its key."""
    context = Context("stream", int(time.time() * 1000))
    return lambda value: len(FORMAT.parse(value, context).alerts)


def to_dicts() -> Callable[[bytes], int]:
    """The least that can be called decoding: JSON into plain objects, which know nothing of alerts."""
    return lambda value: len(msgspec.json.decode(value))


def bare(decoding: Callable[[], Callable[[bytes], int]]) -> Way:
    """What aiokafka alone and that decoding cost."""

    async def reads(address: str, topic: str, alerts: int) -> float:
        began, left, decode = time.process_time(), alerts, decoding()
        async with AIOKafkaConsumer(bootstrap_servers=address, enable_auto_commit=False) as consumer:
            places = [TopicPartition(topic, partition) for partition in range(4)]
            consumer.assign(places)
            await consumer.seek_to_beginning(*places)
            while left:
                for messages in (await consumer.getmany(timeout_ms=500, max_records=2_000)).values():
                    for message in messages:
                        left -= decode(message.value)
            return time.process_time() - began

    return reads


WAYS: dict[str, Way] = {"samband": as_samband_reads, "alerts": bare(to_alerts), "dicts": bare(to_dicts)}


@pytest.mark.parametrize("batch", [1, 100])
async def test_reading_beside_a_bare_consumer(tmp_path: Path, table: Table, batch: int) -> None:
    count, names = READ[batch], [*WAYS]
    used: dict[str, list[float]] = {name: [] for name in (*names, "broker")}
    async with broker(tmp_path / "kafka") as one:
        topic = await one.create_topic(4)
        await one.produce(topic, bodies(0, count, batch), linger_ms=5, max_batch_size=1 << 18)
        for turn in range(ROUNDS + 1):
            before = cpu_ticks(one.pid)
            for name in names[turn % 3 :] + names[: turn % 3]:
                used[name].append(await WAYS[name](one.address, topic, count))
            used["broker"].append((cpu_ticks(one.pid) - before) / len(names))
    found = {name: figures[1:] for name, figures in used.items()}  # The first round only warms up.
    table.beside[READING] = "aiokafka alone"
    for name, goal in (("alerts", BARE_AT_MOST), ("dicts", 0.0)):
        ratios = [mine / other for mine, other in zip(found["samband"], found[name], strict=True)]
        what = f"{batch} a message, into plain JSON objects" if not goal else f"{batch} a message, the same decoding"
        line = Line(READING, what, micros(found["samband"], count), micros(found[name], count), times(ratios))
        met = statistics.median(ratios) <= goal
        table.add(replace(line, goal=f"≤ {goal:g}×", met=met) if goal else line)
    table.add(Line(READING, f"{batch} a message: the broker", micros(found["broker"], count)))
    table.check()


# ---- the whole way ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [1, 100])
async def test_an_alert_from_kafka_beside_one_over_http(tmp_path: Path, table: Table, batch: int) -> None:
    size = SLICE[batch]
    async with broker(tmp_path / "kafka") as one:
        topic = await one.create_topic(4)
        stream = {"type": "kafka", "brokers": [one.address], "topic": topic, "format": "alertmanager"}
        async with (
            samband(tmp_path / "http") as http,
            samband(tmp_path / "kafka-fed", sources={"stream": stream | {"start": "earliest"}}) as fed,
        ):
            from_kafka, over_http, theirs = list[float](), list[float](), list[float]()
            for turn in range(ROUNDS + 1):
                first = turn * size
                over_http.append(await posted(http, first, size, batch))
                before = cpu_ticks(one.pid)
                from_kafka.append(await consumed(fed, tmp_path / "kafka-fed", one, topic, bodies(first, size, batch)))
                theirs.append(cpu_ticks(one.pid) - before)
    ratios = [mine / other for mine, other in zip(from_kafka[1:], over_http[1:], strict=True)]
    met = statistics.median(ratios) <= HTTP_AT_MOST
    table.beside[WHOLE] = "samband over HTTP"
    what, goal = f"{batch} a message or request", f"≤ {HTTP_AT_MOST:g}×"
    mine, other = micros(from_kafka[1:], size), micros(over_http[1:], size)
    table.add(Line(WHOLE, what, mine, other, times(ratios), goal, met))
    table.add(Line(WHOLE, f"{batch} a message: the broker, writing included", micros(theirs[1:], size)))
    table.check()


async def posted(server: Server, first: int, size: int, batch: int) -> float:
    """CPU seconds of samband for a slice of new alerts over HTTP."""
    sent, before = requests(range(first, first + size), batch), server.cpu_s()
    await send(server.port, sent, CONNECTIONS[batch])
    await server.quiet()
    return server.cpu_s() - before


async def consumed(server: Server, folder: Path, broker: Kafka, topic: str, messages: Sequence[bytes]) -> float:
    """Likewise from the topic."""
    before = server.cpu_s()
    await broker.produce(topic, messages, linger_ms=5, max_batch_size=1 << 18)
    ends = sum((await broker.end_offsets(topic)).values())
    await until(lambda: taken(folder) >= ends, "all taken", WITHIN_S)
    await server.quiet()
    return server.cpu_s() - before


def taken(folder: Path) -> int:
    """How many messages lie before the positions that are stored."""
    found = Queries(reading(folder / "state" / "samband.db")).position()
    return sum(one.next_offset for one in decode_positions(found["positions"]).values()) if found is not None else 0


def micros(seconds: Sequence[float], alerts: int) -> str:
    """The median in µs an alert."""
    return f"{statistics.median(seconds) / alerts * 1e6:.1f}"
