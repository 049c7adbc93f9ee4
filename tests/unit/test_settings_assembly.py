"""Assembly: from the configuration to the core's policy, the sinks and what `check` says."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from daemon.assembly import Assembly, assemble
from daemon.core.policy import DAY, HOUR, MINUTE, Timing
from daemon.settings import ConfigError, load
from daemon.settings.check import check
from tests import shared_data

FROM_MS = int(datetime(2026, 11, 2, tzinfo=UTC).timestamp() * 1000)  # a Monday
PAGER = 'pager: {type: pagerduty, routing_key: "0123456789abcdef0123456789abcdef"}'
HOOK = 'hook: {type: webhook, url: "http://all/"}'
DESK = 'desk: {type: jira, url: "https://acme.atlassian.net", project: OPS, user: bot@acme.se, token: t}'


def assembled(folder: Path, text: str, *, virtual: bool = False) -> Assembly:
    file = folder / "samband.yaml"
    file.write_text(text)
    return assemble(load(file), from_ms=FROM_MS, virtual=virtual)


def rules(found: Assembly) -> list[tuple[str, tuple[str, ...], bool]]:
    return [(rule.when.text, rule.to, rule.hours is not None) for rule in found.policy.rules]


def test_the_default_policies_name_the_sinks_that_are_there(tmp_path: Path) -> None:
    found = assembled(tmp_path, f"sinks:\n  {PAGER}\n  {DESK}\n  chat: {{type: slack}}\n")
    assert found.policy.default_rules
    assert rules(found) == [
        ('priority=~"P1|P2"', ("pager",), False),
        ('priority="P3"', ("pager",), True),
        ('priority=~"P1|P2|P3|P4"', ("desk",), False),
    ]
    assert sorted(found.policy.sinks) == ["desk", "pager"]
    assert found.sinks.names == ("desk", "pager")
    assert found.inactive == ["sinks.chat (slack)"]
    assert found.emergency == ["pager"]


def test_a_rehearsal_shows_every_kind(tmp_path: Path) -> None:
    found = assembled(tmp_path, f"sinks:\n  {PAGER}\n  chat: {{type: slack}}\n", virtual=True)
    infos = found.policy.sinks
    assert {name: (info.kind, info.virtual, info.approve) for name, info in infos.items()} == {
        "pager": ("pager", False, False),
        "chat": ("message", True, False),
        "ticket": ("ticket", True, False),
        "status_page": ("status_page", True, True),
    }
    assert rules(found)[2:] == [
        ('priority=~"P1|P2|P3|P4"', ("ticket",), False),
        ('priority=~"P1|P2|P3"', ("chat",), False),
        ('priority=~"P1|P2"', ("status_page",), False),
    ]


def test_own_policies_stand_for_themselves(tmp_path: Path) -> None:
    text = (
        f"sinks:\n  {PAGER}\n  {DESK}\n  chat: {{type: slack}}\n  page: {{type: statuspage, page: p, token: t}}\n"
        "status_page: {publish: auto, green_after: 1m}\npolicies:\n"
        "  - {when: 'priority=\"P1\"', to: [pager, chat, page], hours: support}\n  - {to: [desk]}\n"
    )
    found = assembled(tmp_path, text, virtual=False)
    assert not found.policy.default_rules
    assert rules(found) == [('priority="P1"', ("pager", "page"), True), ("", ("desk",), False)]
    assert (found.policy.sinks["page"].approve, found.policy.green_after) == (False, MINUTE)
    assert rules(assembled(tmp_path, text, virtual=True))[0][1] == ("pager", "chat", "page")


def test_a_waiting_page_leaves_in_the_morning_of_the_zone(tmp_path: Path) -> None:
    found = assembled(tmp_path, f"timezone: Europe/Stockholm\nholidays: SE\nsinks: {{{PAGER}}}\n")
    hours = found.policy.rules[1].hours
    assert hours is not None
    assert hours.next_start(FROM_MS) == FROM_MS + 6 * HOUR + 30 * MINUTE  # 07:30 CET
    assert hours.at(FROM_MS + 15 * HOUR + 59 * MINUTE)
    assert not hours.at(FROM_MS + 16 * HOUR)
    assert hours.ends[-1] > FROM_MS + 395 * DAY
    assert hours.starts[0] >= FROM_MS - DAY


def test_the_words_of_the_configuration_reach_the_policy(tmp_path: Path) -> None:
    text = """
