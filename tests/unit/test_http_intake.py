"""The intake over a real socket: who may send, what is answered, what stays behind."""

import asyncio
import base64
import gzip
import json
import zlib
from pathlib import Path
from typing import Any

import pytest
import zstandard

from daemon import metrics
from daemon.access import digest
from daemon.sources import http
from daemon.sources.senders import Source
from tests.unit.served import served

ALERT = b'{"name":"DiskFull","severity":"critical","service":"vault"}'
POSTED = b'[{"labels":{"alertname":"DiskFull","severity":"critical"}}]'


def bearer(token: str) -> str:
    return f"Bearer {token}"


def guarded(name: str, kind: str, *tokens: str) -> dict[str, Source]:
    return {name: Source(name, kind, tuple(digest(token) for token in tokens))}


async def test_native_answers(tmp_path: Path) -> None:
    async with served(tmp_path) as it:
        assert (await it.ask("POST", "/api/v1/alerts", ALERT))[:2] == (200, {"accepted": 1, "rejected": []})
        status, body, _ = await it.ask("POST", "/api/v1/alerts", b'[{"name":"A"},{"severity":"x"},{"name":"B"}]')
        assert (status, body["accepted"]) == (200, 2)
        assert body["rejected"] == [{"index": 1, "reason": "name is required, a text that says what is wrong"}]
        status, body, _ = await it.ask("POST", "/api/v1/alerts", b"[{}]")
        assert (status, body["accepted"], len(body["rejected"])) == (422, 0, 1)
        assert (await it.ask("POST", "/api/v1/alerts", b"[]"))[:2] == (200, {"accepted": 0, "rejected": []})
        status, body, _ = await it.ask("POST", "/api/v1/alerts", b"oops")
        assert (status, "not JSON" in body["error"]) == (400, True)
        assert (await it.ask("POST", "/api/v1/alerts", b'{"name":"A"}\n{"name":"C"}'))[1]["accepted"] == 2
        assert (await it.ask("POST", "/hooks/scripts", ALERT))[0] == 200
        assert len(it.runtime.engine.state.alerts.rows) == 4


async def test_what_cannot_be_read_is_kept_with_its_reason(tmp_path: Path) -> None:
    async with served(tmp_path) as it:
        await it.ask("POST", "/api/v1/alerts", b"oops")
        await it.ask("POST", "/api/v1/alerts", b'[{"name":"A"},{"severity":"x"}]')
        await it.ask("POST", "/api/v2/alerts", b'[{"labels":{}}]')
        await it.ask("POST", "/api/v1/alerts", b"<x/>", content_type="application/xml")
        letters = it.queries.dead_letters()
        assert [(one.source, one.raw) for one in letters] == [
            ("scripts", b"oops"),
            ("scripts", b'{"severity":"x"}'),
            ("prometheus", b'{"labels":{}}'),
            ("scripts", b"<x/>"),
        ]
        assert letters[1].reason == "1 of 2 items rejected; item 1: name is required, a text that says what is wrong"


async def test_alertmanager_answers_in_its_words(tmp_path: Path) -> None:
    async with served(tmp_path) as it:
        status, body, headers = await it.ask("POST", "/api/v2/alerts", POSTED)
        assert (status, body, headers["content-length"]) == (200, b"", "0")
        cases: list[tuple[bytes, int, Any]] = [
            (b"", 422, {"code": 602, "message": "alerts in body is required"}),
            (b'[{"annotations":{}}]', 422, {"code": 602, "message": "0.labels in body is required"}),
            (b'[{"labels":{}},{"labels":{"":"x"}}]', 400,
             'at least one label pair required; invalid label set: invalid name ""'),
            (b'[{"labels":{"a":"b"},"generatorURL":"x"}]', 422,
             {"code": 601, "message": '0.generatorURL in body must be of type uri: "x"'}),
        ]  # fmt: skip
        for sent, wanted, said in cases:
            assert (await it.ask("POST", "/api/v2/alerts", sent))[:2] == (wanted, said), sent
        status, body, _ = await it.ask("POST", "/api/v2/alerts", b'[{"labels":{"a":1}}]')
        assert (status, body["code"]) == (400, 400)
        status, body, _ = await it.ask("POST", "/api/v2/alerts", b"[]", content_type="text/plain")
        assert (status, body["message"]) == (
            415,
            'unsupported media type "text/plain", only [application/json] are allowed',
        )
        status, body, headers = await it.ask("PUT", "/api/v2/alerts", b"[]")
        assert (status, headers["allow"]) == (405, "GET,POST")
        assert body == {"code": 405, "message": "method PUT is not allowed, but [GET,POST] are"}


