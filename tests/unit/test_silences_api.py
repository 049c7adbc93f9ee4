"""Silences over Alertmanager's API v2 and over `/api/v1`, held to Alertmanager's own shapes and words."""

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from daemon.api import models_acts
from tests.unit.kit import AT_ONCE, policy
from tests.unit.served import Served, served

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-8[0-9a-f]{3}-[0-9a-f]{12}").fullmatch
UNKNOWN = "11111111-1111-1111-1111-111111111111"
SHOP = {"labels": {"alertname": "Down", "service": "shop", "severity": "critical"}}
PAY = {"labels": {"alertname": "Down", "service": "pay", "severity": "critical"}}
MATCHER: dict[str, Any] = {"name": "service", "value": "shop", "isRegex": False, "isEqual": True}


def at(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def silence(**changes: Any) -> dict[str, Any]:
    """A good one, changed; None takes a field out."""
    whole = {"matchers": [MATCHER], "startsAt": at(-5), "endsAt": at(3600), "createdBy": "op", "comment": "known"}
    return {name: value for name, value in {**whole, **changes}.items() if value is not None}


async def post(it: Served, body: object, **headers: str) -> tuple[int, Any]:
    status, answer, _ = await it.ask("POST", "/api/v2/silences", json.dumps(body).encode(), **headers)
    return status, answer


async def made(it: Served, **changes: Any) -> str:
    status, answer = await post(it, silence(**changes))
    assert status == 200, answer
    assert UUID(answer["silenceID"])
    return str(answer["silenceID"])


async def alerts(it: Served, *posted: dict[str, Any]) -> None:
    status, body, _ = await it.ask("POST", "/api/v2/alerts", json.dumps(posted).encode())
    assert status == 200, body


async def get(it: Served, path: str) -> Any:
    status, body, _ = await it.ask("GET", path)
    assert status == 200, body
    return body


# ---- Alertmanager's API --------------------------------------------------------------------------
async def test_a_silence_is_made_read_listed_and_ended(tmp_path: Path) -> None:
    async with served(tmp_path) as it:
        uuid = await made(it)
        one = await get(it, f"/api/v2/silence/{uuid}")
        assert (
            one
            == (await get(it, "/api/v2/silences"))[0]
            == (await get(it, f"/sources/prometheus/api/v2/silence/{uuid}"))
        )
        assert set(one) == {"id", "status", "updatedAt", "comment", "createdBy", "endsAt", "matchers", "startsAt"}
        assert (one["status"], one["matchers"], one["comment"]) == ({"state": "active"}, [MATCHER], "known")
        assert one["startsAt"] == one["updatedAt"], "a start that has passed is now"
        for _ in range(2):
            assert (await it.ask("DELETE", f"/api/v2/silence/{uuid}"))[:2] == (200, b""), "twice is no mistake"
        after = await get(it, f"/api/v2/silence/{uuid}")
        assert (after["status"], after["endsAt"]) == ({"state": "expired"}, after["updatedAt"])


async def test_what_is_silenced_is_shown_as_suppressed_and_filtered(tmp_path: Path) -> None:
    async with served(tmp_path, policy=policy(timing=AT_ONCE)) as it:
        await alerts(it, SHOP)
        uuid = await made(it)
        await alerts(it, PAY)
        shown = {one["labels"]["service"]: one["status"] for one in await get(it, "/api/v2/alerts")}
        assert shown == {
            "shop": {"state": "suppressed", "silencedBy": [uuid], "inhibitedBy": [], "mutedBy": []},
            "pay": {"state": "active", "silencedBy": [], "inhibitedBy": [], "mutedBy": []},
        }
        for query, services in (
            ("silenced=false", ["pay"]),
            ("active=false", ["shop"]),
            ("inhibited=false", ["pay", "shop"]),
        ):
            found = await get(it, f"/api/v2/alerts?{query}")
            assert sorted(one["labels"]["service"] for one in found) == services, query
        (item,) = (await get(it, "/api/v1/alerts?filter=service=shop"))["items"]
        assert item["held"] == [f"silence {uuid}"]
        await it.ask("DELETE", f"/api/v2/silence/{uuid}")
        assert {one["status"]["state"] for one in await get(it, "/api/v2/alerts")} == {"active"}


def lacks(what: str, code: int = 602, why: str = "is required") -> dict[str, Any]:
    return {"code": code, "message": f"{what} in body {why}"}


INVALID = "silence invalid: "
ALL_EMPTY = f"{INVALID}at least one matcher must not match the empty string"


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        ({"comment": None}, 422, lacks("comment")),
        ({"createdBy": None}, 422, lacks("createdBy")),
        ({"startsAt": None}, 422, lacks("startsAt")),
        ({"endsAt": None}, 422, lacks("endsAt")),
        ({"matchers": None}, 422, lacks("matchers")),
        ({"matchers": []}, 422, lacks("matchers", 612, "should have at least 1 items")),
        ({"matchers": [{"value": "b", "isRegex": False}]}, 422, lacks("matchers.0.name")),
        ({"matchers": [{"name": "b", "isRegex": False}]}, 422, lacks("matchers.0.value")),
        ({"matchers": [{"name": "b", "value": "c"}]}, 422, lacks("matchers.0.isRegex")),
        ({"matchers": [{**MATCHER, "name": ""}]}, 400, INVALID + 'invalid label matcher 0: invalid label name ""'),
        ({"matchers": [{**MATCHER, "value": ""}]}, 400, ALL_EMPTY),
        ({"matchers": [{**MATCHER, "value": ".*", "isRegex": True}]}, 400, ALL_EMPTY),
        ({"startsAt": at(9), "endsAt": at(8)}, 400, "Failed to create silence: start time must be before end time"),
        ({"startsAt": at(-9), "endsAt": at(-8)}, 400, "Failed to create silence: end time can't be in the past"),
        ({"id": UNKNOWN}, 404, "silence not found"),
        ({"id": "x"}, 404, "silence not found"),
    ],
)
async def test_refusals_are_alertmanagers_own(tmp_path: Path, body: dict[str, Any], status: int, says: object) -> None:
    async with served(tmp_path) as it:
        assert await post(it, silence(**body)) == (status, says)
        assert await get(it, "/api/v2/silences") == []


