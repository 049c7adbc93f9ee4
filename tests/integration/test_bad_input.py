"""Bad input to the daemon as a process: each gets a clear answer, memory stays bounded, and nothing else is lost."""

import asyncio
import gzip
import json
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.integration.samband import Samband

pytestmark = pytest.mark.integration

TOKEN = "a-token-of-the-scripts-0123456789"
PROM = "a-token-of-prometheus-0123456789"
GROWTH_BYTES_MAX = 150 * 1024 * 1024
GOOD = {"name": "Good", "severity": "critical", "service": "shop", "labels": {"a": "b"}}
POSTED = {"labels": {"alertname": "Good", "severity": "critical", "service": "shop"}, "annotations": {"x": "y"},
          "startsAt": "2026-01-01T00:00:00Z", "generatorURL": "http://p/graph"}  # fmt: skip


@pytest.fixture
async def samband(tmp_path: Path) -> AsyncIterator[Samband]:
    sources = {"scripts": {"type": "native", "token": TOKEN}, "prometheus": {"type": "alertmanager", "token": PROM}}
    limits = {"head_seconds_max": 2, "body_seconds_max": 2}
    async with Samband(tmp_path, {"login": "open", "mode": "shadow", "sources": sources, "limits": limits}) as running:
        yield running
        assert running.events, running.log_tail()
        failed = [one for one in running.events if one["event"] in ("intake_failed", "api_failed")]
        assert not failed, failed


