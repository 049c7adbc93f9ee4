"""What holds for every sink, whatever the service."""

import logging
from typing import Any

import pytest
from pydantic import ValidationError

from daemon.http_client import HttpClient
from sinks.base import Absent, Done, Found, Outcome, Reason, Reject, Retry, Unsure
from sinks.registry import SINKS, config_of
from tests.contract.sinks_kit import CASES, SETTLE_MS, bench, later, make, order, settled, unclear, view

EVERY = pytest.mark.parametrize("name", sorted(CASES))
READBACK = pytest.mark.parametrize("name", [n for n in sorted(CASES) if SINKS[n].idempotency == "readback"])

TAKEN = [200, 201, 202, 204]
STATUSES: dict[int, Outcome] = {
    **{status: Reject(Reason.REFUSED) for status in (301, 302, 307, 400, 402, 405, 413, 415, 420, 422)},
    **{status: Reject(Reason.CREDENTIALS) for status in (401, 403)},
    **{status: Reject(Reason.NOT_FOUND) for status in (404, 410)},
    409: Reject(Reason.CONFLICT),
    429: Retry(Reason.THROTTLED),
    **{status: Unsure(Reason.SERVER_ERROR) for status in (408, 500, 501, 502, 503, 504, 520, 599)},
}
DIFFERS: dict[tuple[str, int], Outcome] = {
    ("jira", 409): Retry(Reason.CONFLICT),
    ("statuspage", 420): Retry(Reason.THROTTLED),
    # A yes that names nothing: the object has to be looked for.
    **{("jira", status): Unsure(Reason.BAD_ANSWER) for status in TAKEN},
    **{("statuspage", status): Unsure(Reason.BAD_ANSWER) for status in TAKEN},
    # PagerDuty says 202; any other yes comes from something in between.
    **{("pagerduty", status): Unsure(Reason.BAD_ANSWER) for status in TAKEN if status != 202},
}


def fault(name: str) -> dict[str, Any]:
    """Which requests make the object: faults are for those."""
    method, path = CASES[name].creates
    return {"method": method, "path": path}


@EVERY
@pytest.mark.parametrize("status", [*TAKEN, *STATUSES])
async def test_each_status_has_its_outcome(name: str, status: int) -> None:
    expected = DIFFERS.get((name, status), STATUSES.get(status, Done()))
    async with bench(name) as one:
        one.fake.misbehave("status", status=status, **fault(name))
        outcome = await one.sink.deliver(order(), one.http)
        assert type(outcome) is type(expected)
        assert getattr(outcome, "reason", None) == getattr(expected, "reason", None)


@EVERY
@pytest.mark.parametrize(("header", "after_ms"), [("7", 7000), ("", 0), ("soon", 0), ("-3", 0), ("9" * 40, 86_400_000)])
async def test_a_throttled_request_waits_as_long_as_it_was_told(name: str, header: str, after_ms: int) -> None:
    async with bench(name) as one:
        headers = {"Retry-After": header} if header else {}
        one.fake.misbehave("status", status=429, headers=headers, **fault(name))
        outcome = await one.sink.deliver(order(), one.http)
        assert isinstance(outcome, Retry)
        assert (outcome.reason, outcome.after_ms) == (Reason.THROTTLED, after_ms)
        assert one.fake.objects(order().key) == []


@EVERY
@pytest.mark.parametrize("kind", ["hang", "hang_after", "reset", "reset_after", "cut", "truncate"])
async def test_no_answer_is_unsure_and_ends_with_one_object(name: str, kind: str) -> None:
    """After any time-out or broken connection, what the sink's class promises holds."""
    async with bench(name, timeout_s=0.3) as one:
        one.fake.misbehave(kind, **fault(name))
        assert unclear(await one.sink.deliver(order(), one.http))
        await settled(one, order())
        promised = 1 if one.sink.idempotency != "none" or kind not in ("hang", "reset") else 0
        assert len(one.fake.objects(order().key)) == promised
        assert one.fake.doubles() == []


@EVERY
async def test_a_server_error_after_acting_ends_with_one_object(name: str) -> None:
    async with bench(name) as one:
        one.fake.misbehave("status_after", status=500, **fault(name))
        assert unclear(await one.sink.deliver(order(), one.http))
        await settled(one, order())
        assert len(one.fake.objects(order().key)) == 1


@EVERY
async def test_an_answer_that_is_no_json_ends_with_one_object(name: str) -> None:
    async with bench(name) as one:
        one.fake.misbehave("garbage", **fault(name))
        outcome = await one.sink.deliver(order(), one.http)
        assert isinstance(outcome, Done | Unsure)
        if isinstance(outcome, Unsure) and name != "webhook":
            await settled(one, order())
        assert len(one.fake.objects(order().key)) == 1


