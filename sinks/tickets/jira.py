"""Jira Cloud (REST API v3): one issue per incident, read back before anything is made again.

The issue carries a label with our key (to find it), the incident's reference as a label (for people
and for duplicates), and a property with what it was last told, so that a comment says only what
changed. Nothing is kept here: each order first looks how the issue stands.
"""

from base64 import b64encode
from collections.abc import Sequence
from re import search
from typing import Any, Literal
from urllib.parse import quote

from pydantic import Field, field_validator, model_validator

from daemon.core.model.incident import Kind
from sinks.base import (
    Absent,
    Done,
    Found,
    Http,
    Idempotency,
    Order,
    Outcome,
    Problem,
    Reason,
    Reject,
    Request,
    Response,
    Retry,
    Unsure,
    judge,
    retry_after_ms,
)
from sinks.calls import Calls, Stop, as_retry, dig, encode, items
from sinks.config import BaseAddress, Priority, Secret, SecretFile, SinkConfig, secret_field, secret_file_field
from sinks.text import one_line
from sinks.tickets import jira_text as text
from sinks.tickets.jira_check import problems_of
from sinks.tickets.jira_search import Searcher
from sinks.tickets.jira_workflow import Transitions, move

_OURS = {
    "summary": "samband writes it",
    "description": "samband writes it",
    "project": "set `project`",
    "issuetype": "set `issue_type`",
    "priority": "set `priorities`",
}


class JiraConfig(SinkConfig):
    """Tickets in one Jira project."""

    type: Literal["jira"] = Field(description="Jira Cloud, REST API v3")
    url: BaseAddress = Field(description="Base address of the site: https://acme.atlassian.net")
    project: str = Field(pattern=r"^[A-Z][A-Z0-9_]{1,254}$", description="Key of the project, such as OPS")
    user: str = Field(min_length=1, description="Mail address of the account that the API token belongs to")
    token: Secret = secret_field("API token of the account")
    token_file: SecretFile = secret_file_field("API token of the account")
    issue_type: str = Field(default="Task", min_length=1, description="Name of the issue type")
    fields: dict[str, Any] = Field(
        default={},
        description="Further fields of a new issue, in the form of Jira's API: {customfield_10050: {value: A}}",
    )
    priorities: dict[Priority, str] = Field(
        default={}, description="Our priority -> name of Jira's, {P1: Highest}; without it Jira's is left alone"
    )
    transitions: Transitions = Field(default=Transitions(), description="Names of the transitions to use")

    @field_validator("fields")
    @classmethod
    def _not_ours(cls, fields: dict[str, Any]) -> dict[str, Any]:
        for name, remedy in _OURS.items():
            if name in fields:
                raise ValueError(f"{name} cannot stand in fields: {remedy}")
        return fields

    @model_validator(mode="after")
    def _complete(self) -> "JiraConfig":
        self.need("token")
        return self


def _judge(response: Response) -> Outcome | None:
    """409: somebody else was quicker, look again. 429: says by a header which limit it was."""
    if response.status == 429:
        why = response.headers.get("ratelimit-reason", "")
        return Retry(Reason.THROTTLED, f"rate limit {why}".strip(), retry_after_ms(response))
    outcome = judge(response)
    if response.status == 409:
        return Retry(Reason.CONFLICT, getattr(outcome, "detail", ""))
    if isinstance(outcome, Reject) and (said := _complaints(response)):
        return Reject(outcome.reason, f"{response.status}: {said}")
    return outcome


def _complaints(response: Response) -> str:
    """Jira's own words: its messages, and what it says of single fields."""
    answer = response.json()
    words = [str(message) for message in items(answer, "errorMessages")]
    fields = dig(answer, "errors")
    if isinstance(fields, dict):
        words += [f"{name}: {message}" for name, message in sorted(fields.items())]
    return "; ".join(words)


