"""Alertmanager's webhook, versions 3 and 4, on `/hooks/{source}`: one Alertmanager hands its alerts on.

Keys are those of `/api/v2/alerts`, so an alert that arrives both ways is one alert. A firing alert
brings no lease: webhooks repeat every few hours, and the end is announced by a webhook of its own.
"""

from typing import Any

import msgspec

from daemon.core.model.alert import ParsedAlert, alert_key
from daemon.sources.formats.alertmanager import Invalid, annotated, readable_name
from daemon.sources.formats.base import (
    Context,
    Parsed,
    Rejected,
    Unreadable,
)
from daemon.sources.formats.common import (
    NOT_JSON,
    TIME_MIN,
    canonical,
    label_fault,
    parse_time,
    repaired,
    replica_of,
)


class WebhookAlert(msgspec.Struct):
    """One alert of the webhook. `fingerprint` is not read: senders exist that get it wrong."""

    labels: dict[str, str]
    status: str = ""
    annotations: dict[str, str] | None = None
    startsAt: str | None = None
    endsAt: str | None = None
    generatorURL: str | None = None


class Webhook(msgspec.Struct):
    """The envelope. What is common to the alerts stands in each of them, and is not needed."""

    alerts: list[msgspec.Raw]
    status: str = ""
    externalURL: str = ""


_decode = msgspec.json.Decoder(Webhook).decode
_decode_one = msgspec.json.Decoder(WebhookAlert).decode


class AlertmanagerWebhook:
    """The format of Alertmanager's `webhook_configs`."""

    name = "alertmanager_webhook"
    resolves = True

    def parse(self, body: bytes, context: Context) -> Parsed:
        """The alerts of one notification. Raises Unreadable when the body is none."""
        try:
            hook = _decode(body)
        except msgspec.ValidationError as error:
            raise Unreadable(f"not an Alertmanager webhook: {error}", "wrong_type", 422) from None
        except NOT_JSON as error:
            if mended := repaired(body):
                return self.parse(mended, context)
            raise Unreadable(f"not JSON: {error}") from None
        alerts: list[ParsedAlert] = []
        rejected: list[Rejected] = []
        for index, raw in enumerate(hook.alerts):
            try:
                alerts.append(_build(_read(raw), hook, context))
            except NOT_JSON as error:
                rejected.append(Rejected(index, str(error), "wrong_type", bytes(raw)))
            except Invalid as error:
                rejected.append(Rejected(index, str(error), error.code, bytes(raw)))
        return Parsed(alerts, rejected)


def _read(raw: msgspec.Raw) -> WebhookAlert:
    try:
        return _decode_one(raw)
    except msgspec.ValidationError:
        raise
    except NOT_JSON:
        return _decode_one(repaired(bytes(raw)) or raw)


def _build(one: WebhookAlert, hook: Webhook, context: Context) -> ParsedAlert:
    labels = {name: value for name, value in one.labels.items() if value}
    if not labels:
        raise Invalid("at least one label pair required", "no_labels")
    status = (one.status or hook.status).lower()
    if status not in ("firing", "resolved"):
        raise Invalid(f"status must be firing or resolved, not {status[:40]!r}", "status")
    replica = replica_of(labels, context.ignored)
    encoded = canonical(labels)
    if fault := label_fault(labels, encoded, replica, context.limits):
        raise Invalid(fault, "labels_too_large")
    starts, ends = _time(one.startsAt, "startsAt"), _time(one.endsAt, "endsAt")
    return ParsedAlert(
        source=context.source,
        key=alert_key(context.source, encoded),
        name=labels.get("alertname") or readable_name(labels),
        firing=status == "firing",
        severity=labels.get("severity", ""),
        service="",
        resource=labels.get("instance", ""),
        environment="",
        labels=encoded,
        annotations=annotated(one.annotations, one.generatorURL or "", context.limits),
        starts_at=starts,
        ends_at=ends if status == "resolved" else None,
        replica=replica,
        emitter=f"{context.source} {_server(hook.externalURL) or replica or context.client}",
        invented_end=False,
        event=context.resolves is False,
    )


def _server(external_url: str) -> str:
    """The Alertmanager's own address; all of it is the prefix. "" if it is no URL."""
    return external_url.rstrip("/")[:300] if external_url.startswith(("http://", "https://")) else ""


def _time(text: Any, field: str) -> int | None:
    try:
        ms = parse_time(text) if text else None
    except ValueError as error:
        raise Invalid(f"{field}: {error}", "bad_time") from None
    return None if ms == TIME_MIN else ms


FORMAT = AlertmanagerWebhook()