async def test_what_cannot_be_read_is_refused_in_alertmanagers_shape(tmp_path: Path) -> None:
    async with served(tmp_path) as it:
        wrong: list[dict[str, Any]] = [
            {"comment": 5},
            {"endsAt": "x"},
            {"matchers": "x"},
            {"matchers": [None]},
            {"matchers": [{**MATCHER, "isRegex": "no"}]},
        ]
        for raw in (b"{", b"[]", b'"x"', *(json.dumps(silence(**one)).encode() for one in wrong)):
            status, answer, _ = await it.ask("POST", "/api/v2/silences", raw)
            assert (status, answer["code"]) == (400, 400)
            assert answer["message"].startswith('parsing silence body from "" failed, because ')
        status, answer, _ = await it.ask("POST", "/api/v2/silences", b"")
        assert (status, answer) == (422, {"code": 602, "message": "silence in body is required"})
        status, answer, _ = await it.ask("POST", "/api/v2/silences", b"{}", content_type="text/plain")
        assert (status, answer["code"]) == (415, 415)
        status, answer = await post(it, silence(matchers=[{**MATCHER, "isRegex": True, "value": "("}]))
        assert (status, answer[:60]) == (400, "silence invalid: invalid label matcher 0: invalid regular ex")
        status, answer = await post(it, silence(comment="x" * 70_000))
        assert (status, answer[:31]) == (400, "silence exceeded maximum size: ")


async def test_ids_that_are_none_or_unknown(tmp_path: Path) -> None:
    async with served(tmp_path) as it:
        for method in ("GET", "DELETE"):
            status, answer, _ = await it.ask(method, "/api/v2/silence/x")
            assert (status, answer["code"], answer["message"]) == (
                422, 601, 'silenceID in path must be of type uuid: "x"',
            )  # fmt: skip
            assert (await it.ask(method, f"/api/v2/silence/{UNKNOWN}"))[:2] == (404, b"")
        assert (await it.ask("PUT", "/api/v2/silences"))[0] == 405
        assert (await it.ask("GET", "/sources/scripts/api/v2/silences"))[0] == 404


async def test_the_order_and_the_filters_of_the_listing(tmp_path: Path) -> None:
    async with served(tmp_path) as it:
        late = await made(it, endsAt=at(7200), matchers=[MATCHER, {**MATCHER, "name": "zone", "value": "a"}])
        soon = await made(it)
        pending = await made(it, startsAt=at(600))
        gone = await made(it)
        await it.ask("DELETE", f"/api/v2/silence/{gone}")

        async def ids(query: str = "") -> list[str]:
            return [one["id"] for one in await get(it, f"/api/v2/silences{query}")]

        assert await ids() == [soon, late, pending, gone]
        assert await ids("?expired=false&pending=false") == [soon, late]
        assert await ids("?active=false") == [pending, gone]
        assert await ids("?filter=zone=a") == [late]
        assert await ids("?filter=zone=~a") == [], "a filter names a matcher, word by word"
        status, answer, _ = await it.ask("GET", "/api/v2/silences?filter=x")
        assert (status, answer[:19]) == (400, "bad matcher format:")


async def test_a_silence_is_changed_or_replaced_as_alertmanager_does(tmp_path: Path) -> None:
    async with served(tmp_path) as it:
        uuid = await made(it)
        read = await get(it, f"/api/v2/silence/{uuid}")
        assert await made(it, id=uuid, startsAt=read["startsAt"][:19] + "Z", endsAt=at(9000), comment="longer") == uuid
        longer = await get(it, f"/api/v2/silence/{uuid}")
        assert (longer["comment"], longer["startsAt"]) == ("longer", read["startsAt"])
        other = await made(it, id=uuid, startsAt=read["startsAt"], matchers=[{**MATCHER, "value": "pay"}])
        assert other != uuid, "other matchers: the old one ends, a new one begins"
        states = {one["id"]: one["status"]["state"] for one in await get(it, "/api/v2/silences")}
        assert states == {uuid: "expired", other: "active"}
        assert await made(it, id=uuid) not in (uuid, other), "what has ended is not woken"


