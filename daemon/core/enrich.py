"""Step 3: what an alert is about. Service and environment from labels, tier and owner from the catalogue."""

import msgspec

from daemon.core.model.alert import RANK, ParsedAlert
from daemon.core.model.catalogue import Service
from daemon.core.policy import Policy

NO_SERVICE = Service("")
ENVIRONMENT_LABELS = ("environment", "env", "stage")
WORKLOAD_LABELS = ("deployment", "statefulset", "daemonset")
DEFAULT_ENVIRONMENT = "production"

labels_of = msgspec.json.Decoder(dict[str, str]).decode
"""Labels or annotations as a map, from their canonical JSON."""


class Subject(msgspec.Struct, frozen=True, gc=False):
    """What an alert is about, as far as correlation and priority ask."""

    severity: str
    service: str
    environment: str
    extra: tuple[str, ...]


def severity_of(word: str, policy: Policy) -> tuple[str, bool]:
    """Our severity for the sender's word, and whether it was known. Missing and unknown count as warning."""
    if word in RANK:
        return word, True
    known = policy.severity.get(word.strip().lower(), "")
    return (known, True) if known else ("warning", False)


def subject_of(parsed: ParsedAlert, severity: str, policy: Policy) -> Subject:
    """Works out service, environment and the further correlation labels of an alert."""
    labels = labels_of(parsed.labels)
    service = parsed.service or service_of(labels, policy)
    environment = parsed.environment
    if not environment:
        for name in ENVIRONMENT_LABELS:
            if environment := labels.get(name, ""):
                break
        else:
            environment = _environment_by_default(parsed.source, service, policy)
    extra = []
    for name in policy.labels:
        if name not in ("service", "environment"):
            extra.append(labels.get(name) or (parsed.resource if name == "resource" else ""))
    return Subject(severity, service, environment, tuple(extra))


def service_of(labels: dict[str, str], policy: Policy) -> str:
    """The first label that names a service and no collector; else the workload; else the instance; else none."""
    for name in policy.service_labels:
        value = labels.get(name, "")
        if value and not _is_collector(value, policy.collectors):
            return value
    namespace = labels.get("namespace", "")
    if namespace:
        for name in WORKLOAD_LABELS:
            if workload := labels.get(name, ""):
                return f"{namespace}/{workload}"
    return labels.get("instance", "")


def service_entry(policy: Policy, service: str) -> Service:
    """The catalogue's entry; an empty one when there is none."""
    return policy.catalogue.services.get(service, NO_SERVICE)


def tier_of(policy: Policy, service: str) -> int:
    """Its tier, 1 to 3; the fallback's for a service that no entry names; 0 when none is given."""
    entry = policy.catalogue.services.get(service)
    return entry.tier if entry is not None else policy.fallback_tier


def team_of(policy: Policy, service: str, labels: bytes) -> str:
    """The owner: a team label wins over the service's team, the fallback takes the rest."""
    if policy.team_labels:
        values = labels_of(labels)
        for name in policy.team_labels:
            if team := values.get(name, ""):
                return team
    return service_entry(policy, service).team or policy.fallback_team


def _environment_by_default(source: str, service: str, policy: Policy) -> str:
    known = policy.sources.get(source)
    if known is not None and known.environment:
        return known.environment
    return service_entry(policy, service).environment or DEFAULT_ENVIRONMENT


def _is_collector(value: str, collectors: tuple[str, ...]) -> bool:
    return any(value == name or value.endswith(("-" + name, "/" + name, "_" + name)) for name in collectors)
