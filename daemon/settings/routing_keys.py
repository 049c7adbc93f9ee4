"""PagerDuty's routing keys: which service each one stands for, from the configuration or a file of their own.

A routing key is a credential, and here it is the name of an entry: problems name the entry by its
number, never by the key.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from daemon.settings.problems import ConfigError, KeyPath, dotted
from daemon.settings.reading import UNREAD_SECRET, Reading
from daemon.settings.sources import RoutingKey, RoutingKeyMeaning
from daemon.settings.yaml_file import Places, read_yaml

KEY_LENGTH = 32
_MAKE_ONE = "openssl rand -hex 16 makes one"


def read_routing_keys(reading: Reading, options: Mapping[str, Any], path: KeyPath) -> dict[str, Any]:
    """The options of a source of type `pagerduty_events`, `services` as a list of what was read."""
    found = dict(options)
    given, file = options.get("services"), options.get("services_file")
    below: KeyPath = (*path, "services")
    if given is not None and file is not None:
        reading.problem(below, "services and services_file are both given", "remove one of them", key=True)
        found["services"] = ()
    elif file is not None:
        found["services"] = _from_file(reading, file, (*path, "services_file"))
    elif given is None:
        remedy = "add services_file: a file of lines KEY: {service: NAME}"
        reading.problem(below, "is missing, so that nobody can send", remedy, key=True)
        found["services"] = ()
    else:
        reading.inline_secrets.append(below)
        found["services"] = _entries(reading, given, below, reading.places, below)
    return found


def _from_file(reading: Reading, file: Any, path: KeyPath) -> Any:
    if not isinstance(file, str) or not file:
        reading.problem(path, "must name a file", "give the path of a file of lines KEY: {service: NAME}")
        return ()
    if not reading.read_secrets:
        return (RoutingKey(key=SecretStr(UNREAD_SECRET), service="unread"),)
    name: Path = reading.absolute(path, file)
    try:
        document = read_yaml(name)
    except ConfigError as error:
        for one in error.problems:
            if one.line:
                reading.problems.append(one)
            else:
                reading.problem(path, f"{one.file} {one.text}", one.remedy)
        return ()
    reading.problems += document.problems
    return _entries(reading, document.data, path, document.places, ())


def _entries(reading: Reading, given: Any, path: KeyPath, places: Places, prefix: KeyPath) -> Any:
    """Each entry as a RoutingKey. path: how it is named in problems; places, prefix: where it really stands."""
    if not isinstance(given, dict):
        reading.problem(path, "must be a mapping", "write KEY: {service: NAME}, one a line")
        return ()
    numbers = {key: number for number, key in enumerate(given)}
    _hide(reading, places, prefix, path, numbers)
    if not given:
        reading.problem(path, "holds no routing key, so that nobody can send", "add KEY: {service: NAME}")
    found = []
    for key, entry in given.items():
        own: KeyPath = (*path, numbers[key])
        if len(key) != KEY_LENGTH or not (key.isascii() and key.isalnum()):
            text = f"the routing key must be {KEY_LENGTH} letters and digits, as PagerDuty's are"
            reading.problem(own, text, _MAKE_ONE, key=True)
        elif not isinstance(entry, dict):
            reading.problem(own, "must be a mapping", "write KEY: {service: NAME}")
        elif (meaning := reading.validate(RoutingKeyMeaning, entry, own)) is not None:
            found.append(RoutingKey(key=SecretStr(key), **dict(meaning)))
    return tuple(found)


def _hide(reading: Reading, places: Places, prefix: KeyPath, path: KeyPath, numbers: Mapping[str, int]) -> None:
    """Gives the places of every entry to its number as well, and takes the keys out of problems found so far."""
    depth = len(prefix)
    for ours, theirs in ((reading.places.keys, places.keys), (reading.places.values, places.values)):
        for where, place in list(theirs.items()):
            if len(where) > depth and where[:depth] == prefix and where[depth] in numbers:
                ours[(*path, numbers[str(where[depth])], *where[depth + 1 :])] = place
    shown = {dotted((*prefix, key)): dotted((*path, number)) for key, number in numbers.items()}
    for index, problem in enumerate(reading.problems):
        for real, safe in shown.items():
            if problem.key.startswith(real) and problem.key[len(real) : len(real) + 1] in ("", ".", "["):
                reading.problems[index] = replace(problem, key=safe + problem.key.removeprefix(real))
