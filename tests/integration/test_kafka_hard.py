"""What goes wrong with topics, brokers and what stands in them, on a real broker: nothing is lost in silence."""

import asyncio
import json
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from daemon.settings.kafka import KafkaSource
from daemon.settings.limits import LIMITS
from daemon.sources.kafka import follower
from daemon.sources.kafka.connection import complaints
from tests.counterparts.fixtures import StartKafka
from tests.counterparts.kafka import Broker
from tests.counterparts.kafka_setup import SCRAM
from tests.integration.following import NAME, Following
from tests.integration.samband import until

pytestmark = pytest.mark.integration

MINUTE = 60_000


def native(number: int, **more: Any) -> bytes:
    """One alert in the native form."""
    return json.dumps({"name": "Down", "severity": "error", "resource": f"r{number}", **more}).encode()


def down(*numbers: int) -> list[str]:
    """How these show when they are open."""
    return [f"Down/r{number}" for number in numbers]


def at(ms: int) -> str:
    """A time as text."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(ms / 1000))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "samband.db"


# ---- positions ---------------------------------------------------------------------------------------------


async def test_each_message_is_in_the_journal_once_whatever_is_killed(kafka: Broker, path: Path) -> None:
    topic = await kafka.create_topic(3)
    following = Following(path, {"brokers": [kafka.address], "topic": topic})
    sent = 0
    for turn in range(6):
        batch = [native(number) for number in range(sent, sent + 700)]
        sent += len(batch)
        await asyncio.gather(following.start(), kafka.produce(topic, batch))
        if turn == 2:
            await kafka.add_partitions(topic, 5)
        await asyncio.sleep(1.5)
        await (following.kill() if turn % 2 else following.stop())
    async with following:
        await until(lambda: len(following.open()) == sent, f"all {sent} are open", 120)
        await following.until_done(sent)
        told = Counter(one.alert.resource for one in following.journal())
        assert set(told.values()) == {1}
        assert len(told) == sent
        ends = await kafka.end_offsets(topic)
        assert following.done() == {f"{topic}/{number}": end for number, end in ends.items()}
        await until(lambda: kafka_committed(kafka, topic, ends), "the group shows it", 60)


async def kafka_committed(kafka: Broker, topic: str, ends: dict[int, int]) -> bool:
    return await kafka.committed("samband", topic) == ends


async def test_latest_is_where_it_first_looked(kafka: Broker, path: Path) -> None:
    topic = await kafka.create_topic()
    await kafka.produce(topic, [native(1)])
    following = Following(path, {"brokers": [kafka.address], "topic": topic, "start": "latest"})
    async with following:
        await until(lambda: following.done() == {f"{topic}/0": 1}, "the end is noted")
    await kafka.produce(topic, [native(2)])
    async with following:
        await following.until_open(*down(2))


async def test_partitions_that_are_added_are_read_from_their_beginning(kafka: Broker, path: Path) -> None:
    topic = await kafka.create_topic()
    async with Following(path, {"brokers": [kafka.address], "topic": topic, "start": "latest"}) as following:
        await until(following.done, "it reads")
        await kafka.add_partitions(topic, 3)
        await kafka.produce(topic, [native(7)], partition=2)
        await following.until_open(*down(7))
        assert sorted(following.done()) == [f"{topic}/{number}" for number in range(3)]


# ---- logs that are not what they were -----------------------------------------------------------------------


async def test_a_topic_that_was_made_anew_is_noticed_and_read_whole(kafka: Broker, path: Path) -> None:
    """Five were read, and the new topic holds eight: its first five must not be passed over in silence."""
    topic = await kafka.create_topic()
    await kafka.produce(topic, [native(number) for number in range(5)])
    following = Following(path, {"brokers": [kafka.address], "topic": topic})
    async with following:
        await following.until_done(5)
    await kafka.delete_topic(topic)
    await kafka.create_topic(name=topic)
    await kafka.produce(topic, [native(number) for number in range(10, 18)])
    async with following:
        await following.until_open(*down(*range(5), *range(10, 18)))
        assert "made again" in following.said()["SambandKafkaLost"]


async def test_a_topic_that_is_made_anew_while_it_is_read_is_noticed(kafka: Broker, path: Path) -> None:
    topic = await kafka.create_topic()
    await kafka.produce(topic, [native(number) for number in range(5)])
    async with Following(path, {"brokers": [kafka.address], "topic": topic}) as following:
        await following.until_done(5)
        await kafka.delete_topic(topic)
        await until(lambda: "SambandKafkaTopicMissing" in following.said(), "it says that the topic is missing", 60)
        await kafka.create_topic(name=topic)
        await kafka.produce(topic, [native(number) for number in range(10, 18)])
        await following.until_open(*down(*range(5), *range(10, 18)), within_s=90)
        await until(lambda: "SambandKafkaTopicMissing" not in following.said(), "it is not missing any more")


async def test_a_log_that_was_cut_short_goes_on_where_it_was_cut(kafka: Broker, path: Path) -> None:
    """As an unclean election leaves it: another end, and a beginning that is as old as before."""
    topic = await kafka.create_topic(retention_ms="-1")
    now = int(time.time() * 1000)
    await kafka.produce(topic, [native(number) for number in range(5)], at_ms=now)
    following = Following(path, {"brokers": [kafka.address], "topic": topic})
    async with following:
        await following.until_done(5)
    await kafka.delete_topic(topic)
    await kafka.create_topic(name=topic, retention_ms="-1")
    await kafka.produce(topic, [native(90), native(91)], at_ms=now - 60 * MINUTE)
    await kafka.produce(topic, [native(5)], at_ms=now + 1)
    async with following:
        await following.until_open(*down(*range(6)))
        assert "was cut short; reading goes on at offset 2" in following.said()["SambandKafkaLost"]


async def test_what_retention_took_unread_is_said(kafka: Broker, path: Path) -> None:
    topic = await kafka.create_topic()
    await kafka.produce(topic, [native(number) for number in range(5)])
    following = Following(path, {"brokers": [kafka.address], "topic": topic})
    async with following:
        await following.until_done(5)
    await kafka.produce(topic, [native(number) for number in range(5, 12)])
    await kafka.delete_records(topic, {0: 9})
    async with following:
        await following.until_open(*down(*range(5), *range(9, 12)))
        assert "messages 5 to 8 were deleted unread" in following.said()["SambandKafkaLost"]
        assert following.done() == {f"{topic}/0": 12}


# ---- what cannot be read ------------------------------------------------------------------------------------


async def test_poison_is_kept_and_copied_and_the_rest_is_read(kafka: Broker, path: Path) -> None:
    topic = await kafka.create_topic()
    some = json.dumps([{"name": "Down", "resource": "r3"}, {"name": 7}]).encode()
    huge = json.dumps({"name": "Down", "resource": "r9", "summary": "x" * 3000}).encode()
    limits = LIMITS.model_copy(update={"body_bytes_max": 2048})
    messages = [native(1), b"{not json", None, some, b'"text"', huge, native(2)]
    async with Following(path, {"brokers": [kafka.address], "topic": topic}, limits) as following:
        await kafka.produce(topic, messages, key=b"k")
        await following.until_open(*down(1, 2, 3))
        await following.until_done(len(messages))
    assert [(reason.split(": ")[0], raw) for reason, raw in following.letters()] == [
        (f"{topic}/0 at 1", b"{not json"),
        (f"{topic}/0 at 3", b'{"name": 7}'),
        (f"{topic}/0 at 4", b'"text"'),
        (f"{topic}/0 at 5", huge),
    ]
    copies = await kafka.read(f"{topic}.dead-letters")
    assert [(one.key, one.value) for one in copies] == [(b"k", raw) for _, raw in following.letters()]
    told = {name: value.decode() for name, value in copies[0].headers}
    assert (told["topic"], told["partition"], told["offset"], told["code"]) == (topic, "0", "1", "not_json")
    assert told["reason"].startswith("not JSON")
    assert int(told["timestamp"]) > 0


async def test_when_nothing_can_be_read_it_stops_and_says_so(kafka: Broker, path: Path) -> None:
    topic = await kafka.create_topic(2)
    following = Following(path, {"brokers": [kafka.address], "topic": topic, "dead_letter_topic": ""})
    async with following:
        await kafka.produce(topic, [native(1)], partition=0)
        await kafka.produce(topic, [b"<xml/>"] * 60, partition=0)
        await kafka.produce(topic, [native(2)], partition=1)
        await until(lambda: "SambandKafkaStopped" in following.said(), "it says that it stopped")
        assert following.open() == down(1, 2), "the other partition is read"
        assert following.done()[f"{topic}/0"] == 19
        assert len(following.letters()) == 18
        assert following.behind() == [f"{topic}/0"]
    async with following:
        await until(lambda: following.done()[f"{topic}/0"] == 38, "a restart reads on, and it stops again")
        await until(lambda: "SambandKafkaStopped" in following.said(), "which is still said")
        await kafka.produce(topic, [native(number) for number in range(3, 103)], partition=0)
        await following.follow(following.source)
        await until(lambda: following.done()[f"{topic}/0"] == 57, "a reload reads on")
        await following.follow(following.source)
        await until(lambda: following.done()[f"{topic}/0"] == 161, "up to what can be read", 90)
        await until(lambda: "SambandKafkaStopped" not in following.said(), "and all is well")


async def test_alerts_over_the_quota_of_the_source_are_kept_and_ends_pass(kafka: Broker, path: Path) -> None:
    topic = await kafka.create_topic()
    limits = LIMITS.model_copy(update={"open_alerts_max": 3})
    bad = b"[" + native(8) + b"," + native(9) + b"]"
    async with Following(path, {"brokers": [kafka.address], "topic": topic}, limits) as following:
        await kafka.produce(topic, [native(1), native(2), native(3)])
        await following.until_open(*down(1, 2, 3))
        await kafka.produce(topic, [bad, native(1, status="resolved"), native(2, severity="critical")])
        await following.until_open(*down(2, 3))
        await following.until_done(6)
    assert [(reason.split(" (")[0], raw) for reason, raw in following.letters()] == [
        (f"{topic}/0 at 3: the source has 3 alerts open", bad)
    ]


async def test_a_message_of_ten_megabytes_and_messages_without_headers(kafka: Broker, path: Path) -> None:
    topic = await kafka.create_topic(max_message_bytes=str(20 * 1024 * 1024))
    many = [{"name": "Down", "resource": f"r{number}", "summary": "x" * 3000} for number in range(3_500)]
    body = json.dumps(many).encode()
    assert len(body) > 10_000_000
    topics = {topic: {"format": "header", "labels": {"site": "north"}}}
    async with Following(path, {"brokers": [kafka.address], "topics": topics}) as following:
        await kafka.produce(topic, [body], headers=[("format", b"native")], max_request_size=len(body) + 1000)
        await kafka.produce(topic, [native(9_999)])
        cloud = [("ce_specversion", b"1.0"), ("ce_id", b"1"), ("ce_source", b"/host/a"), ("ce_type", b"alert")]
        await kafka.produce(topic, [native(8_888)], headers=cloud)
        await until(lambda: len(following.open()) == 3_501, "all are read", 120)
        (one,) = [alert for alert in following.alerts() if alert.resource == "r8888"]
        assert (json.loads(one.labels), one.emitter) == ({"site": "north"}, f"{NAME} /host/a")
    assert [reason.split(": ")[1].split(";")[0] for reason, _ in following.letters()] == ["there is no header `format`"]
    told = Counter(one.alert.resource for one in following.journal())
    assert set(told.values()) == {1}


# ---- time ------------------------------------------------------------------------------------------------------


async def test_a_backlog_and_wrong_clocks_end_nothing(kafka: Broker, path: Path) -> None:
    """Ten minutes of a sender that repeats each minute; another one's clock is a day behind."""
    topic = await kafka.create_topic(retention_ms="-1")
    now = int(time.time() * 1000)
    for ago in range(10, 0, -1):
        sent = now - ago * MINUTE
        body = native(1, starts_at=at(now - 12 * MINUTE), ends_at=at(sent + 4 * MINUTE))
        await kafka.produce(topic, [body], at_ms=sent)
    async with Following(path, {"brokers": [kafka.address], "topic": topic}) as following:
        await following.until_open(*down(1))
        await following.until_done(10)
        (alert,) = following.alerts()
        assert abs(alert.lead - 4 * MINUTE) <= 1_000
        await until(lambda: not following.behind(), "it is level")
        day = now - 24 * 60 * MINUTE
        late = native(2, starts_at=at(day), ends_at=at(day + 4 * MINUTE))
        await kafka.produce(topic, [late, late], at_ms=day)
        await following.until_open(*down(1, 2))
        await asyncio.sleep(2)
        assert following.open() == down(1, 2)
        (other,) = [one for one in following.alerts() if one.resource == "r2"]
        assert other.ends_at == 0, "its lease was over before it came, so its clock is wrong"


