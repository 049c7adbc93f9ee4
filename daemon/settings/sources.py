"""Sources: who may send alerts, in which form, and what is known about the sender."""

from typing import Literal

from pydantic import Field, SecretStr, field_validator

from daemon.settings.durations import Duration
from daemon.settings.kafka import KafkaSource
from daemon.settings.section import Section
from daemon.settings.source import IGNORED_LABELS, Source

__all__ = ["IGNORED_LABELS", "AlertmanagerSource", "KafkaSource", "NativeSource", "PagerDutyEventsSource", "Source"]


class AlertmanagerSource(Source):
    """Prometheus and whoever speaks Alertmanager's API v2, and Alertmanager's own webhook."""

    type: Literal["alertmanager"] = Field(description="Alertmanager's API v2, or its webhook v4 on /hooks/{source}")
    resolve_timeout: Duration = Field(300_000, description="Lease of an alert that comes without `endsAt`")


class NativeSource(Source):
    """samband's own form."""

    type: Literal["native"] = Field(description="The native form, on /hooks/{source} and /api/v1/alerts")


class RoutingKeyMeaning(Section):
    """What one of PagerDuty's routing keys stands for."""

    service: str = Field(min_length=1, description="The service that its alerts and changes are about")
    source: str = Field("", description="Name under which its alerts are known; else the source's own")
    environment: str = Field("", description="Environment of its alerts; else the source's")


class RoutingKey(RoutingKeyMeaning):
    """A routing key, and what it stands for."""

    key: SecretStr = Field(description="The routing key, 32 letters and digits")


class PagerDutyEventsSource(Source):
    """Whoever speaks PagerDuty's Events API v2 and can be given another URL. Its routing keys are its tokens."""

    type: Literal["pagerduty_events"] = Field(
        description="PagerDuty's Events API v2, on /v2/enqueue and /v2/change/enqueue"
    )
    services_file: str = Field("", description="A file of lines KEY: {service, source, environment}")
    services: tuple[RoutingKey, ...] = Field((), description="The same, in the configuration itself")

    @field_validator("token", "replica_labels", mode="before")
    @classmethod
    def _has_none(cls, value: object) -> object:
        raise ValueError("means nothing here, a routing key says who sends; take it out")

    @property
    def tokens(self) -> tuple[str, ...]:
        """The routing keys."""
        return tuple(one.key.get_secret_value() for one in self.services)


SOURCES: dict[str, type[Source]] = {
    "alertmanager": AlertmanagerSource,
    "kafka": KafkaSource,
    "native": NativeSource,
    "pagerduty_events": PagerDutyEventsSource,
}
"""The types that are active."""

PLANNED_SOURCES: dict[str, type[Source] | None] = {
    **dict.fromkeys(
        (
            "argocd", "generic",
            "appdynamics", "azure_monitor", "checkly", "checkmk",
            "cloudevents", "cloudwatch", "datadog", "dynatrace", "gcp_monitoring", "grafana", "graylog", "icinga",
            "kibana", "librenms", "nagios", "newrelic", "opsgenie", "pingdom", "sentry", "splunk", "uptimekuma",
            "uptimerobot", "wazuh", "zabbix",
        )
    ),
}  # fmt: skip
"""The types that are known and not active yet, with the model that checks their options when there is one."""

DEFAULT_SOURCES: dict[str, Source] = {
    "prometheus": AlertmanagerSource(type="alertmanager"),
    "native": NativeSource(type="native"),
}
"""Without `sources:` in the configuration, so that a first start takes alerts; on loopback only."""