def memory(samband: Samband) -> int:
    status = Path(f"/proc/{samband.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) * 1024


@asynccontextmanager
async def connected(samband: Samband) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    host, port = samband.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        yield reader, writer
    finally:
        writer.close()


async def post(
    samband: Samband, body: bytes, path: str = "/api/v1/alerts", *fields: str, token: str = ""
) -> tuple[int, str]:
    """Status and body of the answer, from a connection of its own."""
    named = "".join(f"{field}\r\n" for field in fields)
    if "content-type" not in named:
        named += "content-type: application/json\r\n"
    if "content-length" not in named:
        named += f"content-length: {len(body)}\r\n"
    bearer = token or (PROM if "/api/v2/" in path or path.endswith("prometheus") else TOKEN)
    head = f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {bearer}\r\n{named}connection: close\r\n"
    async with connected(samband) as (reader, writer):
        writer.write(head.encode() + b"\r\n" + body)
        answer = (await asyncio.wait_for(reader.read(), 30)).decode()
    status, _, rest = answer.removeprefix("HTTP/1.1 ").partition(" ")
    return int(status or 0), rest.partition("\r\n\r\n")[2]


async def still_fine(samband: Samband) -> None:
    """What is good is taken, and what was taken before is there."""
    assert (await post(samband, json.dumps(GOOD).encode()))[0] == 200
    assert "Good" in [one["name"] for one in await samband.alerts()]


async def letters(samband: Samband) -> list[dict[str, Any]]:
    return await samband.all_of("/api/v1/dead-letters")


async def test_json_that_is_broken_at_any_byte(samband: Samband) -> None:
    for body, path in ((json.dumps(GOOD), "/api/v1/alerts"), (json.dumps([POSTED]), "/api/v2/alerts")):
        for place in range(len(body)):
            for broken in (body[:place], body[:place] + "\x00" + body[place:], body[:place] + "}" + body[place + 1 :]):
                status, said = await post(samband, broken.encode(), path)
                assert status in (200, 400, 422), (place, broken, status, said)
                assert status == 200 or said, (place, broken)
    await still_fine(samband)


DEEP = 100_000
ODD: list[tuple[str, bytes, int, str]] = [
    ("/api/v1/alerts", b"[" * DEEP + b"]" * DEEP, 400, "nesting_depth_max"),
    ("/api/v1/alerts", b"[" * DEEP, 400, "nesting_depth_max"),
    ("/api/v1/alerts", b'{"name":"A","x":' + b'{"a":' * DEEP + b"1" + b"}" * DEEP + b"}", 400, "nesting_depth_max"),
    ("/api/v2/alerts", b'[{"labels":' + b'{"a":' * DEEP + b"1" + b"}" * DEEP + b"}]", 400, "nesting_depth_max"),
    ("/hooks/prometheus", b'{"alerts":[' + b"[" * DEEP + b"]" * DEEP + b"]}", 400, "nesting_depth_max"),
    ("/api/v1/alerts", b'{"name":"caf\xc3","labels":{"h":"\xff\xfe"}}', 200, ""),
    ("/api/v2/alerts", b'[{"labels":{"alertname":"caf\xc3","h":"\xff\xfe"}}]', 200, ""),
    ("/api/v1/alerts", b'{"name":"A\\u0000B","labels":{"n":"\\u0000"}}', 200, ""),
    ("/api/v1/alerts", b'{"name":"A\x00B"}', 400, "not JSON"),
    ("/api/v1/alerts", b'{"name":"lone \\ud800"}', 200, ""),
    ("/api/v1/alerts", json.dumps({"name": "A", "labels": {f"l{n}": "x" for n in range(10_000)}}).encode(), 422,
     "limits.labels_max"),
    ("/api/v2/alerts", json.dumps([{"labels": {f"l{n}": "x" for n in range(10_000)}}]).encode(), 400,
     "limits.labels_max"),
    ("/api/v1/alerts", json.dumps({"name": "A", "labels": {"a": "x" * 1_048_576}}).encode(), 422,
     "limits.label_value_bytes_max"),
    ("/api/v2/alerts", json.dumps([{"labels": {"alertname": "x" * 1_048_576}}]).encode(), 400,
     "limits.label_value_bytes_max"),
    ("/api/v1/alerts", b'{"name":["A"]}', 422, "name is required"),
    ("/api/v1/alerts", b'{"severity":"critical"}', 422, "name is required"),
    ("/api/v1/alerts", b'{"name":"A","labels":7}', 422, "labels"),
    ("/api/v1/alerts", b'{"name":"A","starts_at":7}', 422, "starts_at"),
    ("/api/v1/alerts", b"7", 400, "not JSON"),
    ("/api/v2/alerts", b'{"labels":{}}', 400, "failed"),
    ("/api/v2/alerts", b'[{"labels":{"a":["b"]}}]', 400, "failed"),
    ("/api/v1/alerts", b'{"name":"Early","starts_at":"0001-01-01T00:00:01Z"}', 200, ""),
    ("/api/v1/alerts", b'{"name":"Late","starts_at":"9999-12-31T23:59:59Z","ends_at":"9999-12-31T23:59:59Z"}', 200, ""),
    ("/api/v2/alerts", b'[{"labels":{"alertname":"L"},"startsAt":"9999-12-31T23:59:59Z"}]', 400, "start time"),
    ("/api/v2/alerts", b'[{"labels":{"alertname":"E"},"startsAt":"0001-01-01T00:00:01Z"}]', 200, ""),
    ("/api/v1/alerts", b'{"name":"A","starts_at":"10000-01-01T00:00:00Z"}', 422, "starts_at"),
    ("/api/v1/alerts", b'{"name":"First","name":"Second","labels":{"a":"1","a":"2"}}', 200, ""),
    ("/api/v1/alerts", b"", 400, "empty"),
]  # fmt: skip


async def test_odd_bodies_get_a_clear_answer_and_what_cannot_be_read_is_kept(samband: Samband) -> None:
    for path, body, wanted, says in ODD:
        status, said = await post(samband, body, path)
        assert (status, says in said) == (wanted, True), (path, body[:60], status, said[:300])
    await still_fine(samband)
    names = {one["name"] for one in await samband.alerts()}
    assert {"Early", "Late", "Second", "caf�"} <= names
    kept = await letters(samband)
    assert len(kept) == sum(1 for one in ODD if one[2] != 200)
    assert all(one["reason"] for one in kept)


async def test_huge_bodies_and_bombs_do_not_fill_the_memory(samband: Samband) -> None:
    await still_fine(samband)
    before = memory(samband)
    bomb = gzip.compress(b"[" + b" " * 200_000_000 + b"]")
    for _ in range(3):
        status, said = await post(samband, b" " * 100_000_000)
        assert (status, "limits.body_bytes_max" in said) == (413, True)
        chunked = b"".join(b"100000\r\n" + b" " * 0x100000 + b"\r\n" for _ in range(100)) + b"0\r\n\r\n"
        status, said = await post(
            samband, chunked, "/api/v1/alerts", "transfer-encoding: chunked", "x-content-length: 0"
        )
        assert (status, "limits.body_bytes_max" in said) == (413, True)
        status, said = await post(samband, bomb, "/api/v1/alerts", "content-encoding: gzip")
        assert (status, "limits.body_bytes_max" in said) == (413, True)
    status, said = await post(samband, zlib.compress(bomb), "/api/v1/alerts", "content-encoding: gzip, deflate")
    assert status == 413
    assert memory(samband) - before < GROWTH_BYTES_MAX
    await still_fine(samband)


async def test_strangers_and_wrong_types(samband: Samband) -> None:
    body = json.dumps(GOOD).encode()
    assert (await post(samband, body, token="wrong"))[0] == 401
    assert (await post(samband, body, token=PROM))[0] == 401
    assert (await post(samband, b" " * 50_000_000, token="wrong"))[0] == 401
    assert (await post(samband, b"<a/>", "/api/v1/alerts", "content-type: text/html"))[0] == 415
    assert (await post(samband, b"[]", "/api/v2/alerts", "content-type: text/plain"))[0] == 415
    assert (await post(samband, b"x", "/api/v1/alerts", "content-encoding: br"))[0] == 415
    assert (await post(samband, b"x", "/api/v1/alerts", "content-encoding: gzip"))[0] == 400
    assert len(await letters(samband)) == 4, "nothing of strangers"
    await still_fine(samband)


async def test_senders_that_are_slow_half_open_or_lie_about_the_length(samband: Samband) -> None:
    body = json.dumps(GOOD).encode()
    status, said = await post(samband, body, "/api/v1/alerts", "content-length: 1000")
    assert (status, "limits.body_seconds_max" in said) == (408, True), "announced more than it sent"
    status, _ = await post(samband, body, "/api/v1/alerts", f"content-length: {len(body) - 5}")
    assert status == 400, "announced less: what is cut off is no JSON"
    before = memory(samband)
    async with connected(samband) as silent, connected(samband) as half:
        half[1].write(b"POST /api/v1/alerts HTTP/1.1\r\nhost: 127.0.0.1\r\n")
        many = [await asyncio.open_connection(*samband.url.removeprefix("http://").split(":")) for _ in range(300)]
        for _, writer in many:
            writer.write(
                b"POST /api/v1/alerts HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 5000000\r\nauthorization: Bearer "
                + TOKEN.encode()
                + b"\r\n\r\n["
            )
        await still_fine(samband)
        assert await asyncio.wait_for(silent[0].read(), 15) == b""
        assert (await asyncio.wait_for(half[0].read(), 15)).startswith(b"HTTP/1.1 408")
        for reader, writer in many:
            assert (await asyncio.wait_for(reader.readline(), 15)).startswith(b"HTTP/1.1 408")
            writer.close()
    assert memory(samband) - before < GROWTH_BYTES_MAX
    await still_fine(samband)
    assert "NaN" not in samband.log.read_text()


async def test_a_batch_with_one_bad_item_of_each_kind_costs_no_good_one(samband: Samband) -> None:
    bad: list[Any] = [None, 7, [], {}, {"name": 1}, {"name": "A", "labels": {"a": {}}}, {"name": "x" * 5000}]
    items: list[Any] = []
    for number, one in enumerate(bad):
        items += [one, {"name": f"Good{number}"}]
    status, said = await post(samband, json.dumps(items).encode())
    answer = json.loads(said)
    assert (status, answer["accepted"], len(answer["rejected"])) == (200, len(bad), len(bad))
    names = {one["name"] for one in await samband.alerts()}
    assert {f"Good{number}" for number in range(len(bad))} <= names