@EVERY
@pytest.mark.parametrize("body", ["[]", "null", '"x"', "3", '{"id": 7, "key": []}', "{" * 10_000])
async def test_an_answer_of_another_shape_raises_nothing(name: str, body: str) -> None:
    """Every read and write of the whole life of an object, answered with nonsense."""
    async with bench(name) as one:
        await one.sink.deliver(order(), one.http)
        ref = next((o.ref for o in [await one.sink.find(order(), one.http, 0)] if isinstance(o, Found)), "x")
        for action in ("create", "update", "resolve", "reopen"):
            one.fake.misbehave("status", status=200, body=body, times=1)
            assert isinstance(await one.sink.deliver(order(action, ref=ref), one.http), Outcome)
            one.fake.misbehave("status", status=200, body=body, times=99)
            assert isinstance(await one.sink.deliver(order(action, ref=ref), one.http), Outcome)
            assert isinstance(await one.sink.find(order(action), one.http, 0), Found | Absent | Retry)
            await one.sink.check(one.http)
            one.fake.faults.clear()


@EVERY
async def test_a_refused_connection_was_certainly_not_delivered(name: str) -> None:
    async with bench(name) as one:
        await one.fake.stop()
        outcome = await one.sink.deliver(order(), one.http)
        assert isinstance(outcome, Retry)
        assert outcome.reason is Reason.UNREACHABLE


@EVERY
async def test_a_slow_answer_in_time_is_an_answer(name: str) -> None:
    async with bench(name) as one:
        one.fake.misbehave("slow", seconds=0.2, **fault(name))
        assert isinstance(await one.sink.deliver(order(), one.http), Done)


@EVERY
async def test_a_life_leaves_nothing_open_and_may_be_told_twice(name: str) -> None:
    async with bench(name) as one:
        done = await one.sink.deliver(order(), one.http)
        assert isinstance(done, Done)
        key = order().key
        assert len(one.fake.open_objects(key)) == 1
        acknowledged = view(state="acknowledged", acknowledged_at=1, acknowledged_by="anna", version=4)
        ended = view(state="resolved", resolved_at=2, firing=0, ended=184, version=5)
        for told in (
            order("update", shown=acknowledged, ref=done.ref, send=8),
            order("resolve", shown=ended, ref=done.ref, components={}, send=9),
        ):
            assert isinstance(await one.sink.deliver(told, one.http), Done)
            assert isinstance(await one.sink.deliver(later(told), one.http), Done)
        assert one.fake.open_objects(key) == []
        assert len(one.fake.objects(key)) == 1


@EVERY
async def test_render_is_pure_and_is_the_first_request(name: str) -> None:
    async with bench(name) as one:
        first = one.sink.render(order())
        assert first is not None
        assert first == one.sink.render(order())
        await one.sink.deliver(order(), one.http)
        came = one.fake.requests[0]
        assert (came["method"], came["body"]) == (first.method, first.body.decode())
        assert first.url == one.fake.url + came["path"]


@EVERY
async def test_secrets_stay_in_their_place(name: str, caplog: pytest.LogCaptureFixture) -> None:
    """A service repeats what it was sent; nothing of it comes out, not even half of it."""
    caplog.set_level(logging.DEBUG)
    case, seen = CASES[name], []
    async with bench(name) as one:
        assert set(case.secrets) <= set(one.sink.secrets)
        secrets = one.sink.secrets
        for status in (302, 400, 401, 409, 420, 422, 429, 500):
            for body in [" ".join(secrets), *("x" * 285 + secret for secret in secrets)]:  # the latter: cut in half
                one.fake.misbehave("status", status=status, body=body, **fault(name))
                seen.append(repr(await one.sink.deliver(order(), one.http)))
        one.fake.misbehave("status", status=401, body=" ".join(one.sink.secrets), times=99)
        seen.append(repr(await one.sink.check(one.http)) + repr(await one.sink.find(order(), one.http, 0)))
        request = one.sink.render(order())
        seen += [repr(request), repr(one.sink), caplog.text]
    options = {"type": case.type, "url": "http://h" + case.path, **case.config}
    config = config_of(SINKS[case.type]).model_validate(options)
    seen += [repr(config), str(config), config.model_dump_json()]
    for secret in case.secrets:
        assert [text for text in seen if secret in text or secret[:12] in text] == [], secret


@EVERY
def test_a_mistake_in_the_configuration_shows_no_secret(name: str) -> None:
    case = CASES[name]
    with pytest.raises(ValidationError) as caught:
        config_of(SINKS[case.type]).model_validate({"type": case.type, **case.config, "url": 7, "colour": "red"})
    assert [s for s in case.secrets if s in str(caught.value)] == []
    assert "colour" in str(caught.value)


HOSTILE = (
    "\x00\x1b[31m\u202e<script>alert(1)</script> {code} [a|http://evil] *b* @here <!channel> \r\n\ud800\ufffe" + "ü" * 9
)


