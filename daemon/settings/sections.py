"""The sections of the configuration that stand once, each field described here and nowhere else."""

from ipaddress import ip_address
from typing import Any, Literal

from pydantic import ConfigDict, Field, SecretStr, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticCustomError

from daemon.core import policy as core
from daemon.settings.durations import Duration, parse_duration
from daemon.settings.matchers import MatcherError, Matchers
from daemon.settings.section import Section, guarded, later

PRIORITIES = ("P1", "P2", "P3", "P4", "P5")
COLLECTORS = ("node-exporter", "kube-state-metrics", "blackbox", "cadvisor", "pushgateway")
SEVERITY_WORDS: dict[str, str] = {
    "page": "critical", "crit": "critical", "fatal": "critical", "emergency": "critical",
    "err": "error", "high": "error", "major": "error",
    "warn": "warning", "medium": "warning", "minor": "warning",
    "low": "info", "notice": "info", "information": "info", "informational": "info",
}  # fmt: skip
"""Words that many senders use. What stands neither here nor in `priority.severity` counts as warning."""

Each = tuple[int, int, int, int, int]
_T = core.Timing()


class Address(Section):
    """host:port."""

    host: str = Field(description="Name or address of the interface")
    port: int = Field(ge=0, le=65535, description="Port; 0 takes a free one")

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        host, colon, port = value.rpartition(":")
        if not colon or not port.isdigit() or not host:
            raise ValueError("must be host:port; write for example 127.0.0.1:8112")
        return {"host": host.strip("[]"), "port": int(port)}

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach it."""
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Listen(Section):
    """Where it listens: one address for everything, or one each."""

    internal: Address = Field(Address(host="127.0.0.1", port=8112), description="Intake, API and console")
    public_page: Address | None = later("A listener of its own for the public status page")

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        return value if isinstance(value, dict | Listen) else {"internal": str(value)}


class Store(Section):
    """Where the state is kept."""

    type: Literal["sqlite", "postgresql"] = Field("sqlite", description="sqlite, or postgresql (needs that extra)")
    path: str = Field("state/samband.db", description="sqlite: the file; its directory is made if need be")
    dsn: SecretStr | None = Field(
        None, description="postgresql: `postgresql://USER@HOST:5432/DATABASE`, several hosts with commas; or `dsn_file`"
    )
    dsn_file: str | None = Field(None, description="postgresql: file that holds it")
    state: str = Field("state", description="postgresql: folder of operator.token; it is made if need be")

    @model_validator(mode="after")
    def _each_its_own(self) -> "Store":
        given = self.model_fields_set
        if self.type == "sqlite":
            for name in ("dsn", "dsn_file", "state"):
                if name in given:
                    raise ValueError(f"sqlite has a path and no {name}; take {name} out, or set type: postgresql")
            return self
        if "path" in given:
            raise ValueError("postgresql has a dsn and no path; take path out, or set type: sqlite")
        if (self.dsn is None) == (self.dsn_file is None):
            raise ValueError("postgresql needs one of dsn and dsn_file; name a file with the DSN in dsn_file")
        return self


class Tls(Section):
    """The certificate with which it answers. Read again at every reload."""

    cert_file: str = Field(min_length=1, description="Certificate, with the chain that leads to its root, as PEM")
    key_file: str = Field(min_length=1, description="Its private key, as PEM, without a passphrase")


class Fallback(Section):
    """Who gets what nobody owns, and incidents about samband itself."""

    team: str = Field("fallback", min_length=1, description="The team")
    tier: Literal[1, 2, 3] | None = Field(
        None, description="Tier of services that nobody describes; without one, medium impact"
    )


class CatalogueSection(Section):
    """Where services are described, and how an alert names its own."""

    load: tuple[Any, ...] = Field((), description="Files: {type: yaml, path}")
    service_labels: tuple[str, ...] = Field(
        ("service", "app", "job"), description="The first of them that names no collector is the service"
    )
    team_labels: tuple[str, ...] = Field(("team",), description="Labels that name the team, before the service's owner")
    collectors: tuple[str, ...] = Field(
        (), description=f"Names, whole or ending, that are no service, besides {', '.join(COLLECTORS)}"
    )


class Priority(Section):
    """How bad something is."""

    severity: dict[str, Literal["critical", "error", "warning", "info", "none"]] = Field(
        {}, description="Their words: ours. Before the words that are known anyway"
    )
    adjust: Any = guarded("Rules that change impact, urgency or the highest priority")

    @field_validator("severity", mode="before")
    @classmethod
    def _lower(cls, value: Any) -> Any:
        return {str(k).lower(): v for k, v in value.items()} if isinstance(value, dict) else value


class Correlation(Section):
    """When two alerts are one thing."""

    labels: tuple[str, ...] = Field(
        ("service", "environment", "cluster"), description="What has to be equal (cluster: equal or absent in one)"
    )
    gap: Duration = Field(60_000, description="How far apart alerts of one thing may begin")
    strength: int = Field(500, ge=0, le=1000, description="How strong evidence must be to join, of 1000")
    never_across: tuple[str, ...] = Field((), description="Labels across which nothing joins")
    learning: Literal["suggest", "auto", "off"] = later("What is done with learned rules", "off")
    rules: Any = later("Rules of your own")


class Rule(Section):
    """A policy: incidents that match go to these sinks. The first match acts."""

    when: Matchers = Field(Matchers(""), description="Matchers on the incident; without them every incident")
    to: tuple[str, ...] = Field(description="Names of sinks")
    hours: Literal["always", "support"] = Field(
        "always", description="When its pagers may ring; support: else the page waits for the morning of support hours"
    )
    escalation: str = later("What follows when nobody acts", "")

    model_config = ConfigDict(arbitrary_types_allowed=True)

    @field_validator("when", mode="before")
    @classmethod
    def _compile(cls, value: Any) -> Matchers:
        if not isinstance(value, str):
            raise ValueError("must be one text; write for example 'priority=~\"P1|P2\"'")
        try:
            return Matchers(value)
        except MatcherError as error:
            raise ValueError(f'{error}; write for example priority=~"P1|P2", owner="databases"') from None


class StatusPage(Section):
    """How the public is told."""

    publish: Literal["approve", "auto"] = Field("approve", description="approve: a person publishes; auto: at once")
    by: str = guarded("Who may publish", "")
    green_after: Duration = Field(900_000, description="How long all must be clear before a component is green again")


class Timing(Section):
    """The waits: one duration, or one per priority ({P1: 15s, P2: 45s}; the others keep their default)."""

    first_page: Each = Field(_T.first_page, description="A page is held this long, so that related alerts join it")
    ticket: Each = Field(_T.ticket, description="Likewise a ticket")
    escalate_after: Each = later("Nobody acknowledged", (300_000, 600_000, 1_800_000, 0, 0))
    acknowledge_lapses: Each = Field(
        _T.acknowledge_lapses, description="An acknowledgement without activity ends; `off` or 0s: never"
    )
    resolve_after: Each = Field(_T.resolve_after, description="All clear for this long resolves the incident")
    priority_down_after: Each = Field(_T.priority_down_after, description="Quiet this long before the priority falls")
    lapse_after: Duration = Field(
        _T.lapse_after, description="An emitter that talks on without an overdue alert ends it"
    )
    lapse_after_gap: Duration = Field(_T.lapse_after_gap, description="Likewise when it was silent or restarted since")
    event_expires: Duration = Field(_T.event_expires, description="Events and stale alerts of P3 to P5 are closed")
    reopen_window: Duration = Field(_T.reopen_window, description="What fires again within it reopens its incident")
    comment_every: Duration = Field(_T.comment_every, description="Tickets are commented at most this often")

    @field_validator(
        *("first_page", "ticket", "escalate_after", "acknowledge_lapses", "resolve_after", "priority_down_after"),
        mode="before",
    )
    @classmethod
    def _each(cls, value: Any, info: ValidationInfo) -> Any:
        name = info.field_name or ""
        return per_priority(value, cls.model_fields[name].default, off=name == "acknowledge_lapses")


def per_priority(value: Any, default: Each, *, off: bool = False) -> Each:
    """One duration for all, or a map by priority over the default. `off`: whether that word means 0."""
    if isinstance(value, tuple):
        return value
    if not isinstance(value, dict):
        return (_one(value, off),) * 5
    each = list(default)
    for key, text in value.items():
        name = key.upper()  # the environment's names come in lower case
        if name not in PRIORITIES:
            raise PydanticCustomError("below", "is no priority; known are P1 to P5", {"below": key})
        try:
            each[PRIORITIES.index(name)] = _one(text, off)
        except ValueError as error:
            raise PydanticCustomError("below", "{text}", {"below": key, "text": str(error)}) from None
    return each[0], each[1], each[2], each[3], each[4]


def _one(value: Any, off: bool) -> int:
    return 0 if off and value == "off" else parse_duration(value)


class Delivery(Section):
    """How sinks are tried."""

    timeout: Duration = Field(10_000, gt=0, description="One request")
    retry_first: Duration = Field(1_000, gt=0, description="Wait before the second try; doubles from there")
    retry_max: Duration = Field(300_000, gt=0, description="Longest wait between two tries")
    give_up_after: Duration = Field(86_400_000, gt=0, description="Then it becomes a dead letter")
    circuit_pause: Duration = Field(30_000, description="A sink that fails throughout is left alone this long")
    settle: Duration = Field(60_000, description="How long a service's search may lag behind what it was told")


class Heartbeat(Section):
    """A dead-man's switch."""

    every: Duration = Field(description="How often it calls")
    grace: Duration = Field(0, description="How late it may be")
