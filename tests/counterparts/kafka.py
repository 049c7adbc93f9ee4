"""Apache Kafka itself: one broker that is its own controller, on loopback, and what a test does with a broker."""

import asyncio
import contextlib
import shutil
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic, RecordsToDelete
from aiokafka.errors import for_code
from aiokafka.structs import RecordMetadata

from tests.counterparts.kafka_setup import JVM, PROTOCOLS, certificates, libraries, prepared, settings
from tests.counterparts.process import LOOK_EVERY_S, READY_WITHIN_S, Process, free_port, program

SETTING = "SAMBAND_TEST_KAFKA"
"""Names a broker of one's own (host:port, plain text), which the tests then use where any broker will do."""

STARTS_MAX = 4
"""A port that was free may be taken when the broker comes to it: then again, with others."""


class Broker:
    """A broker at `address`, and what a test asks of it. Every error of the broker is raised."""

    def __init__(self, address: str) -> None:
        self.address = address

    async def create_topic(self, partitions: int = 1, *, name: str = "", **config: str) -> str:
        """Makes a topic, by default with a name that nothing else has, and waits until it can be written to.

        config: the topic's own settings, with _ for the dots: `retention_ms="-1"`.
        """
        name = name or f"test-{uuid.uuid4().hex[:12]}"
        own = {key.replace("_", "."): value for key, value in config.items()}
        async with self._admin() as admin:
            answer = await admin.create_topics([NewTopic(name, partitions, 1, topic_configs=own)])
            _raise(answer.topic_errors)
            await _led(admin, name, partitions)
        return name

    async def add_partitions(self, topic: str, total: int) -> None:
        """Gives the topic so many partitions in all."""
        async with self._admin() as admin:
            _raise((await admin.create_partitions({topic: NewPartitions(total)})).topic_errors)
            await _led(admin, topic, total)

    async def delete_topic(self, topic: str) -> None:
        """Deletes the topic, and waits until the broker no longer shows it."""
        async with self._admin() as admin:
            _raise((await admin.delete_topics([topic])).topic_error_codes)
            await _until(lambda: _gone(admin, topic))

    async def delete_records(self, topic: str, before: Mapping[int, int]) -> None:
        """Deletes what stands before these offsets, by partition, as retention would."""
        async with self._admin() as admin:
            await admin.delete_records({TopicPartition(topic, p): RecordsToDelete(at) for p, at in before.items()})

    async def produce(
        self,
        topic: str,
        values: Iterable[bytes | None],
        *,
        key: bytes | None = None,
        partition: int | None = None,
        headers: Sequence[tuple[str, bytes]] = (),
        at_ms: int | None = None,
        **producer: Any,
    ) -> list[RecordMetadata]:
        """Writes messages and returns where they stand. `producer` goes to aiokafka's producer."""
        async with AIOKafkaProducer(bootstrap_servers=self.address, enable_idempotence=True, **producer) as sender:
            sent = [
                await sender.send(topic, value, key=key, partition=partition, headers=headers, timestamp_ms=at_ms)
                for value in values
            ]
            return list(await asyncio.gather(*sent))

    async def end_offsets(self, topic: str) -> dict[int, int]:
        """Where each partition ends."""
        partitions = await self._partitions(topic)
        async with self._consumer() as consumer:
            ends = await consumer.end_offsets(partitions)
            return {partition.partition: end for partition, end in ends.items()}

    async def committed(self, group: str, topic: str) -> dict[int, int]:
        """The offsets that a group has committed, as lag tools see them."""
        async with self._admin() as admin:
            offsets = await admin.list_consumer_group_offsets(group)
            return {tp.partition: at.offset for tp, at in offsets.items() if tp.topic == topic}

    async def read(self, topic: str) -> list[ConsumerRecord]:
        """All that stands in the topic now, partition after partition."""
        return [record async for record in self.records(topic)]

    async def records(self, topic: str) -> AsyncIterator[ConsumerRecord]:
        """Likewise, without holding it all in memory."""
        partitions = await self._partitions(topic)
        async with self._consumer() as consumer:
            ends = await consumer.end_offsets(partitions)
            for partition in partitions:
                consumer.assign([partition])
                await consumer.seek_to_beginning(partition)
                while await consumer.position(partition) < ends[partition]:
                    for records in (await consumer.getmany(timeout_ms=200)).values():
                        for record in records:
                            yield record

    async def console_producer(self, topic: str, text: str, *options: str) -> None:
        """What a person does: the broker's own console producer, which sends a message per line."""
        running = await asyncio.create_subprocess_exec(
            program("java"), *JVM, "-cp", f"{libraries()}/*", "org.apache.kafka.tools.ConsoleProducer",
            "--bootstrap-server", self.address, "--topic", topic, *options,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        said, _ = await running.communicate(text.encode())
        if running.returncode:
            raise RuntimeError(f"the console producer ended with {running.returncode}: {said.decode()}")

    async def _partitions(self, topic: str) -> list[TopicPartition]:
        async with self._admin() as admin:
            [shown] = await admin.describe_topics([topic])
            _raise([(topic, shown["error_code"])])
            return [TopicPartition(topic, number) for number in sorted(p["partition"] for p in shown["partitions"])]

    @contextlib.asynccontextmanager
    async def _admin(self) -> AsyncIterator[AIOKafkaAdminClient]:
        admin = AIOKafkaAdminClient(bootstrap_servers=self.address)
        try:
            await admin.start()
            yield admin
        finally:
            await admin.close()

    def _consumer(self) -> AIOKafkaConsumer:
        return AIOKafkaConsumer(bootstrap_servers=self.address, enable_auto_commit=False, auto_offset_reset="none")


class Kafka(Process, Broker):
    """A broker of the test's own: it can be stopped, killed, frozen and started again on the same data.

    secure: it also listens as SASL, TLS, SASLTLS and MTLS (`listeners`); `ca`, `client_cert` and `client_key` are
    PEM files. Who may log in: `PLAIN` and `SCRAM`.
    """

    def __init__(self, folder: Path, *, secure: bool = False, port: int = 0) -> None:
        """port: of the listener in plain text, when it has to be a certain one."""
        self.data = folder / "data"
        self._settings = folder / "server.properties"
        self._secure, self._port, self._chosen = secure, port, False
        self.listeners: dict[str, str] = {}
        self.ca, self.client_cert, self.client_key = (folder / name for name in ("ca.pem", "client.pem", "client.key"))
        classpath = f"{libraries()}/*"
        archive = f"-XX:SharedArchiveFile={prepared() / 'classes.jsa'}"
        command = [program("java"), *JVM, archive, "-cp", classpath, "kafka.Kafka", str(self._settings)]
        super().__init__(command, folder, "")
        shutil.copytree(prepared() / "data", self.data, dirs_exist_ok=True)
        if secure:
            certificates(folder)

    async def start(self) -> None:
        """Start it, on the ports that it had; the first time on free ones."""
        if self._chosen:
            return await super().start()
        for left in reversed(range(STARTS_MAX)):
            self._choose()
            try:
                await super().start()
            except RuntimeError:
                if not left:
                    raise
            else:
                self._chosen = True
                return None
        return None

    async def is_ready(self) -> bool:
        """Whether the listener in plain text is open, which it is last of all."""
        host, _, port = self.address.rpartition(":")
        try:
            _, writer = await asyncio.open_connection(host, int(port))
        except OSError:
            return False
        writer.close()
        return True

    def _choose(self) -> None:
        names = [*PROTOCOLS] if self._secure else ["PLAINTEXT"]
        self.listeners = {name: f"127.0.0.1:{free_port()}" for name in names}
        if self._port:
            self.listeners["PLAINTEXT"] = f"127.0.0.1:{self._port}"
        self.address = self.listeners["PLAINTEXT"]
        self._settings.write_text(settings(self.data, self.listeners))


def _raise(errors: Iterable[Any]) -> None:
    """What the broker answers per topic: (topic, code, ...). aiokafka raises nothing for it."""
    for topic, code, *_ in errors:
        if code:
            raise for_code(code)(topic)


async def _led(admin: AIOKafkaAdminClient, topic: str, partitions: int) -> None:
    """Waits until each partition has a leader: before that, who writes to it has to try again."""

    async def led() -> bool:
        [shown] = await admin.describe_topics([topic])
        return len([one for one in shown["partitions"] if one["leader"] >= 0]) == partitions

    await _until(led)


async def _gone(admin: AIOKafkaAdminClient, topic: str) -> bool:
    [shown] = await admin.describe_topics([topic])
    return bool(shown["error_code"])


async def _until(holds: Callable[[], Awaitable[bool]]) -> None:
    for _ in range(int(READY_WITHIN_S / LOOK_EVERY_S)):
        if await holds():
            return
        await asyncio.sleep(LOOK_EVERY_S)
    raise TimeoutError("the broker does not come to it")
