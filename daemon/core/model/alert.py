"""The alert: as a format hands it in (`ParsedAlert`), and as the engine keeps it (`Alert`).

All times are milliseconds since 1970 UTC. Maps are kept as canonical JSON bytes: an open alert
then costs a third less memory, and a repeat is compared without being decoded.
"""

from functools import partial
from hashlib import blake2b
from typing import Literal

import msgspec

Severity = Literal["critical", "error", "warning", "info", "none"]
SEVERITIES: tuple[Severity, ...] = ("none", "info", "warning", "error", "critical")
RANK: dict[str, int] = {word: rank for rank, word in enumerate(SEVERITIES)}
"""Severity -> rank; a higher rank is worse. `none` is recorded and opens nothing."""

End = Literal["", "resolved", "lapsed", "expired", "closed"]
"""How an episode ended: "" while it is open, by a resolve, by its emitter talking on without it,
by age, or by a person."""

REPLICAS_MAX = 8


def alert_key(source: str, identity: bytes) -> bytes:
    """The 16-byte key of an alert: blake2b-128 over the source's name and its identifying labels.

    `identity` is the canonical JSON of what identifies the alert inside its source, or the
    sender's own dedup key. blake2b because senders must not be able to forge a collision.
    """
    return hasher_of(source)(identity).digest()


def hasher_of(source: str) -> "partial[blake2b]":
    """What makes the keys of one source, for whoever makes many: `hasher_of(s)(i).digest() == alert_key(s, i)`."""
    return partial(blake2b, digest_size=16, key=source.encode()[:64])


class ParsedAlert(msgspec.Struct, gc=False, frozen=True, array_like=True):
    """One alert of a request, normalised by its format. Pure data: nothing looked up, no clock read.

    severity: the sender's own word, "" when missing; mapped by the engine.
    service, environment: the native fields, "" when the engine has to derive them from labels.
    labels, annotations: canonical JSON objects (sorted keys, string values); the ignored labels
        (`prometheus_replica`, `replica`) are in neither the labels nor the key, but in `replica`.
        Annotations also carry summary, description, url, runbook_url, value, unit, threshold.
    starts_at, ends_at: the sender's; None when it did not say. For a firing alert `ends_at` is a
        lease: silence beyond it makes the alert stale. For a resolved one it is the end.
    emitter: who sent it (source, scheme, host and prefix of generatorURL; else the replica labels;
        else the client's address).
    invented_end: `ends_at` was made up from resolve_timeout, and loses against a real one.
    event: its source never resolves; the alert is an occurrence, not a condition.
    """

    source: str
    key: bytes
    name: str
    firing: bool
    severity: str
    service: str
    resource: str
    environment: str
    labels: bytes
    annotations: bytes
    starts_at: int | None
    ends_at: int | None
    replica: str
    emitter: str
    invented_end: bool
    event: bool


class Alert(msgspec.Struct, gc=False, array_like=True):
    """The newest episode of one alert key, as the engine keeps it.

    generation: number of this episode of the key, from 1.
    starts_at: the earliest start heard (shown). decides_at: the start fixed when the episode
        opened, by which its order against others is decided.
    began_at: when we received its first firing; raised_at: when its severity last rose. Both
        engine time; they say how fresh its evidence is.
    ends_at: end of the lease while open (0: no lease), the end once ended.
    lead: ends_at less the time of receipt of the last sign, ms; 0 without a lease.
    last_sign: when it was last mentioned. previous_end: end of the episode before, 0 if none.
    replicas: value of the ignored labels -> 0 while that replica fires, else its end.
    incident: id of the incident it joined (follow `State.root` after merges), 0 for none.
    cell: index into the incident's counts, impact * 3 + urgency, -1 when not counted.
    held: reasons why it may not notify. reason, facts, strength: the evidence it joined by.
    due_end: when the engine looks again whether it has lapsed or expired, or may be forgotten.
    heard_start: the start last heard; one that moves within an episode tells of a restart.
    superseded: a newer episode of its key has begun, in another incident than this one.
    extra: values of the `correlation.labels` beyond service and environment, in their order.

    Annotations are no part of it: they are kept in `State.annotations`, outside the digest.
    """

    id: int
    key: bytes
    source: str
    name: str
    severity: str
    service: str
    resource: str
    environment: str
    extra: tuple[str, ...]
    labels: bytes
    generation: int
    starts_at: int
    decides_at: int
    began_at: int
    raised_at: int
    ends_at: int
    lead: int
    last_sign: int
    emitter: str
    event: bool
    invented_end: bool
    end: End = ""
    previous_end: int = 0
    replicas: dict[str, int] = {}
    incident: int = 0
    cell: int = -1
    held: tuple[str, ...] = ()
    reason: str = ""
    facts: str = ""
    strength: int = 0
    due_end: int = 0
    heard_start: int = 0
    superseded: bool = False

    @property
    def open(self) -> bool:
        """Whether the episode has not ended."""
        return not self.end

    def status(self, now_ms: int) -> str:
        """What people are shown: firing, stale, resolved or expired."""
        if self.end:
            return "expired" if self.end in ("expired", "lapsed") else "resolved"
        return "stale" if self.ends_at and self.ends_at <= now_ms and not self.event else "firing"


class Emitter(msgspec.Struct, gc=False, array_like=True):
    """One sender behind a source, and since when it has talked without a pause.

    last_contact: when it was last heard. lead: its usual distance from receipt to `ends_at`, ms.
    talking_since: start of the present run of contacts no further apart than `lead`.
    restarted_at: when the starts of its alerts last moved.
    """

    id: int
    name: str
    last_contact: int
    lead: int
    talking_since: int
    restarted_at: int = 0
