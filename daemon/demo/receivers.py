"""What stands in for the far end in the demo: as much of PagerDuty, Jira and Statuspage as samband speaks to.

They listen on loopback, keep everything in memory, and say aloud what they are told.
"""

import json
import re
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

Say = Callable[[str, str], None]
"""Told of news: its kind (PAGE, TICKET, STATUS) and a text of one or more lines."""
Answer = tuple[int, Any]
Route = Callable[[str, Any], Answer]
"""Takes what the path names and the decoded body; gives the status and the answer."""


class Receiver:
    """One service: routes from "METHOD /path/(regular expression)" to functions. `port` is a free one of its own."""

    def __init__(self, routes: Mapping[str, Route]) -> None:
        compiled = [(re.compile(pattern), route) for pattern, route in routes.items()]
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler_of(compiled))
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stops listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _handler_of(routes: list[tuple[re.Pattern[str], Route]]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _any(self) -> None:
            raw = self.rfile.read(int(self.headers.get("content-length") or 0))
            asked = f"{self.command} {urlsplit(self.path).path}"
            status, answer = 404, None
            for pattern, route in routes:
                if found := pattern.fullmatch(asked):
                    status, answer = route(found[1] if found.groups() else "", json.loads(raw) if raw else None)
                    break
            body = b"" if answer is None else json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PUT = do_PATCH = do_HEAD = _any  # the names that http.server looks for

        def log_message(self, format: str, *args: Any) -> None:
            """Says nothing: the services say themselves what they are told."""

    return Handler


class Pager(Receiver):
    """PagerDuty's Events API v2: pages that ring, are deduplicated by key, and end."""

    def __init__(self, say: Say) -> None:
        self._say, self._open = say, set[str]()
        super().__init__({r"POST /v2/enqueue": self._enqueue})

    def _enqueue(self, _: str, event: Any) -> Answer:
        key = event["dedup_key"]
        if event["event_action"] == "trigger":
            if key not in self._open:
                self._say("PAGE", event["payload"]["custom_details"]["page"])
            self._open.add(key)
        elif event["event_action"] == "resolve" and key in self._open:
            self._open.discard(key)
            self._say("PAGE", "is resolved, the phone is quiet")
        return 202, {"status": "success", "message": "Event processed", "dedup_key": key}


class Desk(Receiver):
    """Jira's REST API v3: issues with comments and a workflow of two states."""

    def __init__(self, say: Say) -> None:
        self._say, self._issues = say, dict[str, dict[str, Any]]()
        issue = r"/rest/api/3/issue/([A-Z]+-\d+)"
        super().__init__(
            {
                r"POST /rest/api/3/issue": self._create,
                rf"GET {issue}": lambda key, _: (200, self._issues[key]) if key in self._issues else (404, {}),
                rf"PUT {issue}": self._edit,
                rf"GET {issue}/comment": lambda key, _: (200, {"comments": []}),
                rf"POST {issue}/comment": self._comment,
                rf"GET {issue}/transitions": lambda key, _: (
                    200,
                    {"transitions": [_transition("31"), _transition("11")]},
                ),
                rf"POST {issue}/transitions": self._move,
                r"POST /rest/api/3/issueLink": lambda _, link: (201, None),
                r"POST /rest/api/3/search/jql": self._search,
            }
        )

    def _create(self, _: str, new: Any) -> Answer:
        key, fields = f"OPS-{len(self._issues) + 1}", new["fields"]
        told = {one["key"]: one["value"] for one in new["properties"]}
        self._issues[key] = {"key": key, "fields": fields | {"status": _transition("11")["to"]}, "properties": told}
        self._say("TICKET", f"{key} opened: {fields['summary']}")
        return 201, {"id": key, "key": key}

    def _edit(self, key: str, edit: Any) -> Answer:
        issue = self._issues[key]
        issue["fields"] |= edit["fields"]
        issue["properties"] |= {one["key"]: one["value"] for one in edit["properties"]}
        return 204, None

    def _comment(self, key: str, comment: Any) -> Answer:
        lines = [node.get("text", "") for part in comment["body"]["content"] for node in part["content"]]
        self._say("TICKET", f"{key} comment: {'; '.join(line for line in lines if line)}")
        return 201, {"id": "1"}

    def _move(self, key: str, wanted: Any) -> Answer:
        status = _transition(wanted["transition"]["id"])["to"]
        self._issues[key]["fields"]["status"] = status
        self._say("TICKET", f"{key} is {status['name'].lower()}")
        return 204, None

    def _search(self, _: str, query: Any) -> Answer:
        wanted = re.findall(r'labels = "([^"]+)"', query["jql"])
        found = [one for one in self._issues.values() if set(wanted) <= set(one["fields"]["labels"])]
        return 200, {"issues": found}


def _transition(number: str) -> dict[str, Any]:
    name, category = {"31": ("Done", "done"), "11": ("To Do", "new")}[number]
    return {"id": number, "name": name, "to": {"name": name, "statusCategory": {"key": category}}}


class PublicPage(Receiver):
    """Statuspage.io: entries, and the states of the components that they name."""

    def __init__(self, say: Say, components: list[str]) -> None:
        self._say, self._entries = say, dict[str, dict[str, Any]]()
        known = [{"id": name.lower(), "name": name, "group": False} for name in components]
        page = "/v1/pages/demo"
        super().__init__(
            {
                rf"GET {page}/components": lambda _, body: (200, known),
                rf"GET {page}/incidents(?:/unresolved)?": lambda _, body: (200, list(self._entries.values())),
                rf"POST {page}/incidents": self._create,
                rf"GET {page}/incidents/(e\d+)": lambda key, _: (
                    (200, self._entries[key]) if key in self._entries else (404, {})
                ),
                rf"PATCH {page}/incidents/(e\d+)": self._edit,
            }
        )

    def _create(self, _: str, new: Any) -> Answer:
        return 201, self._keep(f"e{len(self._entries) + 1}", new["incident"])

    def _edit(self, key: str, change: Any) -> Answer:
        return 200, self._keep(key, change["incident"])

    def _keep(self, key: str, entry: Any) -> Any:
        components = [{"id": name, "status": state} for name, state in entry.get("components", {}).items()]
        updates = [{"body": entry["body"]}] if "body" in entry else []
        shown = {"id": key, "created_at": key, **self._entries.get(key, {}), **entry}
        self._entries[key] = shown | {"components": components, "incident_updates": updates}
        self._say("STATUS", f"{shown['name']} ({shown['status']})\n{entry.get('body', '')}".strip())
        return self._entries[key]
