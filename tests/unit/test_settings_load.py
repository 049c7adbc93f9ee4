"""Loading: the three configurations as people meet them, includes, the environment, secrets, teams."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from daemon.settings import ConfigError, Settings, load
from daemon.settings.plugins import PLANNED_SINKS, YamlCatalogue
from daemon.settings.sources import PLANNED_SOURCES, SOURCES, NativeSource, Source
from sinks.messages.webhook import WebhookConfig
from sinks.registry import config_of, sink_types

KEY = "0123456789abcdef0123456789abcdef"


def write(folder: Path, text: str, name: str = "samband.yaml") -> Path:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def keys(error: pytest.ExceptionInfo[ConfigError]) -> list[str]:
    return [problem.key for problem in error.value.problems]


def test_minimal_yaml_needs_its_secrets_and_nothing_else(shared_data: Path, tmp_path: Path) -> None:
    text = (shared_data.parent / "config" / "minimal.yaml").read_text()
    settings = load(write(tmp_path, text.replace("/run/secrets/", "secrets/")), secrets=False)
    assert settings.inactive == ["sinks.chat (slack)"]
    assert (settings.mode, settings.fallback.team, str(settings.listen.internal)) == (
        "shadow",
        "platform",
        "0.0.0.0:8112",
    )
    with pytest.raises(ConfigError) as caught:
        load(tmp_path / "samband.yaml")
    assert keys(caught) == ["sources.prometheus.token_file", "sinks.pager.routing_key_file", "sinks.ticket.token_file"]
    for name in ("prometheus", "pagerduty", "jira", "slack"):
        write(tmp_path, f"{KEY}\n", f"secrets/{name}")
    settings = load(tmp_path / "samband.yaml")
    assert isinstance(settings.sources["prometheus"], Source)
    assert settings.sources["prometheus"].tokens == (KEY,)


def test_outside_yaml_says_what_it_says(shared_data: Path, tmp_path: Path) -> None:
    write(tmp_path, "services: {}\n", "catalogue.yaml")
    text = (shared_data.parent / "config" / "outside.yaml").read_text()
    settings = load(write(tmp_path, text))
    assert settings.inactive == []
    assert settings.open_login
    assert settings.store.path == str(tmp_path / "state/samband.db")
    assert settings.catalogue.load == (YamlCatalogue(type="yaml", path=str(tmp_path / "catalogue.yaml")),)
    assert settings.timing.first_page == (0, 0, 0, 0, 0)
    assert (settings.timing.lapse_after, settings.timing.reopen_window) == (5_000, 3_600_000)
    assert (settings.delivery.retry_first, settings.delivery.settle) == (100, 3_000)
    assert (settings.status_page.publish, settings.status_page.green_after) == ("auto", 0)


def test_full_yaml_is_understood_and_stopped_only_by_what_is_not_active_yet(shared_data: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(shared_data.parent / "config" / "full.yaml")
    assert keys(caught) == [
        "store.dsn_file", "login", "sources.prometheus.token_file", "sources.scripts.services_file", "priority.adjust",
        "suppression", "sinks.public.token_file", "status_page.by", "privacy",
    ]  # fmt: skip


def test_the_other_keys_of_full_yaml_are_named(shared_data: Path, tmp_path: Path) -> None:
    """Without the lines that stop it, the rest loads, and names each key that does nothing yet."""
    text = (shared_data.parent / "config" / "full.yaml").read_text()
    for line in ("store:", "login:", "privacy:"):
        text = "".join(part for part in text.splitlines(keepends=True) if not part.startswith(line))
    head, _, rest = text.partition("  adjust:\n")
    text = head + rest.partition("correlation:")[1] + rest.partition("correlation:")[2]
    head, _, rest = text.partition("suppression:\n")
    text = head + "sinks:\n" + rest.partition("sinks:\n")[2]
    text = text.replace("by: role:communicator, ", "")
    settings = load(write(tmp_path, text), secrets=False)
    assert settings.inactive == [
        "catalogue.load[0] (servicenow)", "catalogue.load[1] (backstage)", "communication", "correlation.learning",
        "escalations", "heartbeats", "languages", "listen.public_page", "major_incident", "policies.*.escalation",
        "schedules", "service_levels", "services.*.category", "services.*.hours", "services.*.customers_per_hour",
        "sinks.phone (twilio)", "sinks.desk (servicenow)", "sinks.chat (slack)", "sources.datadog (datadog)",
        "sources.deploys (argocd)",
        "teams.*.schedule",
    ]  # fmt: skip


def test_without_a_file_it_takes_alerts_on_loopback() -> None:
    settings = load(None)
    assert {name: type(source) for name, source in settings.sources.items()} == {
        "prometheus": SOURCES["alertmanager"],
        "native": SOURCES["native"],
    }
    assert settings.listen.internal.loopback
    assert (settings.mode, settings.login, settings.inactive) == ("live", None, [])


def test_includes_join_by_name_and_start_where_they_stand(tmp_path: Path) -> None:
    write(tmp_path, "from-team\n", "teams/hook.secret")
    write(tmp_path, 'include: "*.yaml"\nteams: {db: {tier: 1, hook: {url_file: hook.secret}}}\n', "teams/db.yaml")
    write(tmp_path, "teams: {shop: {tier: 2}}\nservices: {web: {team: shop}}\n", "teams/shop.yaml")
    path = write(tmp_path, 'include: teams/*.yaml\nsinks: {hook: {type: webhook, url: "http://127.0.0.1:9/"}}\n')
    with pytest.raises(ConfigError, match="http"):
        load(path)
    write(tmp_path, "http://127.0.0.1:9/team\n", "teams/hook.secret")
    settings = load(path)
    assert sorted(settings.teams) == ["db", "shop"]
    assert settings.services["web"].team == "shop"
    own = settings.teams["db"].options["hook"]
    assert isinstance(own, WebhookConfig)
    assert own.secret("url") == "http://127.0.0.1:9/team"


def test_the_environment_wins_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, "mode: live\nsinks: {pager: {type: pagerduty, routing_key_file: nowhere}}\n")
    monkeypatch.setenv("SAMBAND_MODE", "shadow")
    monkeypatch.setenv("SAMBAND_LISTEN", "0.0.0.0:9000")
    monkeypatch.setenv("SAMBAND_SINKS__PAGER__ROUTING_KEY", KEY)
    monkeypatch.setenv("SAMBAND_TIMING__RESOLVE_AFTER__P1", "3s")
    monkeypatch.setenv("SAMBAND_EMERGENCY", '["pager"]')
    monkeypatch.setenv("SAMBAND_SOMETHING_ELSE", "1")
    settings = load(path)
    assert (settings.mode, str(settings.listen.internal), settings.emergency) == ("shadow", "0.0.0.0:9000", ("pager",))
    assert settings.timing.resolve_after == (3_000, 600_000, 300_000, 300_000, 300_000)
    monkeypatch.setenv("SAMBAND_DELIVERY__TIMEOUT", "soon")
    with pytest.raises(ConfigError, match="variable SAMBAND_DELIVERY__TIMEOUT: delivery"):
        load(path)


def test_a_country_code_stays_text(tmp_path: Path) -> None:
    assert load(write(tmp_path, "holidays: NO\n")).holidays == "NO"


def test_two_lines_are_two_tokens(tmp_path: Path) -> None:
    write(tmp_path, "old-token-0123456\n\nnew-token-0123456\n", "token")
    source = load(write(tmp_path, "sources: {a: {type: native, token_file: token}}\n")).sources["a"]
    assert isinstance(source, NativeSource)
    assert source.tokens == ("old-token-0123456", "new-token-0123456")


def test_a_list_of_services_is_as_good_as_a_map(tmp_path: Path) -> None:
    settings = load(write(tmp_path, "services:\n  - {name: web, tier: 1, depends_on: [db]}\n  - {name: db}\n"))
    assert settings.services["web"].depends_on == ("db",)
    assert settings.places.key(("services", "db")).line == 3


def test_per_priority_durations_keep_the_other_defaults(tmp_path: Path) -> None:
    timing = load(write(tmp_path, "timing: {first_page: {P2: 1m}, acknowledge_lapses: off, ticket: 5s}\n")).timing
    assert timing.first_page == (15_000, 60_000, 180_000, 180_000, 180_000)
    assert timing.acknowledge_lapses == (0,) * 5
    assert timing.ticket == (5_000,) * 5


def test_what_is_set_to_what_holds_anyway_is_not_named(tmp_path: Path) -> None:
    text = "languages: [en]\ncorrelation: {learning: off}\nstatus_page: {publish: approve}\nsuppression: ~\n"
    assert load(write(tmp_path, text)).inactive == []


def test_no_secret_shows(tmp_path: Path) -> None:
    secret = "s3cret-" * 5
    write(tmp_path, secret, "file")
    text = (
        f"sources: {{a: {{type: native, token: {secret}}}, b: {{type: alertmanager, token_file: file}}}}\n"
        f"sinks:\n  hook: {{type: webhook, url: 'http://h/{secret}', headers: {{Authorization: {secret}}}}}\n"
        f"  chat: {{type: slack, token: {secret}}}\n"
    )
    path = write(tmp_path, text.replace("token_file: file", "token: other-token-012345"))
    settings = load(path)
    assert secret not in repr(settings) + str(settings) + settings.model_dump_json()
    assert settings.inline_secrets == [("sinks", "hook", "url"), ("sources", "a", "token"), ("sources", "b", "token")]
    for wrong in (
        f"mode: {secret}\n",
        f"sinks: {{pager: {{type: pagerduty, routing_key: {secret}}}}}\n",
        f"tls: {secret}\n",
    ):
        with pytest.raises(ConfigError) as caught:
            load(write(tmp_path, wrong))
        assert secret not in str(caught.value)


def models() -> Iterator[type[BaseModel]]:
    """Every model that a configuration is made of."""
    todo: list[Any] = [Settings, *SOURCES.values(), *filter(None, PLANNED_SOURCES.values())]
    todo += [config_of(sink) for sink in sink_types().values()] + [YamlCatalogue]
    seen: set[Any] = set()
    while todo:
        found = todo.pop()
        if found in seen:
            continue
        seen.add(found)
        if isinstance(found, type) and issubclass(found, BaseModel):
            yield found
            todo += [field.annotation for field in found.model_fields.values()]
        else:
            todo += get_args(found)


def test_every_field_is_described() -> None:
    found = [model for model in models() if model is not BaseModel]
    assert len(found) > 15
    assert [f"{m.__name__}.{n}" for m in found for n, field in m.model_fields.items() if not field.description] == []


def test_no_type_is_both_active_and_planned() -> None:
    assert not set(PLANNED_SINKS) & set(sink_types())
    assert not set(PLANNED_SOURCES) & set(SOURCES)
