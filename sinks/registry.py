"""Which sinks there are: samband's own, and those of other distributions (entry points `samband.sinks`)."""

from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Any

from sinks.base import Sink
from sinks.config import SinkConfig
from sinks.messages.kafka import Kafka
from sinks.messages.webhook import Webhook
from sinks.pagers.pagerduty import PagerDuty
from sinks.status_pages.statuspage import Statuspage
from sinks.tickets.jira import Jira

SINKS: Mapping[str, Any] = {
    "jira": Jira,
    "kafka": Kafka,
    "pagerduty": PagerDuty,
    "statuspage": Statuspage,
    "webhook": Webhook,
}
"""`type` in the configuration -> the sink's class, which carries its `Config`."""

ENTRY_POINTS = "samband.sinks"


def sink_types() -> dict[str, Any]:
    """All sinks by type. Raises ValueError when a distribution brings a type that is there already."""
    types = dict(SINKS)
    for entry in sorted(entry_points(group=ENTRY_POINTS), key=lambda entry: entry.name):
        if entry.name in types:
            raise ValueError(f"the sink type {entry.name} is there twice: uninstall {entry.value}, or rename its entry")
        types[entry.name] = entry.load()
    return types


def config_of(sink_type: Any) -> type[SinkConfig]:
    """The pydantic model of a sink type's configuration."""
    model: type[SinkConfig] = sink_type.Config
    return model


def build(sink_type: Any, name: str, config: SinkConfig, *, settle_ms: int) -> Sink:
    """Makes a sink. settle_ms: how long a service's search may lag, for sinks that read back.

    Raises ValueError when a secret's file was not read yet.
    """
    if sink_type.idempotency == "readback":
        sink: Sink = sink_type(name, config, settle_ms=settle_ms)
    else:
        sink = sink_type(name, config)
    return sink
