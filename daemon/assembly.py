"""From the configuration to what runs: the core's policy, the sinks, the sources."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from typing import Any

import msgspec
from pydantic import BaseModel

from correlators.registry import correlators
from daemon.catalogue.yaml import catalogue_of, inactive_of, load_entries
from daemon.core import policy as core
from daemon.core.model.incident import Kind
from daemon.settings.entries import Entries
from daemon.settings.hours import expand, holidays_between, released_at_end_of_night, zone
from daemon.settings.matchers import Matchers
from daemon.settings.models import Settings
from daemon.settings.plugins import PLANNED_SINKS, emergency_of, type_of
from daemon.settings.section import NotBuilt
from daemon.settings.sections import COLLECTORS, SEVERITY_WORDS
from daemon.settings.sources import Source
from sinks.base import Sink
from sinks.config import SinkConfig
from sinks.registry import build, sink_types

DEFAULT_RULES: tuple[tuple[str, Kind, bool], ...] = (
    ('priority=~"P1|P2"', "pager", False),
    ('priority="P3"', "pager", True),
    ('priority=~"P1|P2|P3|P4"', "ticket", False),
    ('priority=~"P1|P2|P3"', "message", False),
    ('priority=~"P1|P2"', "status_page", False),
)
"""What holds without `policies`: condition, kind, and whether it waits for support hours."""

MATCHERS_KEPT = 4_096
"""How many compiled conditions of silences are kept."""

KINDS: tuple[Kind, ...] = ("pager", "ticket", "message", "status_page")


class SinkSet:
    """The sinks by name, with the options of the team that an incident belongs to."""

    def __init__(self, settings: Settings, entries: Entries) -> None:
        types = sink_types()
        self._sinks: dict[tuple[str, str], Sink] = {}
        for name, config in settings.sinks.items():
            if isinstance(config, SinkConfig):
                for team, own in ("", config), *_team_options(entries, name):
                    kind = types[type_of(config)]
                    self._sinks[name, team] = build(kind, name, own, settle_ms=settings.delivery.settle)
        self.names: tuple[str, ...] = tuple(sorted({name for name, _ in self._sinks}))

    def get(self, name: str, team: str = "") -> Sink:
        """The sink of that name as the team wants it. Raises KeyError for a name that no sink has."""
        return self._sinks.get((name, team)) or self._sinks[name, ""]


def _team_options(entries: Entries, sink: str) -> Iterator[tuple[str, SinkConfig]]:
    for team, entry in entries.teams.items():
        if sink in entry.options:
            yield team, entry.options[sink]


@dataclass(frozen=True)
class Assembly:
    """A configuration, ready to run.

    sources: the active ones by name. inactive: keys that were given and are not active yet.
    emergency: sinks for notices when samband cannot do its job.
    """

    settings: Settings
    policy: core.Policy
    sinks: SinkSet
    sources: Mapping[str, Source]
    entries: Entries
    inactive: list[str]
    emergency: list[str]


def assemble(settings: Settings, *, from_ms: int, days: int = 400, virtual: bool = False) -> Assembly:
    """Compiles the configuration for the time from `from_ms` (ms since 1970) on.

    days: for how long calendars are expanded; assemble again before that. virtual: for a rehearsal:
    kinds without a sink, and sinks that are not active yet, stand in as virtual ones, and no secret of
    a catalogue's team is read. Raises ConfigError for what is wrong with the catalogue's files.
    """
    entries = load_entries(settings, secrets=not virtual)
    sinks = SinkSet(settings, entries)
    sources = {
        name: source for name, source in settings.sources.items() if isinstance(source, Source) and source.active
    }
    infos = _sink_infos(settings, sinks, virtual=virtual)
    hours = _support_hours(settings, from_ms - core.DAY, from_ms + days * core.DAY)
    policy = core.Policy(
        digest="",
        mode=settings.mode,
        timing=_timing(settings),
        catalogue=catalogue_of(entries),
        correlators=correlators(),
        gap=settings.correlation.gap,
        strength=settings.correlation.strength,
        labels=settings.correlation.labels,
        never_across=settings.correlation.never_across,
        severity=SEVERITY_WORDS | settings.priority.severity,
        service_labels=settings.catalogue.service_labels,
        team_labels=settings.catalogue.team_labels,
        collectors=tuple(dict.fromkeys((*COLLECTORS, *settings.catalogue.collectors))),
        sources={
            name: core.SourceInfo(source.environment, getattr(source, "team", "")) for name, source in sources.items()
        },
        sinks=infos,
        rules=_rules(settings, infos, hours),
        default_rules=settings.policies is None,
        matcher=lru_cache(maxsize=MATCHERS_KEPT)(Matchers),
        fallback_team=settings.fallback.team,
        fallback_tier=settings.fallback.tier or 0,
        green_after=settings.status_page.green_after,
    )
    return Assembly(
        settings=settings,
        policy=msgspec.structs.replace(policy, digest=_digest(settings, policy, sources)),
        sinks=sinks,
        sources=sources,
        entries=entries,
        inactive=_inactive(settings, entries),
        emergency=emergency_of(settings.emergency, settings.sinks),
    )


def _timing(settings: Settings) -> core.Timing:
    given = settings.timing
    names = {field for field in core.Timing.__struct_fields__ if field in type(given).model_fields}
    return core.Timing(**{name: getattr(given, name) for name in sorted(names)})


def _sink_infos(settings: Settings, sinks: SinkSet, *, virtual: bool) -> dict[str, core.SinkInfo]:
    approve = settings.status_page.publish == "approve"
    infos: dict[str, core.SinkInfo] = {}
    for name, config in sorted(settings.sinks.items()):
        if isinstance(config, NotBuilt):
            if virtual:
                kind = PLANNED_SINKS[config.type]
                infos[name] = core.SinkInfo(name, kind, approve=approve and kind == "status_page", virtual=True)
            continue
        sink = sinks.get(name)
        infos[name] = core.SinkInfo(
            name, sink.kind, sink.reopens, sink.reports, approve=approve and sink.kind == "status_page"
        )
    if virtual and settings.policies is None:
        for kind in KINDS:
            if not any(info.kind == kind for info in infos.values()):
                name = kind if kind not in infos else f"no {kind}"
                infos[name] = core.SinkInfo(name, kind, approve=approve and kind == "status_page", virtual=True)
    return infos


def _rules(settings: Settings, infos: Mapping[str, core.SinkInfo], support: core.Hours) -> tuple[core.Rule, ...]:
    if settings.policies is not None:
        own = []
        for rule in settings.policies:
            to = tuple(name for name in rule.to if name in infos)
            own.append(core.Rule(rule.when, to, support if rule.hours == "support" else None))
        return tuple(own)
    rules = []
    for text, kind, waits in DEFAULT_RULES:
        to = tuple(sorted(name for name, info in infos.items() if info.kind == kind))
        if to:
            rules.append(core.Rule(Matchers(text), to, support if waits else None))
    return tuple(rules)


def _support_hours(settings: Settings, from_ms: int, to_ms: int) -> core.Hours:
    """When a page that waits for support hours may leave: in them, and from the end of the night before."""
    place = zone(settings.timezone)
    windows = released_at_end_of_night(settings.support_hours, settings.night)
    return expand(windows, place, from_ms, to_ms, holidays_between(settings.holidays, from_ms, to_ms))


def _inactive(settings: Settings, entries: Entries) -> list[str]:
    found = dict.fromkeys(settings.inactive)
    found |= dict.fromkeys(f"services.*.{key}" for key in inactive_of(entries.services))
    found |= dict.fromkeys(f"teams.*.{key}" for key in inactive_of(entries.teams))
    return list(found)


def _digest(settings: Settings, policy: core.Policy, sources: Mapping[str, Source]) -> str:
    """Names everything that decides: definitions instead of what they expand to, and no secret."""
    whole: dict[str, Any] = {
        name: getattr(policy, name)
        for name in policy.__struct_fields__
        if name not in ("digest", "catalogue", "correlators", "rules", "matcher")
    }
    whole["catalogue"] = policy.catalogue.services
    whole["correlators"] = [(one.name, one.version) for one in policy.correlators]
    whole["rules"] = [(rule.when.text, rule.to, rule.hours is not None) for rule in policy.rules]
    whole["hours"] = (settings.timezone, settings.holidays, settings.support_hours, settings.night)
    whole["sources"] = {name: _without_secrets(source) for name, source in sources.items()}
    return blake2b(msgspec.json.encode(whole, order="deterministic"), digest_size=16).hexdigest()


def _without_secrets(source: BaseModel) -> dict[str, Any]:
    return source.model_dump(mode="json", exclude={"token"})
