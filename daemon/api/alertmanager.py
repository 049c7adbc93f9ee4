"""What is read through Alertmanager's API v2: by amtool, Grafana, karma. Its shapes and its words."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any

import orjson
import re2

from daemon.api.alerts import DEDUP_KEY, native_fields
from daemon.api.fingerprint import fingerprint
from daemon.api.surface import Pace, Surface
from daemon.core.enrich import labels_of
from daemon.core.model.alert import Alert
from daemon.core.view_json import rfc3339
from daemon.settings.matchers import MatcherError, Matchers, classic
from daemon.sources.formats.alertmanager import without_generator
from daemon.sources.formats.base import RESOLVE_TIMEOUT_MS

RECEIVER = "samband"
"""The one receiver there is in Alertmanager's terms: who is told is decided on incidents, not on alerts."""

API_VERSION = "0.34.0"
"""The release of Alertmanager whose API is mirrored; amtool compares it with its own."""

CONFIG = f"global:\n  resolve_timeout: 5m\nroute:\n  receiver: {RECEIVER}\nreceivers:\n- name: {RECEIVER}\n"

_SILENCES = ("silence ", "maintenance ")
_TRUE = frozenset({"true", "1", "yes", "ok", "y", "on", "selected", "checked", "t", "enabled"})


class BadQuery(Exception):
    """A query that Alertmanager answers with 400 and this text."""


class Query:
    """The parameters of a listing. Raises BadQuery."""

    def __init__(self, parameters: Iterable[tuple[str, str]], source: str = "") -> None:
        given: dict[str, list[str]] = {}
        for name, value in parameters:
            given.setdefault(name, []).append(value)
        self.source = source
        self.active = flag(given, "active")
        self.silenced = flag(given, "silenced")
        self.inhibited = flag(given, "inhibited")
        self.matchers = matchers_of(given.get("filter", []))
        self.receives = _receives(given["receiver"][-1]) if given.get("receiver") else True

    def wants(self, alert: Alert, labels: dict[str, str]) -> bool:
        """Whether the alert is listed."""
        if not self.receives or (self.source and alert.source != self.source):
            return False
        silenced, inhibited = silenced_by(alert), _inhibited_by(alert)
        if (silenced and not self.silenced) or (inhibited and not self.inhibited):
            return False
        if not alert.held and not self.active:
            return False
        values = {name: (value,) for name, value in labels.items()}
        return all(matcher.matches(values) for matcher in self.matchers)


def matchers_of(texts: Iterable[str]) -> list[Matchers]:
    """What `filter` asks for. Raises BadQuery."""
    try:
        return [_matchers(text) for text in texts]
    except MatcherError as error:
        raise BadQuery(f"bad matcher format: {error}") from None


def _matchers(text: str) -> Matchers:
    """As Alertmanager: what is not of the new form may be of the classic one, and amtool passes on what was typed."""
    try:
        return Matchers(text)
    except MatcherError as error:
        try:
            return Matchers(str(classic(text)))
        except MatcherError:
            raise error from None


def flag(given: dict[str, list[str]], name: str) -> bool:
    """A parameter that is true or false; true when it is not given."""
    return given[name][-1].lower() in _TRUE if given.get(name) else True


def _receives(pattern: str) -> bool:
    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(pattern, options).fullmatch(RECEIVER) is not None
    except re2.error as error:
        reason = error.args[0].decode("utf-8", "replace") if isinstance(error.args[0], bytes) else str(error)
        raise BadQuery(f"failed to parse receiver param: {reason}") from None


def silenced_by(alert: Alert) -> list[str]:
    """Ids of the silences and maintenance windows that hold the alert: both are silences to Alertmanager's clients."""
    return [reason.partition(" ")[2] for reason in alert.held if reason.startswith(_SILENCES)]


def _inhibited_by(alert: Alert) -> list[str]:
    return [reason for reason in alert.held if reason.startswith("inhibit")]