mode: shadow
fallback: {team: platform, tier: 3}
sources: {a: {type: native, environment: test, resolves: false},
          b: {type: kafka, brokers: [k:9092], topic: t, team: host}}
priority: {severity: {SEV1: critical, page: error}}
correlation: {labels: [service, environment], gap: 2m, strength: 700, never_across: [environment]}
catalogue: {service_labels: [svc], team_labels: [], collectors: [my-exporter]}
timing: {lapse_after: 1m, first_page: 0s}
"""
    policy = assembled(tmp_path, text).policy
    assert (policy.mode, policy.fallback_team, policy.fallback_tier) == ("shadow", "platform", 3)
    assert {name: info.environment for name, info in policy.sources.items()} == {"a": "test", "b": ""}
    assert {name: info.team for name, info in policy.sources.items()} == {"a": "", "b": "host"}
    assert (policy.severity["sev1"], policy.severity["page"], policy.severity["crit"]) == (
        "critical",
        "error",
        "critical",
    )
    assert (policy.labels, policy.gap, policy.strength) == (("service", "environment"), 120_000, 700)
    assert (policy.never_across, policy.service_labels, policy.team_labels) == (("environment",), ("svc",), ())
    assert policy.collectors[0] == "node-exporter"
    assert policy.collectors[-1] == "my-exporter"
    assert policy.timing == Timing(lapse_after=MINUTE, first_page=(0, 0, 0, 0, 0))
    assert [one.name for one in policy.correlators][:2] == ["labels", "topology"]


def test_the_defaults_are_the_core_s_own(tmp_path: Path) -> None:
    assert assembled(tmp_path, "").policy.timing == Timing()


def test_catalogue_files_and_the_configuration_are_one_catalogue(tmp_path: Path) -> None:
    (tmp_path / "catalogue.yaml").write_text(
        'services:\n  - {"name": "db", "runs_on": ["m1"], "labels": {"kind": "service"}}\n'
        "  - {name: web, team: shop, depends_on: [db]}\n"
        'teams: {shop: {tier: 2, hook: {url: "http://shop/"}}}\n'
    )
    found = assembled(
        tmp_path,
        f"catalogue: {{load: [{{type: yaml, path: catalogue.yaml}}]}}\nsinks: {{{HOOK}}}\n"
        'teams: {dba: {tier: 1, hook: {url: "http://dba/"}}}\n'
        "services: {pg: {team: dba, tier: 3}, pg2: {team: dba}}\n",
    )
    services = found.policy.catalogue.services
    assert {name: (one.team, one.tier) for name, one in services.items()} == {
        "db": ("", 0),
        "pg": ("dba", 3),
        "pg2": ("dba", 1),
        "web": ("shop", 2),
    }
    assert found.policy.catalogue.neighbours["db"] == ("m1", "web")
    assert services["db"].labels == {"kind": "service"}
    teams = ("", "dba", "shop", "nobody")
    urls = [list(found.sinks.get("hook", team).secrets) for team in teams]
    assert urls == [["http://all/"], ["http://dba/"], ["http://shop/"], ["http://all/"]]
    with pytest.raises(KeyError):
        found.sinks.get("pager", "dba")


def test_the_digest_names_what_decides_and_nothing_else(tmp_path: Path) -> None:
    base = f"timezone: UTC\nsources: {{a: {{type: native, token: one-token-012345}}}}\nsinks:\n  {PAGER}\n"
    digest = assembled(tmp_path, base).policy.digest
    file = tmp_path / "samband.yaml"
    assert assemble(load(file), from_ms=FROM_MS + 9 * DAY).policy.digest == digest, "the day decides nothing"
    same = [
        base.replace("one-token", "two-token"),
        base.replace("fedc", "0000").replace("0123456789abcdef" * 2, "f" * 32),
        base + "delivery: {timeout: 3s}\n# a comment\n",
    ]
    assert [assembled(tmp_path, text).policy.digest for text in same] == [digest] * 3
    other = [
        base + "mode: shadow\n",
        base + "services: {web: {tier: 1}}\n",
        base + "night: 23:00-06:00\n",
        base + "holidays: SE\n",
        base + "timing: {ticket: 1s}\n",
        base + "correlation: {strength: 501}\n",
        base + "policies: [{to: [pager]}]\n",
        base.replace("type: native,", "type: native, resolves: false,"),
        base.replace("timezone: UTC", "timezone: Europe/Stockholm"),
    ]
    digests = [assembled(tmp_path, text).policy.digest for text in other]
    assert len({digest, *digests}) == len(other) + 1


def test_check_warns_and_names_what_is_not_active(tmp_path: Path) -> None:
    text = f"""
