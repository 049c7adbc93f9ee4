"""Step 3: what an alert is about. Service and environment from labels, tier and owner from the catalogue."""

from functools import lru_cache

import msgspec

from daemon.core.model.alert import SEVERITIES, ParsedAlert
from daemon.core.model.catalogue import Service
from daemon.core.policy import Policy

NO_SERVICE = Service("")
ENVIRONMENT_LABELS = ("environment", "env", "stage")
WORKLOAD_LABELS = ("deployment", "statefulset", "daemonset")
DEFAULT_ENVIRONMENT = "production"

_SEVERITIES: dict[str, str] = {word: word for word in SEVERITIES}
"""To one text for all alerts: the sender's takes 56 bytes in each."""

labels_of = msgspec.json.Decoder(dict[str, str]).decode
"""Labels or annotations as a map, from their canonical JSON."""


Subject = tuple[str, str, tuple[str, ...]]
"""What an alert is about, as far as correlation and priority ask: service, environment, further correlation labels."""


def severity_of(word: str, policy: Policy) -> tuple[str, bool]:
    """Our severity for the sender's word, and whether it was known. Missing and unknown count as warning."""
    ours = _SEVERITIES.get(word)
    if ours is not None:
        return ours, True
    known = policy.severity.get(word.strip().lower(), "")
    return (known, True) if known else ("warning", False)


def subject_of(parsed: ParsedAlert, policy: Policy) -> Subject:
    """Works out what an alert is about."""
    labels = labels_of(parsed.labels)
    service = parsed.service or service_of(labels, policy)[0]
    environment = parsed.environment or environment_of(parsed.source, labels, service, policy)[0]
    extra = [labels.get(name, "") for name in _further(policy.labels)]
    if "resource" in policy.labels and not labels.get("resource"):
        extra[_further(policy.labels).index("resource")] = parsed.resource
    return service, environment, tuple(extra)


@lru_cache(maxsize=64)
def _further(labels: tuple[str, ...]) -> tuple[str, ...]:
    """The correlation labels that are no field of their own."""
    return tuple(name for name in labels if name not in ("service", "environment"))


def service_of(labels: dict[str, str], policy: Policy) -> tuple[str, str]:
    """The service, and the label that says so: the first that names a service and no collector; else the
    workload; else the instance; else none.
    """
    for name in policy.service_labels:
        if (value := labels.get(name)) and not _is_collector(value, policy.collectors):
            return value, name
    namespace = labels.get("namespace", "")
    if namespace:
        for name in WORKLOAD_LABELS:
            if workload := labels.get(name, ""):
                return f"{namespace}/{workload}", name
    return labels.get("instance", ""), "instance"


def environment_of(source: str, labels: dict[str, str], service: str, policy: Policy) -> tuple[str, str]:
    """The environment, and what says so: a label, by its name; else "source", "catalogue" or "default"."""
    for name in ENVIRONMENT_LABELS:
        if name in labels and (environment := labels[name]):
            return environment, name
    known = policy.sources.get(source)
    if known is not None and known.environment:
        return known.environment, "source"
    entry = policy.catalogue.services.get(service)
    if entry is not None and entry.environment:
        return entry.environment, "catalogue"
    return DEFAULT_ENVIRONMENT, "default"


def service_entry(policy: Policy, service: str) -> Service:
    """The catalogue's entry; an empty one when there is none."""
    return policy.catalogue.services.get(service, NO_SERVICE)


def tier_of(policy: Policy, service: str) -> int:
    """Its tier, 1 to 3; the fallback's for a service that no entry names; 0 when none is given."""
    entry = policy.catalogue.services.get(service)
    return entry.tier if entry is not None else policy.fallback_tier


def team_of(policy: Policy, service: str, labels: bytes, source: str) -> str:
    """The owner: see `owner_of`."""
    return owner_of(policy, service, labels, source)[0]


def owner_of(policy: Policy, service: str, labels: bytes, source: str) -> tuple[str, str]:
    """The owner, and what says so: a team label, by its name, wins over the service's team ("catalogue"), that
    over the team of the source ("source"); the fallback ("") takes the rest.
    """
    if policy.team_labels:
        values = labels_of(labels)
        for name in policy.team_labels:
            if team := values.get(name, ""):
                return team, name
    if team := service_entry(policy, service).team:
        return team, "catalogue"
    known = policy.sources.get(source)
    if known is not None and known.team:
        return known.team, "source"
    return policy.fallback_team, ""


@lru_cache(maxsize=4_096)
def _is_collector(value: str, collectors: tuple[str, ...]) -> bool:
    return any(value == name or value.endswith(("-" + name, "/" + name, "_" + name)) for name in collectors)
