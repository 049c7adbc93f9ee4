"""What `samband check` says of a configuration that loads: what forbids a start, and what people should know."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from daemon.settings.entries import Entries
from daemon.settings.models import Settings
from daemon.settings.plugins import emergency_of
from daemon.settings.problems import KeyPath, did_you_mean, dotted
from daemon.settings.section import NotBuilt
from daemon.settings.sources import KafkaSource, Source

INCIDENT_NAMES = ("priority", "owner", "tier", "service", "services", "environment", "environments")
"""What policies can ask of an incident (`daemon.core.routing.values_of`)."""

Level = Literal["error", "warning", "not active yet"]


@dataclass(frozen=True)
class Finding:
    """One thing that was found. error: samband does not start with it. place: file:line:column."""

    level: Level
    place: str
    key: str
    text: str
    remedy: str = ""

    def __str__(self) -> str:
        line = f"{self.place}: {self.level}: {self.key}" + (f": {self.text}" if self.text else "")
        return line + (f"\n    {self.remedy}" if self.remedy else "")


def check(settings: Settings, entries: Entries | None = None, inactive: list[str] | None = None) -> list[Finding]:
    """All findings, errors first. `run` refuses to start when one of them is an error.

    entries: services and teams with those of the catalogue's files (`Assembly.entries`); without them
    those of the configuration alone. inactive: likewise `Assembly.inactive`.
    """
    entries = entries or Entries(settings.services, settings.teams)
    found = [*_doors(settings), *_secrets(settings), *_sinks(settings), *_conditions(settings)]
    found += _owners(settings, entries)
    for key in settings.inactive if inactive is None else inactive:
        path = _path_of(settings, key)
        found.append(Finding("not active yet", str(settings.places.key(path)), key, ""))
    order: dict[Level, int] = {"error": 0, "warning": 1, "not active yet": 2}
    return sorted(found, key=lambda finding: order[finding.level])


def _doors(settings: Settings) -> Iterator[Finding]:
    """Who could come in."""
    address = settings.listen.internal
    if settings.open_login:
        if address.loopback:
            text = "nobody needs a token on this machine"
            yield _of(settings, "warning", ("login",), text, "take it out to use operator.token")
        else:
            text = f"open is allowed on loopback only, and {address} is not"
            yield _of(settings, "error", ("login",), text, "take login out, or listen on 127.0.0.1:8112")
    if address.loopback:
        return
    if settings.tls is None and not settings.trusted_proxies:
        text = f"tokens cross the network in clear, since {address} is not loopback"
        remedy = "add tls: {cert_file, key_file}, or name the proxy in front in trusted_proxies"
        yield _of(settings, "warning", ("listen",), text, remedy)
    for name, source in settings.sources.items():
        if isinstance(source, Source) and not isinstance(source, KafkaSource) and not source.tokens:
            text = f"has no token, and {address} is not loopback"
            yield _of(settings, "error", ("sources", name), text, "add token_file (openssl rand -hex 32 makes one)")


def _secrets(settings: Settings) -> Iterator[Finding]:
    if settings.listen.internal.loopback:
        return
    for path in settings.inline_secrets:
        if settings.places.value(path).line:
            text = "a secret stands in the configuration itself"
            yield _of(settings, "warning", path, text, f"put it into a file and name that in {path[-1]}_file")


def _sinks(settings: Settings) -> Iterator[Finding]:
    """Sinks that nothing goes to, and whether anybody is told when samband cannot do its job."""
    if settings.policies is not None:
        used = {name for rule in settings.policies for name in rule.to} | set(settings.emergency or ())
        for name, sink in settings.sinks.items():
            if name not in used and not isinstance(sink, NotBuilt):
                yield _of(settings, "warning", ("sinks", name), "no policy names it", "name it, or take it out")
    for index, name in enumerate(settings.emergency or ()):
        if isinstance(settings.sinks.get(name), NotBuilt):
            text = f"{name} is not active yet, so that it tells nobody"
            yield _of(settings, "warning", ("emergency", index), text, "name a sink that is active")
    if settings.mode == "shadow":
        return
    if all(isinstance(sink, NotBuilt) for sink in settings.sinks.values()):
        yield _of(settings, "warning", ("sinks",), "there is no active one, so that nobody is told", "add a pager")
    elif not settings.emergency and not emergency_of(settings.emergency, settings.sinks):
        text = "nobody is told when samband cannot do its job"
        yield _of(settings, "warning", ("emergency",), text, "name a sink in emergency")


def _conditions(settings: Settings) -> Iterator[Finding]:
    """Policies that ask for what incidents do not have, and so match otherwise than meant."""
    for index, rule in enumerate(settings.policies or ()):
        for term in rule.when.terms:
            if term.name not in INCIDENT_NAMES:
                text = f"an incident has no {term.name}, so that it counts as empty"
                yield _of(
                    settings, "warning", ("policies", index, "when"), text, did_you_mean(term.name, INCIDENT_NAMES)
                )


def _owners(settings: Settings, entries: Entries) -> Iterator[Finding]:
    """Teams that are named and not described, where teams are described at all."""
    if not entries.teams:
        return
    named: list[tuple[KeyPath, str]] = [(("services", name, "team"), s.team) for name, s in entries.services.items()]
    for path, team in [*named, (("fallback", "team"), settings.fallback.team)]:
        if team and team not in entries.teams and (path[0] == "services" or "fallback" in settings.model_fields_set):
            yield _of(settings, "warning", path, f'there is no team "{team}"', did_you_mean(team, entries.teams))


def _of(settings: Settings, level: Level, path: KeyPath, text: str, remedy: str) -> Finding:
    return Finding(level, str(settings.places.value(path)), dotted(path), text, remedy)


def _path_of(settings: Settings, key: str) -> KeyPath:
    """The first place that an inactive key, named once for all entries, stands at."""
    parts = key.partition(" (")[0].replace("[", ".").replace("]", "").split(".")
    for path in settings.places.keys:
        words = [str(part) for part in path]
        if len(words) == len(parts) and all(b in ("*", a) for a, b in zip(words, parts, strict=True)):
            return path
    return ("catalogue", "load")
