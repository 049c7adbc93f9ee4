"""Jira: finding again what its search does not show, its workflows, and its people."""

from typing import Any

import pytest
from pydantic import ValidationError

from sinks.base import Absent, Done, Found, Problem, Reason, Reject, Retry, Unsure
from sinks.tickets.jira import JiraConfig
from tests.contract.sinks_kit import KEY, SETTLE_MS, Bench, bench, later, order, unclear, view
from tests.fakes.jira_rules import plain

LABEL = KEY
RESOLVED = view(state="resolved", resolved_by="anna", firing=0, ended=184, version=9)


async def created(one: Bench, **changes: Any) -> str:
    """Makes the issue."""
    done = await one.sink.deliver(order(**changes), one.http)
    assert isinstance(done, Done)
    return done.ref


def comments(one: Bench, ref: str) -> list[str]:
    """What its comments say."""
    return [plain(body).strip() for body in one.fake.issues[ref].comments]


async def test_a_new_issue_carries_what_it_is_found_by() -> None:
    async with bench("jira") as one:
        ref = await created(one)
        issue = one.fake.issues[ref]
        assert issue.labels == [LABEL, "INC-4211"]
        assert issue.fields["summary"].endswith("(INC-4211)")
        assert issue.properties["samband"]["priority"] == "P1"
        assert "SINCE" in plain(issue.fields["description"])


async def test_a_summary_is_one_line_of_255_characters_that_still_names_the_incident() -> None:
    async with bench("jira") as one:
        ref = await created(one, title="a\nb\r\n" + "long " * 100)
        summary = one.fake.issues[ref].fields["summary"]
        assert len(summary) <= 255
        assert summary.startswith("a b long")
        assert summary.endswith("(INC-4211)")


async def test_fields_of_the_configuration_are_sent_along() -> None:
    config = {"fields": {"customfield_10050": {"value": "A"}, "labels": ["ops"]}, "priorities": {"P1": "Highest"}}
    async with bench("jira", config=config) as one:
        ref = await created(one)
        fields = one.fake.issues[ref].fields
        assert fields["customfield_10050"] == {"value": "A"}
        assert fields["labels"] == [LABEL, "INC-4211", "ops"]
        assert fields["priority"] == {"name": "Highest"}
        await one.sink.deliver(order("update", shown=view(priority="P2"), ref=ref), one.http)
        assert one.fake.issues[ref].fields["priority"] == {"name": "Highest"}


async def test_a_refusal_is_told_in_jiras_own_words() -> None:
    async with bench("jira", config={"fields": {"customfield_1": 1}}) as one:
        outcome = await one.sink.deliver(order(), one.http)
        assert isinstance(outcome, Reject)
        assert outcome.reason is Reason.REFUSED
        assert "customfield_1: Field 'customfield_1' cannot be set." in outcome.detail


@pytest.mark.parametrize("name", ["summary", "description", "project", "issuetype", "priority"])
def test_fields_that_are_ours_are_a_mistake(name: str) -> None:
    options = {"type": "jira", "url": "https://x.atlassian.net", "project": "OPS", "user": "u", "token": "t"}
    with pytest.raises(ValidationError, match=f"{name} cannot stand in fields"):
        JiraConfig.model_validate(options | {"fields": {name: "x"}})


async def test_an_unclear_create_is_found_while_the_search_lags() -> None:
    """Others make issues before, at the same time and after; the index shows none of the new ones."""
    async with bench("jira", timeout_s=0.3, lag_s=3600) as one:
        for number in range(7):
            one.fake.person_makes(f"before {number}").created_at -= 7200
        one.fake.person_makes("at the same time")
        one.fake.misbehave("hang_after", method="POST", path="issue$")
        assert unclear(await one.sink.deliver(order(), one.http))
        one.fake.person_makes("after")
        assert await one.sink.find(order(), one.http, 1000) == Found("OPS-9")


