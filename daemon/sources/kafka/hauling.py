"""From fetched messages to hauls: parsed, judged, sized, handed over in order, at most two of them on their way."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Mapping, Sequence
from typing import Protocol

from daemon import log, metrics
from daemon.core.model.alert import ParsedAlert
from daemon.sources.formats.base import Context, Parsed, Rejected, Unreadable
from daemon.sources.formats.memory import Memory
from daemon.sources.kafka.letters import Unread
from daemon.sources.kafka.messages import Sender, TopicForm, read, without_secrets
from daemon.sources.kafka.partition import Message, Partition
from daemon.sources.receiver import Haul, Letter, LogReceiver, Unavailable
from daemon.sources.remains import DEAD_LETTER_BYTES_MAX

HAUL_ALERTS = 1_000
"""Alerts in one haul: as many as one batch takes."""
HAUL_MESSAGES = 5_000
LETTERS_BYTES_MAX = 16 * 1024 * 1024
FLYING_MAX = 2
"""Hauls that are on their way to disk while the next one is parsed."""
SLICE = 64
"""Messages, or alerts, after which others get their turn."""
AGAIN_S = 0.5
_NOTHING = Parsed([])


class Copying(Protocol):
    """Where dead letters are copied to."""

    async def copy(self, letters: Sequence[Unread]) -> None:
        """Returns when they are there, or cannot be."""
        ...


class _Load:
    """One haul as it grows. ends: the last message of each partition that is in it, whole."""

    def __init__(self) -> None:
        self.alerts: list[ParsedAlert] = []
        self.received: list[int] = []
        self.whose: list[tuple[int, Partition, Message]] = []
        self.letters: list[Unread] = []
        self.letter_bytes = 0
        self.ends: dict[Partition, Message | None] = {}
        self.counts: dict[tuple[str, str], list[int]] = {}
        """(topic, outcome) -> messages, and bytes in them."""
        self.messages = self.skewed = 0

    @property
    def full(self) -> bool:
        """Whether it must go."""
        return (
            len(self.alerts) >= HAUL_ALERTS or self.messages >= HAUL_MESSAGES or self.letter_bytes >= LETTERS_BYTES_MAX
        )

    def passed(self, partition: Partition, message: Message, outcome: str) -> None:
        """Notes a message that is in it, whole."""
        self.ends[partition] = message
        self.messages += 1
        count = self.counts.get((partition.key.topic, outcome))
        if count is None:
            count = self.counts[partition.key.topic, outcome] = [0, 0]
        count[0] += 1
        if message.value is not None:
            count[1] += len(message.value)


class Hauling:
    """Takes messages of one source in. copying: set while there is a connection."""

    def __init__(self, sender: Sender, receiver: LogReceiver) -> None:
        self._sender, self._receiver = sender, receiver
        self.copying: Copying | None = None
        self._load = _Load()
        self._flying: deque[asyncio.Task[None]] = deque()
        self._slice = 0
        self._context: Context | None = None
        self._memory = Memory()
        """Of the one form that remembers anything (Alertmanager's)."""

    @property
    def sender(self) -> Sender:
        """How messages are read."""
        return self._sender

    @sender.setter
    def sender(self, sender: Sender) -> None:
        self._sender, self._context, self._memory = sender, None, Memory()

    async def take(self, partition: Partition, messages: Sequence[Message]) -> bool:
        """Parses the messages, and hands over what is full. False: the partition must not be read on now.

        Then `partition.next` is the message that was one too many. Raises Unavailable when samband stops.
        """
        now, form = self._receiver.now_ms(), self.sender.topics[partition.key.topic]
        for message in messages:
            received = partition.received(message.timestamp, now)
            heard, outcome = partition.heard(received), "empty"
            if message.value is not None:
                parsed, fault = self._parsed(message.value, message, form, received)
                outcome = "read" if fault is None else "partly" if parsed.alerts else "unreadable"
                if not partition.judge(outcome != "unreadable"):
                    partition.stopped = fault.reason if fault is not None else outcome
                    return False
                if partition.taken or len(self._load.alerts) + len(parsed.alerts) > HAUL_ALERTS:
                    await self._gather(partition, message, parsed, heard)
                elif parsed.alerts:
                    self._add(partition, message, parsed.alerts, heard)
                if fault is not None:
                    self._bury(partition, message, form, fault)
                self._load.skewed += parsed.skewed
            partition.passed(message)
            self._load.passed(partition, message, outcome)
            self._slice += 1
            if self._slice >= SLICE:
                self._slice = 0
                await asyncio.sleep(0)
            if self._load.full:
                await self.send()
        return True

    async def send(self) -> None:
        """Hands over what has been gathered. Raises Unavailable when samband stops."""
        load, self._load = self._load, _Load()
        if not load.ends:
            return
        await self._within_quota(load)
        if load.letters and self.copying is not None:
            await self.copying.copy(load.letters)
        positions = {}
        for partition, message in load.ends.items():
            if message is not None:
                partition.remember(message)
            positions[partition.key] = partition.position()
        letters = [Letter(one.key.source, one.reason, one.raw) for one in load.letters]
        haul = Haul(positions, load.alerts, load.received, letters)
        done = await self.admitted(haul)
        ends = {partition: positions[partition.key].next_offset for partition in load.ends}
        self._flying.append(asyncio.ensure_future(self._land(done, load, ends)))
        while len(self._flying) >= FLYING_MAX:
            await self._flying.popleft()

    async def landed(self) -> None:
        """Returns when everything that was taken is durable. Raises Unavailable when samband stops."""
        await self.send()
        while self._flying:
            await self._flying.popleft()

    async def settled(self, within_s: float) -> None:
        """Waits a while for what was handed over to become durable; it does so in any case, or samband stops."""
        if self._flying:
            await asyncio.wait(set(self._flying), timeout=within_s)
        for task in self._flying:
            if task.done() and not task.cancelled():
                task.exception()

    def readable(self, partition: Partition, message: Message) -> bool:
        """Whether a message could be read now, at least in part."""
        if message.value is None:
            return True
        form, now = self.sender.topics[partition.key.topic], self._receiver.now_ms()
        parsed, fault = self._parsed(message.value, message, form, partition.received(message.timestamp, now))
        return bool(parsed.alerts) or fault is None

    @property
    def idle(self) -> bool:
        """Whether nothing is on its way."""
        return not self._load.ends and all(task.done() for task in self._flying)

    # ---- one message -----------------------------------------------------------------------------------
    def _parsed(self, value: bytes, message: Message, form: TopicForm, received: int) -> tuple[Parsed, Rejected | None]:
        """The alerts, and what could not be read: the message, or some of its items as one."""
        sender = self._sender
        if len(value) > sender.limits.body_bytes_max:
            most = f"{sender.limits.body_bytes_max} bytes (limits.body_bytes_max)"
            return _NOTHING, Rejected(0, f"{len(value)} bytes are more than {most}", "too_large", value)
        context = self._context
        if context is None or context.received_ms != received:
            ignored, timeout = sender.ignored, sender.resolve_timeout_ms
            context = Context(
                sender.name, received, "", ignored, timeout, sender.resolves, 0, sender.limits, self._memory
            )
            self._context = context
        try:
            parsed = read(value, message.headers, form, context)
        except Unreadable as error:
            return _NOTHING, Rejected(0, error.text, error.code, value)
        if not parsed.rejected:
            return parsed, None
        first, count = parsed.rejected[0], len(parsed.rejected)
        text = f"{count} of {count + len(parsed.alerts)} items rejected; item {first.index}: {first.reason}"
        return parsed, Rejected(0, text, first.code, b"\n".join(one.raw for one in parsed.rejected))

    async def _gather(self, partition: Partition, message: Message, parsed: Parsed, heard: int) -> None:
        """Adds the alerts; of a message with many, so many at a time as a haul takes, each with its position."""
        alerts = parsed.alerts[partition.taken :] if partition.taken else parsed.alerts
        while len(self._load.alerts) + len(alerts) > HAUL_ALERTS:
            room = HAUL_ALERTS - len(self._load.alerts)
            if len(alerts) <= HAUL_ALERTS:
                await self.send()
                continue
            self._add(partition, message, alerts[:room], heard)
            alerts = alerts[room:]
            partition.next, partition.taken = message.offset, partition.taken + room
            self._load.ends.setdefault(partition, None)
            await self.send()
        self._add(partition, message, alerts, heard)

    def _add(self, partition: Partition, message: Message, alerts: Sequence[ParsedAlert], heard: int) -> None:
        load, count = self._load, len(alerts)
        load.alerts += alerts
        load.received += [heard] * count
        load.whose.append((count, partition, message))
        self._slice += count

    def _bury(self, partition: Partition, message: Message, form: TopicForm, fault: Rejected) -> None:
        cut = "" if len(fault.raw) <= DEAD_LETTER_BYTES_MAX else f" (cut from {len(fault.raw)} bytes)"
        kept = without_secrets(form.format, fault.raw)[:DEAD_LETTER_BYTES_MAX]
        place, at = message.offset, message.timestamp
        letter = Unread(partition.key, place, at, fault.code, fault.reason[:500] + cut, kept, message.key)
        self._load.letters.append(letter)
        self._load.letter_bytes += len(kept)

    # ---- handing over ------------------------------------------------------------------------------------
    async def _within_quota(self, load: _Load) -> None:
        """New alerts of a source that has as many open ones as it may are kept as dead letters."""
        most = self.sender.limits.open_alerts_max
        taken = await self._receiver.within(load.alerts, most)
        if len(taken) == len(load.alerts):
            return
        kept = set(map(id, taken))
        over: dict[tuple[Partition, int], Message] = {}
        whose = ((partition, message) for count, partition, message in load.whose for _ in range(count))
        whole = zip(load.alerts, load.received, whose, strict=True)
        load.alerts, load.received = [], []
        for alert, heard, (partition, message) in whole:
            if id(alert) in kept:
                load.alerts.append(alert)
                load.received.append(heard)
            else:
                over[partition, message.offset] = message
        text = f"the source has {most} alerts open (limits.open_alerts_max)"
        for (partition, offset), message in over.items():
            raw = without_secrets(self.sender.topics[partition.key.topic].format, message.value or b"")
            raw = raw[:DEAD_LETTER_BYTES_MAX]
            load.letters.append(
                Unread(partition.key, offset, message.timestamp, "open_alerts_max", text, raw, message.key)
            )

    async def admitted(self, haul: Haul) -> Awaitable[object]:
        """Hands the haul over, however long that takes: nothing behind it may be handed over before."""
        try:
            while True:
                try:
                    return self._receiver.follow(haul)
                except Unavailable as error:
                    if error.reason == "stopping":
                        raise
                    metrics.KAFKA_PAUSED.labels(self.sender.name).set(1)
                await asyncio.sleep(AGAIN_S)
        finally:
            metrics.KAFKA_PAUSED.labels(self.sender.name).set(0)

    async def _land(self, done: Awaitable[object], load: _Load, ends: Mapping[Partition, int]) -> None:
        await done
        for partition, offset in ends.items():
            partition.reached(offset)
        self._count(load)

    def _count(self, load: _Load) -> None:
        name = self.sender.name
        for (topic, outcome), (number, size) in load.counts.items():
            metrics.KAFKA_MESSAGES.labels(name, topic, outcome).inc(number)
            metrics.KAFKA_BYTES.labels(name, topic).inc(size)
        firing = sum(1 for alert in load.alerts if alert.firing)
        for status, number in (("firing", firing), ("resolved", len(load.alerts) - firing)):
            if number:
                metrics.ALERTS_RECEIVED.labels(name, "kafka", status).inc(number)
        if load.skewed:
            metrics.CLOCK_SKEW.labels(name).inc(load.skewed)
        for one in load.letters:
            metrics.DEAD_LETTERS.labels(name, one.code).inc()
        if load.letters:
            first = load.letters[0]
            log.KAFKA_UNREADABLE(source=name, letters=len(load.letters), first=first.reason[:300])
