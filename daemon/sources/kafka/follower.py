"""One Kafka source at work: connects, reads its partitions, looks after them, and says when it cannot."""

import asyncio
import contextlib
import time
from collections.abc import Container, Iterable

from aiokafka import TopicPartition
from aiokafka.errors import OffsetOutOfRangeError

from daemon import log, metrics
from daemon.broker_clients import Heard
from daemon.core.model.stream import StreamKey
from daemon.core.records import AnyRecord, SelfNoticed, StreamMoved
from daemon.settings.kafka import KafkaSource
from daemon.sources.kafka import beginning
from daemon.sources.kafka.beginning import Beginning
from daemon.sources.kafka.connection import TROUBLES, Link, Unreachable, answer, told
from daemon.sources.kafka.hauling import Hauling
from daemon.sources.kafka.letters import Copies
from daemon.sources.kafka.messages import Sender
from daemon.sources.kafka.partition import Partition
from daemon.sources.receiver import Haul, LogReceiver, Unavailable

FETCH_WAIT_MS = 500
FETCH_MESSAGES = 2_000
LOOK_S = 1.0
KEEP_S = 10.0
"""How often partitions, what they were, and group offsets are looked after."""
RETRY_FIRST_S, RETRY_MAX_S = 1.0, 15.0
DOWN_MS = 180_000
"""Brokers that cannot be reached for so long are an incident about samband."""
STUCK_S = 45.0
"""No fetch answered for so long, though one was wanted: the connection is made anew, from the configured brokers."""
TRY_AGAIN_S = 60.0
"""How often the message at which a partition stopped is tried again."""

DOWN, MISSING, STOPPED, LOST = "kafka-unreachable", "kafka-topic-missing", "kafka-stopped", "kafka-lost"


