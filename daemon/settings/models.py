"""The configuration as a whole. Every field is described once, where it is declared."""

from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field, PrivateAttr, SerializeAsAny, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from daemon.settings import sections
from daemon.settings.entries import ServiceEntry, Team
from daemon.settings.hours import Window, check_holidays, host_zone, parse_window, zone
from daemon.settings.limits import LIMITS, Limits
from daemon.settings.problems import KeyPath, Place
from daemon.settings.section import guarded, later
from daemon.settings.sources import DEFAULT_SOURCES
from daemon.settings.yaml_file import Places

Network = IPv4Network | IPv6Network


class Settings(BaseSettings):
    """What is in force. Made by `load`; secrets are `SecretStr` and never shown.

    The environment wins over the file: `SAMBAND_MODE`, `SAMBAND_DELIVERY__TIMEOUT`,
    `SAMBAND_SINKS__PAGER__ROUTING_KEY` (names in lower case).
    """

    model_config = SettingsConfigDict(
        env_prefix="SAMBAND_",
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        validate_default=False,
    )

    mode: Literal["live", "shadow"] = Field("live", description="shadow decides and records all, and sends nothing")
    listen: sections.Listen = Field(sections.Listen(), description="host:port, or {internal, public_page}")
    external_url: str = Field("", description="Address under which people reach it, for links in pages and tickets")
    tls: sections.Tls | None = Field(None, description="{cert_file, key_file}: answers over TLS, and nothing else")
    trusted_proxies: tuple[Network, ...] = Field(
        (), description="Addresses or networks of proxies whose X-Forwarded-For, -Proto and -Host are believed"
    )
    limits: Limits = Field(LIMITS, description="How much a sender may ask")
    login: Any = Field(None, description="open: nobody needs a token, on loopback only. Others are not active yet")
    metrics: Literal["open", "token"] = Field("token", description="open: /metrics needs no token off loopback either")
    timezone: str = Field(default_factory=host_zone, description="IANA name; by default the host's")
    languages: Any = later("Languages of texts for the public", ["en"])
    holidays: str = Field("", description="Calendar without support hours: SE, or DE-BY for a part of a country")
    support_hours: tuple[Window, ...] = Field(
        (parse_window("mon-fri 08:00-17:00"),), description="One window or several: mon-fri 08:00-17:00"
    )
    night: Window = Field(parse_window("22:00-07:30"), description="Pages that may wait are kept until its end")
    store: sections.Store = Field(sections.Store(), description="Where the state is kept")
    include: Any = Field(None, description="Further files (glob, or a list of globs), for example one per team")
    fallback: sections.Fallback = Field(sections.Fallback(), description="Who gets what nobody owns")
    sources: dict[str, SerializeAsAny[BaseModel]] = Field({**DEFAULT_SOURCES}, description="Who sends alerts, by name")
    heartbeats: dict[str, sections.Heartbeat] | None = later("Dead-man's switches, by name")
    catalogue: sections.CatalogueSection = Field(sections.CatalogueSection(), description="Where services stand")
    services: dict[str, ServiceEntry] = Field({}, description="Services, by name")
    teams: dict[str, Team] = Field({}, description="Teams, by name")
    schedules: dict[str, Any] | None = later("Who is on call when, by name")
    priority: sections.Priority = Field(sections.Priority(), description="How bad something is")
    correlation: sections.Correlation = Field(sections.Correlation(), description="When two alerts are one thing")
    suppression: Any = guarded("What is held back: inhibition, maintenance, flapping")
    sinks: dict[str, SerializeAsAny[BaseModel]] = Field({}, description="Where incidents go, by name")
    policies: tuple[sections.Rule, ...] | None = Field(None, description="Which incidents go to which sinks")
    escalations: dict[str, Any] | None = later("What follows when nobody acts, by name")
    service_levels: Any = later("Times to respond and resolve, per priority")
    communication: Any = later("How often people are told")
    emergency: tuple[str, ...] | None = Field(
        None, description="Sinks told when samband cannot do its job; by default every pager that deduplicates itself"
    )
    status_page: sections.StatusPage = Field(sections.StatusPage(), description="How the public is told")
    major_incident: Any = later("When an incident is a major one, and what follows")
    privacy: Any = guarded("What is redacted, and how long things are kept")
    time_intervals: Any = later("Alertmanager's time intervals, by name")
    timing: sections.Timing = Field(sections.Timing(), description="The waits")
    delivery: sections.Delivery = Field(sections.Delivery(), description="How sinks are tried")

    _file: Path | None = PrivateAttr(None)
    _places: Places = PrivateAttr(default_factory=lambda: Places(Place("defaults")))
    _inactive: list[str] = PrivateAttr(default_factory=list)
    _inline_secrets: list[KeyPath] = PrivateAttr(default_factory=list)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what is handed in: `load` has merged the environment, knowing what came from it."""
        return (init_settings,)

    @field_validator("timezone")
    @classmethod
    def _zone(cls, value: str) -> str:
        zone(value)
        return value

    @field_validator("holidays")
    @classmethod
    def _holidays(cls, value: str) -> str:
        if value:
            check_holidays(value)
        return value

    @field_validator("trusted_proxies", mode="before")
    @classmethod
    def _networks(cls, value: Any) -> Any:
        found = []
        for text in value if isinstance(value, list | tuple) else [value]:
            try:
                found.append(ip_network(text, strict=False))
            except ValueError:
                raise ValueError("must be addresses or networks; write for example [127.0.0.1, 10.0.0.0/24]") from None
        return tuple(found)

    @field_validator("external_url")
    @classmethod
    def _address(cls, value: str) -> str:
        if value and not value.startswith(("http://", "https://")):
            raise ValueError("must be an address that starts with http:// or https://")
        return value.rstrip("/")

    @field_validator("night", mode="before")
    @classmethod
    def _night(cls, value: Any) -> Any:
        return parse_window(value if isinstance(value, str) else "")

    @field_validator("support_hours", mode="before")
    @classmethod
    def _support(cls, value: Any) -> Any:
        texts = value if isinstance(value, list) and value else [value]
        return tuple(parse_window(text if isinstance(text, str) else "") for text in texts)

    @property
    def file(self) -> Path | None:
        """The configuration file, None when there is none."""
        return self._file

    @property
    def inactive(self) -> list[str]:
        """Keys that were given and are not active yet."""
        return self._inactive

    @property
    def inline_secrets(self) -> list[KeyPath]:
        """Secrets that stand in the configuration itself."""
        return self._inline_secrets

    @property
    def places(self) -> Places:
        """Where everything stands."""
        return self._places

    @property
    def open_login(self) -> bool:
        """Whether nobody needs a token (`login: open`)."""
        return bool(self.login == "open")


def set_origin(
    settings: Settings, file: Path | None, places: Places, inactive: list[str], inline_secrets: list[KeyPath]
) -> None:
    """Notes where the settings come from; for `load` only."""
    settings._file, settings._places = file, places
    settings._inactive, settings._inline_secrets = inactive, inline_secrets
