"""`/api/v1` and Alertmanager's reads over a real socket, held against their own models."""

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from daemon.api import alertmanager, models
from daemon.api.fingerprint import fingerprint
from daemon.sources.senders import Source
from tests.unit.kit import AT_ONCE, policy
from tests.unit.served import OPERATOR, Served, served

SHOP = {"name": "Errors", "severity": "critical", "service": "shop", "labels": {"zone": "a"}, "summary": "bad"}


async def post(it: Served, *alerts: dict[str, Any]) -> None:
    status, body, _ = await it.ask("POST", "/api/v1/alerts", json.dumps(alerts).encode())
    assert (status, body["rejected"]) == (200, [])


async def test_alerts_have_the_contracts_fields(tmp_path: Path) -> None:
    async with served(tmp_path) as it:
        await post(it, {**SHOP, "dedup_key": "mine", "starts_at": "2026-01-01T00:00:00Z"})
        status, body, _ = await it.ask("GET", "/api/v1/alerts")
        assert status == 200
        models.AlertList.model_validate(body)
        (item,) = body["items"]
        assert item["name"] == "Errors"
        assert (item["status"], item["severity"], item["service"]) == ("firing", "critical", "shop")
        assert (item["resource"], item["environment"]) == ("", "production")
        assert (item["labels"], item["annotations"]) == ({"zone": "a"}, {"summary": "bad"})
        assert (item["dedup_key"], item["generation"], item["source"]) == ("mine", 1, "scripts")
        assert (item["starts_at"], item["ends_at"], item["held"]) == ("2026-01-01T00:00:00Z", None, [])
        incidents = (await it.ask("GET", "/api/v1/incidents"))[1]
        assert item["incident"] == incidents["items"][0]["id"]


async def test_alerts_filters_and_what_is_listed(tmp_path: Path) -> None:
    async with served(tmp_path) as it:
        await post(
            it, SHOP, {"name": "Disk", "service": "vault", "severity": "none"}, {"name": "Gone", "service": "shop"}
        )
        await post(it, {"name": "Gone", "service": "shop", "status": "resolved"})
        await post(it, {"name": "Orphan", "status": "resolved", "ends_at": "2026-01-01T00:00:00Z"})

        async def names(query: str) -> list[str]:
            status, body, _ = await it.ask("GET", f"/api/v1/alerts?{query}")
            assert status == 200, body
            return sorted(item["name"] for item in body["items"])

        assert await names("") == ["Disk", "Errors", "Gone"], "an orphaned resolve is not listed"
        assert await names("status=resolved") == ["Gone"]
        assert await names("status=resolved,firing") == ["Disk", "Errors", "Gone"]
        assert await names("source=scripts&status=firing") == ["Disk", "Errors"]
        assert await names("source=prometheus") == []
        assert await names('filter=service="shop",alertname!="Gone"') == ["Errors"]
        assert await names('filter=zone=~"a|b"') == ["Errors"]
        for bad in ("filter=x", "status=odd", "limit=0", "limit=1001", "limit=x"):
            assert (await it.ask("GET", f"/api/v1/alerts?{bad}"))[0] == 422


async def test_listings_page_by_key(tmp_path: Path) -> None:
    async with served(tmp_path) as it:
        await post(it, *({"name": f"A{n}", "service": f"s{n}", "severity": "error"} for n in range(7)))
        for path in ("/api/v1/alerts", "/api/v1/incidents"):
            seen: list[str] = []
            cursor, pages = "", 0
            while pages == 0 or cursor:
                body = (await it.ask("GET", f"{path}?limit=3&cursor={cursor}"))[1]
                seen += [item.get("id") or item["key"] for item in body["items"]]
                cursor, pages = body["next"] or "", pages + 1
            assert (len(seen), len(set(seen)), pages) == (7, 7, 3)
        whole = (await it.ask("GET", "/api/v1/incidents"))[1]
        assert [item["id"] for item in whole["items"]] == sorted((i["id"] for i in whole["items"]), reverse=True)


async def test_one_incident_by_id_and_by_reference(tmp_path: Path) -> None:
    async with served(tmp_path) as it:
        await post(it, SHOP)
        item = (await it.ask("GET", "/api/v1/incidents"))[1]["items"][0]
        models.IncidentItem.model_validate(item)
        for name in (item["id"], item["ref"], item["ref"].lower()):
            status, body, _ = await it.ask("GET", f"/api/v1/incidents/{name}")
            assert status == 200, body
            models.IncidentDetail.model_validate(body)
            assert body["id"] == item["id"]
            assert [one["name"] for one in body["members"]] == ["Errors"]
            assert body["members"][0]["reason"]
            assert body["timeline"]
            assert {one["sink"] for one in body["deliveries"]} == {"pager", "desk", "hook"}
        for name in ("INC-999", "0000000000000001", "x", "INC-²", "INC-" + "9" * 40):
            status, body, _ = await it.ask("GET", f"/api/v1/incidents/{name}")
            assert (status, "there is no incident" in body["error"]) == (404, True)


