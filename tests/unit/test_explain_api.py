"""Explaining over the API and on the command line, and the page of the documentation, executed."""

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from daemon.api import models_explain
from daemon.api.asked import Unclear, asked
from daemon.catalogue.yaml import catalogue_of, load_entries
from daemon.cli import app
from daemon.core.policy import Policy, Rule
from daemon.settings import load
from daemon.settings.matchers import Matchers
from daemon.sources.formats import alertmanager, native
from daemon.sources.formats.base import Context
from daemon.sources.senders import Source
from tests.unit.kit import AT_ONCE, SINKS, T0, policy
from tests.unit.served import Served, served

PAGE = Path(__file__).resolve().parents[2] / "docs" / "explain.md"
DOWN = {"name": "Down", "service": "shop", "severity": "critical"}
RULES = (Rule(Matchers('priority=~"P1|P2"'), ("pager",)), Rule(Matchers('priority=~"P1|P2|P3|P4"'), ("desk",)))


async def post(it: Served, *alerts: dict[str, Any]) -> None:
    status, body, _ = await it.ask("POST", "/hooks/scripts", json.dumps(alerts).encode())
    assert (status, body["rejected"]) == (200, [])


async def explain(it: Served, matchers: str) -> tuple[int, Any]:
    status, body, _ = await it.ask("POST", "/api/v1/explain", json.dumps({"alert": matchers}).encode())
    return status, body


async def samband(it: Served, *words: str) -> Any:
    return await asyncio.to_thread(CliRunner().invoke, app, [*words, "--url", it.url])


# ---- API ---------------------------------------------------------------------------------------
async def test_an_incident_is_explained_by_id_and_by_reference(tmp_path: Path) -> None:
    async with served(tmp_path) as it:
        await post(it, DOWN, {**DOWN, "name": "Slow"})
        item = (await it.ask("GET", "/api/v1/incidents"))[1]["items"][0]
        for name in (item["id"], item["ref"]):
            status, body, _ = await it.ask("GET", f"/api/v1/incidents/{name}/explain")
            assert status == 200, body
            models_explain.Explanation.model_validate(body)
            assert body["incident"]["ref"] == item["ref"]
            assert [one["reason"] for one in body["together"]["groups"]] == ["opened it", "same service shop"]
        for name in ("INC-999", "x"):
            assert (await it.ask("GET", f"/api/v1/incidents/{name}/explain"))[0] == 404


async def test_the_timeline_says_why_incidents_were_merged(tmp_path: Path) -> None:
    async with served(tmp_path) as it:
        await post(it, DOWN, {**DOWN, "service": "wiki"})
        status, body, _ = await it.ask("POST", "/api/v1/incidents/INC-2/merge", b'{"into":"INC-1","actor":"bo"}')
        assert status == 200, body
        body = (await it.ask("GET", "/api/v1/incidents/INC-2/explain"))[1]
        assert body["incident"]["ref"] == "INC-1"
        assert any(one.endswith("Z: took in INC-2: merged by bo.") for one in body["together"]["text"])


async def test_a_closed_incident_is_not_explained(tmp_path: Path) -> None:
    async with served(tmp_path, policy=policy(timing=AT_ONCE, rules=())) as it:
        await post(it, DOWN)
        await post(it, {**DOWN, "status": "resolved"})
        assert (await it.ask("POST", "/api/v1/incidents/INC-1/close", b"{}"))[0] == 200
        status, body, _ = await it.ask("GET", "/api/v1/incidents/INC-1/explain")
        assert (status, body["error"].startswith("INC-1 is closed; `samband incidents show INC-1`")) == (409, True)


async def test_an_alert_is_foretold_and_nothing_happens(tmp_path: Path) -> None:
    async with served(tmp_path) as it:
        await post(it, DOWN, {**DOWN, "labels": {"pod": "a"}})
        before = [(await it.ask("GET", path))[1] for path in ("/api/v1/incidents", "/api/v1/alerts")]
        status, body = await explain(it, 'source="scripts",alertname="Down",service="shop",severity="critical"')
        assert status == 200, body
        models_explain.Foretold.model_validate(body)
        assert (body["known"]["outcome"], body["known"]["alike"], body["home"]["how"]) == ("repeated", 2, "stays")
        assert "1 open alert that matches has other labels beside" in body["known"]["text"][1]
        status, body = await explain(it, 'alertname="Watchdog",severity="none"')
        models_explain.Foretold.model_validate(body)
        assert (body["alert"]["source"], body["home"]["how"], body["people"]) == ("prometheus", "none", None)
        assert [(await it.ask("GET", path))[1] for path in ("/api/v1/incidents", "/api/v1/alerts")] == before


