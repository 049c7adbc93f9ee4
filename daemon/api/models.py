"""The shapes of `/api/v1`, for its OpenAPI document. Times are RFC 3339 in UTC, "not yet" and "none" are null."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Shape(BaseModel):
    """Base: what is not described does not leave."""

    model_config = ConfigDict(extra="forbid")


class Failure(Shape):
    """Why a request was refused."""

    error: str


class AlertItem(Shape):
    """One alert: its newest episode."""

    key: str = Field(description="samband's key, 32 hexadecimal digits")
    name: str
    status: Literal["firing", "stale", "resolved", "expired"]
    severity: str
    service: str
    resource: str
    environment: str
    labels: dict[str, str]
    annotations: dict[str, str]
    dedup_key: str = Field(description="The sender's own identity for it; samband's key when it gave none")
    generation: int = Field(description="Number of this episode of the key, from 1")
    source: str
    starts_at: str | None
    ends_at: str | None = Field(description="While it is open: until when its sender vouches for it")
    last_seen_at: str | None
    incident: str | None = Field(description="Id of the incident that it is in, after merges")
    held: list[str] = Field(description="Why it may not notify")


class AlertList(Shape):
    """A page of alerts, newest first."""

    items: list[AlertItem]
    next: str | None = Field(description="`cursor` of the next page")


class Counts(Shape):
    """Members of an incident."""

    firing: int
    resolved: int
    held: int


class IncidentItem(Shape):
    """One incident."""

    id: str
    ref: str
    title: str
    state: Literal["open", "acknowledged", "on_hold", "resolved", "closed", "reopened", "merged"]
    priority: Literal["P1", "P2", "P3", "P4", "P5"]
    impact: str
    urgency: str
    derivation: str
    owner: str
    services: list[str]
    cause: str | None
    opened_at: str | None
    acknowledged_at: str | None
    resolved_at: str | None
    closed_at: str | None
    merged_into: str | None
    alerts: Counts


class IncidentList(Shape):
    """A page of incidents, newest first."""

    items: list[IncidentItem]
    next: str | None


class Evidence(Shape):
    """Why a member is in: the facts, and how strong they are of 1000."""

    facts: str
    strength: int


class Member(Shape):
    """One member of an incident."""

    key: str
    name: str
    status: str
    severity: str
    service: str
    resource: str
    environment: str
    summary: str
    starts_at: str | None
    held: list[str]
    reason: str
    evidence: Evidence
    url: str | None
    runbook_url: str | None


class TimelineItem(Shape):
    """One line of the timeline."""

    at: str | None
    kind: str
    text: str
    actor: str


class DeliveryItem(Shape):
    """One thing that a sink was told."""

    sink: str
    kind: str
    purpose: str
    action: str
    state: str
    reference: str | None = Field(description="The object's name at the sink")
    attempts: int
    reason: str | None
    detail: str | None
    at: str | None
    done_at: str | None


class ChangeShown(Shape):
    """A change that the incident may come from."""

    id: str | None = Field(description="The sender's own")
    at: str | None
    source: str
    service: str
    environment: str
    summary: str
    url: str | None


class IncidentDetail(IncidentItem):
    """One incident with everything about it."""

    members: list[Member]
    changes: list[ChangeShown] = Field(description="Near and recent, the likeliest first, at most three")
    timeline: list[TimelineItem]
    deliveries: list[DeliveryItem]


class ActAnswer(Shape):
    """What came of it."""

    text: str
    incident: IncidentItem


class NativeAlert(BaseModel):
    """An alert as it is sent. Numbers and truth values are taken as texts; unknown fields are ignored."""

    name: str = Field(description="What is wrong, stable: HighErrorRate", min_length=1, max_length=1024)
    status: Literal["firing", "resolved"] = "firing"
    severity: str | None = Field(None, description="critical, error, warning, info; other words are mapped")
    service: str | None = Field(None, description="An entry of the catalogue")
    resource: str | None = None
    environment: str | None = None
    labels: dict[str, str | float | bool | None] | None = Field(None, description="They identify")
    annotations: dict[str, str | float | bool | None] | None = Field(None, description="They describe")
    dedup_key: str | None = Field(None, description="The sender's own identity for it")
    starts_at: str | None = Field(None, description="RFC 3339")
    ends_at: str | None = Field(None, description="RFC 3339; while it fires: until when the sender vouches for it")
    summary: str | None = None
    description: str | None = None
    url: str | None = None
    runbook_url: str | None = None
    value: str | float | None = Field(None, description="What was measured")
    unit: str | None = None
    threshold: str | float | None = None


class RejectedItem(Shape):
    """An item that could not be read."""

    index: int
    reason: str


class Accepted(Shape):
    """How many were taken, and which were not."""

    accepted: int
    rejected: list[RejectedItem]
