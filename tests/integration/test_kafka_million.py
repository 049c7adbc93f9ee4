"""A million distinct alerts through a real topic: each is in the journal exactly once, whatever is restarted meanwhile.

    SAMBAND_MESSAGES=1000000 pytest -m soak -s tests/integration/test_kafka_million.py

What is sent is a backlog of jobs that failed and were repaired a day ago (severity `none`: recorded, and nobody is
told): each fires in a message of its own and ends in another, so that few are open at one time, as in life, and what
has ended so long ago is forgotten. One in a thousand is news instead: an outage of one of eight services, which lasts.
The topic is read back at the end, and the journal has to hold each of its messages once, as the alert that it is.
"""

import asyncio
import json
import os
import random
import sys
import time
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer

from daemon.core.model.stream import decode_positions
from daemon.core.records import AlertSeen, Refreshed, decode_records
from daemon.store.queries import Queries, reading
from tests.counterparts.fixtures import StartKafka
from tests.counterparts.kafka import Kafka
from tests.counterparts.process import Process
from tests.integration.conftest import StartSamband
from tests.integration.estate import LONELY
from tests.integration.samband import Samband, Sinks, until

pytestmark = pytest.mark.integration

MESSAGES = int(os.environ.get("SAMBAND_MESSAGES", "1000000"))
NEWS_EVERY = 1000
OPEN = 2_000
"""A job is repaired so many jobs after it failed."""
AHEAD = 60_000
"""The sender is at most so many messages ahead of samband: the topic always holds a backlog."""
CHUNK = 500
PARTITIONS = (4, 6, 8)
"""So many the topic has in each third of the run."""
WAIT_S = 900.0


