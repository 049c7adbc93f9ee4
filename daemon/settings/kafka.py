"""Kafka as a source: which topics, in which form, and how the brokers are reached."""

from typing import Literal

from pydantic import Field, field_validator, model_validator

from daemon.brokers import BrokerAddresses, BrokerSasl, BrokerTls
from daemon.settings.durations import Duration
from daemon.settings.section import Section
from daemon.settings.source import Source

FormatName = Literal["native", "alertmanager", "cloudevents", "pagerduty_events", "header"]
DataFormat = Literal["native", "alertmanager", "pagerduty_events"]
DEAD_LETTERS = ".dead-letters"


class KafkaTopic(Section):
    """One topic, where it differs from its source."""

    format: FormatName | None = Field(None, description="Form of its messages; else the source's")
    labels: dict[str, str] = Field({}, description="Labels of its alerts that bring none of that name")
    types: dict[str, DataFormat] = Field({}, description="CloudEvents `type` -> form of the data; else native")


class KafkaSource(Source):
    """Topics of one Kafka cluster. Its messages need no token: who may write to the topic is the cluster's to say."""

    type: Literal["kafka"] = Field(description="Topics of a Kafka cluster")
    brokers: BrokerAddresses = Field(description="host:port of some brokers")
    topic: str = Field("", description="The topic; `topics` for several")
    topics: dict[str, KafkaTopic] = Field({}, description="The topics by name, each with what differs")
    format: FormatName = Field(
        "native", description="Form of the messages: native, alertmanager, cloudevents, pagerduty_events, or header"
    )
    labels: dict[str, str] = Field({}, description="Labels of alerts that bring none of that name")
    types: dict[str, DataFormat] = Field({}, description="CloudEvents `type` -> form of the data; else native")
    team: str = Field("", description="Owner of alerts that neither a label nor the catalogue gives one")
    start: Literal["earliest", "latest"] = Field("latest", description="Where to begin without a stored position")
    group: str = Field("samband", min_length=1, description="Group under which positions are shown to lag tools")
    tls: BrokerTls | None = Field(None, description="{ca_file, cert_file, key_file}; {} for TLS alone")
    sasl: BrokerSasl | None = Field(None, description="{mechanism, user, password_file}, or {mechanism, token_file}")
    dead_letter_topic: str | None = Field(
        None, description="Where unreadable messages are copied to, by default TOPIC.dead-letters; empty for nowhere"
    )
    resolve_timeout: Duration = Field(300_000, description="Lease of an alert that comes without `endsAt`")

    @field_validator("token", mode="before")
    @classmethod
    def _has_none(cls, value: object) -> object:
        raise ValueError("means nothing here, the brokers know who writes; take it out, or use sasl")

    @model_validator(mode="after")
    def _one_way(self) -> "KafkaSource":
        if bool(self.topic) == bool(self.topics):
            raise ValueError("needs a topic or topics; give one of the two")
        for topic in self.followed:
            if topic == self.dead_letters_of(topic):
                raise ValueError(f"{topic} is read, and cannot take its own dead letters; name another topic")
        return self

    @property
    def followed(self) -> dict[str, KafkaTopic]:
        """The topics by name, each complete."""
        topics = self.topics or {self.topic: KafkaTopic()}
        return {
            name: KafkaTopic(
                format=one.format or self.format,
                labels={**self.labels, **one.labels},
                types={**self.types, **one.types},
            )
            for name, one in topics.items()
        }

    def dead_letters_of(self, topic: str) -> str:
        """Where unreadable messages of a topic are copied to, "" for nowhere."""
        return topic + DEAD_LETTERS if self.dead_letter_topic is None else self.dead_letter_topic
