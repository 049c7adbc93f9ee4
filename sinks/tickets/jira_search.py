"""Looking for our own issues in Jira, whose search lags behind and misses some.

By the label first; then, because an issue that was just made may not be in the index yet, by
number: every key from the newest issue known before the attempt upward that the search does not
show, until several in a row are absent. (Keys of issues that were moved, deleted or are hidden are
absent too.)
"""

from typing import Any
from urllib.parse import quote

from sinks.base import Absent, Found, Reason, Retry
from sinks.calls import Calls, dig, items

ABSENT_IN_A_ROW = 5
PROBES_MAX = 100
PAGES_MAX = 5
PAGE = 100
MARGIN_MINUTES = 2
INDEX_IS_COMPLETE_MS = 600_000
"""Ten minutes after the attempt the label alone decides, so that the numbers to look at stay few."""


class Searcher:
    """The search in one project. `settle_ms`: how long Jira's index may lag."""

    def __init__(self, calls: Calls, project: str, settle_ms: int) -> None:
        self._calls, self._project, self._settle_ms = calls, project, settle_ms

    async def find(self, label: str, own: str, since_ms: int) -> Found | Absent | Retry:
        """The issues that carry the label. `own`: the one that we know as ours, "" if none."""
        found = [key for key, labels in await self.labelled(label) if label in labels]
        recent = since_ms < max(INDEX_IS_COMPLETE_MS, self._settle_ms)
        if recent and not found:
            probed = await self._by_number(label, since_ms)
            if probed is None:
                return Retry(Reason.THROTTLED, f"more than {PROBES_MAX} new issues in {self._project} to look at")
            found = probed
        if not found:
            return Absent(settled=since_ms >= self._settle_ms)
        found.sort(key=_number)
        ref = own if own in found else found[0]
        return Found(ref, tuple(key for key in found if key != ref))

    async def labelled(self, label: str) -> list[tuple[str, list[str]]]:
        """Keys and labels of what the index shows under a label; labels of ours need no quoting."""
        return await self._search(f'labels = "{label}" ORDER BY created ASC', PAGES_MAX)

    async def _by_number(self, label: str, since_ms: int) -> list[str] | None:
        """None when there is too much to look at in one go."""
        window = f"-{since_ms // 60_000 + MARGIN_MINUTES}m"
        project = f'project = "{self._project}"'
        before = await self._search(f'{project} AND created < "{window}" ORDER BY created DESC', 1, size=1)
        indexed = dict(await self._search(f'{project} AND created >= "{window}" ORDER BY created ASC', PAGES_MAX))
        found = [key for key, labels in indexed.items() if label in labels]
        number = _number(before[0][0]) if before else 0
        newest = max((_number(key) for key in indexed), default=0)
        absent = probes = 0
        while absent < ABSENT_IN_A_ROW or number < newest:
            number += 1
            key = f"{self._project}-{number}"
            if key in indexed:
                absent = 0
                continue
            if (probes := probes + 1) > PROBES_MAX:
                return found or None
            issue = await self._calls.read(f"/rest/api/3/issue/{quote(key)}?fields=labels", missing=True)
            absent = absent + 1 if issue is None else 0
            if label in items(issue, "fields", "labels"):
                found.append(key)
        return found

    async def _search(self, jql: str, pages: int, *, size: int = PAGE) -> list[tuple[str, list[str]]]:
        found: list[tuple[str, list[str]]] = []
        body: dict[str, Any] = {"jql": jql, "fields": ["labels"], "maxResults": size}
        for _ in range(pages):
            answer = await self._calls.read("/rest/api/3/search/jql", body=body)
            for issue in items(answer, "issues"):
                if isinstance(key := dig(issue, "key"), str):
                    found.append((key, [str(label) for label in items(issue, "fields", "labels")]))
            token = dig(answer, "nextPageToken")
            if not isinstance(token, str) or not token:
                break
            body = body | {"nextPageToken": token}
        return found


def _number(key: str) -> int:
    digits = key.rpartition("-")[2]
    return int(digits) if digits.isascii() and digits.isdigit() else 0