async def test_an_unclear_create_is_found_in_a_gap_of_the_index() -> None:
    """The index shows younger issues and not ours; keys that may not be seen lie between."""
    async with bench("jira") as one:
        for number in range(3):
            one.fake.person_makes(f"before {number}").created_at -= 7200
        hidden = {one.fake.person_makes("hidden").key for _ in range(8)}
        ref = await created(one)
        hidden |= {one.fake.person_makes("hidden").key for _ in range(3)}
        one.fake.person_makes("younger, and shown")
        one.fake.hidden, one.fake.unindexed = hidden, {ref}
        assert await one.sink.find(order(), one.http, 1000) == Found(ref)


async def test_the_first_issue_of_an_empty_project_is_found() -> None:
    async with bench("jira", lag_s=60) as one:
        ref = await created(one)
        assert await one.sink.find(order(), one.http, 1000) == Found(ref)


async def test_an_absence_is_looked_for_by_number_and_not_for_ever() -> None:
    async with bench("jira") as one:
        for number in range(3):
            one.fake.person_makes(f"other {number}")
        assert await one.sink.find(order(), one.http, SETTLE_MS) == Absent(settled=True)
        assert len(one.fake.sent("GET")) == 5
        assert await one.sink.find(order(), one.http, 3_600_000) == Absent(settled=True)
        assert len(one.fake.sent("GET")) == 5


async def test_a_flood_of_unindexed_issues_is_no_settled_absence() -> None:
    async with bench("jira", lag_s=3600) as one:
        for number in range(150):
            one.fake.person_makes(f"flood {number}")
        outcome = await one.sink.find(order(), one.http, SETTLE_MS)
        assert isinstance(outcome, Retry)
        assert len(one.fake.sent("GET")) == 100


async def test_a_long_search_is_read_page_by_page() -> None:
    async with bench("jira") as one:
        for number in range(230):
            one.fake.person_makes(f"other {number}")
        assert await one.sink.find(order(), one.http, SETTLE_MS) == Absent(settled=True)
        assert len(one.fake.sent("GET")) == 5


async def test_a_comment_says_what_changed_and_members_are_only_edited() -> None:
    async with bench("jira") as one:
        ref = await created(one, shown=view(priority="P3"))
        more = view(priority="P3", firing=300, version=4)
        await one.sink.deliver(order("update", shown=more, ref=ref, text="now 300 alerts"), one.http)
        assert comments(one, ref) == []
        assert "now 300 alerts" in plain(one.fake.issues[ref].fields["description"])
        raised = view(state="acknowledged", acknowledged_by="anna", owner="shop", cause="", firing=300, version=5)
        await one.sink.deliver(order("update", shown=raised, ref=ref), one.http)
        assert comments(one, ref) == [
            "Priority P3 → P1: impact high (checkout is tier 1) × urgency high (critical) = P1\n"
            "State open → acknowledged, by anna\n"
            "Owner databases → shop\n"
            "Likely cause orders-db: 9 of 11 depend on it → none"
        ]


async def test_a_repeated_update_comments_once() -> None:
    """The comment arrives and its answer does not: the second try sees it and does not say it again."""
    async with bench("jira", timeout_s=0.3) as one:
        ref = await created(one)
        told = order("update", shown=view(priority="P2"), ref=ref)
        one.fake.misbehave("hang_after", path="comment$")
        assert unclear(await one.sink.deliver(told, one.http))
        assert await one.sink.deliver(later(told), one.http) == Done(ref)
        assert len(comments(one, ref)) == 1


async def test_a_summary_that_a_person_wrote_is_left_alone() -> None:
    async with bench("jira") as one:
        ref = await created(one)
        await one.sink.deliver(order("update", ref=ref, title="P1 worse"), one.http)
        assert one.fake.issues[ref].fields["summary"] == "P1 worse (INC-4211)"
        one.fake.issues[ref].fields["summary"] = "Checkout is down, see the bridge"
        for title in ("P1 much worse", "P2 better"):
            await one.sink.deliver(order("update", ref=ref, title=title), one.http)
        assert one.fake.issues[ref].fields["summary"] == "Checkout is down, see the bridge"


