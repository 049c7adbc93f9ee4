"""The registry, and what the configurations of all sinks have in common."""

from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from sinks import registry
from sinks.messages.webhook import Webhook
from sinks.registry import SINKS, build, config_of, sink_types

MINIMAL: dict[str, dict[str, Any]] = {
    "pagerduty": {"routing_key": "0" * 32},
    "kafka": {"brokers": ["k:9092"], "topic": "incidents"},
    "jira": {"url": "https://acme.atlassian.net/", "project": "OPS", "user": "bot@example.org", "token": "t"},
    "statuspage": {"page": "abc123", "token": "t"},
    "webhook": {"url": "https://example.org/in"},
}


@pytest.mark.parametrize("name", sorted(SINKS))
def test_every_sink_is_made_from_the_least_that_it_needs(name: str) -> None:
    config = config_of(SINKS[name]).model_validate({"type": name, **MINIMAL[name]})
    sink = build(SINKS[name], "a name", config, settle_ms=1000)
    assert sink.name == "a name"
    assert sink.kind in ("ticket", "pager", "status_page", "message")
    assert all(sink.secrets)


@pytest.mark.parametrize("name", sorted(SINKS))
def test_every_option_says_what_it_is(name: str) -> None:
    for field, info in config_of(SINKS[name]).model_fields.items():
        assert info.description, field


@pytest.mark.parametrize("name", [name for name in sorted(SINKS) if config_of(SINKS[name]).secret_names()])
def test_a_secret_in_a_file_is_read_before_the_sink_is_made(name: str) -> None:
    model = config_of(SINKS[name])
    secret = model.secret_names()[0]
    options = {key: value for key, value in MINIMAL[name].items() if key != secret}
    config = model.model_validate({"type": name, **options, f"{secret}_file": "/run/secrets/x"})
    assert getattr(config, f"{secret}_file") == Path("/run/secrets/x")
    with pytest.raises(ValueError, match="has not been read"):
        build(SINKS[name], name, config, settle_ms=1000)
    with pytest.raises(ValidationError, match=f"{secret}_file"):
        model.model_validate({"type": name, **options})


@pytest.mark.parametrize("url", ["acme.atlassian.net", "ftp://acme", "https://ac me", 7])
def test_a_base_address_is_one(url: Any) -> None:
    with pytest.raises(ValidationError):
        config_of(SINKS["jira"]).model_validate({"type": "jira", **MINIMAL["jira"], "url": url})


def test_other_distributions_may_bring_sinks(monkeypatch: pytest.MonkeyPatch) -> None:
    brought = EntryPoint("pigeon", "sinks.messages.webhook:Webhook", registry.ENTRY_POINTS)
    monkeypatch.setattr(registry, "entry_points", lambda group: [brought] if group == registry.ENTRY_POINTS else [])
    assert sink_types()["pigeon"] is Webhook


def test_a_type_that_is_there_twice_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    again = EntryPoint("jira", "elsewhere:Jira", registry.ENTRY_POINTS)
    monkeypatch.setattr(registry, "entry_points", lambda group: [again])
    with pytest.raises(ValueError, match="jira is there twice"):
        sink_types()
