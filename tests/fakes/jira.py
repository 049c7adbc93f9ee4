"""Jira Cloud, REST API v3: one project, its workflow, a search that lags, and Jira's refusals."""

from base64 import b64encode
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from tests.fakes import jira_rules as rules
from tests.fakes.base import Fake, json_of

TWIN_LABEL = "samband-duplicate"
WORKFLOW: dict[str, list[tuple[str, str, str]]] = {
    "To Do": [("11", "Start", "In Progress"), ("21", "Cancel", "Cancelled"), ("31", "Done", "Done")],
    "In Progress": [("31", "Done", "Done")],
    "Done": [("41", "Reopen", "To Do")],
    "Cancelled": [("41", "Reopen", "To Do")],
}
CATEGORY = {"To Do": "new", "In Progress": "indeterminate", "Done": "done", "Cancelled": "done"}


@dataclass
class Issue:
    """An issue. comments: ADF documents, oldest first. links: (type, this, other)."""

    key: str
    fields: dict[str, Any]
    created_at: float
    properties: dict[str, Any] = field(default_factory=dict)
    status: str = "To Do"
    comments: list[Any] = field(default_factory=list)
    links: list[tuple[str, str, str]] = field(default_factory=list)

    @property
    def labels(self) -> list[str]:
        """Its labels."""
        return list(self.fields.get("labels", []))

    @property
    def number(self) -> int:
        """The number in its key."""
        return int(self.key.rpartition("-")[2])