async def test_a_ticket_that_a_person_closed_is_left_alone_until_it_is_reopened() -> None:
    async with bench("jira") as one:
        one.fake.read_only_when_done = True
        ref = await created(one)
        one.fake.issues[ref].status = "Done"
        for action in ("update", "resolve"):
            assert await one.sink.deliver(order(action, shown=RESOLVED, ref=ref), one.http) == Done(ref)
        assert comments(one, ref) == []
        again = order("reopen", shown=view(state="reopened", generation=2), ref=ref, key="samband-x-2")
        assert await one.sink.deliver(again, one.http) == Done(ref)
        assert one.fake.issues[ref].status == "To Do"
        assert one.fake.issues[ref].labels == [LABEL, "INC-4211", "samband-x-2"]
        assert comments(one, ref) == ["State open → reopened"]
        assert await one.sink.find(again, one.http, 0) == Found(ref)


async def test_resolving_takes_the_way_to_done_and_never_gives_up_the_work() -> None:
    async with bench("jira") as one:
        ref = await created(one)
        assert await one.sink.deliver(order("resolve", shown=RESOLVED, ref=ref), one.http) == Done(ref)
        assert one.fake.issues[ref].status == "Done"
        assert comments(one, ref) == ["State open → resolved, by anna"]


SERVICE_DESK = {
    "To Do": [("5", "Investigate", "In Progress"), ("21", "Cancel request", "Cancelled")],
    "In Progress": [("7", "Complete", "Done"), ("6", "Pending", "To Do")],
    "Done": [],
}


async def test_a_workflow_of_several_steps_is_walked() -> None:
    config = {"transitions": {"resolve": ["Investigate", "Complete"]}}
    async with bench("jira", config=config) as one:
        one.fake.workflow = SERVICE_DESK
        ref = await created(one)
        assert await one.sink.deliver(order("resolve", shown=RESOLVED, ref=ref), one.http) == Done(ref)
        assert one.fake.issues[ref].status == "Done"


async def test_a_workflow_that_leads_nowhere_is_told_with_the_remedy() -> None:
    async with bench("jira") as one:
        one.fake.workflow = SERVICE_DESK
        ref = await created(one)
        outcome = await one.sink.deliver(order("resolve", shown=RESOLVED, ref=ref), one.http)
        assert isinstance(outcome, Reject)
        assert "offered: Investigate, Cancel request" in outcome.detail
        assert "transitions: {resolve: [NAME, ...]}" in outcome.detail


async def test_a_transition_that_a_person_made_first_is_no_failure() -> None:
    async with bench("jira") as one:
        ref = await created(one)
        one.fake.misbehave("status_after", status=400, method="POST", path="transitions$")
        assert await one.sink.deliver(order("resolve", shown=RESOLVED, ref=ref), one.http) == Done(ref)
        one.fake.issues[ref].status = "To Do"
        one.fake.misbehave("status", status=409, method="POST", path="transitions$")
        outcome = await one.sink.deliver(order("resolve", shown=RESOLVED, ref=ref), one.http)
        assert isinstance(outcome, Retry)
        assert outcome.reason is Reason.CONFLICT


async def test_a_transition_without_an_answer_is_unsure_and_then_done() -> None:
    async with bench("jira", timeout_s=0.3) as one:
        ref = await created(one)
        told = order("resolve", shown=RESOLVED, ref=ref)
        one.fake.misbehave("reset_after", method="POST", path="transitions$")
        assert unclear(await one.sink.deliver(told, one.http))
        assert await one.sink.deliver(later(told), one.http) == Done(ref)
        assert len(comments(one, ref)) == 1


async def test_a_duplicate_says_so_is_linked_and_closed() -> None:
    async with bench("jira") as one:
        ref = await created(one)
        original = await created(one, key="samband-y-1", shown=view(ref="INC-4200"))
        merged = view(state="merged", merged_into="6a59f1e380000000")
        told = order("resolve", shown=merged, ref=ref, duplicate_of="INC-4200 https://samband.example.org/i/1")
        assert await one.sink.deliver(told, one.http) == Done(ref)
        assert one.fake.issues[ref].status == "Done"
        assert one.fake.issues[ref].links == [("Duplicate", ref, original)]
        assert "Duplicate of INC-4200 https://samband.example.org/i/1" in comments(one, ref)[0]