class Follower:
    """Follows the topics of one source until it is cancelled."""

    def __init__(self, name: str, source: KafkaSource, sender: Sender, receiver: LogReceiver) -> None:
        self.name, self.source = name, source
        self._receiver = receiver
        self._hauling = Hauling(sender, receiver)
        self._parts: dict[TopicPartition, Partition] = {}
        self._polled: dict[TopicPartition, int] = {}
        self._missing: set[str] = set()
        self._heard = Heard()
        self._trouble = ""
        self._down_since = receiver.now_ms()
        self._connected = False
        self._changed = asyncio.Event()
        self._go_on = False
        self._said: set[tuple[str, str]] = set()
        self._uncommitted = False

    def replace(self, sender: Sender) -> None:
        """Other limits are in force; what was stopped is tried again, whatever stands there."""
        self._hauling.sender = sender
        self._go_on = True

    async def settled(self, within_s: float) -> None:
        """After it was cancelled: waits a while for what it had handed over."""
        await self._hauling.settled(within_s)

    async def run(self) -> None:
        """Reads until it is cancelled, or samband stops."""
        with self._heard.listening():
            await self._run()

    async def _run(self) -> None:
        watching = asyncio.create_task(self._watch(), name=f"kafka {self.name} watch")
        try:
            pause = RETRY_FIRST_S
            while True:
                try:
                    async with Link(self.source, self._heard) as link:
                        pause = RETRY_FIRST_S
                        await self._use(link)
                except Unavailable as error:
                    if error.reason == "stopping":
                        return
                    self._in_trouble(f"what it read cannot be written: {error.reason}; see the dead letters")
                except (Unreachable, *TROUBLES) as error:
                    self._in_trouble(str(error) if isinstance(error, Unreachable) else told(error, self._heard))
                self._connected = False
                await asyncio.sleep(pause)
                pause = min(pause * 2, RETRY_MAX_S)
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
            metrics.KAFKA_CONNECTED.labels(self.name).set(0)

    def _in_trouble(self, text: str) -> None:
        if self._connected or not self._trouble:
            self._down_since = self._receiver.now_ms()
        if text != self._trouble:
            self._trouble = text
            log.KAFKA_TROUBLE(source=self.name, text=text)
        metrics.KAFKA_CONNECTED.labels(self.name).set(0)

    def _works(self) -> None:
        topics = {place.topic: 0 for place in self._parts}
        for place in self._parts:
            topics[place.topic] += 1
        if not self._connected or self._trouble:
            log.KAFKA_CONNECTED(source=self.name, topics=topics)
        self._connected, self._trouble = True, ""
        metrics.KAFKA_CONNECTED.labels(self.name).set(1)

    # ---- one connection ----------------------------------------------------------------------------------
    async def _use(self, link: Link) -> None:
        self._hauling.copying = Copies(
            link, {topic: self.source.dead_letters_of(topic) for topic in self.source.followed}
        )
        while True:
            self._changed.clear()
            await self._hauling.landed()
            await self._begin(link)
            self._works()
            if not self._parts:
                await asyncio.sleep(KEEP_S)
                continue
            keeping = asyncio.create_task(self._keep(link), name=f"kafka {self.name} keep")
            try:
                await self._read(link, keeping)
            finally:
                keeping.cancel()
                await asyncio.gather(keeping, return_exceptions=True)

    async def _begin(self, link: Link) -> None:
        """Finds the partitions and where reading each begins; what that says is durable when it returns."""
        there = await link.partitions(self.source.followed)
        places = [TopicPartition(topic, number) for topic, numbers in there.items() for number in numbers]
        link.reader.unsubscribe()
        extents = await beginning.extents(link, places)
        records: list[AnyRecord] = []
        parts: dict[TopicPartition, Partition] = {}
        for place in places:
            part = self._parts.get(place)
            begun = await self._beginning(link, place, part, extents[place])
            if part is None or begun.lost:
                part = Partition(StreamKey(self.name, *place), begun.position)
            parts[place] = part
            if part.said_behind is None:
                part.said_behind = True
                records.append(self._moved(part, "behind"))
            if begun.lost:
                log.KAFKA_LOST(source=self.name, partition=part.key.name, text=begun.lost)
                about = f"{self.name} {part.key.name}"
                records.append(SelfNoticed(self._receiver.now_ms(), LOST, "", begun.lost, True, about))
        records += self._gone(set(there), parts)
        self._missing = {topic for topic in self.source.followed if topic not in there}
        self._parts, self._polled = parts, {}
        await self._tell(records, {part.key: part.position() for part in parts.values()})
        self._assign(link)

    async def _beginning(
        self, link: Link, place: TopicPartition, part: Partition | None, extent: beginning.Extent
    ) -> Beginning:
        key = StreamKey(self.name, *place)
        known = self._receiver.positions()
        stored = part.position() if part is not None else known.get(key)
        if stored is not None:
            return await beginning.again(link, key, stored, extent)
        # A partition that was added to a topic which is followed already holds nothing that was there before.
        added = any((one.source, one.topic) == (self.name, place.topic) for one in known)
        latest = self.source.start == "latest" and not added
        return await beginning.at_first(link, place, extent, latest=latest, now=self._receiver.now_ms())

    def _assign(self, link: Link) -> None:
        if not self._parts:
            return
        link.reader.assign(list(self._parts))
        for place, part in self._parts.items():
            link.reader.seek(place, part.next)
            if part.stopped:
                link.reader.pause(place)
        link.keeper.assign(list(self._parts))
        link.keeper.pause(*self._parts)

    def _gone(self, there: set[str], parts: Iterable[TopicPartition]) -> list[AnyRecord]:
        """Partitions that hold up nothing any more. Those of a topic that is missing do: it may come back."""
        now, names = self._receiver.now_ms(), {f"{place.topic}/{place.partition}" for place in parts}
        left = []
        for source, name in self._receiver.streams():
            topic = name.rpartition("/")[0]
            if source == self.name and name not in names and (topic in there or topic not in self.source.followed):
                left.append(name)
        return [StreamMoved(now, self.name, name, "gone") for name in left]

    # ---- reading -------------------------------------------------------------------------------------------
    async def _read(self, link: Link, keeping: "asyncio.Task[None]") -> None:
        """Takes in what comes, until something about the partitions changes."""
        answered = time.monotonic()
        while not self._changed.is_set():
            if keeping.done():
                keeping.result()
            try:
                fetched = await link.reader.getmany(timeout_ms=FETCH_WAIT_MS, max_records=FETCH_MESSAGES)
            except OffsetOutOfRangeError:
                return
            if await self._look_at_fetches(link, fetched) or all(part.stopped for part in self._parts.values()):
                answered = time.monotonic()
            if not fetched:
                if time.monotonic() - answered > STUCK_S:
                    raise Unreachable(told(TimeoutError(), self._heard))
                await self._hauling.send()
                continue
            for place, messages in fetched.items():
                part = self._parts[place]
                if part.stopped or await self._hauling.take(part, messages):
                    continue
                link.reader.pause(place)
                link.reader.seek(place, part.next)
                log.KAFKA_STOPPED(source=self.name, partition=part.key.name, offset=part.next, text=part.stopped[:300])
            await self._hauling.send()
            answered = time.monotonic()

    async def _look_at_fetches(self, link: Link, fetched: Container[TopicPartition]) -> bool:
        """Notes where each partition ended at the last fetch; whether one was answered since the last look.

        fetched: partitions of which messages have come, and are still to be taken.
        """
        found, now, wall = False, self._receiver.now_ms(), int(time.time() * 1000)
        for place, part in self._parts.items():
            polled = link.reader.last_poll_timestamp(place)
            if polled is None or polled == self._polled.get(place):
                continue
            self._polled[place], found = polled, True
            end = link.reader.last_stable_offset(place)
            if place not in fetched and self._hauling.idle and part.done < end and not (part.stopped or part.taken):
                # What stands before the end may be marks of transactions, which nobody is given.
                part.next = max(part.next, await link.reader.position(place))
                part.reached(part.next)
            part.answered(end, now - max(0, min(wall - polled, 60_000)))
        return found

    # ---- beside the reading ----------------------------------------------------------------------------------
    async def _keep(self, link: Link) -> None:
        """Every few seconds: are the partitions and their logs still the same, can what stopped be read by now."""
        tried = time.monotonic()
        while True:
            await asyncio.sleep(KEEP_S / 2)
            if self._go_on or time.monotonic() - tried >= TRY_AGAIN_S:
                tried = time.monotonic()
                await self._try_stopped(link)
            await asyncio.sleep(KEEP_S / 2)
            there = await link.partitions(self.source.followed)
            now = {TopicPartition(topic, number) for topic, numbers in there.items() for number in numbers}
            if now != set(self._parts) or not await self._unchanged(link):
                self._changed.set()
                return
            await self._commit(link)

    async def _unchanged(self, link: Link) -> bool:
        """Whether the logs are still those that were read. By their index of times; where that leaves a doubt, by
        the message itself.
        """
        known = {place: part for place, part in self._parts.items() if part.anchor.offset >= 0}
        for part in known.values():
            part.confirm()
        asked = {place: part.anchor.at for place, part in known.items() if part.anchor.at >= 0}
        found = await answer(link.keeper.offsets_for_times(asked)) if asked else {}
        for place, part in known.items():
            first = found.get(place)
            if first is None or first.timestamp != part.anchor.at:
                extent = (await beginning.extents(link, [place]))[place]
                if part.next > extent.end or not await beginning.same(link, place, part.position(), extent):
                    return False
            part.confirmed()
        return True

    async def _try_stopped(self, link: Link) -> None:
        """Reads the message again at which a partition stopped; after a reload it goes on in any case."""
        for place, part in self._parts.items():
            if not part.stopped:
                continue
            message = None if self._go_on else await link.record_at(place, part.next)
            if self._go_on or (message is not None and self._hauling.readable(part, message)):
                part.stopped = ""
                part.start_over()
                link.reader.seek(place, part.next)
                link.reader.resume(place)
                log.KAFKA_GOES_ON(source=self.name, partition=part.key.name, offset=part.next)
        self._go_on = False

    async def _commit(self, link: Link) -> None:
        """Shows lag tools how far things are. Nothing depends on it."""
        try:
            await answer(link.keeper.commit({place: part.done for place, part in self._parts.items()}))
        except TROUBLES as error:
            if not self._uncommitted:
                self._uncommitted = True
                log.KAFKA_COMMIT_FAILED(source=self.name, group=self.source.group, text=repr(error)[:300])
        else:
            self._uncommitted = False

    # ---- what the engine and people are told ------------------------------------------------------------------
    async def _watch(self) -> None:
        """Every second: edges between level and behind, conditions, metrics; also while there is no connection."""
        while True:
            await asyncio.sleep(LOOK_S)
            now = self._receiver.now_ms()
            records = [*self._edges(now), *self._conditions(now)]
            self._show(now)
            if records:
                with contextlib.suppress(Unavailable):
                    await self._tell(records)

    def _edges(self, now: int) -> Iterable[AnyRecord]:
        for part in self._parts.values():
            behind = part.behind(now)
            if behind != part.said_behind:
                part.said_behind = behind
                yield self._moved(part, "behind" if behind else "level")

    def _conditions(self, now: int) -> Iterable[AnyRecord]:
        """What has begun or ended since it was said last; after a restart the engine knows what was said."""
        found: dict[tuple[str, str], str] = {}
        if not self._connected and now - self._down_since >= DOWN_MS:
            brokers = ", ".join(self.source.brokers)
            found[DOWN, self.name] = f"{self.name} cannot read from {brokers}: {self._trouble}"
        for topic in sorted(self._missing):
            text = f"{self.name}: there is no topic {topic}, or it may not be read; it is looked for until it is there"
            found[MISSING, f"{self.name} {topic}"] = text
        for part in self._parts.values():
            if part.stopped:
                text = (
                    f"{self.name}: {part.key.name} is not read on at offset {part.next}, since most of its last"
                    f" messages cannot be read: {part.stopped[:300]}. Correct the sender or the format; after a reload"
                    " it is read on in any case"
                )
                found[STOPPED, f"{self.name} {part.key.name}"] = text
        for (cause, about), text in found.items():
            if (cause, about) not in self._said:
                self._said.add((cause, about))
                yield SelfNoticed(now, cause, "", text, True, about)
        for cause, about in self._candidates():
            if (cause, about) not in found and ((cause, about) in self._said or self._receiver.said(cause, about)):
                self._said.discard((cause, about))
                yield SelfNoticed(now, cause, "", "it works again", False, about)

    def _candidates(self) -> list[tuple[str, str]]:
        """Conditions that can be over now: while there is no connection nobody knows."""
        if not self._connected:
            return []
        topics = [(MISSING, f"{self.name} {topic}") for topic in self.source.followed]
        parts = [(STOPPED, f"{self.name} {part.key.name}") for part in self._parts.values()]
        return [(DOWN, self.name), *topics, *parts]

    def _show(self, now: int) -> None:
        for part in self._parts.values():
            labels = (self.name, part.key.topic, str(part.key.partition))
            metrics.KAFKA_POSITION.labels(*labels).set(part.done)
            metrics.KAFKA_STOPPED.labels(*labels).set(bool(part.stopped))
            metrics.KAFKA_BEHIND.labels(*labels).set(part.behind(now))
            if part.watermark >= 0:
                metrics.KAFKA_WATERMARK.labels(*labels).set(part.watermark)
                metrics.KAFKA_LAG.labels(*labels).set(part.lag)
                metrics.KAFKA_FETCHED.labels(*labels).set(part.fetched_at / 1000)

    def _moved(self, part: Partition, place: str) -> StreamMoved:
        return StreamMoved(self._receiver.now_ms(), self.name, part.key.name, place)  # type: ignore[arg-type]

    async def _tell(self, records: list[AnyRecord], positions: dict[StreamKey, object] | None = None) -> None:
        """Makes the records durable, with positions if there are any. Raises Unavailable when samband stops."""
        if records or positions:
            await (await self._hauling.admitted(Haul(positions or {}, records=records)))  # type: ignore[arg-type]
