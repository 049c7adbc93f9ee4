"""The alert that a question is about: matchers as people type them, read by the format of a source."""

from collections.abc import Mapping

import orjson

from daemon.core.model.alert import ParsedAlert
from daemon.settings.matchers import Matchers
from daemon.sources.formats import pagerduty_events
from daemon.sources.formats.base import Context
from daemon.sources.formats.registry import FORMATS
from daemon.sources.senders import Source

FIELDS = ("severity", "service", "resource", "environment", "dedup_key")
"""The native fields; everything else that is given is a label."""


class Unclear(Exception):
    """The question cannot be answered; the text says what is to be changed."""


def asked(matchers: Matchers, sources: Mapping[str, Source], now_ms: int) -> ParsedAlert:
    """The alert with exactly these labels, as its source would send it. Raises Unclear.

    `source` among the matchers says which source; without it, it is the first that is configured.
    """
    given = _values(matchers)
    name = given.pop("source", "") or next(iter(sources), "")
    source = sources.get(name)
    if source is None:
        raise Unclear(f"there is no source {name[:100]!r}; there are {', '.join(sources) or 'none'}")
    if not given.get("alertname"):
        raise Unclear('an alert has a name: alertname="HighErrorRate", beside what else it has')
    context = Context(
        name, now_ms, ignored=source.ignored, resolves=source.resolves, resolve_timeout_ms=source.resolve_timeout_ms
    )
    if source.type == pagerduty_events.NAME:
        return _of_pagerduty(given, context)
    body = _of_alertmanager(given) if source.type == "alertmanager" else _native(given)
    parsed = FORMATS[source.type].parse(body, context)
    if parsed.rejected:
        raise Unclear(parsed.rejected[0].reason)
    return parsed.alerts[0]


def _values(matchers: Matchers) -> dict[str, str]:
    given: dict[str, str] = {}
    for term in matchers.terms:
        if term.operator != "=":
            raise Unclear(f'{term}: an alert has one value for each label; write {term.name}="..."')
        if given.setdefault(term.name, term.value) != term.value:
            raise Unclear(f"{term.name} is given twice")
    return given


def _of_alertmanager(given: dict[str, str]) -> bytes:
    """All are labels there; `resource` is its label `instance`."""
    if resource := given.pop("resource", ""):
        given.setdefault("instance", resource)
    return orjson.dumps([{"labels": given}])


def _native(given: dict[str, str]) -> bytes:
    fields = {name: given.pop(name) for name in FIELDS if name in given}
    return orjson.dumps({"name": given.pop("alertname"), **fields, "labels": given})


def _of_pagerduty(given: dict[str, str], context: Context) -> ParsedAlert:
    route = pagerduty_events.Route(context.source, given.get("service", ""), given.get("environment", ""))
    payload = {
        **given,
        "class": given["alertname"],
        "summary": given["alertname"],
        "source": given.get("resource", ""),
        "severity": given.get("severity", ""),
    }
    event = {"event_action": "trigger", "payload": payload}
    return pagerduty_events.alert_of(event, given.get("dedup_key", ""), route, context)