async def test_incident_filters(tmp_path: Path) -> None:
    async with served(tmp_path) as it:
        await post(it, SHOP, {"name": "Slow", "service": "vault", "severity": "warning", "labels": {"team": "safe"}})

        async def titles(query: str) -> list[str]:
            status, body, _ = await it.ask("GET", f"/api/v1/incidents?{query}")
            assert status == 200, body
            models.IncidentList.model_validate(body)
            return sorted(item["services"][0] for item in body["items"])

        assert await titles("") == ["shop", "vault"]
        assert await titles("service=shop") == ["shop"]
        assert await titles("owner=safe") == ["vault"]
        assert await titles("state=open,acknowledged") == ["shop", "vault"]
        assert await titles("state=closed") == []
        assert await titles("priority=P2&state=open") == ["shop"]
        for bad in ("state=odd", "priority=P9"):
            assert (await it.ask("GET", f"/api/v1/incidents?{bad}"))[0] == 422


async def test_verbs(tmp_path: Path) -> None:
    async with served(tmp_path, policy=policy(timing=AT_ONCE)) as it:
        await post(it, SHOP)
        ref = (await it.ask("GET", "/api/v1/incidents"))[1]["items"][0]["ref"]
        act = f"/api/v1/incidents/{ref}"
        status, body, _ = await it.ask("POST", f"{act}/ack", b'{"actor":"bo","note":"mine"}')
        assert status == 200
        models.ActAnswer.model_validate(body)
        assert (body["incident"]["state"], "bo" in body["text"]) == ("acknowledged", True)
        assert (await it.ask("POST", f"{act}/acknowledge"))[0] == 200
        status, body, _ = await it.ask("POST", f"{act}/publish")
        assert (status, bool(body["error"])) == (409, True)
        status, body, _ = await it.ask("POST", f"{act}/resolve")
        assert (status, body["incident"]["state"]) == (200, "resolved")
        assert (await it.ask("POST", f"{act}/ack"))[0] == 409
        assert (await it.ask("POST", f"{act}/explode"))[0] == 404
        assert (await it.ask("POST", "/api/v1/incidents/INC-77/ack"))[0] == 404
        assert (await it.ask("POST", f"{act}/ack", b'{"who":1}'))[0] == 422
        assert (await it.ask("POST", f"{act}/ack", b"{"))[0] == 422
        shown = (await it.ask("GET", act))[1]
        assert {line["actor"] for line in shown["timeline"]} >= {"bo"}


async def test_an_idempotency_key_acts_once(tmp_path: Path) -> None:
    async with served(tmp_path) as it:
        await post(it, SHOP)
        act = "/api/v1/incidents/INC-1/ack"
        first = await it.ask("POST", act, b'{"actor":"bo"}', idempotency_key="k1")
        again = await it.ask("POST", act, b'{"actor":"eva"}', idempotency_key="k1")
        assert first[1]["text"] == again[1]["text"]
        lines = [line for line in (await it.ask("GET", "/api/v1/incidents/INC-1"))[1]["timeline"] if line["actor"]]
        assert [line["actor"] for line in lines] == ["bo"]


async def test_an_act_that_cannot_be_made_durable_is_503(tmp_path: Path) -> None:
    async with served(tmp_path) as it:
        await post(it, SHOP)
        await it.runtime.stop()
        status, body, headers = await it.ask("POST", "/api/v1/incidents/INC-1/ack")
        assert (status, headers["retry-after"], "durable" in body["error"]) == (503, "5", True)


async def test_nobody_without_a_token_reads_or_acts(tmp_path: Path) -> None:
    async with served(tmp_path, open_=False) as it:
        await post(it, SHOP)
        paths = [
            ("GET", "/api/v1/alerts"), ("GET", "/api/v1/incidents"), ("GET", "/api/v1/incidents/INC-1"),
            ("POST", "/api/v1/incidents/INC-1/ack"), ("GET", "/api/v2/alerts"), ("GET", "/api/v2/status"),
            ("GET", "/api/v1/openapi.json"), ("GET", "/metrics"), ("POST", "/-/reload"), ("GET", "/"),
            ("GET", "/anything"), ("GET", "/sources/prometheus/api/v2/alerts"), ("DELETE", "/api/v1/alerts"),
        ]  # fmt: skip
        for method, path in paths:
            assert (await it.ask(method, path))[0] == 401, (method, path)
            for token in ("Bearer wrong", "Basic eDp5"):
                assert (await it.ask(method, path, authorization=token))[0] == 401, (method, path)
            status = (await it.ask(method, path, authorization=f"Bearer {OPERATOR}"))[0]
            assert status not in (401, 403), (method, path)
        assert (await it.ask("GET", "/-/healthy"))[:2] == (200, b"healthy\n")
        assert (await it.ask("GET", "/-/ready"))[:2] == (200, b"ready\n")