class FakeJira(Fake):
    """One site with one project.

    lag_s: so long the search does not show a new issue. unindexed: keys that it never shows.
    hidden: keys that the account may not see. required: fields that a new issue must have.
    workflow: status -> (id, name, target) of its transitions. read_only_when_done: as some sites have it.
    """

    name = "jira"

    def __init__(
        self,
        *,
        project: str = "OPS",
        user: str = "bot@example.org",
        token: str = "t",
        issue_types: tuple[str, ...] = ("Task", "Incident"),
        custom_fields: tuple[str, ...] = ("customfield_10050",),
        required: tuple[str, ...] = (),
        lag_s: float = 0.0,
        **rest: Any,
    ) -> None:
        super().__init__(**rest)
        self.project, self.issue_types, self.lag_s = project, issue_types, lag_s
        self.custom_fields, self.required = custom_fields, required
        self.workflow, self.category = WORKFLOW, CATEGORY
        self.link_types = ["Duplicate"]
        self.issues: dict[str, Issue] = {}
        self.unindexed: set[str] = set()
        self.hidden: set[str] = set()
        self.read_only_when_done = False
        self.permissions_lacking: set[str] = set()
        self._authorization = "Basic " + b64encode(f"{user}:{token}".encode()).decode()

    def routes(self) -> list[web.RouteDef]:
        """As under /rest/api/3."""
        base = "/rest/api/3"
        routes = [
            web.post(f"{base}/issue", self._create),
            web.get(f"{base}/issue/{{key}}", self._one),
            web.put(f"{base}/issue/{{key}}", self._edit),
            web.get(f"{base}/issue/{{key}}/comment", self._comments),
            web.post(f"{base}/issue/{{key}}/comment", self._comment),
            web.get(f"{base}/issue/{{key}}/transitions", self._transitions),
            web.post(f"{base}/issue/{{key}}/transitions", self._transition),
            web.post(f"{base}/issueLink", self._link),
            web.post(f"{base}/search/jql", self._search),
            web.get(f"{base}/myself", self._myself),
            web.get(f"{base}/mypermissions", self._mypermissions),
            web.get(f"{base}/issue/createmeta/{{project}}/issuetypes", self._types),
            web.get(f"{base}/issue/createmeta/{{project}}/issuetypes/{{id}}", self._type_fields),
        ]
        return [web.RouteDef(r.method, r.path, self._authorized(r.handler), r.kwargs) for r in routes]

    def objects(self, key: str) -> list[Issue]:
        """The issues that carry the label of a key."""
        label = rules.label_of(key)
        return [issue for issue in self.issues.values() if label in issue.labels]

    def open_objects(self, key: str) -> list[Issue]:
        """Those that are not done."""
        return [issue for issue in self.objects(key) if self.category[issue.status] != "done"]

    def keys(self) -> list[str]:
        """All labels of ours."""
        labels = [label for issue in self.issues.values() for label in issue.labels]
        return list(dict.fromkeys(label for label in labels if label.startswith("samband-") and label != TWIN_LABEL))

    def person_makes(self, summary: str) -> Issue:
        """Somebody else makes an issue."""
        return self._new({"summary": summary, "labels": []}, {})

    def _authorized(self, handler: Any) -> Any:
        async def asked(request: web.Request) -> web.Response:
            if request.headers.get("Authorization") != self._authorization:
                return rules.refused(401, "Client must be authenticated to access this resource.")
            answer: web.Response = await handler(request)
            return answer

        return asked

    def _new(self, fields: dict[str, Any], properties: dict[str, Any]) -> Issue:
        key = f"{self.project}-{len(self.issues) + 1}"
        issue = self.issues[key] = Issue(key, fields, self.clock(), properties)
        self.say(f"NEW {key} {fields['summary']}")
        return issue

    def _seen(self, request: web.Request) -> Issue | None:
        key = request.match_info["key"]
        return None if key in self.hidden else self.issues.get(key)

    async def _create(self, request: web.Request) -> web.Response:
        body = await json_of(request)
        wrong = rules.wrong_fields(body, self, new=True)
        if not wrong and (found := self.check_schema("overlay.jira-cloud-v3.issue.create.request", body)):
            wrong = {"schema": found}
        if wrong:
            return rules.refused(400, fields=wrong)
        issue = self._new(body["fields"], {one["key"]: one["value"] for one in body.get("properties", [])})
        return web.json_response({"id": str(10000 + issue.number), "key": issue.key}, status=201)

    async def _one(self, request: web.Request) -> web.Response:
        issue = self._seen(request)
        if issue is None:
            return rules.not_found()
        wanted = request.query.get("fields", "").split(",")
        status = {"name": issue.status, "statusCategory": {"key": self.category[issue.status]}}
        fields = {name: (issue.fields | {"status": status}).get(name) for name in wanted}
        names = request.query.get("properties", "").split(",")
        properties = {name: issue.properties[name] for name in names if name in issue.properties}
        return web.json_response({"key": issue.key, "fields": fields, "properties": properties})

    async def _edit(self, request: web.Request) -> web.Response:
        issue, body = self._seen(request), await json_of(request)
        if issue is None:
            return rules.not_found()
        if self.read_only_when_done and self.category[issue.status] == "done":
            return rules.refused(400, "Issue is not editable in its current status.")
        wrong = rules.wrong_fields(body, self, new=False)
        if not wrong and (found := self.check_schema("jira-cloud-v3.issue.edit.request", body)):
            wrong = {"schema": found}
        if wrong:
            return rules.refused(400, fields=wrong)
        issue.fields |= body.get("fields", {})
        issue.properties |= {one["key"]: one["value"] for one in body.get("properties", [])}
        for change in body.get("update", {}).get("labels", []):
            labels = [label for label in issue.labels if label not in change.values()]
            issue.fields["labels"] = labels + ([change["add"]] if "add" in change else [])
        return web.Response(status=204)

    async def _comments(self, request: web.Request) -> web.Response:
        issue = self._seen(request)
        if issue is None:
            return rules.not_found()
        limit = int(request.query.get("maxResults", "5000"))
        newest_first = request.query.get("orderBy") == "-created"
        comments = issue.comments[::-1] if newest_first else issue.comments
        return web.json_response({"comments": [{"body": body} for body in comments[:limit]]})

    async def _comment(self, request: web.Request) -> web.Response:
        issue, body = self._seen(request), await json_of(request)
        if issue is None:
            return rules.not_found()
        wrong = rules.wrong_document(body.get("body")) if isinstance(body, dict) else "no body"
        wrong = wrong or self.check_schema("jira-cloud-v3.issue.comment.request", body)
        if wrong:
            return rules.refused(400, fields={"comment": wrong})
        issue.comments.append(body["body"])
        self.say(f"COMMENT {issue.key} {rules.plain(body['body'])}")
        return web.json_response({"id": str(len(issue.comments))}, status=201)

    async def _transitions(self, request: web.Request) -> web.Response:
        issue = self._seen(request)
        if issue is None:
            return rules.not_found()
        offered = [
            {"id": number, "name": name, "to": {"name": to, "statusCategory": {"key": self.category[to]}}}
            for number, name, to in self.workflow[issue.status]
        ]
        return web.json_response({"transitions": offered})

    async def _transition(self, request: web.Request) -> web.Response:
        issue, body = self._seen(request), await json_of(request)
        if issue is None:
            return rules.not_found()
        number = body.get("transition", {}).get("id") if isinstance(body, dict) else None
        target = next((to for one, _, to in self.workflow[issue.status] if one == number), None)
        if target is None or self.check_schema("jira-cloud-v3.issue.transition.request", body):
            return rules.refused(400, "It seems that you have tried to perform an illegal workflow operation.")
        issue.status = target
        self.say(f"MOVE {issue.key} to {target}")
        return web.Response(status=204)

    async def _link(self, request: web.Request) -> web.Response:
        body = await json_of(request)
        if body["type"]["name"] not in self.link_types:
            return rules.refused(404, f"No issue link type with name '{body['type']['name']}' found.")
        ends = [self.issues.get(body[end]["key"]) for end in ("inwardIssue", "outwardIssue")]
        if None in ends or ends[0] is None or ends[1] is None:
            return rules.not_found()
        link = (body["type"]["name"], ends[0].key, ends[1].key)
        for issue in (ends[0], ends[1]):
            if link not in issue.links:
                issue.links.append(link)
        return web.Response(status=201)

    async def _search(self, request: web.Request) -> web.Response:
        body = await json_of(request)
        now = self.clock()
        visible = [
            issue
            for issue in self.issues.values()
            if now - issue.created_at >= self.lag_s and issue.key not in self.unindexed | self.hidden
        ]
        found = rules.search(body.get("jql", "") if isinstance(body, dict) else "", visible, self.project, now)
        if found is None:
            return rules.refused(400, "Error in the JQL Query.")
        begin, size = int(body.get("nextPageToken", "0")), int(body.get("maxResults", 50))
        page = found[begin : begin + size]
        wanted = body.get("fields", ["id"])
        issues = [{"key": one.key, "fields": {n: one.fields.get(n) for n in wanted}} for one in page]
        more = begin + size < len(found)
        return web.json_response(
            {"issues": issues, "isLast": not more} | ({"nextPageToken": str(begin + size)} if more else {})
        )

    async def _myself(self, request: web.Request) -> web.Response:
        return web.json_response({"accountId": "5b10a2844c20165700ede21g"})

    async def _mypermissions(self, request: web.Request) -> web.Response:
        if request.query.get("projectKey") != self.project:
            return rules.refused(404, f"No project could be found with key '{request.query.get('projectKey')}'.")
        names = request.query.get("permissions", "").split(",")
        have = {name: {"key": name, "havePermission": name not in self.permissions_lacking} for name in names}
        return web.json_response({"permissions": have})

    async def _types(self, request: web.Request) -> web.Response:
        return web.json_response({"issueTypes": [{"id": str(n), "name": t} for n, t in enumerate(self.issue_types)]})

    async def _type_fields(self, request: web.Request) -> web.Response:
        names = [*rules.SYSTEM_FIELDS, *self.custom_fields]
        needed = {"summary", "project", "issuetype", "reporter", *self.required}
        return web.json_response({"fields": [{"fieldId": n, "name": n, "required": n in needed} for n in names]})
