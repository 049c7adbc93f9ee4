"""Sinks, sources and loaders of the configuration: each checked by the model of its `type`."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, Field

from daemon.core.model.incident import Kind
from daemon.settings.entries import TEAM_KEYS, Team
from daemon.settings.problems import KeyPath, did_you_mean, listed
from daemon.settings.reading import Reading, secret_names
from daemon.settings.routing_keys import read_routing_keys
from daemon.settings.section import NotBuilt, Section
from daemon.settings.sources import PLANNED_SOURCES, SOURCES, PagerDutyEventsSource
from sinks.registry import config_of, sink_types

PLANNED_SINKS: dict[str, Kind] = {
    "twilio": "pager", "opsgenie": "pager", "jsm": "pager", "pushover": "pager",
    "servicenow": "ticket", "github": "ticket", "gitlab": "ticket", "redmine": "ticket", "rt": "ticket",
    "zammad": "ticket",
    "cachet": "status_page",
    "slack": "message", "teams": "message", "mail": "message", "smtp": "message",
    "apprise": "message", "mattermost": "message", "telegram": "message", "ntfy": "message",
}  # fmt: skip
"""The types of sinks that are known and not active yet, with what they will be."""


class YamlCatalogue(Section):
    """A catalogue file."""

    type: str = Field(description="yaml")
    path: str = Field(min_length=1, description="The file")


LOADERS: dict[str, type[BaseModel]] = {"yaml": YamlCatalogue}
PLANNED_LOADERS = frozenset({"csv", "servicenow", "backstage"})


def read_sinks(reading: Reading, raw: Any) -> dict[str, BaseModel]:
    """The sinks by name."""
    models = {name: config_of(cls) for name, cls in sink_types().items()}
    found: dict[str, BaseModel] = {}
    for name, options in _mapping(reading, raw, ("sinks",)).items():
        path = ("sinks", name)
        if name in TEAM_KEYS:
            remedy = f"{listed(TEAM_KEYS, 'and')} mean something in teams: give it another name"
            reading.problem(path, "a sink cannot have this name", remedy, key=True)
            continue
        model = _model_of(reading, path, options, models, PLANNED_SINKS)
        if isinstance(model, NotBuilt):
            found[name] = model
        elif model is not None:
            config = read_sink(reading, model, options, path)
            found[name] = NotBuilt(type="") if config is None else config  # what refers to it is not wrong as well
    return found


def read_sink(reading: Reading, model: type[BaseModel], options: dict[str, Any], path: KeyPath) -> BaseModel | None:
    """One sink's options, secrets read. `send` limits what leaves, so it cannot be passed over."""
    if "send" in options and "send" not in model.model_fields:
        reading.problem((*path, "send"), *NOT_YET, key=True)
        options = {key: value for key, value in options.items() if key != "send"}
    return reading.validate(model, reading.secrets_of(model, options, path), path)


NOT_YET = ("is not active yet, and without it more would be sent, shown or let in", "take it out to start without it")


def emergency_of(emergency: tuple[str, ...] | None, sinks: Mapping[str, BaseModel]) -> list[str]:
    """The active sinks for notices when samband cannot do its job: those named, else every pager of class native."""
    types = sink_types()
    active = {name: types[type_of(one)] for name, one in sorted(sinks.items()) if not isinstance(one, NotBuilt)}
    if emergency is not None:
        return [name for name in emergency if name in active]
    return [name for name, sink in active.items() if sink.kind == "pager" and sink.idempotency == "native"]


def type_of(config: BaseModel) -> str:
    """The `type` of a plug-in's configuration."""
    return str(getattr(config, "type", ""))


def read_sources(reading: Reading, raw: Any) -> dict[str, BaseModel]:
    """The sources by name."""
    found: dict[str, BaseModel] = {}
    for name, options in _mapping(reading, raw, ("sources",)).items():
        path = ("sources", name)
        model = _model_of(reading, path, options, SOURCES, PLANNED_SOURCES)
        if isinstance(model, NotBuilt):
            planned = PLANNED_SOURCES[model.type]
            if planned is None:
                found[name] = model
                continue
            model = planned
        if model is PagerDutyEventsSource:
            options = read_routing_keys(reading, options, path)
        if model is not None:
            source = reading.validate(model, reading.secrets_of(model, options, path), path)
            if source is not None:
                found[name] = source
    return found


