"""A configuration that is nearly right: it is in force, or every mistake is named with its place and remedy."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from daemon.assembly import assemble
from daemon.settings import ConfigError, load
from daemon.settings.check import check
from tests.fuzz.strategies import altered, broken

FROM_MS = 1_796_180_000_000
WHOLE: dict[str, Any] = {
    "mode": "live",
    "listen": "127.0.0.1:8112",
    "external_url": "https://samband.example.org",
    "trusted_proxies": ["10.0.0.0/8"],
    "limits": {"body_bytes_max": 1_000_000, "labels_max": 64},
    "metrics": "open",
    "timezone": "Europe/Stockholm",
    "holidays": "SE",
    "support_hours": ["mon-fri 08:00-17:00", "sat 10:00-12:00"],
    "night": "22:00-07:30",
    "store": {"type": "sqlite", "path": "state/samband.db"},
    "include": "teams/*.yaml",
    "fallback": {"team": "platform", "tier": 3},
    "sources": {
        "prometheus": {"type": "alertmanager", "token": "t1", "replica_labels": ["replica"], "resolve_timeout": "5m"},
        "scripts": {"type": "native", "environment": "staging", "resolves": False},
        "old": {"type": "pagerduty_events", "services_file": "keys.yaml"},
    },
    "catalogue": {"load": [{"type": "yaml", "path": "catalogue.yaml"}], "service_labels": ["service", "app"]},
    "teams": {"db": {"desk": {"project": "DBA"}}, "platform": {}},
    "services": {"orders": {"team": "db", "tier": 1, "depends_on": ["db"], "component": "Checkout"}},
    "priority": {"severity": {"page": "critical"}},
    "correlation": {"gap": "60s", "strength": 500, "labels": ["service", "environment", "cluster"]},
    "sinks": {
        "pager": {"type": "pagerduty", "routing_key": "0123456789abcdef0123456789abcdef"},
        "desk": {"type": "jira", "url": "https://jira.example.org", "project": "OPS", "user": "b", "token": "t"},
        "page": {"type": "statuspage", "page": "p1", "token": "t"},
        "hook": {"type": "webhook", "url": "https://hooks.example.org/in", "headers": {"Authorization": "Bearer x"}},
    },
    "policies": [
        {"when": 'priority=~"P1|P2"', "to": ["pager", "desk", "page", "hook"]},
        {"when": 'priority="P3",tier!="3"', "to": ["pager", "desk"], "hours": "support"},
    ],
    "emergency": ["pager"],
    "status_page": {"publish": "approve", "green_after": "15m"},
    "timing": {"first_page": {"P1": "15s", "P2": "45s"}, "ticket": "0s", "lapse_after": "15m"},
    "delivery": {"timeout": "10s", "retry_first": "1s", "give_up_after": "24h"},
}  # fmt: skip
CATALOGUE: dict[str, Any] = {
    "services": {"db": {"team": "db", "tier": 1, "runs_on": ["host"]}, "web": {"depends_on": ["orders"]}},
    "teams": {"web": {}},
}
KEYS: dict[str, Any] = {"0123456789abcdef0123456789abcdef": {"service": "shop", "environment": "staging"}}
TEXT = b"""\
mode: shadow            # a comment
sources: {scripts: {type: native}, prometheus: {type: alertmanager, token: t}}
sinks:
  hook: {type: webhook, url: "https://hooks.example.org/in"}
policies:
  - {when: 'priority=~"P1|P2"', to: [hook]}
services:
  orders: &base {team: db, tier: 1}
  shop: {<<: *base, depends_on: [orders], category: NO}
timing: {first_page: 15s}
"""
TESTED = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Everything that the whole configuration names."""
    (tmp_path / "teams").mkdir()
    (tmp_path / "teams" / "shop.yaml").write_text("teams: {shop: {}}\n")
    (tmp_path / "catalogue.yaml").write_text(json.dumps(CATALOGUE))
    (tmp_path / "keys.yaml").write_text(json.dumps(KEYS))
    (tmp_path / "samband.yaml").write_text(json.dumps(WHOLE))
    before = os.getcwd()
    yield tmp_path
    os.chdir(before)


def judged(config: Path) -> list[str]:
    """The mistakes; what is found right is put together and checked as at a start."""
    try:
        assembly = assemble(load(config), from_ms=FROM_MS, days=7)
    except ConfigError as error:
        assert error.problems
        for problem in error.problems:
            assert problem.file
            assert problem.text
            assert problem.remedy, str(problem)
        return [str(problem) for problem in error.problems]
    check(assembly.settings, assembly.entries, assembly.inactive)
    return []


def test_the_whole_is_right(folder: Path) -> None:
    assert judged(folder / "samband.yaml") == []


@given(document=altered([WHOLE]))
@TESTED
def test_with_other_values(folder: Path, document: Any) -> None:
    (folder / "samband.yaml").write_text(json.dumps(document))
    judged(folder / "samband.yaml")


@given(body=broken([TEXT, json.dumps(WHOLE, indent=1).encode()]))
@TESTED
def test_with_broken_bytes(folder: Path, body: bytes) -> None:
    (folder / "samband.yaml").write_bytes(body)
    judged(folder / "samband.yaml")


@given(document=altered([CATALOGUE]))
@TESTED
def test_with_another_catalogue(folder: Path, document: Any) -> None:
    (folder / "catalogue.yaml").write_text(json.dumps(document))
    judged(folder / "samband.yaml")


@given(document=altered([KEYS]))
@TESTED
def test_with_other_routing_keys(folder: Path, document: Any) -> None:
    (folder / "keys.yaml").write_text(json.dumps(document))
    for text in judged(folder / "samband.yaml"):
        assert next(iter(KEYS)) not in text, "a routing key is a secret"


def test_escapes_of_json_are_characters_and_half_ones_a_mistake(folder: Path) -> None:
    document = {**WHOLE, "fallback": {"team": "\U0001f600", "tier": 3}, "teams": {**WHOLE["teams"], "\U0001f600": {}}}
    (folder / "samband.yaml").write_text(json.dumps(document))
    assert judged(folder / "samband.yaml") == []
    assert load(folder / "samband.yaml").fallback.team == "\U0001f600"
    (folder / "samband.yaml").write_text(json.dumps({**WHOLE, "fallback": {"team": "\ud800", "tier": 3}}))
    [text] = judged(folder / "samband.yaml")
    assert "fallback.team: holds half a character" in text