@pytest.mark.parametrize(
    ("matchers", "complaint"),
    [
        ("", "alert"),
        ("nonsense", "expected =, !=, =~ or !~"),
        ('service="shop"', "an alert has a name"),
        ('alertname=~"a|b"', 'write alertname="..."'),
        ('alertname="a",zone="x",zone="y"', "zone is given twice"),
        ('alertname="a",source="nobody"', "there is no source 'nobody'; there are prometheus, scripts"),
        (f'alertname="{"a" * 3000}",source="scripts"', "name is longer"),
    ],
)
async def test_questions_that_cannot_be_answered(tmp_path: Path, matchers: str, complaint: str) -> None:
    async with served(tmp_path) as it:
        status, body = await explain(it, matchers)
        assert status == 422
        assert complaint in body["error"]


# ---- the alert that is asked about -------------------------------------------------------------
def test_the_key_is_the_one_that_the_source_would_give() -> None:
    context = Context("prometheus", T0)
    body = b'[{"labels":{"alertname":"Down","service":"shop","instance":"h1"}}]'
    (sent,) = alertmanager.FORMAT.parse(body, context).alerts
    sources = {"prometheus": Source("prometheus", "alertmanager"), "scripts": Source("scripts", "native")}
    question = Matchers('alertname="Down",service="shop",resource="h1"')
    assert asked(question, sources, T0).key == sent.key

    body = b'{"name":"Down","service":"shop","resource":"h1","labels":{"zone":"a"}}'
    (sent,) = native.FORMAT.parse(body, Context("scripts", T0)).alerts
    question = Matchers('source="scripts",alertname="Down",service="shop",resource="h1",zone="a"')
    assert asked(question, sources, T0).key == sent.key
    sources = {"scripts": Source("scripts", "native", resolves=False)}
    assert asked(question, sources, T0).event


def test_an_event_of_pagerduty() -> None:
    sources = {"pd": Source("pd", "pagerduty_events")}
    found = asked(Matchers('alertname="Down",service="shop",severity="error",dedup_key="k"'), sources, T0)
    assert (found.source, found.name, found.service, found.severity) == ("pd", "Down", "shop", "error")
    assert found.key != asked(Matchers('alertname="Down",service="shop",severity="error"'), sources, T0).key


def test_without_any_source() -> None:
    with pytest.raises(Unclear, match="there are none"):
        asked(Matchers('alertname="a"'), {}, T0)


# ---- the command -------------------------------------------------------------------------------
async def test_the_command_takes_one_question(tmp_path: Path) -> None:
    async with served(tmp_path) as it:
        await post(it, DOWN)
        for words in ((), ("INC-1", "--alert", 'alertname="a"')):
            done = await samband(it, "explain", *words)
            assert (done.exit_code, "takes either an incident" in done.output) == (2, True)
        assert (await samband(it, "explain", "INC-9")).exit_code == 1
        done = await samband(it, "explain", "INC-1", "--json")
        assert json.loads(done.stdout)["incident"]["ref"] == "INC-1"
        done = await samband(it, "explain", "--alert", 'alertname="a"', "--json")
        assert json.loads(done.stdout)["home"]["how"] == "new"


async def test_hostile_names_are_inert(tmp_path: Path) -> None:
    async with served(tmp_path) as it:
        await post(it, {**DOWN, "name": "\x1b[31mred\u202e\r\nWHY ONE INCIDENT"})
        done = await samband(it, "explain", "INC-1")
        assert "\x1b" not in done.stdout
        assert "\u202e" not in done.stdout
        assert done.stdout.count("\nWHY ONE INCIDENT") == 1


# ---- the documentation -------------------------------------------------------------------------
def blocks(kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", PAGE.read_text(), re.DOTALL)


def timeless(text: str) -> str:
    """The text without what depends on when it was asked; blanks at line ends do not count."""
    text = re.sub(r"(\d{4}-\d\d-\d\d )?\d\d:\d\d:\d\d UTC", "TIME", text)
    text = re.sub(r"\((in )?\d+ (s|min)( \d+ s)?( ago)?\)", "(SOON)", text)
    return re.sub(r"\d s apart", "N s apart", text).strip()


def policy_of_the_page(tmp_path: Path) -> Policy:
    (tmp_path / "samband.yaml").write_text(blocks("yaml")[0])
    entries = load_entries(load(tmp_path / "samband.yaml", secrets=False), secrets=False)
    sinks = {name: SINKS[name] for name in ("pager", "desk")}
    return policy({}, catalogue=catalogue_of(entries), rules=RULES, default_rules=True, sinks=sinks)


async def test_the_page_shows_what_is_printed(tmp_path: Path) -> None:
    async with served(tmp_path, policy=policy_of_the_page(tmp_path)) as it:
        await post(it, *json.loads(blocks("json")[0]))
        for block in blocks("console"):
            command, _, shown = block.partition("\n")
            words = re.fullmatch(r"\$ samband (\S+) (?:(--alert) '(.*)'|(\S+))", command)
            assert words is not None, command
            done = await samband(it, *(word for word in words.groups() if word))
            assert done.exit_code == 0, done.output
            assert timeless(done.stdout) == timeless(shown)
