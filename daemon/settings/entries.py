"""Entries of the catalogue: services and teams, in the configuration itself or in files of their own."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, Field, field_validator

from daemon.settings.section import Section, later

Tier = Literal[1, 2, 3]


class ServiceEntry(Section):
    """A service: who has it, how much hangs on it, and what it hangs on."""

    team: str = Field("", description="The team that owns it")
    tier: Tier | None = Field(None, description="1 (worst when down) to 3; else its team's")
    environment: str = Field("", description="Its environment, for alerts that name none")
    hours: Literal["always", "support"] | None = later("When its support hours are: always, or `support_hours`")
    category: str = later("Its place in the category tree", "")
    component: str = Field("", description="The status page's component that shows it")
    runbook: str = Field("", description="Where it says what to do; stands in the page")
    depends_on: tuple[str, ...] = Field((), description="Services that it needs")
    runs_on: tuple[str, ...] = Field((), description="What it runs on")
    labels: dict[str, str] = Field({}, description="Labels of its own")
    customers_per_hour: int | None = later("How many customers it serves, for the effect in words")


class Team(Section):
    """A team. `options` are the sinks' configurations with the team's own options merged in."""

    tier: Tier | None = Field(None, description="Tier of its services that have none of their own")
    schedule: str = later("The schedule that says who is on call", "")
    options: dict[str, Any] = Field({}, description="Under a sink's name: options that differ for this team")

    @field_validator("options")
    @classmethod
    def _whole(cls, options: dict[str, Any]) -> dict[str, Any]:
        if not all(isinstance(value, BaseModel) for value in options.values()):
            raise ValueError("a sink's options stand under the sink's own name")
        return options


TEAM_KEYS = ("tier", "schedule")


@dataclass(frozen=True)
class Entries:
    """All services and teams, from the configuration and from the catalogue's files."""

    services: Mapping[str, ServiceEntry]
    teams: Mapping[str, Team]