async def test_a_wrong_token_is_refused_even_where_none_is_needed(tmp_path: Path) -> None:
    async with served(tmp_path) as it:
        assert (await it.ask("GET", "/api/v1/alerts"))[0] == 200
        assert (await it.ask("GET", "/api/v1/alerts", authorization="Bearer wrong"))[0] == 401


async def test_the_daemons_own_paths(tmp_path: Path) -> None:
    async with served(tmp_path) as it:
        assert (await it.ask("POST", "/-/reload"))[:2] == (200, {"reloaded": True})
        status, body, _ = await it.ask("POST", "/-/reload")
        assert (status, body["error"]) == (422, "samband.yaml:1:1: mode: wrong")
        assert (await it.ask("GET", "/-/reload"))[0] == 405
        assert (await it.ask("GET", "/-/other"))[0] == 404
        status, body, _ = await it.ask("GET", "/nothing")
        assert (status, body) == (404, {"error": "there is nothing at /nothing"})
        await it.runtime.stop()
        assert (await it.ask("GET", "/-/ready"))[0] == 503


async def test_openapi_describes_every_path(tmp_path: Path) -> None:
    async with served(tmp_path) as it:
        spec = (await it.ask("GET", "/api/v1/openapi.json"))[1]
        assert set(spec["paths"]) == {
            "/api/v1/alerts",
            "/api/v1/incidents",
            "/api/v1/incidents/{incident}",
            "/api/v1/incidents/{incident}/{verb}",
            "/api/v1/silences",
            "/api/v1/silences/{id}",
            "/api/v1/maintenance",
            "/api/v1/maintenance/{id}",
            "/api/v1/changes",
            "/api/v1/dead-letters",
            "/api/v1/dead-letters/{id}",
            "/api/v1/dead-letters/{id}/{verb}",
            "/api/v1/tokens",
            "/api/v1/tokens/{token}",
            "/api/v1/incidents/{incident}/explain",
            "/api/v1/explain",
        }
        assert set(spec["paths"]["/api/v1/alerts"]) == {"get", "post"}
        assert (await it.ask("GET", "/api/v1/openapi.json"))[1] == spec
        models.Accepted.model_validate((await it.ask("POST", "/api/v1/alerts", b'[{"name":"A"},{}]'))[1])
        refs = set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(spec)))
        assert refs <= set(spec["components"]["schemas"])


async def test_incidents_that_have_left_memory(tmp_path: Path) -> None:
    timing = msgspec.structs.replace(AT_ONCE, close_after=1)
    async with served(tmp_path, policy=policy(timing=timing, rules=())) as it:
        await post(it, {**SHOP, "url": "http://x"})
        await post(it, {**SHOP, "status": "resolved"})
        for _ in range(200):
            if not it.runtime.engine.state.incidents.rows:
                break
            await asyncio.sleep(0.02)
        await post(it, {"name": "New", "service": "vault", "severity": "error"})
        body = (await it.ask("GET", "/api/v1/incidents"))[1]
        models.IncidentList.model_validate(body)
        new, old = body["items"]
        assert (new["ref"], old["ref"], old["state"]) == ("INC-2", "INC-1", "closed")
        assert (old["title"], old["services"], old["priority"]) == ("Errors on shop", ["shop"], "P2")
        assert old["closed_at"]
        for query, refs in (
            ("state=closed", ["INC-1"]), ("state=closed,open", ["INC-2", "INC-1"]), ("state=open", ["INC-2"]),
            ("service=shop", ["INC-1"]), ("service=shop,vault", ["INC-2", "INC-1"]), ("owner=nobody", []),
            ("limit=1", ["INC-2"]), (f"limit=1&cursor={new['id']}", ["INC-1"]),
        ):  # fmt: skip
            found = (await it.ask("GET", f"/api/v1/incidents?{query}"))[1]
            assert [item["ref"] for item in found["items"]] == refs, query
        for name in ("INC-1", old["id"]):
            status, one, _ = await it.ask("GET", f"/api/v1/incidents/{name}")
            assert status == 200, one
            models.IncidentDetail.model_validate(one)
            assert [(member["name"], member["status"]) for member in one["members"]] == [("Errors", "resolved")]
            assert one["timeline"]
            assert (await it.ask("POST", f"/api/v1/incidents/{name}/ack"))[:2] == (409, {"error": "INC-1 is closed"})
        assert [item["name"] for item in (await it.ask("GET", "/api/v1/alerts"))[1]["items"]] == ["New"]


