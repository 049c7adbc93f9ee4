"""From the configuration to what the parts of the daemon ask, and between parts that do not know each other."""

import uuid
from collections.abc import Awaitable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from daemon import log
from daemon import outbox_rules as rules
from daemon.access import Access, Keys, digest
from daemon.assembly import Assembly, assemble
from daemon.batching import Replies
from daemon.brokers import secrets_of
from daemon.clock import SystemClock
from daemon.core.engine import self_alert
from daemon.core.model.alert import ParsedAlert
from daemon.core.model.change import ParsedChange
from daemon.core.model.ids import public_id
from daemon.core.model.stream import Positions
from daemon.core.records import AnyRecord, ChangeSeen, CommandGiven, SelfNoticed
from daemon.outbox_orders import Style
from daemon.quota import OpenAlerts
from daemon.runtime import NotDurable, Runtime
from daemon.settings import Settings, load
from daemon.settings.check import Finding, check
from daemon.settings.hours import zone
from daemon.settings.sources import AlertmanagerSource, KafkaSource, PagerDutyEventsSource
from daemon.settings.sources import Source as SourceSettings
from daemon.sources.formats.base import RESOLVE_TIMEOUT_MS
from daemon.sources.formats.pagerduty_events import Route
from daemon.sources.kafka.sources import forms_of
from daemon.sources.receiver import Haul, Unavailable
from daemon.sources.senders import Source
from daemon.store.base import DeadLetter


class CannotStart(Exception):
    """The daemon cannot run as configured; the text names place and remedy. Exit code 2."""


def configured(config: Path | None) -> Assembly:
    """Reads and checks the configuration. Raises ConfigError, CannotStart."""
    assembly = assemble(load(config), from_ms=SystemClock().wall_ms())
    findings = check(assembly.settings, assembly.entries, assembly.inactive)
    errors = [str(one) for one in findings if one.level == "error"]
    if errors:
        raise CannotStart("\n".join(errors))
    _tell(findings)
    log.conceal(_secrets(assembly))
    return assembly


def _tell(findings: Sequence[Finding]) -> None:
    for one in findings:
        if one.key == "login":
            log.LOGIN_OPEN(place=one.place, remedy=one.remedy)
        else:
            log.CONFIG_NOTICE(level=one.level, place=one.place, key=one.key, text=one.text, remedy=one.remedy)


def _secrets(assembly: Assembly) -> list[str]:
    teams = ["", *assembly.entries.teams]
    sinks = [assembly.sinks.get(name, team) for name in assembly.sinks.names for team in teams]
    tokens = [token for source in assembly.sources.values() for token in source.tokens]
    tokens += [secret for one in kafka(assembly).values() for secret in secrets_of(one.sasl)]
    return [*tokens, *(secret for sink in sinks for secret in sink.secrets)]


