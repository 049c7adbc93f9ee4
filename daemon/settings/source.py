"""What every source has in the configuration, whatever it speaks."""

from typing import ClassVar

from pydantic import Field, SecretStr

from daemon.settings.section import Section

IGNORED_LABELS = ("prometheus_replica", "replica")


class Source(Section):
    """What every source has. active: whether its feature is there; otherwise it is named, and does nothing."""

    active: ClassVar[bool] = True
    type: str = Field(description="The form in which it sends")
    token: SecretStr | None = Field(
        None, description="Its secret (Bearer); two lines are two tokens, for rotation. Better in `token_file`"
    )
    environment: str = Field("", description="Environment of alerts that name none; before the catalogue's")
    resolves: bool = Field(True, description="Whether it says when something is over; otherwise its alerts are events")
    replica_labels: tuple[str, ...] = Field(
        IGNORED_LABELS, description="Labels by which replicas of one sender differ; they do not identify an alert"
    )

    @property
    def tokens(self) -> tuple[str, ...]:
        """Its tokens, none when it is open."""
        text = self.token.get_secret_value() if self.token else ""
        return tuple(line.strip() for line in text.splitlines() if line.strip())