async def test_what_an_alert_and_its_end_say_no_time_for_happened_in_the_order_of_the_log(
    kafka: Broker, path: Path
) -> None:
    topic = await kafka.create_topic(retention_ms="-1")
    began = int(time.time() * 1000) - 10 * MINUTE
    await kafka.produce(topic, [native(1), native(1, status="resolved"), native(2)], at_ms=began)
    await kafka.produce(topic, [native(2, status="resolved")], at_ms=began - 5_000)
    await kafka.produce(topic, [native(3), native(3, status="resolved"), native(3)], at_ms=began + 1)
    async with Following(path, {"brokers": [kafka.address], "topic": topic}) as following:
        await following.until_done(7)
        await following.until_open(*down(3))
        (first,) = [one for one in following.alerts() if one.resource == "r1"]
        assert (first.starts_at, first.ends_at) == (began, began)


# ---- brokers -----------------------------------------------------------------------------------------------------


async def test_it_waits_for_its_broker_and_goes_on_after_each_restart(
    start_kafka: StartKafka, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follower, "DOWN_MS", 3_000)
    broker = await start_kafka()
    topic = await broker.create_topic(2)
    await broker.stop()
    async with Following(path, {"brokers": [broker.address], "topic": topic}) as following:
        await until(following.trouble, "it says what is wrong")
        assert "no broker is reached" in following.trouble()
        await until(lambda: "no broker is reached" in following.said().get("SambandKafkaUnreachable", ""), "it is said")
        for turn in range(2):
            await broker.start()
            await broker.produce(topic, [native(number) for number in range(turn * 50, turn * 50 + 50)])
            await following.until_open(*down(*range(turn * 50 + 50)), within_s=90)
            assert following.trouble() == ""
            await until(lambda: "SambandKafkaUnreachable" not in following.said(), "which is over")
            await (broker.kill() if turn else broker.stop())
        await until(lambda: len(following.behind()) == 2, "it knows that it has not read to the end", 60)


