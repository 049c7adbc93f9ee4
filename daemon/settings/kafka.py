"""Kafka as a source: which topics, in which form, and how the brokers are reached."""

from typing import Any, Literal

from pydantic import Field, SecretStr, field_validator, model_validator

from daemon.settings.durations import Duration
from daemon.settings.section import Section
from daemon.settings.source import Source

FormatName = Literal["native", "alertmanager", "cloudevents", "pagerduty_events", "header"]
DataFormat = Literal["native", "alertmanager", "pagerduty_events"]
Mechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"]
DEAD_LETTERS = ".dead-letters"


class KafkaTls(Section):
    """TLS to the brokers; without `ca_file` the certificates that the system trusts."""

    ca_file: str = Field("", description="PEM file of who may have signed the brokers' certificates")
    cert_file: str = Field("", description="PEM file of samband's own certificate, for brokers that ask for one")
    key_file: str = Field("", description="PEM file of its key")

    @model_validator(mode="after")
    def _both(self) -> "KafkaTls":
        if bool(self.cert_file) != bool(self.key_file):
            raise ValueError("cert_file and key_file belong together; give both or none")
        return self


class KafkaSasl(Section):
    """Who samband is to the brokers."""

    mechanism: Mechanism = Field(description="How it shows who it is")
    user: str = Field("", description="Its name (PLAIN, SCRAM)")
    password: SecretStr | None = Field(None, description="Its password (PLAIN, SCRAM). Better in `password_file`")
    token_file: str = Field("", description="File with its token (OAUTHBEARER); read again for every connection")

    @model_validator(mode="after")
    def _complete(self) -> "KafkaSasl":
        if self.mechanism == "OAUTHBEARER":
            if not self.token_file or self.user or self.password:
                raise ValueError("OAUTHBEARER takes a token_file and nothing else; give it")
        elif not self.user or self.password is None or self.token_file:
            raise ValueError(f"{self.mechanism} takes user and password_file; give both")
        return self

    @property
    def secret(self) -> str:
        """Its password, "" when it has none."""
        return self.password.get_secret_value() if self.password is not None else ""


class KafkaTopic(Section):
    """One topic, where it differs from its source."""

    format: FormatName | None = Field(None, description="Form of its messages; else the source's")
    labels: dict[str, str] = Field({}, description="Labels of its alerts that bring none of that name")
    types: dict[str, DataFormat] = Field({}, description="CloudEvents `type` -> form of the data; else native")


class KafkaSource(Source):
    """Topics of one Kafka cluster. Its messages need no token: who may write to the topic is the cluster's to say."""

    type: Literal["kafka"] = Field(description="Topics of a Kafka cluster")
    brokers: tuple[str, ...] = Field(min_length=1, description="host:port of some brokers")
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
    tls: KafkaTls | None = Field(None, description="{ca_file, cert_file, key_file}; {} for TLS alone")
    sasl: KafkaSasl | None = Field(None, description="{mechanism, user, password_file}, or {mechanism, token_file}")
    dead_letter_topic: str | None = Field(
        None, description="Where unreadable messages are copied to, by default TOPIC.dead-letters; empty for nowhere"
    )
    resolve_timeout: Duration = Field(300_000, description="Lease of an alert that comes without `endsAt`")

    @field_validator("token", mode="before")
    @classmethod
    def _has_none(cls, value: object) -> object:
        raise ValueError("means nothing here, the brokers know who writes; take it out, or use sasl")

    @field_validator("brokers", mode="before")
    @classmethod
    def _addresses(cls, value: Any) -> Any:
        found = [value] if isinstance(value, str) else value
        for one in found if isinstance(found, list | tuple) else ():
            host, colon, port = str(one).rpartition(":")
            if not (colon and host and port.isdigit() and 0 < int(port) < 65_536):
                raise ValueError(f"{str(one)[:80]!r} is no broker; write host:port, for example [k1:9092, k2:9092]")
        return found

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