async def test_a_bad_alert_beside_good_ones_is_400_and_the_good_ones_are_in(tmp_path: Path) -> None:
    async with served(tmp_path) as it:
        body = b'[{"labels":{"alertname":"A"}},{"labels":{}},{"labels":{"alertname":"B"}}]'
        assert (await it.ask("POST", "/api/v2/alerts", body))[:2] == (400, "at least one label pair required")
        assert sorted(one.name for one in it.runtime.engine.state.alerts.rows.values()) == ["A", "B"]


async def test_webhook_on_a_hook(tmp_path: Path) -> None:
    async with served(tmp_path) as it:
        body = {"version": "4", "alerts": [{"status": "firing", "labels": {"alertname": "A"}}]}
        assert (await it.ask("POST", "/hooks/prometheus", json.dumps(body).encode()))[:2] == (
            200,
            {"accepted": 1, "rejected": []},
        )
        status, said, _ = await it.ask("POST", "/hooks/prometheus", b"[]")
        assert (status, "webhook" in said["error"]) == (422, True)
        assert (await it.ask("GET", "/hooks/prometheus"))[0] == 405


async def test_unknown_names_and_paths(tmp_path: Path) -> None:
    async with served(tmp_path) as it:
        assert (await it.ask("POST", "/hooks/nobody", ALERT))[0] == 404
        assert (await it.ask("POST", "/sources/nobody/api/v2/alerts", POSTED))[1]["code"] == 404
        assert (await it.ask("POST", "/sources/scripts/api/v2/alerts", POSTED))[0] == 404
        assert (await it.ask("POST", "/api/v3/alerts", POSTED))[0] == 404
        assert (await it.ask("GET", "/api/v2/nonsense"))[1] == {
            "code": 404,
            "message": "path /api/v2/nonsense was not found",
        }


async def test_tokens(tmp_path: Path) -> None:
    sources = guarded("scripts", "native", "first-token", "second-token") | guarded(
        "prometheus", "alertmanager", "prom"
    )
    async with served(tmp_path, sources=sources, open_=False) as it:
        for path in ("/api/v1/alerts", "/hooks/scripts", "/hooks/nobody", "/api/v2/alerts"):
            for header in ("", bearer("wrong"), "Basic ???", "Digest x", bearer("")):
                headers = {"authorization": header} if header else {}
                status, body, said = await it.ask("POST", path, ALERT, **headers)
                assert (status, "Bearer" in said["www-authenticate"]) == (401, True), (path, header, body)
        assert not it.runtime.engine.state.alerts.rows
        assert not it.queries.dead_letters(), "what nobody known sent is not kept"
        for token in ("first-token", "second-token"):
            assert (await it.ask("POST", "/hooks/scripts", ALERT, authorization=bearer(token)))[0] == 200
        assert (await it.ask("POST", "/hooks/scripts", ALERT, authorization=bearer("prom")))[0] == 401
        basic = "Basic " + base64.b64encode(b"anyone:prom").decode()
        assert (await it.ask("POST", "/api/v2/alerts", POSTED, authorization=basic))[0] == 200
        assert (await it.ask("POST", "/hooks/nobody", ALERT, authorization=bearer("prom")))[0] == 404


