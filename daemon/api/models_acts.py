"""The shapes of what people do through `/api/v1`: verbs, silences and windows, changes, dead letters."""

from typing import Literal

from pydantic import ConfigDict, Field

from daemon.api.models import RejectedItem, Shape

DURATION = "A duration as in Prometheus: 30m, 2h, 1d"


class Act(Shape):
    """Who acts, what the timeline is to say about it, and what the verb needs."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    actor: str = Field("", max_length=200, description="Who acts; by default, who asks")
    note: str = Field("", max_length=4000, description="Goes into the timeline, with any verb")
    team: str = Field("", max_length=200, description="assign: the new owner")
    text: str = Field("", max_length=4000, description="note: what is to stand in the timeline")
    priority: str = Field("", max_length=10, description="priority: P1 to P5, or auto")
    reason: str = Field("", max_length=1000, description="priority, hold: why")
    for_: str = Field("", alias="for", max_length=40, description=f"snooze: how long. {DURATION}")
    into: str = Field("", max_length=64, description="merge: the incident that goes on, by id or INC-number")
    alerts: list[str] = Field([], max_length=1000, description="split: keys of the alerts that go (`members[].key`)")


class Report(Shape):
    """An incident that a person reports."""

    title: str = Field(min_length=1, max_length=300, description="What is wrong")
    service: str = Field("", max_length=200, description="An entry of the catalogue")
    environment: str = Field("", max_length=200)
    severity: Literal["critical", "error", "warning", "info"] = "error"
    priority: Literal["", "P1", "P2", "P3", "P4", "P5"] = Field("", description="Instead of the one that follows")
    description: str = Field("", max_length=4000)
    actor: str = Field("", max_length=200)


class SilenceItem(Shape):
    """A silence or a maintenance window."""

    id: str
    kind: Literal["silence", "maintenance"]
    state: Literal["pending", "active", "expired"]
    matchers: str = Field(description="Alertmanager's syntax")
    starts_at: str | None
    ends_at: str | None
    created_by: str
    comment: str
    updated_at: str | None
    holding: int = Field(description="Alerts that fire and are held by it now")


class SilenceList(Shape):
    """A page, newest first."""

    items: list[SilenceItem]
    next: str | None


class NewSilence(Shape):
    """Which alerts are to be held, and how long: `for` or `ends_at`."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    matchers: str = Field(max_length=10_000, description='Alertmanager\'s: service="shop", alertname=~"Disk.*"')
    for_: str = Field("", alias="for", max_length=40, description=DURATION)
    starts_at: str = Field("", max_length=40, description="RFC 3339; by default now")
    ends_at: str = Field("", max_length=40, description="RFC 3339")
    comment: str = Field("", max_length=4000, description="Why; shown wherever it holds something")
    actor: str = Field("", max_length=200)
    dry_run: bool = Field(False, description="Only say how many alerts match now")


class SilenceAnswer(Shape):
    """What was made, or would be."""

    text: str
    matching: int = Field(description="Alerts that fire now and match")
    silence: SilenceItem | None


class ChangeItem(Shape):
    """A change that is remembered."""

    id: str = Field(description="The sender's own, samband's when it gave none")
    at: str | None
    source: str
    service: str
    environment: str
    summary: str
    url: str | None
    labels: dict[str, str]


class ChangeList(Shape):
    """A page, newest first."""

    items: list[ChangeItem]
    next: str | None


class NewChange(Shape):
    """A deploy, a feature flag, a change from change management. Unknown fields are ignored."""

    model_config = ConfigDict(extra="ignore")

    id: str | None = Field(None, description="The sender's own: the same id again replaces it")
    at: str | None = Field(None, description="RFC 3339; by default when it arrives")
    service: str = Field(min_length=1, description="What was changed: an entry of the catalogue")
    environment: str | None = None
    summary: str = Field(min_length=1)
    url: str | None = Field(None, description="http or https")
    labels: dict[str, str] | None = None


class DeadLetterItem(Shape):
    """What could not be read (kind `input`), or not be delivered (`send`)."""

    id: str
    kind: Literal["input", "send"]
    at: str | None
    origin: str = Field(description="The source, or the sink")
    reason: str
    detail: str
    bytes: int = Field(description="Size of what could not be read, 0 for a send")
    incident: str | None = Field(description="Id of the incident that a send is about")
    action: str | None = Field(description="What the sink was asked: create, update, resolve, reopen")
    attempts: int


class DeadLetterList(Shape):
    """A page: unreadable input first, then sends, each oldest first."""

    items: list[DeadLetterItem]
    next: str | None


class DeadLetterDetail(DeadLetterItem):
    """One, with its bytes."""

    text: str | None = Field(description="The bytes as text; null when they are none")
    base64: str | None = Field(description="The bytes when they are no text")


class LetterAct(Shape):
    """Who retries or drops, and why."""

    actor: str = Field("", max_length=200)
    reason: str = Field("", max_length=1000, description="drop: why it is not needed any more")


class LetterAnswer(Shape):
    """What came of it."""

    text: str
    accepted: int = Field(description="Alerts that were taken in")
    rejected: list[RejectedItem]