listen: 10.0.0.5:8112
sources: {{a: {{type: native, token: one-token-012345}}}}
sinks:
  {PAGER}
  {DESK}
  phone: {{type: twilio}}
policies: [{{to: [pager], escalation: critical}}]
emergency: [phone]
teams: {{db: {{}}}}
services: {{web: {{team: bd, hours: always}}}}
fallback: {{team: db}}
"""
    found = assembled(tmp_path, text)
    told = [(finding.level, finding.key) for finding in check(found.settings, found.entries, found.inactive)]
    assert told == [
        ("warning", "listen"),
        ("warning", "sinks.pager.routing_key"),
        ("warning", "sinks.desk.token"),
        ("warning", "sources.a.token"),
        ("warning", "sinks.desk"),
        ("warning", "emergency[0]"),
        ("warning", "services.web.team"),
        ("not active yet", "policies.*.escalation"),
        ("not active yet", "services.*.hours"),
        ("not active yet", "sinks.phone (twilio)"),
    ]
    places = {finding.key: finding.place for finding in check(found.settings, found.entries, found.inactive)}
    file = tmp_path / "samband.yaml"
    assert places["policies.*.escalation"] == f"{file}:8:26"
    assert places["services.*.hours"] == f"{file}:11:28"
    assert places["services.web.team"] == f"{file}:11:24"
    assert found.emergency == []


def test_a_quiet_configuration_has_no_findings(tmp_path: Path) -> None:
    assert check(assembled(tmp_path, f"sinks: {{{PAGER}}}\n").settings) == []


def test_check_names_conditions_that_no_incident_can_meet(tmp_path: Path) -> None:
    text = f'sinks: {{{DESK}}}\npolicies:\n  - {{when: \'prority="P1",tier="1"\', to: [desk]}}\n'
    told = [(one.level, one.key, one.remedy) for one in check(assembled(tmp_path, text).settings)]
    assert told == [
        ("warning", "emergency", "name a sink in emergency"),
        ("warning", "policies[0].when", 'did you mean "priority"?'),
    ]


def test_live_without_a_sink_is_said_to_tell_nobody(tmp_path: Path) -> None:
    assert [one.key for one in check(assembled(tmp_path, "mode: live\n").settings)] == ["sinks"]
    assert check(assembled(tmp_path, "mode: shadow\n").settings) == []


def test_mistakes_in_several_catalogue_files_are_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("services: {web: {teir: 1}}\n")
    (tmp_path / "b.yaml").write_text("services: [web]\n")
    with pytest.raises(ConfigError) as caught:
        assembled(tmp_path, "catalogue: {load: [{type: yaml, path: a.yaml}, {type: yaml, path: b.yaml}]}\n")
    assert [(Path(p.file).name, p.key) for p in caught.value.problems] == [
        ("a.yaml", "services.web.teir"),
        ("b.yaml", "services[0]"),
    ]


@pytest.mark.shared_data
@pytest.mark.parametrize("file", shared_data.files("cases/cases/*/config.yaml"), ids=lambda file: file.parent.name)
def test_the_configurations_of_the_cases_load_and_say_nothing_odd(file: Path) -> None:
    found = assemble(load(file), from_ms=FROM_MS, virtual=True)
    told = check(found.settings, found.entries, found.inactive)
    assert [one.key for one in told if one.key != "login"] == []
    assert found.emergency == ["pager"]


def test_the_catalogue_of_recordings_loads(shared_data: Path, tmp_path: Path) -> None:
    path = shared_data / "correlation" / "overlay8" / "catalogue.yaml"
    sources = "sources: {stream: {type: native, resolves: false}}\n"
    found = assembled(tmp_path, f"{sources}catalogue: {{load: [{{type: yaml, path: '{path}'}}]}}\n", virtual=True)
    assert len(found.policy.catalogue.services) == 106
    assert not found.sources["stream"].resolves
    assert found.inactive == []
