"""The shapes of explanations, for the OpenAPI document. `text` is for people, sentence by sentence."""

from typing import Literal

from pydantic import Field

from daemon.api.models import Shape

Sentences = list[str]


class Question(Shape):
    """What would happen to such an alert?"""

    alert: str = Field(
        min_length=1,
        max_length=4000,
        description='Its labels as matchers with `=`: `alertname="Down",service="shop"`; `source` says from where',
    )


class About(Shape):
    """The incident in short. id and ref are empty for one that would be opened."""

    id: str
    ref: str
    title: str
    state: str
    priority: str


class Group(Shape):
    """Members that are in for the same reason."""

    reason: str
    alerts: int
    firing: int
    strength: int = Field(description="Of the strongest evidence, 0 to 1000; 0 when it opened the incident")
    services: list[str]
    examples: list[str]


class Together(Shape):
    """Why the members are one thing."""

    text: Sentences
    groups: list[Group]
    absorbed: list[str] = Field(description="References of the incidents merged into it")


class Considered(Shape):
    """One live incident that was looked at."""

    incident: str
    ref: str
    priority: str
    service: str
    correlator: str = Field(description="Who gave the evidence; empty when nobody did")
    strength: int
    reason: str
    facts: str
    wakes: bool
    verdict: Literal[
        "", "over", "itself", "old", "never_across", "apart",
        "weak", "environment", "labels", "old_start", "not_fresh", "quiet", "far",
    ] = Field(description="Why it is not enough; empty when it is")  # fmt: skip
    text: str


class Others(Shape):
    """What else was considered."""

    text: Sentences
    items: list[Considered]


class Cell(Shape):
    """One cell of the matrix in which members fire."""

    impact: str
    urgency: str
    priority: str
    firing: int
    loud: int = Field(description="How many of them may notify")


class Prioritised(Shape):
    """Why this priority."""

    text: Sentences
    priority: str
    impact: str
    urgency: str
    derivation: str
    forced: bool = Field(description="A person set it")
    told_with: str = Field(description="The priority by which people are told; held alerts have no part in it")
    falls_at: str | None
    cells: list[Cell]


class Acting(Shape):
    """A policy that acts."""

    number: int = Field(description="Its place in `policies`, from 1; 0 for a default policy")
    when: str
    to: list[str]
    in_hours: bool | None


class Object(Shape):
    """One object at a sink."""

    sink: str
    kind: str
    purpose: str
    team: str
    state: Literal["waiting", "draft", "open", "closed", "dropped"]
    confirmed: bool
    reference: str | None
    until: str | None
    shadow: bool
    text: str


class People(Shape):
    """Who has it, and who is told."""

    text: Sentences
    owner: str
    owner_by: str
    policies: list[Acting]
    deliveries: list[Object]


class Held(Shape):
    """One reason why alerts may not notify."""

    reason: str
    kind: str
    matchers: str
    comment: str
    created_by: str
    ends_at: str | None
    alerts: int
    examples: list[str]


class HeldBy(Shape):
    """What is held and why."""

    text: Sentences
    items: list[Held]


class Due(Shape):
    """What happens at a time, unless something else happens before."""

    at: str
    text: str


class Next(Shape):
    """What happens next, the soonest first."""

    text: Sentences
    items: list[Due]


class Explanation(Shape):
    """Why an incident is as it is."""

    at: str
    incident: About
    together: Together
    considered: Others
    prioritised: Prioritised
    people: People
    held: HeldBy
    next: Next


class Subject(Shape):
    """What samband makes of the alert."""

    text: Sentences
    name: str
    source: str
    severity: str
    service: str
    resource: str
    environment: str
    tier: int | None


class Known(Shape):
    """What deduplication makes of it."""

    text: Sentences
    outcome: str
    key: str
    generation: int
    alike: int = Field(description="Open alerts that match the question")


class Home(Shape):
    """Where it goes."""

    text: Sentences
    how: Literal["new", "joins", "returns", "stays", "none"]
    incident: About | None
    reason: str
    strength: int
    merges: list[str]


class Told(Shape):
    """What sinks would be told because of it."""

    text: Sentences


class Foretold(Shape):
    """What would happen to an alert. From `prioritised` on: how its incident would stand then; null without one."""

    at: str
    alert: Subject
    known: Known
    considered: Others
    home: Home
    held: HeldBy
    told: Told
    prioritised: Prioritised | None
    people: People | None
    next: Next | None