async def test_it_logs_in_over_tls_and_says_what_is_wrong_otherwise(start_kafka: StartKafka, path: Path) -> None:
    broker = await start_kafka(secure=True)
    topic = await broker.create_topic()
    await broker.produce(topic, [native(1)])
    address = [broker.listeners["SASLTLS"]]
    login = {"mechanism": "SCRAM-SHA-256", "user": SCRAM[0], "password": SCRAM[1]}
    tls = {"ca_file": str(broker.ca)}
    wrong = {"brokers": address, "topic": topic, "tls": tls, "sasl": {**login, "password": "not-this-one"}}
    async with Following(path, wrong) as following:
        await until(following.trouble, "it says what is wrong")
        assert following.trouble().endswith("check user and password")
        right = KafkaSource.model_validate(
            {"type": "kafka", "start": "earliest", "brokers": address, "topic": topic, "tls": tls, "sasl": login}
        )
        await following.follow(right)
        await following.until_open(*down(1))
        assert await complaints(right) == []
        assert await complaints(right.model_copy(update={"topic": "none"})) == [
            "there is no topic none, or it may not be seen"
        ]
        assert "not-this-one" not in " ".join(await complaints(KafkaSource.model_validate({"type": "kafka", **wrong})))


async def test_a_source_that_is_taken_out_holds_up_nothing(kafka: Broker, path: Path) -> None:
    topic = await kafka.create_topic(2)
    await kafka.produce(topic, [native(1)])
    async with Following(path, {"brokers": [kafka.address], "topic": topic}) as following:
        await following.until_open(*down(1))
        await following.follow(None)
        assert not following.runtime.engine.state.streams.rows
        await kafka.produce(topic, [native(2)])
        await following.follow(following.source)
        await following.until_open(*down(1, 2))
        assert len(following.journal()) == 2
