"""The options of Kafka sources and sinks: which brokers, over TLS, and who samband is for them."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, model_validator


def _hosts_and_ports(brokers: tuple[str, ...]) -> tuple[str, ...]:
    for broker in brokers:
        host, colon, port = broker.rpartition(":")
        if not (host and colon and port.isdigit() and 0 < int(port) < 65_536) or "/" in host:
            raise ValueError(f"{broker!r} is no broker; write host:port")
    return brokers


BrokerAddresses = Annotated[tuple[str, ...], Field(min_length=1), AfterValidator(_hosts_and_ports)]
"""host:port of some brokers; the others are learned from them."""


class _Options(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class BrokerTls(_Options):
    """TLS to the brokers. The files are read at every connection, so that a renewed certificate is taken up."""

    ca_file: Path | None = Field(None, description="Authorities that are believed, as PEM; else the system's")
    cert_file: Path | None = Field(None, description="Certificate that samband shows, as PEM")
    key_file: Path | None = Field(None, description="Its private key, as PEM, without a passphrase")

    @model_validator(mode="after")
    def _both_or_none(self) -> "BrokerTls":
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file belong together: give both, or none")
        return self


Mechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"]


class BrokerSasl(_Options):
    """Who samband is for the brokers."""

    mechanism: Mechanism = Field("SCRAM-SHA-512", description="How it logs in")
    user: str = Field("", description="Name; not for OAUTHBEARER")
    password: SecretStr | None = Field(None, description="Password; better in `password_file`")
    token_file: Path | None = Field(
        None, description="OAUTHBEARER: file with the token, read at every login, so that something may renew it"
    )

    @model_validator(mode="after")
    def _complete(self) -> "BrokerSasl":
        if self.mechanism == "OAUTHBEARER":
            if self.token_file is None or self.user or self.password is not None:
                raise ValueError("OAUTHBEARER takes token_file; give that, and neither user nor password")
        elif not self.user or self.password is None or self.token_file is not None:
            raise ValueError(f"{self.mechanism} takes user and password_file; give both, and no token_file")
        return self


def secrets_of(sasl: BrokerSasl | None) -> tuple[str, ...]:
    """What must not be seen of it."""
    return (sasl.password.get_secret_value(),) if sasl is not None and sasl.password is not None else ()
