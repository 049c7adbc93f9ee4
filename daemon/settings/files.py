"""The configuration's files as one tree: includes followed, the environment on top, every place kept."""

import os
from collections.abc import Mapping
from glob import glob, has_magic
from pathlib import Path
from typing import Any

from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsError

from daemon.settings.problems import ConfigError, KeyPath, Place, Problem, problem_at
from daemon.settings.yaml_file import Document, Places, read_yaml

NAMED_LISTS = ("services",)
"""Collections that may also be lists of entries with `name`."""


class Tree:
    """What all files say together. A key, and a name in a collection, may be given in one file only."""

    def __init__(self, path: Path | None) -> None:
        """Reads the file and all that it includes; None is a configuration without a file.

        Raises ConfigError for a file that cannot be read or is no YAML.
        """
        self.data: dict[str, Any] = {}
        self.places = Places(Place(str(path), 1, 1) if path else Place("defaults"))
        self.problems: list[Problem] = []
        self._seen: set[Path] = set()
        if path is not None:
            self._add(path)

    def _add(self, path: Path) -> None:
        if path.resolve() in self._seen:
            return
        self._seen.add(path.resolve())
        document = read_yaml(path)
        by_name(document)
        self.problems += document.problems
        include = document.data.pop("include", None)
        self._merge(document)
        for pattern in include if isinstance(include, list) else [] if include is None else [include]:
            self._include(document, pattern)

    def _include(self, document: Document, pattern: Any) -> None:
        if not isinstance(pattern, str):
            place = document.places.value(("include",))
            self.problems.append(problem_at(place, ("include",), "must be a file or a glob", "write teams/*.yaml"))
            return
        names = sorted(glob(str(document.path.parent / Path(pattern).expanduser()), recursive=True))
        if not names and not has_magic(pattern):
            place = document.places.value(("include",))
            remedy = f"it is looked for in {document.path.parent}"
            self.problems.append(problem_at(place, ("include",), f"there is no file {pattern}", remedy))
        for name in names:
            self._add(Path(name))

    def _merge(self, document: Document) -> None:
        for section, value in document.data.items():
            path: KeyPath = (section,)
            ours = self.data.get(section)
            if section not in self.data:
                self.data[section] = value
                self.places.take(document.places, path, path)
            elif isinstance(ours, dict) and isinstance(value, dict):
                for name, item in value.items():
                    if name in ours:
                        self._twice(document, (section, name))
                    else:
                        ours[name] = item
                        self.places.take(document.places, (section, name), (section, name))
            else:
                self._twice(document, path)

    def _twice(self, document: Document, path: KeyPath) -> None:
        first = self.places.key(path)
        remedy = f"the first one is in {first}: remove one"
        self.problems.append(problem_at(document.places.key(path), path, "is given twice", remedy))

    def add_environment(self, settings: type[BaseSettings]) -> None:
        """Lays the environment's values over those of the files."""
        try:
            values = EnvSettingsSource(settings)()
        except SettingsError as error:
            problem = Problem("environment", 0, 0, "", str(error), "give JSON, or the key's own variable")
            raise ConfigError([problem]) from None
        self._overlay(self.data, values, ())

    def _overlay(self, data: dict[str, Any], values: Mapping[str, Any], path: KeyPath) -> None:
        for key, value in values.items():
            below: KeyPath = (*path, key)
            if isinstance(value, dict) and not isinstance(data.get(key), str):
                if not isinstance(data.get(key), dict):
                    data[key] = {}
                    self.places.keys[below] = _variable(below)
                self._overlay(data[key], value, below)
                continue
            data.pop(f"{key}_file", None)
            data[key] = value
            self.places.keys[below] = self.places.values[below] = _variable(below)


def _variable(path: KeyPath) -> Place:
    name = "SAMBAND_" + "__".join(str(part) for part in path).upper()
    present = next((n for n in os.environ if n.upper().startswith(name)), name)
    return Place(f"environment variable {present}")


def by_name(document: Document) -> None:
    """Turns collections that are lists of entries with `name` into maps by name."""
    for section in NAMED_LISTS:
        entries = document.data.get(section)
        if not isinstance(entries, list):
            continue
        named: dict[str, Any] = {}
        moved = Places(document.places.root)
        for index, entry in enumerate(entries):
            path: KeyPath = (section, index)
            place = document.places.value(path)
            name = entry.pop("name", None) if isinstance(entry, dict) else None
            if not isinstance(name, str) or not name:
                text, remedy = "an entry of a list must be a mapping with a name", "add name"
                document.problems.append(problem_at(place, path, text, remedy))
            elif name in named:
                first = moved.keys[section, name]
                text, remedy = "is given twice", f"the first one is in line {first.line}: remove one"
                document.problems.append(problem_at(place, (section, name), text, remedy))
            else:
                named[name] = entry
                moved.keys[section, name] = place
        document.data[section] = named
