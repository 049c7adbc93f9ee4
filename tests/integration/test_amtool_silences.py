"""`amtool silence` in all its forms, and `amtool alert` of what is silenced: samband and Alertmanager say the same.

What differs on purpose stands in docs/silences.md, and in `DIFFERENT` below.
"""

import asyncio
import json
import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.counterparts.fixtures import StartAlertmanager
from tests.counterparts.listener import Listener
from tests.counterparts.process import program
from tests.integration.conftest import StartSamband

pytestmark = pytest.mark.integration

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z| UTC)")
UNKNOWN = "11111111-1111-1111-1111-111111111111"


class Side:
    """One of the two servers; the ids that it gives are called S1, S2, … in the order in which they are seen."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url, self.folder = url, folder
        self.names: dict[str, str] = {UNKNOWN: "UNKNOWN"}
        folder.mkdir()

    async def __call__(self, *words: str) -> tuple[int, str]:
        """Exit code, and all that amtool says, with ids and times made equal. `S1` in a word is its id."""
        ids = {name: uuid for uuid, name in self.names.items()}
        given = [re.sub(r"\bS\d+\b", lambda found: ids[found[0]], word) for word in words]
        command = [program("amtool"), f"--alertmanager.url={self.url}", "--no-version-check", *given]
        running = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={"HOME": "/nonexistent", "USER": "root"},
            cwd=self.folder,
        )
        said, _ = await running.communicate()
        assert running.returncode is not None
        return running.returncode, self._normal(said.decode())

    def _normal(self, text: str) -> str:
        for uuid in UUID.findall(text):
            self.names.setdefault(uuid, f"S{len(self.names)}")
        text = UUID.sub(lambda found: self.names[found[0]], text)
        text = TIME.sub("TIME", text).replace(self.url, "URL")
        return "\n".join(re.sub(r" {2,}", "  ", line).rstrip() for line in text.splitlines())


Sides = tuple[Side, Side]


@pytest.fixture(name="both")
async def both_servers(
    tmp_path: Path, start_samband: StartSamband, start_alertmanager: StartAlertmanager, listener: Listener
) -> Sides:
    ours = await start_samband()
    theirs = await start_alertmanager({"webhook_configs": [{"url": listener.url}]})
    return Side(ours.url, tmp_path / "ours"), Side(theirs.url, tmp_path / "theirs")


async def same(both: Sides, *words: str, sort: bool = False) -> str:
    """Both are given the command and say the same; what they say. sort: the order is amtool's own luck."""
    found = [await side(*words) for side in both]
    if sort:
        found = [(code, "\n".join(sorted(text.splitlines()))) for code, text in found]
    assert found[0] == found[1], " ".join(words)
    return found[0][1]


ADDED: Sequence[tuple[str, ...]] = (
    ("-c", "patching", "-a", "bo", "-d", "1h", "service=shop"),
    ("-c", "a first word is an alertname", "-d", "90m", "Slow", "service=pay"),
    ("-c", 'åäö "quoted" <b>', "-d", "2h", "alertname=~D.*n", "severity!=info", "zone!~x|y"),
    ("-c", "later", "--start=2098-01-01T00:00:00Z", "--end=2099-01-01T00:00:00Z", "service=shop"),
    ("-c", "blanks", "-d", "3h", "summary=two words, and a comma"),
)
REFUSED: Sequence[tuple[str, ...]] = (
    ("add",),
    ("add", "-c", "x", "service="),
    ("add", "-c", "x", "service=~.*"),
    ("add", "service=shop"),
    ("add", "-c", "x", "--start=2099-01-01T00:00:00Z", "--end=2098-01-01T00:00:00Z", "service=shop"),
    ("add", "-c", "x", "--start=2019-01-01T00:00:00Z", "--end=2020-01-01T00:00:00Z", "service=shop"),
    ("expire",),
    ("expire", "x"),
    ("update", "-d", "1h", UNKNOWN),
)
LISTED: Sequence[tuple[str, ...]] = (
    (),
    ("-q",),
    ("-o", "simple"),
    ("-o", "extended"),
    ("service=shop",),
    ("Slow",),
    ("alertname=~D.*n", "severity!=info"),
    ("service=~shop",),
    ("service=~(",),
    ("--created-by=bo",),
    ("--within=100m",),
    ("--expired",),
    ("--expired", "--within=1h"),
)