# ---- Alertmanager's API v2 -----------------------------------------------------------------------
POSTED: list[dict[str, Any]] = [
    {
        "labels": {"alertname": "B", "severity": "page"},
        "annotations": {"summary": "s"},
        "generatorURL": "http://p/graph?x",
    },
    {"labels": {"alertname": "A", "zone": "a"}},
]


async def am_alerts(it: Served, query: str = "") -> list[dict[str, Any]]:
    status, body, _ = await it.ask("GET", f"/api/v2/alerts{query}")
    assert status == 200, body
    assert isinstance(body, list)
    return body


async def test_gettable_alerts(tmp_path: Path) -> None:
    async with served(tmp_path) as it:
        assert await am_alerts(it) == []
        await it.ask("POST", "/api/v2/alerts", json.dumps(POSTED).encode())
        await post(it, SHOP)
        await post(it, {**SHOP, "status": "resolved"})
        items = await am_alerts(it)
        assert [item["fingerprint"] for item in items] == sorted(item["fingerprint"] for item in items)
        assert {item["labels"]["alertname"] for item in items} == {"A", "B"}, "ended alerts are hidden"
        b = next(item for item in items if item["labels"]["alertname"] == "B")
        assert b["labels"] == POSTED[0]["labels"]
        assert (b["annotations"], b["generatorURL"]) == ({"summary": "s"}, "http://p/graph?x")
        assert b["status"] == {"state": "active", "silencedBy": [], "inhibitedBy": [], "mutedBy": []}
        assert b["receivers"] == [{"name": "samband"}]
        assert b["endsAt"] > b["startsAt"]
        assert b["updatedAt"]


async def test_gettable_alerts_filters(tmp_path: Path) -> None:
    async with served(tmp_path) as it:
        await it.ask("POST", "/api/v2/alerts", json.dumps(POSTED).encode())
        await post(it, SHOP)
        for query, count in (
            ("?active=false", 0), ("?silenced=false&inhibited=false&unprocessed=false", 3), ("?receiver=sam.*", 3),
            ("?receiver=sam", 0), ('?filter=alertname="A"', 1), ("?filter=alertname=A&filter=zone=b", 0),
            ('?filter=service="shop"', 1), ('?filter=zone!=""', 2),
        ):  # fmt: skip
            assert len(await am_alerts(it, query)) == count, query
        assert len((await it.ask("GET", "/sources/prometheus/api/v2/alerts"))[1]) == 2
        assert (await it.ask("GET", "/sources/scripts/api/v2/alerts"))[0] == 404
        for query in ("?filter=x", "?receiver=("):
            status, body, _ = await it.ask("GET", f"/api/v2/alerts{query}")
            assert (status, isinstance(body, str)) == (400, True)


async def test_status_receivers_groups(tmp_path: Path) -> None:
    async with served(tmp_path) as it:
        body = (await it.ask("GET", "/api/v2/status"))[1]
        assert body["cluster"]["status"] == "disabled"
        assert body["config"]["original"] == alertmanager.CONFIG
        assert set(body["versionInfo"]) == {"version", "revision", "branch", "buildUser", "buildDate", "goVersion"}
        assert body["uptime"]
        assert (await it.ask("GET", "/api/v2/receivers"))[1] == [{"name": "samband", "labels": {}}]
        await post(it, SHOP, {"name": "None", "severity": "none"})
        groups = (await it.ask("GET", "/api/v2/alerts/groups"))[1]
        assert [(one["labels"], len(one["alerts"])) for one in groups] == [({}, 1), ({"incident": "INC-1"}, 1)]


async def test_many_alerts_are_streamed_whole(tmp_path: Path) -> None:
    async with served(tmp_path, sources={"p": Source("p", "alertmanager")}) as it:
        posted = [{"labels": {"alertname": f"A{n}", "service": f"s{n % 9}"}} for n in range(900)]
        await it.ask("POST", "/api/v2/alerts", json.dumps(posted).encode())
        items = await am_alerts(it)
        assert len({item["fingerprint"] for item in items}) == 900


@pytest.mark.parametrize(
    ("labels", "mark"),
    [
        ({}, "cbf29ce484222325"),
        ({"a": "b"}, "d2b371819297f98a"),
        ({"a-b": "x"}, "1a2dd6b0c71042a1"),
        ({"alertname": "Järn", "zone": "ö"}, "d0b444e4f1af6276"),
    ],
)
def test_fingerprints(labels: dict[str, str], mark: str) -> None:
    found = fingerprint(tuple(sorted(labels.items())))
    assert len(found) == 16
    assert found == mark
