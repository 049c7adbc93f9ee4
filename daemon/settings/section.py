"""What all sections of the configuration have in common, and how a key says that it is not active yet."""

from collections.abc import Iterator
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from daemon.settings.problems import KeyPath

NotActive = Literal["named", "stops"]
"""named: the key is named as not active yet. stops: without its feature more would be sent, shown or
let in than was asked for, so the start stops."""

BY_NAME = frozenset({"services", "teams", "heartbeats", "escalations", "schedules"})
"""Collections of which a key is named once for all entries."""


class Section(BaseModel):
    """A part of the configuration: unknown keys are errors, and no message repeats what was put in."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class NotBuilt(BaseModel):
    """A sink, source or loader of a type that is known and not active yet; its options are not kept."""

    model_config = ConfigDict(frozen=True)

    type: str = Field(description="Which one")


def later(description: str, default: Any = None) -> Any:
    """A field whose feature is not there yet: accepted, validated as far as known, and named."""
    return Field(default, description=description, json_schema_extra={"not_active": "named"})


def guarded(description: str, default: Any = None) -> Any:
    """A field whose feature is not there yet and whose absence would send, show or let in more."""
    return Field(default, description=description, json_schema_extra={"not_active": "stops"})


def not_active(section: BaseModel, path: KeyPath = ()) -> Iterator[tuple[KeyPath, NotActive]]:
    """The keys that were set, to something else than what holds without them, and do nothing yet."""
    for name in sorted(section.model_fields_set):
        field, value = type(section).model_fields.get(name), getattr(section, name)
        if field is None:
            continue
        extra = field.json_schema_extra
        if isinstance(extra, dict) and "not_active" in extra:
            if value != field.default:
                yield (*path, name), "stops" if extra["not_active"] == "stops" else "named"
        else:
            yield from _inside(value, (*path, name))


def _inside(value: Any, path: KeyPath) -> Iterator[tuple[KeyPath, NotActive]]:
    if isinstance(value, NotBuilt) or not getattr(value, "active", True):
        yield path, "named"
    elif isinstance(value, BaseModel):
        yield from not_active(value, path)
    elif isinstance(value, dict):
        for name, item in value.items():
            yield from _inside(item, (*path, name))
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _inside(item, (*path, index))