class Jira:
    """The sink. `settle_ms`: how long Jira's search may lag (`delivery.settle`)."""

    Config = JiraConfig
    kind: Kind = "ticket"
    idempotency: Idempotency = "readback"
    reopens = True
    reports = False

    def __init__(self, name: str, config: JiraConfig, *, settle_ms: int) -> None:
        self.name = name
        self._config, self._settle_ms = config, settle_ms
        basic = b64encode(f"{config.user}:{config.secret('token')}".encode()).decode()
        self.secrets: Sequence[str] = (config.secret("token"), basic)
        self._headers = {
            "Authorization": f"Basic {basic}",
            "Accept": "application/json",
            "Content-Type": "application/json",
        }

    def render(self, order: Order) -> Request | None:
        """The create call; any other order begins by looking how the issue stands."""
        if _creates(order):
            return self._request("POST", "/issue", self._new_issue(order))
        if order.ref:
            return self._request("GET", _issue(order.ref, _STANDING))
        return None

    async def deliver(self, order: Order, http: Http) -> Outcome:
        """Makes the issue, or brings it in line with the incident."""
        calls = self._calls(http)
        try:
            return await (self._create(order, calls) if _creates(order) else self._bring_in_line(order, calls))
        except Stop as stop:
            return stop.outcome

    async def find(self, order: Order, http: Http, since_ms: int) -> Found | Absent | Retry:
        """By label, and by number where the search may still lag."""
        try:
            searcher = Searcher(self._calls(http), self._config.project, self._settle_ms)
            return await searcher.find(text.label_of(order.key), order.ref, since_ms)
        except Stop as stop:
            return as_retry(stop.outcome)

    async def close_twin(self, order: Order, ref: str, http: Http) -> Outcome:
        """Says so in the twin, links it, closes it; last, it loses our label, so that it is not found again."""
        calls = self._calls(http)
        try:
            issue = await self._standing(ref, calls)
            said = f"Duplicate of {order.ref}: made twice by samband after an answer that was not clear."
            await self._comment(ref, [said], calls, look=True)
            await self._link(ref, order.ref, calls)
            await move(calls, ref, issue, self._config.transitions.resolve, done=True)
            labels = [{"remove": text.label_of(order.key)}, {"add": text.TWIN_LABEL}]
            await calls.write(self._request("PUT", _issue(ref), {"update": {"labels": labels}}))
        except Stop as stop:
            return stop.outcome
        return Done(ref)

    async def check(self, http: Http) -> list[Problem]:
        """Credentials, permissions, issue type, and what the project demands of a new issue."""
        config = self._config
        given = {*config.fields, "summary", "description", "project", "issuetype", "labels"}
        if config.priorities:
            given.add("priority")
        return await problems_of(self._calls(http), config.project, config.issue_type, given)

    async def _create(self, order: Order, calls: Calls) -> Outcome:
        response = await calls.write(self._request("POST", "/issue", self._new_issue(order)))
        key = dig(response.json(), "key")
        if not isinstance(key, str) or not key:
            return Unsure(Reason.BAD_ANSWER, "Jira took the issue and did not name it")
        return Done(key)

    def _new_issue(self, order: Order) -> dict[str, Any]:
        own = self._config.fields.get("labels", [])
        fields = self._config.fields | {
            "project": {"key": self._config.project},
            "issuetype": {"name": self._config.issue_type},
            "summary": text.summary_of(order),
            "description": text.description_of(order),
            "labels": self._labels(order) + (own if isinstance(own, list) else [own]),
        }
        fields |= self._priority(order)
        return {"fields": fields, "properties": [{"key": text.PROPERTY, "value": text.told_of(order)}]}

    def _labels(self, order: Order) -> list[str]:
        return [text.label_of(order.key), *([order.incident.ref] if order.incident.ref else [])]

    def _priority(self, order: Order) -> dict[str, Any]:
        name = next((n for p, n in self._config.priorities.items() if p == order.incident.priority), "")
        return {"priority": {"name": name}} if name else {}

    async def _bring_in_line(self, order: Order, calls: Calls) -> Outcome:
        """Comment, edit, transition; a ticket that a person closed is left as it is until it is reopened."""
        ref = order.ref or await self._ref_of(order, calls)
        if not ref:
            return Reject(Reason.NOT_FOUND, f"no issue carries the label {text.label_of(order.key)}")
        issue = await self._standing(ref, calls)
        resolving, done = order.action == "resolve", _is_done(issue)
        if done and order.action != "reopen":
            return Done(ref)
        if done:  # first, because a closed issue may be read-only
            await move(calls, ref, issue, self._config.transitions.reopen, done=False)
        lines = text.changes(_told(issue), order)
        if order.duplicate_of:
            lines.append(one_line(f"Duplicate of {order.duplicate_of}", text.LINE_MAX))
        if lines:
            await self._comment(ref, lines, calls, look=_is_repeat(order))
        await calls.write(self._request("PUT", _issue(ref), self._edit(order, issue)))
        if order.duplicate_of and (original := await self._original(order, ref, calls)):
            await self._link(ref, original, calls)
        if resolving:
            await move(calls, ref, issue, self._config.transitions.resolve, done=True)
        return Done(ref)

    def _edit(self, order: Order, issue: Any) -> dict[str, Any]:
        """The description and our labels; the summary only while it still is the one that we wrote."""
        fields = {"description": text.description_of(order)} | self._priority(order)
        before, shown = _told(issue).get("summary"), dig(issue, "fields", "summary")
        if before == shown and shown is not None:
            fields["summary"] = text.summary_of(order)
        told = text.told_of(order) | ({} if "summary" in fields else {"summary": ""})
        have = items(issue, "fields", "labels")
        missing = [{"add": label} for label in self._labels(order) if label not in have]
        edit: dict[str, Any] = {"fields": fields, "properties": [{"key": text.PROPERTY, "value": told}]}
        return edit | ({"update": {"labels": missing}} if missing else {})

    async def _standing(self, ref: str, calls: Calls) -> Any:
        """Status, labels, summary and our property. Stops with Reject when the issue is gone."""
        issue = await calls.read(f"/rest/api/3{_issue(ref, _STANDING)}", missing=True)
        if issue is None:
            raise Stop(Reject(Reason.NOT_FOUND, f"{ref} is gone, or {self._config.user} may not see it"))
        return issue

    async def _ref_of(self, order: Order, calls: Calls) -> str:
        label = text.label_of(order.key)
        found = await Searcher(calls, self._config.project, self._settle_ms).labelled(label)
        return next((ref for ref, labels in found if label in labels), "")

    async def _original(self, order: Order, ref: str, calls: Calls) -> str:
        """The other incident's issue, by its reference as a label; "" when the search does not show it (yet)."""
        match = search(r"\bINC-\d+\b", order.duplicate_of)
        searcher = Searcher(calls, self._config.project, self._settle_ms)
        found = await searcher.labelled(match.group()) if match else []
        return next((key for key, labels in found if key != ref and text.TWIN_LABEL not in labels), "")

    async def _comment(self, ref: str, lines: list[str], calls: Calls, *, look: bool) -> None:
        """Writes the comment, unless a look at the last ones shows that an earlier try has written it."""
        body = text.comment_of(lines)
        if look:
            answer = await calls.read(f"/rest/api/3{_issue(ref, '/comment?orderBy=-created&maxResults=10')}")
            if text.plain(body) in [text.plain(dig(comment, "body")) for comment in items(answer, "comments")]:
                return
        await calls.write(self._request("POST", _issue(ref, "/comment"), {"body": body}))

    async def _link(self, ref: str, original: str, calls: Calls) -> None:
        """`ref` duplicates `original` (Jira calls the one that does so inward)."""
        link = {"type": {"name": "Duplicate"}, "inwardIssue": {"key": ref}, "outwardIssue": {"key": original}}
        try:
            await calls.write(self._request("POST", "/issueLink", link))
        except Stop as stop:
            # A site without that type of link, or with linking switched off: the comment says it all the same.
            if not isinstance(stop.outcome, Reject):
                raise

    def _calls(self, http: Http) -> Calls:
        return Calls(http, self._config.url, self._headers, self.secrets, _judge)

    def _request(self, method: str, path: str, body: Any = None) -> Request:
        return Request(method, f"{self._config.url}/rest/api/3{path}", self._headers, encode(body))


_STANDING = "?fields=status,labels,summary&properties=samband"


def _issue(ref: str, rest: str = "") -> str:
    return f"/issue/{quote(ref, safe='')}{rest}"


def _creates(order: Order) -> bool:
    """A raise of a ticket that is there, or a create that was adopted, is no new ticket."""
    return order.action == "create" and not order.ref


def _is_repeat(order: Order) -> bool:
    return order.repeat or 0 < order.first_try_at < order.sent_at


def _is_done(issue: Any) -> bool:
    return bool(dig(issue, "fields", "status", "statusCategory", "key") == "done")


def _told(issue: Any) -> dict[str, Any]:
    told = dig(issue, "properties", text.PROPERTY)
    return told if isinstance(told, dict) else {}
