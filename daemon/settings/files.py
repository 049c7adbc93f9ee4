"""The configuration's files as one tree: includes followed, the environment on top, every place kept."""

import os
from collections.abc import Mapping
from glob import glob, has_magic
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsError

from daemon.settings.problems import ConfigError, KeyPath, Place, Problem, problem_at
from daemon.settings.yaml_file import Document, Places, read_yaml

NAMED_LISTS = ("services",)
"""Collections that may also be lists of entries with `name`."""


class _Environment(EnvSettingsSource):
    """Takes JSON for what is no single value, and leaves any other text as it is (`127.0.0.1:8112`)."""

    def decode_complex_value(self, field_name: str, field: FieldInfo, value: Any) -> Any:
        return super().decode_complex_value(field_name, field, value) if value.lstrip()[:1] in ("[", "{") else value


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
        moves: dict[KeyPath, KeyPath] = {}
        for section, value in document.data.items():
            path: KeyPath = (section,)
            ours = self.data.get(section)
            if section not in self.data:
                self.data[section] = value
                moves[path] = path
            elif isinstance(ours, dict) and isinstance(value, dict):
                for name, item in value.items():
                    if name in ours:
                        self._twice(document, (section, name))
                    else:
                        ours[name] = item
                        moves[section, name] = (section, name)
            else:
                self._twice(document, path)
        self.places.take(document.places, moves)

    def _twice(self, document: Document, path: KeyPath) -> None:
        first = self.places.key(path)
        remedy = f"the first one is in {first}: remove one"
        self.problems.append(problem_at(document.places.key(path), path, "is given twice", remedy))

    def add_environment(self, settings: type[BaseSettings]) -> None:
        """Lays the environment's values over those of the files. Raises ConfigError for what is no JSON."""
        try:
            values = _Environment(settings)()
        except SettingsError as error:
            raise ConfigError([Problem("environment", 0, 0, "", str(error), "correct the JSON in it")]) from None
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
        first: dict[str, Place] = {}
        moves: dict[KeyPath, KeyPath] = {}
        for index, entry in enumerate(entries):
            path: KeyPath = (section, index)
            place = document.places.value(path)
            name = entry.pop("name", None) if isinstance(entry, dict) else None
            if not isinstance(name, str) or not name:
                text, remedy = "an entry of a list must be a mapping with a name", "add name"
                document.problems.append(problem_at(place, path, text, remedy))
            elif name in named:
                text, remedy = "is given twice", f"the first one is in line {first[name].line}: remove one"
                document.problems.append(problem_at(place, (section, name), text, remedy))
            else:
                named[name], first[name] = entry, place
                moves[path] = (section, name)
        document.data[section] = named
        places = Places(document.places.root)
        places.take(document.places, moves)
        places.take(document.places, {(other,): (other,) for other in document.data if other != section})
        places.keys |= {(section, name): place for name, place in first.items()}
        document.places = places
