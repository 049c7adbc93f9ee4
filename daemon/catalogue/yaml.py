"""Catalogue files in YAML: `services:` (a map by name, or a list with `name`) and `teams:`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from daemon.core.model.catalogue import Catalogue, Service
from daemon.settings.entries import Entries, ServiceEntry, Team
from daemon.settings.files import by_name
from daemon.settings.models import Settings
from daemon.settings.plugins import YamlCatalogue, read_teams
from daemon.settings.problems import ConfigError, Place, Problem, did_you_mean
from daemon.settings.reading import Reading
from daemon.settings.section import not_active
from daemon.settings.yaml_file import Document, read_yaml

SECTIONS = ("services", "teams")


def load_entries(settings: Settings, *, secrets: bool = True) -> Entries:
    """The services and teams of the configuration and of every file that `catalogue.load` names.

    secrets: False leaves the files of teams' own secrets alone. Raises ConfigError with every problem
    of every file; a name given twice is one.
    """
    services, teams = dict(settings.services), dict(settings.teams)
    places = {("services", name): settings.places.key(("services", name)) for name in services}
    places |= {("teams", name): settings.places.key(("teams", name)) for name in teams}
    problems: list[Problem] = []
    for loader in settings.catalogue.load:
        if not isinstance(loader, YamlCatalogue):
            continue
        try:
            document = read_yaml(Path(loader.path))
        except ConfigError as error:
            problems += error.problems
            continue
        by_name(document)
        reading = Reading(document.places, secrets=secrets)
        reading.problems += document.problems
        for section in document.data:
            if section not in SECTIONS:
                reading.problem((section,), "unknown key of a catalogue", did_you_mean(section, SECTIONS), key=True)
        _join(reading, document, "services", services, _services(reading, document.data.get("services")), places)
        found = read_teams(reading, document.data.get("teams"), settings.sinks)
        _join(reading, document, "teams", teams, found, places)
        problems += reading.problems
    if problems:
        raise ConfigError(problems)
    return Entries(services, teams)


def catalogue_of(entries: Entries) -> Catalogue:
    """The graph that the core works with: services in order of name, a team's tier where they have none."""
    services: dict[str, Service] = {}
    for name, entry in sorted(entries.services.items()):
        team = entries.teams.get(entry.team)
        services[name] = Service(
            name=name,
            team=entry.team,
            tier=entry.tier or (team.tier if team else None) or 0,
            environment=entry.environment,
            hours=entry.hours or "",
            category=entry.category,
            component=entry.component,
            runbook=entry.runbook,
            depends_on=entry.depends_on,
            runs_on=entry.runs_on,
            labels=dict(sorted(entry.labels.items())),
        )
    return Catalogue.of(services)


def _services(reading: Reading, raw: Any) -> dict[str, ServiceEntry]:
    if raw is not None and not isinstance(raw, dict):
        reading.problem(("services",), "must be a map by name, or a list of entries with name", "write {name: {...}}")
        return {}
    found: dict[str, ServiceEntry] = {}
    for name, keys in (raw or {}).items():
        entry = reading.validate(ServiceEntry, {} if keys is None else keys, ("services", name))
        if entry is not None:
            found[name] = entry
    return found


def _join(
    reading: Reading,
    document: Document,
    section: str,
    into: dict[str, Any],
    found: Mapping[str, ServiceEntry | Team],
    places: dict[tuple[str, str], Place],
) -> None:
    for name, entry in found.items():
        if name in into:
            first = places[section, name]
            reading.problem((section, name), "is given twice", f"the first one is in {first}: remove one", key=True)
            continue
        into[name] = entry
        places[section, name] = document.places.key((section, name))


def inactive_of(entries: Mapping[str, BaseModel]) -> list[str]:
    """The keys of entries that are not active yet, each once."""
    return sorted({str(path[-1]) for entry in entries.values() for path, _ in not_active(entry)})
