"""What Jira is given to read: fields of an issue, and text as Atlassian Document Format (ADF).

ADF is a tree whose leaves are plain text, so markup in alert text stays text.
"""

import re
from collections.abc import Mapping
from typing import Any

from daemon.core.view import MEMBERS_SHOWN, IncidentView
from sinks.base import Order
from sinks.text import clean, cut, one_line, web_link

SUMMARY_MAX, LINE_MAX, MEMBER_MAX, TEXT_MAX = 255, 1000, 300, 20_000
PROPERTY = "samband"
"""The issue property in which the ticket carries what it was last told; comments are its differences."""

TWIN_LABEL = "samband-duplicate"
_NO_LABEL = re.compile(r"[^A-Za-z0-9._-]")


def label_of(key: str) -> str:
    """The label by which an issue is found again. Labels know no spaces; ours no other surprises either."""
    word = _NO_LABEL.sub("-", key)
    return cut(word if word.startswith("samband-") else f"samband-{word}", 255)


def summary_of(order: Order) -> str:
    """One line of at most 255 characters: the title and the incident's reference."""
    ref = one_line(order.incident.ref, 30)
    title = one_line(order.title, SUMMARY_MAX - len(ref) - 3)
    return f"{title} ({ref})" if ref and ref not in title else title or ref or "samband"


def told_of(order: Order) -> dict[str, str]:
    """What a comment is worth when it changes, and the summary that we wrote."""
    view = order.incident
    return {
        "priority": view.priority,
        "state": view.state,
        "owner": one_line(view.owner, LINE_MAX),
        "cause": one_line(view.cause, LINE_MAX),
        "summary": summary_of(order),
    }


def changes(before: Mapping[str, Any], order: Order) -> list[str]:
    """Lines of the comment: priority, state, owner and cause as far as they changed.

    before: what `told_of` gave last time; for a ticket that carries nothing, everything is said.
    """
    view, now = order.incident, told_of(order)
    by = {"acknowledged": view.acknowledged_by, "resolved": view.resolved_by}.get(view.state, "")
    why = {"priority": f": {view.derivation}" if view.derivation else "", "state": f", by {by}" if by else ""}
    lines = []
    for name, word in (("priority", "Priority"), ("state", "State"), ("owner", "Owner"), ("cause", "Likely cause")):
        old, new = str(before.get(name, "")), now[name]
        if new != old:
            lines.append(f"{word} {old + ' → ' if old else ''}{new or 'none'}{why.get(name, '')}")
    return [one_line(line, LINE_MAX) for line in lines]


def description_of(order: Order) -> dict[str, Any]:
    """The page, the members, and the way to the incident; edited as the incident changes."""
    view = order.incident
    content = [paragraph(cut(clean(order.text), TEXT_MAX).split("\n"))]
    if view.members:
        total = view.firing + view.ended
        content += [heading(f"Alerts ({len(view.members[:MEMBERS_SHOWN])} of {total})"), _member_list(view)]
    if link := web_link(view.link):
        content.append(_linked(f"Open {one_line(view.ref, 30)} in samband", link))
    content.append(paragraph(["This text is kept up to date by samband. Please write in the comments."]))
    return document(content)


def _member_list(view: IncidentView) -> dict[str, Any]:
    lines = [
        one_line(f"{m.status} {m.severity} {m.name} {m.service} {m.resource} {m.summary}", MEMBER_MAX)
        for m in view.members[:MEMBERS_SHOWN]
    ]
    return {
        "type": "bulletList",
        "content": [{"type": "listItem", "content": [paragraph([line])]} for line in lines],
    }


def comment_of(lines: list[str]) -> dict[str, Any]:
    """A comment of these lines."""
    return document([paragraph(lines)])


def document(content: list[dict[str, Any]]) -> dict[str, Any]:
    """An ADF document."""
    return {"type": "doc", "version": 1, "content": content}


def heading(text: str) -> dict[str, Any]:
    """A heading."""
    return {"type": "heading", "attrs": {"level": 3}, "content": [{"type": "text", "text": text}]}


def paragraph(lines: list[str]) -> dict[str, Any]:
    """Lines of plain text; ADF forbids empty text nodes."""
    nodes: list[dict[str, Any]] = []
    for line in lines:
        if nodes:
            nodes.append({"type": "hardBreak"})
        if line:
            nodes.append({"type": "text", "text": line})
    return {"type": "paragraph", "content": nodes}


def _linked(text: str, href: str) -> dict[str, Any]:
    marks = [{"type": "link", "attrs": {"href": href}}]
    return {"type": "paragraph", "content": [{"type": "text", "text": text, "marks": marks}]}


def plain(node: Any) -> str:
    """The text of an ADF document, to compare what was written with what would be."""
    if not isinstance(node, dict):
        return ""
    if node.get("type") == "text":
        return str(node.get("text", ""))
    if node.get("type") == "hardBreak":
        return "\n"
    children = node.get("content")
    return "".join(plain(child) for child in children) if isinstance(children, list) else ""