class Jobs:
    """What is sent: job `n` fails, and ends `OPEN` jobs later in the same partition. News does not end."""

    def __init__(self, count: int) -> None:
        self.count = count
        past = datetime.now(UTC) - timedelta(hours=30)
        self._failed, self._repaired = past.isoformat(), (past + timedelta(minutes=5)).isoformat()
        self._services = list(LONELY)

    def partition_of(self, job: int) -> int:
        """Where both messages of a job go."""
        return job % PARTITIONS[job * len(PARTITIONS) // self.count]

    def messages(self) -> Iterator[tuple[int, bytes]]:
        """All messages, as (job, value), in the order in which they are sent."""
        for turn in range(self.count + OPEN):
            if turn < self.count:
                yield turn, self._fails(turn)
            if turn >= OPEN and not self.is_news(turn - OPEN):
                yield turn - OPEN, self._ends(turn - OPEN)

    @staticmethod
    def is_news(job: int) -> bool:
        """Whether it is an outage of now."""
        return job % NEWS_EVERY == 0

    def _fails(self, job: int) -> bytes:
        told = {"name": "JobFailed", "resource": f"job-{job}", "severity": "none", "starts_at": self._failed}
        if self.is_news(job):
            service = self._services[job // NEWS_EVERY % len(self._services)]
            told = {"name": "Down", "resource": f"job-{job}", "severity": "critical", "service": service}
        return json.dumps(told).encode()

    def _ends(self, job: int) -> bytes:
        told = {"name": "JobFailed", "resource": f"job-{job}", "severity": "none", "status": "resolved"}
        return json.dumps(told | {"starts_at": self._failed, "ends_at": self._repaired}).encode()


class Run:
    """The topic, its sender, and how far samband is."""

    def __init__(self, broker: Kafka, topic: str, samband: Samband, jobs: Jobs) -> None:
        self.broker, self.topic, self.samband, self.jobs = broker, topic, samband, jobs
        self.store = samband.folder / "state" / "samband.db"
        self.total = 2 * jobs.count - len([job for job in range(jobs.count) if jobs.is_news(job)])
        self.sent = 0
        self.cpu_s = {"samband": 0.0, "broker": 0.0}

    def taken(self) -> int:
        """How many messages lie before the positions that samband has stored."""
        found = Queries(reading(self.store)).position() if self.store.exists() else None
        positions = decode_positions(found["positions"]) if found is not None else {}
        return sum(position.next_offset for position in positions.values())

    async def send(self) -> None:
        """Sends everything, adding partitions on the way, through every restart of the broker."""
        options = {"acks": "all", "enable_idempotence": True, "linger_ms": 5, "max_batch_size": 1 << 18}
        async with AIOKafkaProducer(
            bootstrap_servers=self.broker.address, metadata_max_age_ms=2_000, **options
        ) as producer:
            chunk: list[asyncio.Future[Any]] = []
            partitions = PARTITIONS[0]
            for job, value in self.jobs.messages():
                partition = self.jobs.partition_of(job)
                if partition >= partitions:
                    await asyncio.gather(*chunk)
                    partitions = next(count for count in PARTITIONS if count > partition)
                    await self._widen(producer, partitions)
                chunk.append(await producer.send(self.topic, value, partition=partition))
                self.sent += 1
                if len(chunk) == CHUNK:
                    await asyncio.gather(*chunk)
                    chunk.clear()
                    await until(lambda: self.sent - self.taken() < AHEAD, "samband keeps up", WAIT_S)
            await asyncio.gather(*chunk)

    async def _widen(self, producer: AIOKafkaProducer, partitions: int) -> None:
        async with asyncio.timeout(WAIT_S):
            while len(await producer.partitions_for(self.topic)) < partitions:
                try:
                    await self.broker.add_partitions(self.topic, partitions)
                except Exception:  # noqa: BLE001  (it may be restarting, or have done it)
                    await asyncio.sleep(0.5)
                await producer.client.force_metadata_update()

    async def reaches(self, messages: int) -> None:
        """Waits until samband has taken so many."""
        await until(lambda: self.taken() >= messages, f"{messages} of {self.total} messages taken", WAIT_S)

    def measure(self, name: str, process: Process) -> None:
        """Adds what a process has used, before it ends."""
        fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
        self.cpu_s[name] += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.parametrize(
    ("count", "restarts", "broker_restarts"),
    [(3_000, 3, 1), pytest.param(MESSAGES, 20, 5, marks=pytest.mark.soak)],
    ids=["short", "long"],
)
async def test_each_message_is_in_the_journal_exactly_once(
    count: int, restarts: int, broker_restarts: int, start_kafka: StartKafka, start_samband: StartSamband, sinks: Sinks
) -> None:
    broker = await start_kafka()
    topic = await broker.create_topic(PARTITIONS[0], retention_ms="-1")
    source = {"type": "kafka", "brokers": [broker.address], "topic": topic, "start": "earliest"}
    samband = await start_samband(sources={"jobs": source})
    run = Run(broker, topic, samband, Jobs(count))
    luck, started = random.Random(count), time.monotonic()

    async with _alongside(run.send()):
        for turn in range(1, restarts + 1):
            await run.reaches(run.total * turn // (restarts + 2))
            await asyncio.sleep(luck.uniform(0, 0.5))
            run.measure("samband", samband)
            await (samband.kill() if turn % 2 else samband.stop())
            if turn * broker_restarts // restarts > (turn - 1) * broker_restarts // restarts:
                run.measure("broker", broker)
                await (broker.kill() if turn % 3 else broker.stop())
                await broker.start()
            await samband.start()
        await run.reaches(run.total)
    took = time.monotonic() - started
    run.measure("samband", samband)
    run.measure("broker", broker)

    news = min(len(LONELY), -(-count // NEWS_EVERY))
    await until(lambda: len(sinks.pager.pages) == news, "a page for every service that has news, and no other")
    assert sum((await broker.end_offsets(topic)).values()) == run.total == run.taken()
    await samband.stop()
    await _reconcile(run)
    sys.stdout.write(
        f"\n{run.total:,} messages in {took:.0f} s: {run.total / took:,.0f}/s with {restarts} restarts of samband and"
        f" {broker_restarts} of the broker; CPU µs a message: samband {run.cpu_s['samband'] / run.total * 1e6:.0f},"
        f" broker {run.cpu_s['broker'] / run.total * 1e6:.0f}; store {run.store.stat().st_size / 1e6:,.0f} MB\n"
    )


@asynccontextmanager
async def _alongside(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    task = asyncio.get_running_loop().create_task(work)
    try:
        yield
        await task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _reconcile(run: Run) -> None:
    """Counts each message of the topic, and each alert of the journal; both come to one of each kind."""
    topic, journal = (bytearray(2 * run.jobs.count) for _ in range(2))
    async for record in run.broker.records(run.topic):
        told = json.loads(record.value)
        topic[_place(told["resource"], firing=told.get("status") != "resolved")] += 1
    refreshes = 0
    for row in Queries(reading(run.store)).journal():
        for one in decode_records(row.records):
            if isinstance(one, AlertSeen):
                journal[_place(one.alert.resource, firing=one.alert.firing)] += 1
            elif isinstance(one, Refreshed):
                refreshes += len(one.refreshes)
    assert sum(topic) == run.total
    lost = [place for place in range(len(topic)) if topic[place] > journal[place]]
    doubled = [place for place in range(len(topic)) if topic[place] < journal[place]]
    assert (lost[:10], doubled[:10], refreshes) == ([], [], 0)
    assert max(topic) == max(journal) == 1


def _place(resource: str, *, firing: bool) -> int:
    return 2 * int(resource.removeprefix("job-")) + firing
