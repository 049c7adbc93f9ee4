"""What every sink's configuration has in common."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, model_validator

Priority = Literal["P1", "P2", "P3", "P4", "P5"]


def _base_address(url: str) -> str:
    """Takes http and https addresses, without the slash at their end."""
    if not url.startswith(("http://", "https://")) or any(c.isspace() for c in url):
        raise ValueError("must be an address that starts with http:// or https://")
    return url.rstrip("/")


BaseAddress = Annotated[str, AfterValidator(_base_address)]


class SinkConfig(BaseModel):
    """Base of the sinks' configurations.

    A secret is a pair of fields, `<name>` and `<name>_file`; whoever loads the configuration reads
    the file and sets `<name>` before the sink is made. Unknown keys are errors, and messages of
    errors never show what was put in.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    @model_validator(mode="after")
    def _one_form_of_each_secret(self) -> Self:
        for name in self.secret_names():
            if getattr(self, name) is not None and getattr(self, f"{name}_file") is not None:
                raise ValueError(f"{name} and {name}_file are both given: remove one of them")
        return self

    def need(self, *names: str) -> None:
        """Raises ValueError for a secret that is there in neither form; for validators of the sinks' own."""
        for name in names:
            if getattr(self, name) is None and getattr(self, f"{name}_file") is None:
                raise ValueError(f"{name}_file (or {name}) is missing")

    @classmethod
    def secret_names(cls) -> list[str]:
        """The names of the secrets: the fields that have a `_file` beside them."""
        return [name for name in cls.model_fields if f"{name}_file" in cls.model_fields]

    def secret(self, name: str) -> str:
        """The value of a secret, "" when it is not configured. ValueError when its file was not read yet."""
        value = getattr(self, name)
        if isinstance(value, SecretStr):
            return value.get_secret_value()
        if getattr(self, f"{name}_file") is not None:
            raise ValueError(f"{name}_file has not been read: set {name} before the sink is made")
        return ""


def secret_field(what: str) -> Any:
    """A secret given in the configuration itself."""
    return Field(default=None, description=f"{what}; better in a file of its own")


def secret_file_field(what: str) -> Any:
    """A secret's file."""
    return Field(default=None, description=f"File with this secret: {what}")


Secret = SecretStr | None
SecretFile = Path | None