@pytest.mark.parametrize("why", ["no such type of link", "the other is not in the index yet"])
async def test_a_duplicate_is_closed_even_when_it_cannot_be_linked(why: str) -> None:
    async with bench("jira") as one:
        ref = await created(one)
        other = await created(one, key="samband-y-1", shown=view(ref="INC-4200"))
        if why.startswith("no"):
            one.fake.link_types = []
        else:
            one.fake.unindexed = {other}
        told = order("resolve", shown=view(state="merged"), ref=ref, duplicate_of="INC-4200")
        assert await one.sink.deliver(told, one.http) == Done(ref)
        assert one.fake.issues[ref].status == "Done"
        assert one.fake.issues[ref].links == []


async def test_a_closed_twin_says_whose_it_is() -> None:
    async with bench("jira") as one:
        first, second = await created(one), await created(one)
        await one.sink.close_twin(order(ref=first), second, one.http)
        twin = one.fake.issues[second]
        assert comments(one, second) == [
            f"Duplicate of {first}: made twice by samband after an answer that was not clear."
        ]
        assert twin.links == [("Duplicate", second, first)]
        assert twin.status == "Done"
        assert "samband-duplicate" in twin.labels
        assert LABEL not in twin.labels


async def test_an_object_that_is_gone_is_not_found() -> None:
    async with bench("jira") as one:
        ref = await created(one)
        one.fake.hidden = {ref}
        outcome = await one.sink.deliver(order("update", ref=ref), one.http)
        assert isinstance(outcome, Reject)
        assert outcome.reason is Reason.NOT_FOUND
        outcome = await one.sink.deliver(order("resolve"), one.http)
        assert isinstance(outcome, Reject)
        assert outcome.reason is Reason.NOT_FOUND


async def test_an_issue_whose_name_is_not_known_is_found_by_its_label() -> None:
    async with bench("jira") as one:
        ref = await created(one)
        assert await one.sink.deliver(order("resolve", shown=RESOLVED), one.http) == Done(ref)


async def test_a_throttled_call_says_which_limit_it_was() -> None:
    async with bench("jira") as one:
        headers = {"Retry-After": "3", "RateLimit-Reason": "jira-per-issue-on-write"}
        one.fake.misbehave("status", status=429, headers=headers)
        assert await one.sink.deliver(order(), one.http) == Retry(
            Reason.THROTTLED, "rate limit jira-per-issue-on-write", 3000
        )


async def test_an_issue_that_is_not_named_is_looked_for() -> None:
    async with bench("jira") as one:
        one.fake.misbehave("garbage", method="POST", path="issue$")
        outcome = await one.sink.deliver(order(), one.http)
        assert isinstance(outcome, Unsure)
        assert outcome.reason is Reason.BAD_ANSWER


@pytest.mark.parametrize(
    ("config", "site", "words"),
    [
        ({"project": "NOPE"}, {}, ["NOPE", "set project"]),
        ({"issue_type": "Bug"}, {}, ["Bug", "Task, Incident"]),
        ({"fields": {"customfield_9": 1}}, {}, ["customfield_9", "remove it"]),
        ({}, {"required": ("customfield_10050",)}, ["customfield_10050", "add it to fields"]),
    ],
)
async def test_check_reads_what_the_project_demands(
    config: dict[str, Any], site: dict[str, Any], words: list[str]
) -> None:
    async with bench("jira", config=config, **site) as one:
        problems: list[Problem] = await one.sink.check(one.http)
        assert len(problems) == 1
        assert [word for word in words if word not in problems[0].text + problems[0].remedy] == []
        assert one.fake.issues == {}


async def test_check_names_permissions_that_lack() -> None:
    async with bench("jira") as one:
        one.fake.permissions_lacking = {"TRANSITION_ISSUES"}
        assert "TRANSITION_ISSUES" in (await one.sink.check(one.http))[0].text
