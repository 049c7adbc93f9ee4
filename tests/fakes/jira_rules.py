"""What Jira refuses, and how it searches."""

import re
from typing import Any

from aiohttp import web

SYSTEM_FIELDS = ("summary", "project", "issuetype", "description", "labels", "priority", "reporter")
PRIORITIES = ("Highest", "High", "Medium", "Low", "Lowest")
TEXT_MAX = 32_767
BLOCKS = ("doc", "paragraph", "heading", "bulletList", "listItem", "text", "hardBreak")


def refused(status: int, message: str = "", fields: dict[str, str] | None = None) -> web.Response:
    """Jira's ErrorCollection."""
    return web.json_response({"errorMessages": [message] if message else [], "errors": fields or {}}, status=status)


def not_found() -> web.Response:
    """For what is not there, and for what the account may not see."""
    return refused(404, "Issue does not exist or you do not have permission to see it.")


def label_of(key: str) -> str:
    """The label under which samband's contract puts a key (see docs/sinks/jira.md)."""
    word = re.sub(r"[^A-Za-z0-9._-]", "-", key)
    return word if word.startswith("samband-") else f"samband-{word}"


def wrong_fields(body: Any, site: Any, *, new: bool) -> dict[str, str]:
    """Field -> what is wrong with it."""
    fields = body.get("fields", {}) if isinstance(body, dict) else None
    if not isinstance(fields, dict):
        return {"fields": "is missing"}
    wrong = {}
    for name in fields:
        if name not in SYSTEM_FIELDS and name not in site.custom_fields:
            wrong[name] = f"Field '{name}' cannot be set. It is not on the appropriate screen, or unknown."
    if new:
        wrong |= {name: f"{name} is required." for name in site.required if not fields.get(name)}
        if fields.get("project", {}).get("key") != site.project:
            wrong["project"] = "valid project is required"
        if fields.get("issuetype", {}).get("name") not in site.issue_types:
            wrong["issuetype"] = "Specify a valid issue type"
    if new or "summary" in fields:
        wrong |= {"summary": found} if (found := wrong_summary(fields.get("summary"))) else {}
    if "description" in fields and (found := wrong_document(fields["description"])):
        wrong["description"] = found
    if fields.get("priority", {"name": "High"}).get("name") not in PRIORITIES:
        wrong["priority"] = "The priority selected is invalid."
    changes = body.get("update", {}).get("labels", [])
    changes = changes if isinstance(changes, list) else []
    for label in [*fields.get("labels", []), *(value for change in changes for value in change.values())]:
        if " " in label or len(label) > 255:
            wrong["labels"] = f"The label '{label}' contains spaces which is invalid."
    return wrong


def wrong_summary(summary: Any) -> str:
    """One line, not empty, at most 255 characters."""
    if not isinstance(summary, str) or not summary.strip():
        return "You must specify a summary of the issue."
    if "\n" in summary or "\r" in summary:
        return "The summary is invalid because it contains newline characters."
    return "Summary must be less than 255 characters." if len(summary) > 255 else ""


def wrong_document(node: Any) -> str:
    """What is wrong with an Atlassian Document."""
    if not isinstance(node, dict) or node.get("type") != "doc" or node.get("version") != 1:
        return "Operation value must be an Atlassian Document (see the Atlassian Document Format)"
    if len(plain(node)) > TEXT_MAX:
        return "The entered text is too long. It exceeds the allowed limit of 32,767 characters."
    return _wrong_node(node)


def _wrong_node(node: Any) -> str:
    if not isinstance(node, dict) or node.get("type") not in BLOCKS:
        return f"INVALID_INPUT: {node}"[:200]
    if node["type"] == "text":
        text = node.get("text")
        if not isinstance(text, str) or not text or re.search(r"[\x00-\x1f\x7f]", text):
            return "INVALID_INPUT: text"
    return next((found for child in node.get("content", []) if (found := _wrong_node(child))), "")


def plain(node: Any) -> str:
    """The text of an Atlassian Document, a line break for each break."""
    if node.get("type") == "text":
        return str(node["text"])
    if node.get("type") == "hardBreak":
        return "\n"
    inner = "".join(plain(child) for child in node.get("content", []))
    return inner + "\n" if node.get("type") in ("paragraph", "heading") else inner


_CLAUSE = re.compile(r'(project|labels|created)\s*(=|<|>=)\s*"([^"]*)"')


def search(jql: str, issues: list[Any], project: str, now: float) -> list[Any] | None:
    """The issues that a query finds, in its order; None for a query that cannot be read."""
    where, _, order = jql.partition(" ORDER BY ")
    found = list(issues)
    for clause in where.split(" AND "):
        match = _CLAUSE.fullmatch(clause.strip())
        if match is None or order not in ("created ASC", "created DESC", ""):
            return None
        name, sign, value = match.groups()
        if name == "project" and value != project:
            return None
        if name == "labels":
            found = [one for one in found if value in one.labels]
        if name == "created":
            age = re.fullmatch(r"-(\d+)m", value)
            if age is None:
                return None
            bound = now - int(age.group(1)) * 60
            found = [one for one in found if (one.created_at >= bound) is (sign == ">=")]
    return sorted(found, key=lambda one: (one.created_at, one.number), reverse=order.endswith("DESC"))