def status(surface: Surface) -> dict[str, Any]:
    """`GET /status`."""
    return {
        "cluster": {"status": "disabled", "peers": []},
        "config": {"original": CONFIG},
        "uptime": rfc3339(surface.started_ms),
        "versionInfo": {
            "version": API_VERSION,
            "revision": f"samband {surface.version}",
            "branch": "samband",
            "buildUser": "",
            "buildDate": "",
            "goVersion": "",
        },
    }


def receivers() -> list[dict[str, Any]]:
    """`GET /receivers`."""
    return [{"name": RECEIVER, "labels": {}}]


async def matching(surface: Surface, query: Query) -> list[tuple[str, int]]:
    """Fingerprint and id of every alert that is open and that the query wants, by fingerprint."""
    state, pace = surface.runtime.engine.state, Pace()
    found: list[tuple[str, int]] = []
    for number in list(state.alerts.rows):
        if pace.tired:
            await asyncio.sleep(0)
        alert = state.alerts.rows.get(number)
        if alert is None or not alert.open:
            continue
        labels = labels_shown(surface, alert)
        if query.wants(alert, labels):
            found.append((fingerprint(tuple(sorted(labels.items()))), number))
    found.sort()
    return found


def labels_shown(surface: Surface, alert: Alert) -> dict[str, str]:
    """The labels as they were sent; for other sources the native fields stand among them, as in conditions."""
    labels = labels_of(alert.labels)
    if surface.sources.get(alert.source) == "alertmanager":
        return labels
    return {**labels, **native_fields(alert)}


def alert_json(surface: Surface, alert: Alert, mark: str) -> dict[str, Any]:
    """One gettable alert. An open alert always has an end in the future there, or clients take it for resolved."""
    now = surface.runtime.now_ms()
    annotations, url = without_generator(labels_of(surface.runtime.engine.state.annotations.get(alert.id) or b"{}"))
    annotations.pop(DEDUP_KEY, None)
    return {
        "annotations": annotations,
        "endsAt": rfc3339(alert.ends_at if alert.ends_at > now else now + RESOLVE_TIMEOUT_MS),
        "fingerprint": mark,
        "receivers": [{"name": RECEIVER}],
        "startsAt": rfc3339(alert.starts_at),
        "status": {
            "state": "suppressed" if alert.held else "active",
            "silencedBy": silenced_by(alert),
            "inhibitedBy": _inhibited_by(alert),
            "mutedBy": [one for one in alert.held if not one.startswith((*_SILENCES, "inhibit"))],
        },
        "updatedAt": rfc3339(alert.last_sign),
        "generatorURL": url,
        "labels": labels_shown(surface, alert),
    }


async def stream(surface: Surface, found: Sequence[tuple[str, int]]) -> AsyncIterator[bytes]:
    """The listing as JSON, in pieces: a big one neither holds the event loop nor doubles the memory."""
    parts: list[bytes] = []
    pace, separator = Pace(), b"["
    rows = surface.runtime.engine.state.alerts.rows
    for mark, number in found:
        alert = rows.get(number)
        if alert is None:
            continue
        parts += separator, orjson.dumps(alert_json(surface, alert, mark))
        separator = b","
        if pace.tired:
            yield b"".join(parts)
            parts.clear()
            await asyncio.sleep(0)
    yield b"".join(parts) + (b"]" if separator == b"," else b"[]")


async def groups(surface: Surface, query: Query) -> list[dict[str, Any]]:
    """`GET /alerts/groups`: grouped as samband groups, by incident; alerts in none stand together."""
    state = surface.runtime.engine.state
    grouped: dict[str, list[dict[str, Any]]] = {}
    pace = Pace()
    for mark, number in await matching(surface, query):
        if pace.tired:
            await asyncio.sleep(0)
        alert = state.alerts.rows.get(number)
        if alert is not None:
            incident = state.incident_of(alert)
            grouped.setdefault(incident.ref if incident else "", []).append(alert_json(surface, alert, mark))
    return [
        {
            "labels": {"incident": ref} if ref else {},
            "routeLabels": {},
            "receiver": {"name": RECEIVER},
            "alerts": alerts,
        }
        for ref, alerts in sorted(grouped.items())
    ]