def read_loaders(reading: Reading, raw: Any) -> Any:
    """`catalogue.load`: the list with each entry as its model, paths absolute."""
    if not isinstance(raw, list):
        return raw
    found: list[BaseModel] = []
    for index, options in enumerate(raw):
        path = ("catalogue", "load", index)
        model = _model_of(reading, path, options, LOADERS, PLANNED_LOADERS)
        if isinstance(model, NotBuilt):
            found.append(model)
        elif model is not None:
            loader = reading.validate(model, options, path)
            if isinstance(loader, YamlCatalogue):
                whole = reading.absolute((*path, "path"), loader.path)
                if not whole.is_file():
                    reading.problem((*path, "path"), f"there is no file {whole}", "name a file that is there")
                found.append(loader.model_copy(update={"path": str(whole)}))
    return found


def read_teams(reading: Reading, raw: Any, sinks: Mapping[str, BaseModel]) -> dict[str, Team]:
    """The teams by name, with the sinks' options that differ for them merged into the sinks' own."""
    found: dict[str, Team] = {}
    for name, entry in _mapping(reading, raw, ("teams",)).items():
        path: KeyPath = ("teams", name)
        keys = _mapping(reading, entry, path)
        own = {key: value for key, value in keys.items() if key in TEAM_KEYS}
        options: dict[str, Any] = {}
        for key, value in keys.items():
            if key in TEAM_KEYS:
                continue
            if key not in sinks:
                remedy = did_you_mean(key, (*TEAM_KEYS, *sinks))
                reading.problem((*path, key), "is neither a key of teams nor a sink", remedy, key=True)
                continue
            merged = _merged(reading, sinks[key], _mapping(reading, value, (*path, key)), (*path, key))
            if merged is not None:
                options[key] = merged
        team = reading.validate(Team, {**own, "options": options}, path)
        if team is not None:
            found[name] = team
    return found


def _merged(reading: Reading, sink: BaseModel, options: dict[str, Any], path: KeyPath) -> BaseModel | None:
    """A sink's configuration with a team's options in place of its own."""
    if isinstance(sink, NotBuilt):
        return None
    if "type" in options:
        reading.problem((*path, "type"), "a team cannot change a sink's type", "make it a sink of its own", key=True)
        return None
    model = type(sink)
    base = {name: getattr(sink, name) for name in sink.model_fields_set}
    for name in secret_names(model):
        if f"{name}_file" in options:
            base.pop(name, None)
    own = reading.secrets_of(model, options, path)
    return read_sink(reading, model, {**base, **own}, path)


def _model_of(
    reading: Reading, path: KeyPath, options: Any, models: Mapping[str, type[BaseModel]], planned: Any
) -> type[BaseModel] | NotBuilt | None:
    """The model for a plug-in's options, by its type; None after noting what is wrong."""
    if not isinstance(options, dict):
        reading.problem(path, "must be a mapping", "write {type: ...}")
        return None
    kind = options.get("type")
    if kind is None:
        reading.problem((*path, "type"), "is missing", f"add type: one of {', '.join(sorted(models))}", key=True)
        return None
    if isinstance(kind, str) and kind in models:
        return models[kind]
    if isinstance(kind, str) and kind in planned:
        return NotBuilt(type=kind)
    known = {*models, *planned}
    reading.problem((*path, "type"), f'there is no type "{kind}"', did_you_mean(str(kind), known))
    return None


def _mapping(reading: Reading, raw: Any, path: KeyPath) -> dict[str, Any]:
    if raw is None:
        return {}
    if isinstance(raw, dict):
        return raw
    reading.problem(path, "must be a mapping", "write {name: {...}}, or names on lines of their own")
    return {}