async def test_the_token_says_which_of_several_sources(tmp_path: Path) -> None:
    sources = guarded("a", "native", "token-a") | guarded("b", "native", "token-b")
    async with served(tmp_path, sources=sources, open_=False) as it:
        assert (await it.ask("POST", "/api/v1/alerts", ALERT, authorization=bearer("token-b")))[0] == 200
        assert (await it.ask("POST", "/api/v1/alerts", ALERT))[0] == 401
        assert [one.source for one in it.runtime.engine.state.alerts.rows.values()] == ["b"]
    (tmp_path / "open").mkdir()
    both = {name: Source(name, kind) for name, kind in (("a", "native"), ("b", "native"), ("p", "alertmanager"))}
    async with served(tmp_path / "open", sources=both | {"q": Source("q", "alertmanager")}) as it:
        status, body, _ = await it.ask("POST", "/api/v1/alerts", ALERT)
        assert (status, body["error"]) == (422, "several sources of type native: a, b; post to /hooks/NAME")
        status, body, _ = await it.ask("POST", "/api/v2/alerts", POSTED)
        assert (status, body["message"].endswith("p, q; post to /sources/NAME/api/v2/alerts")) == (422, True)
        assert (await it.ask("POST", "/sources/q/api/v2/alerts", POSTED))[0] == 200


async def test_foreign_web_pages_are_refused_where_no_token_is_needed(tmp_path: Path) -> None:
    async with served(tmp_path) as it:
        port = it.url.rpartition(":")[2]
        for headers in (
            {"origin": "https://evil.example"},
            {"origin": "null"},
            {"host": "evil.example"},
            {"host": f"evil.example:{port}", "origin": f"http://evil.example:{port}"},
        ):
            for path in ("/api/v1/alerts", "/hooks/scripts", "/api/v2/alerts"):
                assert (await it.ask("POST", path, ALERT, **headers))[0] == 403, headers
            assert (await it.ask("GET", "/api/v1/incidents", None, **headers))[0] == 403, headers
        same = {"host": f"localhost:{port}", "origin": f"http://localhost:{port}"}
        assert (await it.ask("POST", "/api/v1/alerts", ALERT, **same))[0] == 200
    sources = guarded("scripts", "native", "first-token")
    (tmp_path / "guarded").mkdir()
    async with served(tmp_path / "guarded", sources=sources, open_=False) as it:
        token = bearer("first-token")
        assert (await it.ask("POST", "/api/v1/alerts", ALERT, authorization=token, host="samband.example"))[0] == 200


@pytest.mark.parametrize(
    ("encoding", "packed"),
    [
        ("gzip", gzip.compress(ALERT, mtime=0)),
        ("gzip", gzip.compress(ALERT[:20], mtime=0) + gzip.compress(ALERT[20:], mtime=0)),
        ("deflate", zlib.compress(ALERT)),
        ("deflate", zlib.compress(ALERT, wbits=-15)),
        ("zstd", zstandard.compress(ALERT)),
        ("zstd, gzip", gzip.compress(zstandard.compress(ALERT), mtime=0)),
        ("identity", ALERT),
    ],
)
async def test_compressed_bodies(tmp_path: Path, encoding: str, packed: bytes) -> None:
    async with served(tmp_path) as it:
        assert (await it.ask("POST", "/api/v1/alerts", packed, content_encoding=encoding))[0] == 200


@pytest.mark.parametrize(
    ("encoding", "packed", "status"),
    [
        ("br", ALERT, 415),
        ("gzip", ALERT, 400),
        ("gzip", gzip.compress(ALERT, mtime=0)[:-9], 400),
        ("zstd", ALERT, 400),
        ("gzip", gzip.compress(b" " * (2 << 20), mtime=0), 413),
        ("deflate", zlib.compress(b" " * (2 << 20)), 413),
        ("zstd", zstandard.compress(b" " * (2 << 20)), 413),
    ],
)
async def test_bodies_that_cannot_be_unpacked(tmp_path: Path, encoding: str, packed: bytes, status: int) -> None:
    async with served(tmp_path) as it:
        answer, body, _ = await it.ask("POST", "/api/v1/alerts", packed, content_encoding=encoding)
        assert answer == status
        assert body["error"]