async def test_a_long_silence_is_taken_here_and_warned_of(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    async with served(tmp_path) as it:
        await made(it, endsAt=at(30 * 86_400))
    assert "long_silence" in "".join(capfd.readouterr())


async def test_the_same_key_makes_one_silence(tmp_path: Path) -> None:
    async with served(tmp_path) as it:
        first = await post(it, silence(), idempotency_key="k")
        assert await post(it, silence(), idempotency_key="k") == first
        assert len(await get(it, "/api/v2/silences")) == 1


# ---- /api/v1 -------------------------------------------------------------------------------------
async def create(it: Served, kind: str = "silences", **body: Any) -> tuple[int, Any]:
    status, answer, _ = await it.ask("POST", f"/api/v1/{kind}", json.dumps(body).encode())
    return status, answer


async def test_a_preview_says_what_would_be_held_and_holds_nothing(tmp_path: Path) -> None:
    async with served(tmp_path) as it:
        await alerts(it, SHOP, PAY)
        status, answer = await create(it, matchers="alertname=Down", **{"for": "2h"}, dry_run=True)
        assert (status, answer["matching"], answer["silence"]) == (200, 2, None)
        assert await get(it, "/api/v1/silences") == {"items": [], "next": None}
        assert {one["status"]["state"] for one in await get(it, "/api/v2/alerts")} == {"active"}


@pytest.mark.parametrize("kind", ["silences", "maintenance"])
async def test_both_kinds_hold_are_listed_and_ended(tmp_path: Path, kind: str) -> None:
    async with served(tmp_path) as it:
        await alerts(it, SHOP, PAY)
        status, answer = await create(
            it, kind, matchers="service=shop", **{"for": "2h"}, comment="patching", actor="bo"
        )
        assert status == 200, answer
        models_acts.SilenceAnswer.model_validate(answer)
        one = answer["silence"]
        assert (one["state"], one["holding"], one["created_by"], answer["matching"]) == ("active", 1, "bo", 1)
        assert "holds 1 alerts now, until " in answer["text"]
        listed = await get(it, f"/api/v1/{kind}")
        models_acts.SilenceList.model_validate(listed)
        assert listed["items"] == [one]
        assert await get(it, f"/api/v1/{kind}/{one['id']}") == one
        other = "silences" if kind == "maintenance" else "maintenance"
        assert (await it.ask("GET", f"/api/v1/{other}/{one['id']}"))[0] == 404
        assert [item["id"] for item in await get(it, "/api/v2/silences")] == [one["id"]], "clients see both as silences"
        suppressed = [item for item in await get(it, "/api/v2/alerts") if item["status"]["state"] == "suppressed"]
        assert [item["status"]["silencedBy"] for item in suppressed] == [[one["id"]]]
        incident = next(item for item in (await get(it, "/api/v1/incidents"))["items"] if "shop" in item["services"])
        assert incident["alerts"] == {"firing": 1, "resolved": 0, "held": 1}
        status, answer, _ = await it.ask("DELETE", f"/api/v1/{kind}/{one['id']}")
        assert (status, answer["silence"]["state"], answer["matching"]) == (200, "expired", 1)
        assert (await it.ask("DELETE", f"/api/v1/{kind}/{one['id']}"))[0] == 409
        assert (await get(it, f"/api/v1/{kind}?state=active"))["items"] == []


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"matchers": "service=shop", "for": "8d"}, "a silence lasts 7 days at most"),
        ({"matchers": "service=shop"}, "either 'for'"),
        ({"matchers": "service=shop", "for": "soon"}, "for: is no duration"),
        ({"matchers": "service=shop", "for": "1h", "ends_at": "2099-01-01T00:00:00Z"}, "either 'for'"),
        ({"matchers": "service=shop", "ends_at": "2020-01-01T00:00:00Z"}, "end before it begins"),
        ({"matchers": "service=shop", "ends_at": "x"}, "ends_at: not an RFC 3339 time"),
        ({"matchers": "", "for": "1h"}, "needs a matcher"),
        ({"matchers": 'service=~".*"', "for": "1h"}, "everything would be held"),
        ({"matchers": "service=~(", "for": "1h"}, "matchers: at character"),
        ({"matchers": "a=b", "for": "1h", "nonsense": 1}, "nonsense"),
    ],
)
async def test_a_silence_that_is_unclear_is_refused(tmp_path: Path, body: dict[str, Any], says: str) -> None:
    async with served(tmp_path) as it:
        status, answer = await create(it, **body)
        assert (status, says in answer["error"]) == (422, True), answer


async def test_a_window_may_be_long_and_begin_later(tmp_path: Path) -> None:
    async with served(tmp_path) as it:
        await alerts(it, SHOP)
        status, answer = await create(
            it, "maintenance", matchers="service=shop", starts_at=at(3600), ends_at=at(30 * 86_400)
        )
        assert (status, answer["silence"]["state"], answer["silence"]["holding"], answer["matching"]) == (
            200, "pending", 0, 1,
        )  # fmt: skip
        assert "begins at" in answer["text"]
