"""From what the engine hands over to the columns of tables: one function per table, nothing else.

Each returns a tuple in the order of the table's columns (`schema`), so that hot statements can be
built from the table and never name a column twice.
"""

from collections.abc import Sequence
from typing import Any
from zlib import crc32

import msgspec

from daemon.access import Issued
from daemon.core.effects import Noted
from daemon.core.model.alert import Alert
from daemon.core.model.incident import Delivery, Incident, IncidentService
from daemon.store.base import DeadLetter, OutboxRow

Values = tuple[Any, ...]

_pack = msgspec.msgpack.Encoder().encode
_alert = msgspec.msgpack.Decoder(Alert).decode
_incident = msgspec.msgpack.Decoder(Incident).decode
_service = msgspec.msgpack.Decoder(IncidentService).decode
_delivery = msgspec.msgpack.Decoder(Delivery).decode


def checksum(image: bytes, extra: bytes) -> int:
    """CRC-32 over an image and what stands beside it, as kept in `live.crc`."""
    return crc32(extra, crc32(image))


def sealed(values: Values) -> Values:
    """A row of a table with its own `crc`, which comes last: over everything that stands before it.

    Both databases give the same: a truth value counts as a number, and NUL, which one cannot hold, as U+FFFD.
    """
    plain = [
        value.replace("\0", "\ufffd") if type(value) is str else int(value) if type(value) is bool else value
        for value in values
    ]
    return (*values, crc32(_pack(plain)))


def intact(row: Sequence[Any]) -> bool:
    """Whether a sealed row is as it was written. One from before rows were sealed (0) cannot be told."""
    return not row[-1] or sealed(tuple(row[:-1]))[-1] == row[-1]


def incident_values(scope: int, image: bytes, live: bool) -> Values:
    """A row of `incidents` from the incident's image."""
    it = _incident(image)
    return (
        it.id,
        scope,
        live,
        it.number,
        it.state,
        it.generation,
        it.priority,
        it.impact,
        it.urgency,
        it.forced,
        it.derivation,
        it.owner,
        it.environment,
        it.opened_at,
        it.acknowledged_at,
        it.acknowledged_by,
        it.resolved_at,
        it.resolved_by,
        it.closed_at,
        it.merged_into,
        it.cleared,
        it.cleared_at,
        it.firing,
        it.ended,
        it.held,
        it.lead,
        it.self_cause,
        it.self_sink,
    )


def alert_values(scope: int, image: bytes, annotations: bytes) -> Values:
    """A row of `history_alerts` from the alert's last image."""
    it = _alert(image)
    return (
        it.id,
        scope,
        it.incident,
        it.key,
        it.source,
        it.name,
        it.severity,
        it.service,
        it.resource,
        it.environment,
        it.labels.decode(),
        annotations.decode() or "{}",
        it.generation,
        it.starts_at,
        it.began_at,
        it.ends_at,
        it.last_sign,
        it.end,
        it.event,
        ",".join(it.held),
        it.reason,
        it.facts,
        it.strength,
    )


def service_values(scope: int, image: bytes) -> Values:
    """A row of `history_services` from the last image of what an incident had of a service."""
    it = _service(image)
    return (it.id, scope, it.incident, it.service, it.environment, it.tier, it.team, it.ended)


def delivery_values(scope: int, image: bytes) -> Values:
    """A row of `history_deliveries` from the last image of an object at a sink."""
    it = _delivery(image)
    return (
        it.id,
        scope,
        it.incident,
        it.generation,
        it.sink,
        it.kind,
        it.purpose,
        it.key,
        it.state,
        it.team,
        it.ref,
        it.confirmed,
        it.last_update,
        it.shadow,
    )


def outbox_values(scope: int, row: OutboxRow) -> Values:
    """A row of `outbox`."""
    send = row.send
    values = (
        send.id,
        scope,
        send.at,
        send.delivery,
        send.incident,
        send.generation,
        send.sink,
        send.kind,
        send.action,
        send.purpose,
        send.key,
        send.rank,
        send.after,
        send.shadow,
        row.state,
        row.attempts,
        row.next_at,
        row.first_try_at,
        row.unsure_at,
        row.reason,
        row.detail,
        row.ref,
        row.done_at,
    )
    return sealed(values)


def timeline_values(scope: int, line: Noted) -> Values:
    """A row of `timeline`, without its running id."""
    return (scope, line.incident, line.at, line.kind, line.text, line.actor)


def dead_letter_values(scope: int, letter: DeadLetter) -> Values:
    """A row of `dead_letters`, without its running id."""
    return (scope, letter.at, letter.source, letter.reason, letter.raw)


def token_values(scope: int, one: Issued) -> Values:
    """A row of `tokens`."""
    return (one.id, scope, one.name, one.role, one.source, one.digest, one.created_at, one.created_by, one.revoked_at)
