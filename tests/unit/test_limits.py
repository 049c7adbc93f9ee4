"""Limits on what comes in, each over a real socket or on its own: the answer names the limit, and memory is bounded."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.core.model.alert import ParsedAlert
from daemon.quota import OpenAlerts
from daemon.settings.limits import Limits
from daemon.sources.body import BodyError, Buffered
from daemon.sources.formats import native
from daemon.sources.formats.base import Context
from daemon.sources.nesting import too_deep
from daemon.sources.rates import Rates
from tests.unit.served import OPERATOR, Served, served


# ---- nesting -------------------------------------------------------------------------------------
def depth_of(value: Any) -> int:
    below = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if below is None else 1 + max((depth_of(one) for one in below), default=0)


values = st.recursive(
    st.integers() | st.text('[]{}"\\a'), lambda below: st.lists(below) | st.dictionaries(st.text('[]{}"\\a'), below)
)


@given(values, st.integers(0, 6), st.sampled_from([None, 1]))
def test_nesting_is_told_exactly(value: Any, limit: int, indent: int | None) -> None:
    assert too_deep(json.dumps(value, indent=indent).encode(), limit) is (depth_of(value) > limit)


def test_brackets_in_texts_do_not_count() -> None:
    assert not too_deep(json.dumps([{"a": "[" * 10_000}]).encode(), 64)
    assert too_deep(b"[" * 10_000, 64)
    assert too_deep(b'{"a":' * 65 + b"1" + b"}" * 65, 64)
    assert not too_deep(b'{"a":' * 64 + b"1" + b"}" * 64, 64)


@pytest.mark.parametrize("text", [b"]", b"a\\\\]", b'\\"]', b"]]]"])
def test_brackets_in_texts_hide_no_nesting(text: bytes) -> None:
    for depth, deep in ((64, False), (65, True)):
        body = b'["' + text + b'",'
        assert too_deep(body * depth + b"1" + b"]" * depth, 64) is deep


# ---- rates ---------------------------------------------------------------------------------------
def test_a_source_over_its_rate_waits_and_the_others_do_not() -> None:
    now = 100.0
    rates = Rates(lambda: now, Limits(alerts_per_second_max=10, alerts_burst_max=20))
    rates.admit("a")
    rates.spend("a", 50)
    with pytest.raises(BodyError, match=r"source a .*limits.alerts_per_second_max") as refused:
        rates.admit("a")
    assert refused.value.status == 429
    assert refused.value.retry_after_s == pytest.approx(3.1)
    rates.admit("b")
    now += refused.value.retry_after_s
    rates.admit("a")
    now += 1000
    rates.spend("a", 19)
    rates.admit("a")
    rates.spend("a", 1)
    with pytest.raises(BodyError):
        rates.admit("a")


def test_bodies_are_counted_together() -> None:
    buffered = Buffered()
    buffered.take(600, 1000)
    with pytest.raises(BodyError, match="too many bodies") as refused:
        buffered.take(500, 1000)
    assert (refused.value.status, refused.value.retry_after_s) == (503, 1.0)
    buffered.give_back(600)
    buffered.take(1000, 1000)


# ---- over a socket -------------------------------------------------------------------------------
async def test_each_limit_on_an_alert_is_named(tmp_path: Path) -> None:
    limits = Limits(labels_max=3, label_name_chars_max=10, label_value_bytes_max=20, labels_bytes_max=64)
    bad = {
        "labels_max": {str(number): "x" for number in range(4)},
        "label_name_chars_max": {"n" * 11: "x"},
        "label_value_bytes_max": {"a": "é" * 11},
        "labels_bytes_max": {"a" * 10: "x" * 20, "b" * 10: "x" * 20},
    }
    async with served(tmp_path, limits=limits) as it:
        for name, labels in bad.items():
            good = {"name": "Good", "labels": {"a": "é" * 10, "b": "x", "c": "x"}}
            sent = json.dumps([{"name": "Bad", "labels": labels}, good]).encode()
            status, body, _ = await it.ask("POST", "/api/v1/alerts", sent)
            assert (status, body["accepted"]) == (200, 1), body
            assert f"limits.{name}" in body["rejected"][0]["reason"]
            sent = json.dumps([{"labels": labels}, {"labels": {"alertname": "Am"}}]).encode()
            status, body, _ = await it.ask("POST", "/api/v2/alerts", sent)
            assert (status, f"limits.{name}" in body) == (400, True), body
        replica = {"labels": {"alertname": "A", "replica": "x" * 21}}
        assert "replicas" in (await it.ask("POST", "/api/v2/alerts", json.dumps([replica]).encode()))[1]
        for field in ("service", "resource", "environment", "severity", "dedup_key"):
            sent = json.dumps({"name": "A", field: "x" * 21}).encode()
            assert field in (await it.ask("POST", "/api/v1/alerts", sent))[1]["rejected"][0]["reason"]
        names = sorted(one.name for one in it.runtime.engine.state.alerts.rows.values())
        assert names == ["Am", "Good"]
        assert len(it.queries.dead_letters()) == 14


async def test_annotations_are_cut_and_the_alert_is_kept(tmp_path: Path) -> None:
    async with served(tmp_path, limits=Limits(annotations_bytes_max=1000)) as it:
        sent = json.dumps({"name": "A", "annotations": {"a": "x" * 5000, "b": "short"}}).encode()
        assert (await it.ask("POST", "/api/v1/alerts", sent))[0] == 200
        (notes,) = it.runtime.engine.state.annotations.values()
        assert len(notes) <= 1000
        assert json.loads(notes)["b"] == "short"


async def test_too_many_alerts_in_one_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with served(tmp_path, limits=Limits(batch_alerts_max=10)) as it:
        ten, eleven = ([{"name": f"A{number}"} for number in range(count)] for count in (10, 11))
        assert (await it.ask("POST", "/api/v1/alerts", json.dumps(ten).encode()))[0] == 200
        for piece_bytes in (10, 1 << 20):
            monkeypatch.setattr("daemon.sources.http.PIECE_BYTES", piece_bytes)
            status, body, _ = await it.ask("POST", "/api/v1/alerts", json.dumps(eleven).encode())
            assert (status, "limits.batch_alerts_max" in body["error"]) == (413, True)
        lines = "\n".join(json.dumps(one) for one in eleven).encode()
        assert (await it.ask("POST", "/api/v1/alerts", lines))[0] == 413


async def test_too_deep_a_body_is_a_dead_letter_with_its_reason(tmp_path: Path) -> None:
    async with served(tmp_path, limits=Limits(nesting_depth_max=5)) as it:
        deep = b'{"name":"A","more":' + b"[" * 5 + b"]" * 5 + b"}"
        status, body, _ = await it.ask("POST", "/api/v1/alerts", deep)
        assert (status, "limits.nesting_depth_max" in body["error"]) == (400, True)
        (letter,) = it.queries.dead_letters()
        assert letter.raw == deep
        flat = deep.replace(b"[[", b"[").replace(b"]]", b"]")
        assert (await it.ask("POST", "/api/v1/alerts", flat))[0] == 200


async def test_over_the_rate_is_429_with_retry_after(tmp_path: Path) -> None:
    async with served(tmp_path, limits=Limits(alerts_per_second_max=1, alerts_burst_max=2)) as it:
        three = json.dumps([{"name": f"A{number}"} for number in range(3)]).encode()
        assert (await it.ask("POST", "/api/v1/alerts", three))[0] == 200, "what was begun within the rate is taken"
        status, body, headers = await it.ask("POST", "/api/v1/alerts", three)
        assert (status, headers["retry-after"], "limits.alerts_per_second_max" in body["error"]) == (429, "2", True)
        posted = b'[{"labels":{"alertname":"A"}}]'
        assert (await it.ask("POST", "/api/v2/alerts", posted))[0] == 200, "the other source may"
        assert not it.queries.dead_letters()


async def test_new_alerts_beyond_the_open_ones_are_429_and_repeats_and_resolves_pass(tmp_path: Path) -> None:
    async with served(tmp_path, limits=Limits(open_alerts_max=3)) as it:

        async def send(*names: str, status: str = "firing") -> tuple[int, Any]:
            items = [{"name": name, "status": status} for name in names]
            return (await it.ask("POST", "/api/v1/alerts", json.dumps(items).encode()))[:2]

        assert (await send("A", "B"))[0] == 200
        code, body = await send("C", "D", "A")
        assert (code, body["accepted"], "limits.open_alerts_max" in body["error"]) == (429, 2, True)
        assert sorted(one.name for one in it.runtime.engine.state.alerts.rows.values()) == ["A", "B", "C"]
        assert (await send("A", "B", "C"))[0] == 200
        assert (await send("D", status="resolved"))[0] == 200
        assert (await it.ask("POST", "/api/v2/alerts", b'[{"labels":{"alertname":"A"}}]'))[0] == 200
        assert (await send("A", status="resolved"))[0] == 200
        assert (await send("E"))[0] == 200


def parsed(*names: str) -> list[ParsedAlert]:
    return native.FORMAT.parse(json.dumps([{"name": name} for name in names]).encode(), Context("scripts", 1)).alerts


async def test_open_alerts_are_counted_again_only_near_the_limit(tmp_path: Path) -> None:
    async with served(tmp_path) as it:
        quota = OpenAlerts(it.runtime.engine.state)
        batch = parsed(*(f"A{number}" for number in range(40)))
        assert await quota.within(batch, 100) == batch
        await it.runtime.intake(batch)
        for _ in range(50):
            assert await quota.within(batch, 100) == batch, "repeats taken for new ones at most up to half"
        assert len(await quota.within(parsed(*(f"B{number}" for number in range(70))), 100)) == 60


async def test_a_bomb_in_bombs(tmp_path: Path) -> None:
    async with served(tmp_path) as it:
        bomb = gzip.compress(gzip.compress(b"[" + b" " * 50_000_000 + b"]"))
        status, body, _ = await it.ask("POST", "/api/v1/alerts", bomb, content_encoding="gzip, gzip")
        assert (status, "limits.body_bytes_max" in body["error"]) == (413, True)
        status, body, _ = await it.ask("POST", "/api/v1/alerts", bomb, content_encoding="gzip, gzip, gzip")
        assert (status, "compress the body once" in body["error"]) == (415, True)
        assert it.intake.buffered.size == 0


async def test_many_bodies_at_one_time_are_503_and_nothing_stays_counted(tmp_path: Path) -> None:
    async with served(tmp_path, limits=Limits(bodies_bytes_max=100_000)) as it, stream(it) as (reader, writer):
        writer.write(head(it, b"content-length: 90000") + b" " * 80_000)
        await until(lambda: it.intake.buffered.size == 80_000)
        status, _, headers = await it.ask("POST", "/api/v1/alerts", b" " * 50_000)
        assert (status, headers["retry-after"]) == (503, "1")
        writer.write(b"[]" + b" " * 9_998)
        assert b"200 OK" in await asyncio.wait_for(reader.readline(), 10)
        assert it.intake.buffered.size == 0


async def test_bodies_of_the_api_are_limited_too(tmp_path: Path) -> None:
    async with served(tmp_path, body_bytes_max=2000) as it:
        note = json.dumps({"note": "x" * 3000}).encode()
        assert (await it.ask("POST", "/api/v1/incidents/INC-1/ack", note))[0] == 413
        assert (await it.ask("POST", "/api/v1/incidents/INC-1/ack", b"{}"))[0] == 404


# ---- connections ---------------------------------------------------------------------------------
def head(it: Served, *fields: bytes, path: bytes = b"/api/v1/alerts") -> bytes:
    return b"\r\n".join([b"POST %b HTTP/1.1" % path, b"host: 127.0.0.1", *fields, b"", b""])


@asynccontextmanager
async def stream(it: Served) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    host, port = it.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        yield reader, writer
    finally:
        writer.close()


async def until(true: Any) -> None:
    for _ in range(1000):
        if true():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("not within 20 s")


QUICK = Limits(head_seconds_max=1, body_seconds_max=1, head_bytes_max=4096)


@pytest.mark.parametrize(
    ("sent", "answer"),
    [
        (b"", b""),
        (b"POST /api/v1/al", b"HTTP/1.1 408"),
        (b"POST /api/v1/alerts HTTP/1.1\r\nhost: 127.0.0.1\r\n", b"HTTP/1.1 408"),
        (b"POST /api/v1/alerts HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 10\r\n\r\n[", b"HTTP/1.1 408"),
        (b"\x16\x03\x01\x02\x00\x01", b"HTTP/1.1 400"),
        (b"POST /api/v1/alerts HTTP/1.1\r\ncontent-length: -1\r\n\r\n", b"HTTP/1.1 400"),
        (b"POST /api/v1/alerts HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n", b"HTTP/1.1 400"),
        (b"GET /" + b"a" * 300_000, b"HTTP/1.1 431"),
        (b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 60_000, b"HTTP/1.1 431"),
    ],
    ids=range(9),
)
async def test_slow_half_open_and_endless_senders(tmp_path: Path, sent: bytes, answer: bytes) -> None:
    async with served(tmp_path, limits=QUICK) as it, stream(it) as (reader, writer):
        writer.write(sent)
        try:
            got = await asyncio.wait_for(reader.read(), 15)
        except ConnectionResetError:
            got = answer  # It went on sending after the answer; what matters is that it was cut off.
        assert got.startswith(answer), got
        assert (await it.ask("POST", "/api/v1/alerts", b'{"name":"A"}'))[0] == 200


async def test_a_sender_that_drips_its_head_gets_no_more_time(tmp_path: Path) -> None:
    async with served(tmp_path, limits=QUICK) as it, stream(it) as (reader, writer):
        writer.write(b"POST /api/v1/alerts HTTP/1.1\r\n")
        began = asyncio.get_running_loop().time()
        while not writer.is_closing() and not reader.at_eof() and asyncio.get_running_loop().time() - began < 10:
            writer.write(b"a: b\r\n")
            await asyncio.sleep(0.1)
            if reader._buffer:  # type: ignore[attr-defined]
                break
        assert (await reader.read()).startswith(b"HTTP/1.1 408")
        assert asyncio.get_running_loop().time() - began < 8


async def test_an_answer_before_the_end_of_the_body_and_then_the_next_request(tmp_path: Path) -> None:
    async with served(tmp_path, limits=Limits(body_bytes_max=2000)) as it, stream(it) as (reader, writer):
        writer.write(head(it, b"content-length: 500000") + b" " * 400_000)
        assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 413")
        await reader.readuntil(b"}")
        writer.write(b" " * 100_000 + head(it, b"content-length: 2") + b"[]")
        assert (await asyncio.wait_for(reader.readuntil(b"\r\n"), 5)).startswith(b"HTTP/1.1 200")


async def test_connections_are_counted(tmp_path: Path) -> None:
    async with served(tmp_path, limits=Limits(connections_max=3)) as it:
        async with stream(it), stream(it), stream(it), stream(it) as (reader, _):
            assert (await asyncio.wait_for(reader.read(), 10)).startswith(b"HTTP/1.1 503 Service Unavailable")
        assert await again(it) == 200


async def again(it: Served) -> int:
    status = 503
    for _ in range(50):
        status = (await it.ask("GET", "/api/v1/alerts", authorization=f"Bearer {OPERATOR}"))[0]
        if status != 503:
            return status
        await asyncio.sleep(0.1)
    return status