@EVERY
async def test_hostile_text_arrives_inert_and_within_every_length(name: str) -> None:
    shown = view()
    word = HOSTILE * 700
    members = tuple(
        type(m)(word, word, "firing", "critical", word, word, word, word, 1, (word,), word, word, 1, word, word)
        for m in shown.members * 40
    )
    services = tuple(type(s)(word, word, 1, 1, 1, word, word, word) for s in shown.services * 300)
    hostile = view(
        title=word, derivation=word, owner=word, environment=word, cause=word, summary=word, ref="INC-1",
        members=members, services=services, link="javascript:alert(1)", acknowledged_by=word,
    )  # fmt: skip
    async with bench(name) as one:
        made = await one.sink.deliver(order(shown=hostile, title=word, text=f"{word}\n{word}"), one.http)
        assert isinstance(made, Done), made
        for action in ("update", "resolve"):
            told = order(action, shown=hostile, title=word, text=word, ref=made.ref, duplicate_of=word)
            assert isinstance(await one.sink.deliver(told, one.http), Done)
        for request in one.fake.requests:
            assert len(request["body"].encode()) < 512 * 1024 or name == "webhook"
            assert "javascript:" not in request["body"]
            assert [part for part in ("\\u0000", "\\u001b", "\u202e", "\ufffe") if part in request["body"]] == []


@EVERY
async def test_an_incident_about_samband_itself_needs_no_service(name: str) -> None:
    bare = view(services=(), members=(), itself=True, link="", environment="", summary="", cause="", owner="")
    async with bench(name) as one:
        assert isinstance(await one.sink.deliver(order(shown=bare, components={}), one.http), Done)


@READBACK
async def test_an_absence_is_settled_only_when_the_search_can_no_longer_lag(name: str) -> None:
    async with bench(name) as one:
        assert await one.sink.find(order(), one.http, SETTLE_MS - 1) == Absent(settled=False)
        assert await one.sink.find(order(), one.http, SETTLE_MS) == Absent(settled=True)


@READBACK
@pytest.mark.parametrize("status", [401, 404, 429, 500, 503])
async def test_a_look_that_failed_is_tried_again(name: str, status: int) -> None:
    async with bench(name) as one:
        one.fake.misbehave("status", status=status)
        assert isinstance(await one.sink.find(order(), one.http, SETTLE_MS), Retry)


@READBACK
@pytest.mark.parametrize("kind", ["hang", "reset", "cut", "garbage"])
async def test_a_look_without_an_answer_is_tried_again(name: str, kind: str) -> None:
    async with bench(name, timeout_s=0.3) as one:
        one.fake.misbehave(kind, times=9)
        assert isinstance(await one.sink.find(order(), one.http, SETTLE_MS), Retry)


@READBACK
async def test_an_update_that_failed_while_reading_has_changed_nothing(name: str) -> None:
    async with bench(name) as one:
        done = await one.sink.deliver(order(), one.http)
        assert isinstance(done, Done)
        one.fake.misbehave("status", status=503, method="GET")
        assert isinstance(await one.sink.deliver(order("resolve", ref=done.ref), one.http), Retry)


@READBACK
async def test_a_twin_is_found_and_closed_and_then_no_longer_found(name: str) -> None:
    async with bench(name) as one:
        first = await one.sink.deliver(order(), one.http)
        second = await one.sink.deliver(order(), one.http)
        assert isinstance(first, Done)
        assert isinstance(second, Done)
        assert await one.sink.find(order(), one.http, 0) == Found(first.ref, (second.ref,))
        own = order(ref=second.ref)
        assert await one.sink.find(own, one.http, 0) == Found(second.ref, (first.ref,))
        for _ in range(2):
            assert isinstance(await one.sink.close_twin(own, first.ref, one.http), Done)
        assert await one.sink.find(own, one.http, 0) == Found(second.ref)
        assert len(one.fake.open_objects(order().key)) == 1
        assert one.fake.doubles() == []


@EVERY
async def test_check_finds_nothing_wrong_and_makes_nothing(name: str) -> None:
    async with bench(name) as one:
        assert await one.sink.check(one.http) == []
        assert one.fake.keys() == []


@EVERY
async def test_check_says_what_is_wrong_and_the_remedy(name: str) -> None:
    case = CASES[name]
    async with bench(name) as one, HttpClient(1) as http:
        sinks = [] if name == "webhook" else [make(case, one.fake.url, **case.wrong)]
        for sink in [*sinks, make(case, "http://127.0.0.1:1")]:
            problems = await sink.check(http)
            assert problems
            assert all(problem.text and problem.remedy for problem in problems)


@EVERY
async def test_wrong_credentials_are_refused_for_good(name: str) -> None:
    case = CASES[name]
    async with bench(name) as one:
        outcome = await make(case, one.fake.url, **case.wrong).deliver(order(), one.http)
        assert isinstance(outcome, Reject)
        assert outcome.reason is (Reason.REFUSED if name == "pagerduty" else Reason.CREDENTIALS)
