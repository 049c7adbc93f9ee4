"""Sources: who may send alerts, in which form, and what is known about the sender."""

from typing import ClassVar, Literal

from pydantic import Field, SecretStr, field_validator

from daemon.brokers import BrokerAddresses, BrokerSasl, BrokerTls
from daemon.settings.durations import Duration
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


class KafkaSource(Source):
    """A topic."""

    active: ClassVar[bool] = False
    type: Literal["kafka"] = Field(description="A Kafka topic")
    brokers: BrokerAddresses = Field(description="host:port of some brokers")
    topic: str = Field(min_length=1, description="The topic")
    format: str = Field("native", description="Form of its messages: native, alertmanager, cloudevents, a vendor's")
    start: Literal["earliest", "latest"] = Field("latest", description="Where to begin without a stored position")
    group: str = Field("samband", description="Group under which positions are shown to lag tools")
    tls: BrokerTls | None = Field(None, description="TLS: {ca_file, cert_file, key_file}, or {}")
    sasl: BrokerSasl | None = Field(None, description="Login: {mechanism, user, password_file}")


SOURCES: dict[str, type[Source]] = {
    "alertmanager": AlertmanagerSource,
    "native": NativeSource,
    "pagerduty_events": PagerDutyEventsSource,
}
"""The types that are active."""

PLANNED_SOURCES: dict[str, type[Source] | None] = {
    "kafka": KafkaSource,
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