async def test_a_long_body_is_refused_while_it_is_read(tmp_path: Path) -> None:
    async with served(tmp_path, body_bytes_max=10_000) as it:
        assert (await it.ask("POST", "/api/v1/alerts", b" " * 10_000 + ALERT))[0] == 413
        assert not it.queries.dead_letters()
        host, port = it.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(
            b"POST /api/v1/alerts HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 1000000\r\n\r\n" + b" " * 20_000
        )
        answer = await asyncio.wait_for(reader.read(), 5)
        assert answer.startswith(b"HTTP/1.1 413"), "answered before the rest was sent, and the connection closed"
        writer.close()


async def test_a_sender_that_goes_away_leaves_nothing(tmp_path: Path) -> None:
    async with served(tmp_path) as it:
        host, port = it.url.removeprefix("http://").split(":")
        _, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"POST /api/v1/alerts HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 1000\r\n\r\n" + ALERT)
        await writer.drain()
        writer.close()
        await writer.wait_closed()
        assert (await it.ask("POST", "/api/v1/alerts", b'{"name":"Other"}'))[0] == 200
        assert [one.name for one in it.runtime.engine.state.alerts.rows.values()] == ["Other"]


async def test_a_large_array_is_read_in_pieces_with_its_own_indexes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "PIECE_BYTES", 1000)
    monkeypatch.setattr(http, "PIECE_ITEMS", 7)
    items: list[Any] = [{"name": f"A{number}"} for number in range(100)]
    items[50] = {}
    async with served(tmp_path) as it:
        status, body, _ = await it.ask("POST", "/api/v1/alerts", json.dumps(items).encode())
        assert (status, body["accepted"], [one["index"] for one in body["rejected"]]) == (200, 99, [50])
        posted: list[Any] = [{"labels": {"alertname": f"B{number}"}} for number in range(100)]
        posted[99] = {}
        status, body, _ = await it.ask("POST", "/api/v2/alerts", json.dumps(posted).encode())
        assert (status, body["message"]) == (422, "99.labels in body is required")
        assert len(it.runtime.engine.state.alerts.rows) == 198


async def test_503_when_it_cannot_be_made_durable(tmp_path: Path) -> None:
    async with served(tmp_path) as it:
        await it.runtime.stop()
        for path, body in (("/api/v1/alerts", ALERT), ("/api/v2/alerts", POSTED)):
            status, said, headers = await it.ask("POST", path, body)
            assert (status, headers["retry-after"]) == (503, "5")
            assert "durable" in said["error"]
        before = metrics.DEAD_LETTERS_LOST._value.get()
        assert (await it.ask("POST", "/api/v1/alerts", b"oops"))[0] == 400
        assert metrics.DEAD_LETTERS_LOST._value.get() == before + 1


async def test_other_sources_from_one_request_to_the_next(tmp_path: Path) -> None:
    async with served(tmp_path) as it:
        it.intake.replace({"new": Source("new", "native")})
        assert (await it.ask("POST", "/hooks/scripts", ALERT))[0] == 404
        assert (await it.ask("POST", "/hooks/new", ALERT))[0] == 200


async def test_what_is_counted(tmp_path: Path) -> None:
    def value(name: str, **labels: str) -> float:
        return metrics.REGISTRY.get_sample_value(name, labels) or 0

    async with served(tmp_path, sources={"meter": Source("meter", "native")}) as it:
        body = b'[{"name":"A"},{"name":"B","status":"resolved"},{"name":"C","ends_at":"2020-01-01T00:00:00Z"},{}]'
        await it.ask("POST", "/api/v1/alerts", body)
        received = {"source": "meter", "format": "native"}
        assert value("samband_alerts_received_total", status="firing", **received) == 2
        assert value("samband_alerts_received_total", status="resolved", **received) == 1
        assert value("samband_alerts_rejected_total", reason="name", **received) == 1
        assert value("samband_alerts_clock_skew_total", source="meter") == 1
        assert value("samband_intake_requests_total", source="meter", code="200") == 1
        assert value("samband_intake_bytes_total", source="meter") == len(body)
        status, text, headers = await it.ask("GET", "/metrics")
        assert status == 200
        assert headers["content-type"].startswith("text/plain")
        assert b'samband_alerts{status="firing"} 2.0' in text