class Receiver:
    """The intake's way to the runtime: `sources.receiver.Receiver`."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self.now_ms = runtime.now_ms
        self.within = OpenAlerts(runtime.engine.state).within

    async def intake(self, alerts: list[ParsedAlert]) -> None:
        """See `sources.receiver.Receiver`."""
        try:
            await self._runtime.intake(alerts)
        except NotDurable as error:
            raise Unavailable(error.retry_after_s, error.reason) from None

    def positions(self) -> Positions:
        """See `sources.receiver.LogReceiver`."""
        return self._runtime.positions

    def streams(self) -> list[tuple[str, str]]:
        """See `sources.receiver.LogReceiver`."""
        return list(self._runtime.engine.state.by_stream)

    def said(self, cause: str, about: str) -> bool:
        """See `sources.receiver.LogReceiver`."""
        state = self._runtime.engine.state
        key = self_alert(SelfNoticed(0, cause, "", "", True, about)).key
        alert = state.alerts.rows.get(state.by_key.get(key, 0))
        return alert is not None and alert.open

    def follow(self, haul: Haul) -> Awaitable[object]:
        """See `sources.receiver.LogReceiver`."""
        now = self._runtime.now_ms()
        letters = [DeadLetter(now, one.source, one.reason, one.raw) for one in haul.letters]
        try:
            return _durable(self._runtime.follow(haul.positions, haul.alerts, haul.received, letters, haul.records))
        except NotDurable as error:
            raise Unavailable(error.retry_after_s, error.reason) from None

    async def acknowledge(self, key: bytes, actor: str) -> None:
        """See `sources.receiver.Receiver`."""
        state = self._runtime.engine.state
        alert = state.alerts.rows.get(state.by_key.get(key, 0))
        incident = state.incident_of(alert) if alert is not None and alert.open else None
        if incident is None or incident.state not in ("open", "reopened"):
            return
        record = CommandGiven(self._runtime.now_ms(), uuid.uuid4().hex, actor, "acknowledge", incident.id)
        (reply,) = await self._submit([record])
        if reply is not None:
            outcome, text = reply.status, reply.text
            log.COMMAND(verb="acknowledge", incident=public_id(incident.id), actor=actor, outcome=outcome, text=text)

    async def changes(self, changes: list[ParsedChange]) -> None:
        """See `sources.receiver.Receiver`."""
        now = self._runtime.now_ms()
        await self._submit([ChangeSeen(now, change) for change in changes])

    async def _submit(self, records: list[AnyRecord]) -> Replies:
        try:
            return await self._runtime.submit(records)
        except NotDurable as error:
            raise Unavailable(error.retry_after_s, error.reason) from None

    async def dead_letter(self, source: str, reason: str, raw: bytes) -> None:
        """See `sources.receiver.Receiver`."""
        try:
            await self._runtime.dead_letter(DeadLetter(self._runtime.now_ms(), source, reason, raw))
        except NotDurable as error:
            raise Unavailable(error.retry_after_s, error.reason) from None


async def _durable(done: Awaitable[object]) -> None:
    try:
        await done
    except NotDurable as error:
        raise Unavailable(error.retry_after_s, error.reason) from None


def sources(assembly: Assembly) -> dict[str, Source]:
    """The sources as the intake asks for them, by name."""
    return {
        name: Source(
            name,
            one.type,
            tuple(digest(token) for token in one.tokens),
            one.resolves,
            one.replica_labels,
            one.resolve_timeout if isinstance(one, AlertmanagerSource) else RESOLVE_TIMEOUT_MS,
            routes=_routes(name, one),
            topics=forms_of(one) if isinstance(one, KafkaSource) else {},
        )
        for name, one in assembly.sources.items()
    }


def kafka(assembly: Assembly) -> dict[str, KafkaSource]:
    """The sources that follow topics, by name."""
    return {name: one for name, one in assembly.sources.items() if isinstance(one, KafkaSource)}


def _routes(name: str, source: SourceSettings) -> tuple[tuple[bytes, Route], ...]:
    if not isinstance(source, PagerDutyEventsSource):
        return ()
    return tuple(
        (digest(key), Route(one.source or name, one.service, one.environment or source.environment))
        for key, one in zip(source.tokens, source.services, strict=True)
    )


def types(assembly: Assembly) -> dict[str, str]:
    """Name of a source -> its type."""
    return {name: source.type for name, source in assembly.sources.items()}


def access(settings: Settings, keys: Keys, sources: Mapping[str, Source], *, loopback: bool) -> Access:
    """Who may ask, beside the intake. loopback: whether it listens there and nowhere else."""
    return Access(
        keys,
        open_=settings.open_login,
        loopback=loopback,
        metrics_open=settings.metrics == "open",
        proxies=settings.trusted_proxies,
        sources={name: one.tokens for name, one in sources.items()},
    )


def timing(settings: Settings) -> rules.Timing:
    """How the outbox tries."""
    given = settings.delivery
    return rules.Timing(
        timeout=given.timeout,
        retry_first=given.retry_first,
        retry_max=given.retry_max,
        give_up_after=given.give_up_after,
        circuit_pause=given.circuit_pause,
        settle=given.settle,
    )


def style(settings: Settings) -> Style:
    """How things are said to people."""
    place = zone(settings.timezone)

    def at(ms: int) -> tuple[int, str]:
        local = datetime.fromtimestamp(ms / 1000, UTC).astimezone(place)
        offset = local.utcoffset()
        return (int(offset.total_seconds()) // 60 if offset else 0, local.tzname() or "UTC")

    return Style(settings.external_url, at)