async def test_silences_are_added_listed_changed_and_ended(both: Sides) -> None:
    for number, one in enumerate(ADDED, 1):
        assert await same(both, "silence", "add", *one) == f"S{number}"
    for query in LISTED:
        await same(both, "silence", "query", *query)
    assert await same(both, "silence", "query", "-q", "service=shop") == "S1\nS4"

    await same(both, "silence", "update", "-d", "5h", "-c", "longer", "S1")
    assert "longer" in await same(both, "silence", "query", "-o", "extended")
    await same(both, "silence", "update", "--start=2098-06-01T00:00:00Z", "S4")
    for name in ("S2", "S4"):
        assert await same(both, "silence", "expire", name) == ""
    assert await same(both, "silence", "expire", "S2") == "", "once more is no mistake"
    for query in LISTED:
        await same(both, "silence", "query", *query)


@pytest.mark.parametrize("words", REFUSED, ids=" ".join)
async def test_what_is_refused_is_refused_in_the_same_words(both: Sides, words: tuple[str, ...]) -> None:
    said = await same(both, "silence", *words)
    assert said.startswith("amtool: error: "), said


async def test_json_is_the_same_and_can_be_imported(both: Sides) -> None:
    for one in ADDED:
        await same(both, "silence", "add", *one)
    exported = []
    for side in both:
        code, text = await side("silence", "query", "-o", "json")
        assert code == 0
        exported.append(json.loads(text))
    assert exported[0] == exported[1]
    assert set(exported[0][0]) >= {
        "id",
        "status",
        "updatedAt",
        "comment",
        "createdBy",
        "endsAt",
        "matchers",
        "startsAt",
    }

    for side in both:
        raw = json.dumps([_foreign(side)])
        (side.folder / "foreign.json").write_text(raw)
    assert await same(both, "silence", "import", "foreign.json") == "S6", "an unknown id is made anew"
    await same(both, "silence", "import", "--force", "foreign.json")
    await same(both, "silence", "query", "-q", "zone=imported", sort=True)


def _foreign(side: Side) -> dict[str, object]:
    """A silence as another Alertmanager had it."""
    return {
        "id": UNKNOWN,
        "status": {"state": "active"},
        "updatedAt": "2026-01-01T00:00:00.000Z",
        "comment": "from elsewhere",
        "createdBy": "eva",
        "startsAt": "2026-01-01T00:00:00.000Z",
        "endsAt": "2099-01-01T00:00:00.000Z",
        "matchers": [{"name": "zone", "value": "imported", "isRegex": False, "isEqual": True}],
    }


ALERTS: Sequence[tuple[str, ...]] = (
    ("alertname=Down", "service=shop", "severity=critical", "--annotation=summary=The shop is down"),
    ("alertname=Down", "service=pay", "severity=critical"),
    ("alertname=Slow", "service=pay", "severity=warning"),
)
SHOWN: Sequence[tuple[str, ...]] = (
    (),
    ("--silenced",),
    ("--active",),
    ("--active", "--silenced"),
    ("--inhibited",),
    ("--unprocessed",),
    ("--silenced", "service=shop"),
    ("--active", "Down"),
    ("--receiver=.*",),
    ("--receiver=nobody",),
    ("--silenced", "--output=extended"),
)


async def test_alerts_that_are_silenced_are_shown_where_alertmanager_shows_them(both: Sides) -> None:
    for one in ALERTS:
        await same(both, "alert", "add", *one)
    await same(both, "silence", "add", "-c", "x", "service=shop")
    await same(both, "silence", "add", "-c", "x", "alertname=Down", "service=pay")
    for query in SHOWN:
        shown = [await _rows(side, *query) for side in both]
        assert shown[0] == shown[1], query
    await same(both, "silence", "expire", "S1", "S2")
    shown = [await _rows(side, "--active") for side in both]
    assert shown[0] == shown[1]
    assert len(shown[0]) == len(ALERTS) + 1


async def _rows(side: Side, *query: str) -> list[str]:
    """Both begin an alert at its own time, so that rows of the same start may change places."""
    code, text = await side("alert", "query", *query)
    assert code == 0, text
    return sorted(text.splitlines())


async def test_what_differs_on_purpose(both: Sides) -> None:
    """A newer Alertmanager (0.34 is mirrored, Debian has 0.25) answers as samband does."""
    ours, theirs = [await side("silence", "expire", UNKNOWN) for side in both]
    assert ours[0] == theirs[0] == 1
    assert "[500]" in theirs[1]
    assert "404" in ours[1]
    ours, theirs = [await side("silence", "add", "-c", "x", '"a-b"=c') for side in both]
    assert ours[0] == theirs[0]
