"""What one pass over a configuration gathers: problems with their places, secrets read from their files."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr, ValidationError
from pydantic_core import ErrorDetails

from daemon.settings.problems import KeyPath, Problem, did_you_mean, listed, problem_at
from daemon.settings.yaml_file import Places

T = TypeVar("T", bound=BaseModel)

UNREAD_SECRET = "0" * 32
"""Stands for a secret whose file is not read (`load(..., secrets=False)`, for rehearsals)."""


class Reading:
    """Problems found so far, under the places of one tree of files."""

    def __init__(self, places: Places, *, secrets: bool = True, base: Path | None = None) -> None:
        self.places, self.problems, self.inline_secrets = places, list[Problem](), list[KeyPath]()
        self.read_secrets, self._base = secrets, base

    def problem(self, path: KeyPath, text: str, remedy: str, *, key: bool = False) -> None:
        """Notes a problem of a value, or of the key itself."""
        place = self.places.key(path) if key else self.places.value(path)
        self.problems.append(problem_at(place, path, text, remedy))

    def absolute(self, path: KeyPath, name: str) -> Path:
        """The file of that name; a relative one starts at the file of the configuration that names it."""
        base = Path(self.places.value(path).file).parent if self._base is None else self._base
        return Path(os.path.normpath(base / Path(name).expanduser()))

    def file(self, path: KeyPath, name: str) -> str:
        """The same as text; for a daemon (not for a rehearsal) the file must be there."""
        whole = self.absolute(path, name)
        if self.read_secrets and not whole.is_file():
            self.problem(path, f"there is no file {whole}", "name a file that is there")
        return str(whole)

    def validate(self, model: type[T], data: Any, path: KeyPath) -> T | None:
        """The data as that model; None after noting what is wrong with it."""
        try:
            return model.model_validate(data)
        except ValidationError as error:
            for details in error.errors(include_url=False, include_input=False):
                self._note(model, details, path)
            return None

    def secrets_of(self, model: type[BaseModel], raw: Mapping[str, Any], path: KeyPath) -> dict[str, Any]:
        """The options with every `<secret>_file` replaced by the secret in it, and other files' paths absolute.

        Sections inside are treated likewise.
        """
        options = dict(raw)
        secrets = secret_names(model)
        for name, field in model.model_fields.items():
            if name.removesuffix("_file") in secrets:
                continue
            given, kinds = options.get(name), list(_parts(field.annotation))
            section = next((kind for kind in kinds if _is_model(kind)), None)
            if section is not None and isinstance(given, dict):
                options[name] = self.secrets_of(section, given, (*path, name))
            elif Path in kinds and isinstance(given, str) and given:
                options[name] = self.file((*path, name), given)
        for name in secrets:
            file = options.pop(f"{name}_file", None)
            if file is None:
                if options.get(name) is not None and not isinstance(options[name], SecretStr):
                    self.inline_secrets.append((*path, name))
                continue
            if options.get(name) is not None:
                self.problem((*path, name), f"{name} and {name}_file are both given", "remove one of them", key=True)
                continue
            options[name] = self.secret((*path, f"{name}_file"), file)
        return options

    def secret(self, path: KeyPath, file: Any) -> SecretStr:
        """The secret in a file; a stand-in after noting why it cannot be read, or when secrets are left alone."""
        if not isinstance(file, str) or not file:
            self.problem(path, "must name a file", "give the path of a file that holds the secret")
            return SecretStr(UNREAD_SECRET)
        if not self.read_secrets:
            return SecretStr(UNREAD_SECRET)
        name = self.absolute(path, file)
        try:
            text = name.read_text("utf-8").strip()
        except OSError as error:
            self.problem(path, f"{name} cannot be read: {error.strerror}", "make it, readable for samband's user")
        except UnicodeDecodeError:
            self.problem(path, f"{name} is not UTF-8 text", "put the secret alone into it, as text")
        else:
            if text:
                return SecretStr(text)
            self.problem(path, f"{name} is empty", "put the secret into it")
        return SecretStr(UNREAD_SECRET)

    def _note(self, model: type[BaseModel], details: ErrorDetails, path: KeyPath) -> None:
        context = details.get("ctx", {})
        below = (context["below"],) if "below" in context else ()
        where: KeyPath = (*path, *details["loc"], *below)
        kind, allowed = details["type"], keys_at(model, details["loc"][:-1])
        if kind == "extra_forbidden":
            self.problem(where, "unknown key", did_you_mean(str(where[-1]), allowed), key=True)
        elif kind == "missing":
            self.problem(where, "is missing", f"add {where[-1]}", key=True)
        elif kind in ("literal_error", "enum"):
            words = context["expected"].replace("'", "").replace(" or ", ", ").split(", ")
            self.problem(where, f"must be {listed(words)}", "use one of these words")
        else:
            text, remedy = _MESSAGES.get(kind, ("", ""))
            said = str(context["error"]) if "error" in context else details["msg"]
            text, _, more = (text or _plain(said)).partition("; ")
            if not more and kind == "value_error":
                text, _, more = text.partition(": ")
            self.problem(where, text, remedy or more or ("add it" if text.endswith("missing") else "correct the value"))


_MESSAGES = {
    "string_type": ("must be text", "put it in quotes"),
    "dict_type": ("must be a mapping", "write {key: value}, or keys on lines of their own"),
    "model_type": ("must be a mapping", "write {key: value}, or keys on lines of their own"),
    "model_attributes_type": ("must be a mapping", "write {key: value}, or keys on lines of their own"),
    "tuple_type": ("must be a list", "write [a, b]"),
    "list_type": ("must be a list", "write [a, b]"),
    "bool_type": ("must be true or false", "write true or false"),
    "bool_parsing": ("must be true or false", "write true or false"),
    "int_type": ("must be a whole number", "write a number without a unit"),
    "int_parsing": ("must be a whole number", "write a number without a unit"),
    "too_short": ("must not be empty", "give at least one"),
    "string_too_short": ("must not be empty", "give a text, or leave the key out"),
}


def _plain(message: str) -> str:
    return message.removeprefix("Value error, ").replace("Input should be", "must be")


def secret_names(model: type[BaseModel]) -> list[str]:
    """The fields of a model that hold a secret."""
    return [
        name
        for name, field in model.model_fields.items()
        if field.annotation is SecretStr or (SecretStr in get_args(field.annotation) and _is_union(field.annotation))
    ]


def keys_at(model: type[BaseModel], loc: KeyPath) -> list[str]:
    """The keys that are known at a place inside a model."""
    found = model
    for part in loc:
        field = found.model_fields.get(str(part))
        if field is not None:
            found = next((t for t in _parts(field.annotation) if _is_model(t)), found)
    secrets = [f"{name}_file" for name in secret_names(found)]
    return [*found.model_fields, *secrets]


def _parts(annotation: Any) -> Iterator[Any]:
    """An annotation and everything inside it."""
    yield annotation
    for part in get_args(annotation) if get_origin(annotation) is not Annotated else get_args(annotation)[:1]:
        yield from _parts(part)


def _is_union(annotation: Any) -> bool:
    return get_origin(annotation) in (Union, UnionType)


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)
