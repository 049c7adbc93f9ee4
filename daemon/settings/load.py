"""From files and environment to `Settings`: everything that is wrong is found in one pass and said at once."""

import re
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from daemon.settings.files import Tree
from daemon.settings.models import Settings, set_origin
from daemon.settings.plugins import NOT_YET, read_loaders, read_sinks, read_sources, read_teams
from daemon.settings.problems import ConfigError, KeyPath, did_you_mean, dotted
from daemon.settings.reading import UNREAD_SECRET, Reading
from daemon.settings.section import BY_NAME, NotBuilt, not_active
from daemon.settings.sources import Source

LEASED_MS_MAX = 20_000
"""A request must end before the lease of a store in PostgreSQL could: that runs for 30 s, prolonged every 5 s."""


def load(path: Path | None, *, secrets: bool = True) -> Settings:
    """Reads the configuration, its includes and the environment; None: the environment and defaults alone.

    secrets: False leaves the files of secrets alone (a rehearsal sends nothing) and puts a stand-in
    where they would be. Raises ConfigError with every problem found, and for keys that are not active
    yet and without which more would be sent, shown or let in.
    """
    tree = Tree(path)
    tree.add_environment(Settings)
    reading = Reading(tree.places, secrets=secrets, base=None if path else Path.cwd())
    reading.problems += tree.problems
    data = _with_plugins(reading, tree.data)
    settings = reading.validate(Settings, data, ())
    if settings is not None:
        _cross_check(reading, settings)
        inactive = _not_active(reading, settings)
        set_origin(settings, path, tree.places, inactive, reading.inline_secrets)
    if settings is None or reading.problems:
        raise ConfigError(reading.problems)
    return settings


def _with_plugins(reading: Reading, data: Mapping[str, Any]) -> dict[str, Any]:
    """The data with plug-ins as their models and paths absolute."""
    whole = dict(data)
    sinks = read_sinks(reading, data.get("sinks"))
    if "sinks" in data:
        whole["sinks"] = sinks
    if "teams" in data:
        whole["teams"] = read_teams(reading, data["teams"], sinks)
    if "sources" in data:
        whole["sources"] = read_sources(reading, data["sources"])
    catalogue, store = data.get("catalogue"), data.get("store", {})
    if isinstance(catalogue, dict) and "load" in catalogue:
        whole["catalogue"] = {**catalogue, "load": read_loaders(reading, catalogue["load"])}
    if isinstance(store, dict):
        whole["store"] = _store(reading, store)
    if isinstance(data.get("tls"), dict):
        whole["tls"] = _certificate(reading, data["tls"])
    return whole


def _store(reading: Reading, store: Mapping[str, Any]) -> dict[str, Any]:
    """The paths absolute; for a daemon the file of the DSN must be there, and the driver."""
    found = dict(store)
    postgresql = store.get("type") == "postgresql"
    if not postgresql:
        found.setdefault("path", "state/samband.db")
    for name in ("path", "state", "dsn_file"):
        file = found.get(name, "state" if name == "state" and postgresql else None)
        if isinstance(file, str) and file:
            found[name] = str(reading.absolute(("store", name), file))
    if postgresql and reading.read_secrets:
        if "dsn_file" in found:
            reading.secret(("store", "dsn_file"), found["dsn_file"])
        if find_spec("psycopg") is None:
            text, remedy = "postgresql needs a driver", "install it: pip install 'samband[postgresql]'"
            reading.problem(("store", "type"), text, remedy)
    if isinstance(store.get("dsn"), str) and "password" in _words(store["dsn"]):
        reading.inline_secrets.append(("store", "dsn"))
    return found


def _words(dsn: str) -> list[str]:
    """What a DSN names; a password in the form of a URL, too."""
    address = re.search(r"://[^/@]*:[^/@]+@", dsn)
    return ["password"] if address else re.findall(r"(\w+)\s*=", dsn)


def _certificate(reading: Reading, tls: Mapping[str, Any]) -> dict[str, Any]:
    """The paths of certificate and key absolute; for a daemon they must be there."""
    found = dict(tls)
    for name in ("cert_file", "key_file"):
        file = tls.get(name)
        if isinstance(file, str) and file:
            found[name] = reading.file(("tls", name), file)
    return found


def _cross_check(reading: Reading, settings: Settings) -> None:
    """What several sections have to agree about."""
    for index, rule in enumerate(settings.policies or ()):
        for place, name in enumerate(rule.to):
            _known_sink(reading, settings, ("policies", index, "to", place), name)
    for index, name in enumerate(settings.emergency or ()):
        _known_sink(reading, settings, ("emergency", index), name)
    if settings.login not in (None, "open"):
        reading.problem(("login",), *NOT_YET)
    if settings.store.type == "postgresql" and settings.delivery.timeout > LEASED_MS_MAX:
        text = f"must be at most {LEASED_MS_MAX // 1000}s with a store in PostgreSQL, whose lease it must not outlast"
        reading.problem(("delivery", "timeout"), text, "make it shorter")
    owners: dict[str, str] = {}
    for name, source in settings.sources.items():
        for token in source.tokens if isinstance(source, Source) else ():
            other = owners.setdefault(token, name)
            if other != name and token != UNREAD_SECRET:
                text = f"has the same token as {other}, so that nobody can tell them apart"
                reading.problem(("sources", name), text, "give each source a token of its own", key=True)


def _known_sink(reading: Reading, settings: Settings, path: KeyPath, name: str) -> None:
    if name not in settings.sinks:
        known = did_you_mean(name, settings.sinks)
        reading.problem(path, f'there is no sink "{name}"', known or f"add it under sinks: {name}: {{type: ...}}")


def _not_active(reading: Reading, settings: Settings) -> list[str]:
    """The keys to be named; those that stop the start become problems."""
    named: dict[str, None] = {}
    for path, kind in not_active(settings):
        if kind == "stops":
            reading.problem(path, *NOT_YET, key=True)
        else:
            named[_named(settings, path)] = None
    return list(named)


def _named(settings: Settings, path: KeyPath) -> str:
    """How an inactive key is named: plug-ins with their type, entries of collections once for all."""
    if len(path) > 2 and path[0] in BY_NAME | {"policies"}:
        return dotted((path[0], "*", *path[2:]))
    found: Any = settings
    for part in path:
        found = getattr(found, str(part)) if isinstance(found, BaseModel) else found[part]
    return f"{dotted(path)} ({found.type})" if isinstance(found, NotBuilt | Source) else dotted(path)
