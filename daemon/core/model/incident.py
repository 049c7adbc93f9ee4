"""The incident, its rows that grow, and the objects it has at sinks."""

from typing import Literal

import msgspec

IncidentState = Literal["open", "acknowledged", "on_hold", "resolved", "closed", "reopened", "merged"]
LIVE_STATES: frozenset[str] = frozenset({"open", "acknowledged", "on_hold", "reopened"})

Priority = Literal["P1", "P2", "P3", "P4", "P5"]
PRIORITIES: tuple[Priority, ...] = ("P1", "P2", "P3", "P4", "P5")

Kind = Literal["ticket", "pager", "status_page", "message"]
Action = Literal["create", "update", "resolve", "reopen"]


class Incident(msgspec.Struct, gc=False, array_like=True):
    """One thing that is wrong. Its image has constant size: members point at it, rows grow beside it.

    number: INC-<number>. generation: 1, and one more at each reopening.
    cells: how many firing members stand in each of the nine cells impact * 3 + urgency
        (0 high, 1 medium, 2 low); held members count. firing, ended, held: members in all.
    loud: as `cells`, of the firing members that no reason holds: what may notify.
    priority, impact, urgency: in force. forced: set by a person, "" otherwise; the machine never
        overrides it. derivation: the sentence that explains the priority.
    owner: the team that has it; assigned: a person chose it. lead: the member that gave the
        priority, by id. raises: how often it has rung again.
    told_priority: the best priority that people have been told of, "" before the first page.
    told: teams and tier-1 services that have been told of, so that a new one tells again.
    first_heard, last_heard, heard: span (sender's time) and number of the joins that were activity:
        its rhythm, by which correlation tells whether it has gone quiet.
    version: counts its changes. shape: counts those of the set of services that fire, or may notify.
    cleared_at: all members have ended since then, 0 otherwise. cleared: a P1 that nobody saw and
        that cleared; it stays open.
    self_sink, self_cause: an incident about samband itself, its cause and the sink concerned.
    due_settle: it was touched at that instant, and is settled once all records of the instant are in.
    due_*: the next deadline of each kind, 0 for none (the heap is only an index of these).
    """

    id: int
    number: int
    state: IncidentState
    opened_at: int
    environment: str
    generation: int = 1
    acknowledged_at: int = 0
    acknowledged_by: str = ""
    resolved_at: int = 0
    resolved_by: str = ""
    closed_at: int = 0
    merged_into: int = 0
    cells: list[int] = msgspec.field(default_factory=lambda: [0] * 9)
    firing: int = 0
    ended: int = 0
    held: int = 0
    loud: list[int] = msgspec.field(default_factory=lambda: [0] * 9)
    priority: str = "P5"
    impact: str = "low"
    urgency: str = "low"
    forced: str = ""
    derivation: str = ""
    owner: str = ""
    assigned: bool = False
    lead: int = 0
    told_priority: str = ""
    told: tuple[str, ...] = ()
    raises: int = 0
    first_heard: int = 0
    last_heard: int = 0
    heard: int = 0
    cleared_at: int = 0
    cleared: bool = False
    self_cause: str = ""
    self_sink: str = ""
    version: int = 0
    shape: int = 0
    due_settle: int = 0
    due_resolve: int = 0
    due_priority: int = 0
    due_ack_lapse: int = 0
    due_reopen: int = 0
    due_close: int = 0

    @property
    def ref(self) -> str:
        """The name that people use: INC-4211."""
        return f"INC-{self.number}"

    @property
    def notifiable(self) -> bool:
        """Whether a firing member may notify."""
        return self.firing > self.held

    @property
    def live(self) -> bool:
        """Whether it is neither over nor merged away."""
        return self.state in LIVE_STATES


class IncidentService(msgspec.Struct, gc=False, array_like=True):
    """What one incident has of one (service, environment, extra labels): counts, and its age as evidence.

    firing: firing members by severity rank; loud: how many of them may notify; ended: members that
    have ended. last_began: sender's
    time at which its youngest alert that will be resolved began or rose; first_event, last_event: of
    the first and last occurrence of those that will not. 0 for none; they say how fresh it is.
    touched: when a member was last counted in, engine time.
    """

    id: int
    incident: int
    service: str
    environment: str
    extra: tuple[str, ...]
    firing: list[int] = msgspec.field(default_factory=lambda: [0] * 5)
    ended: int = 0
    loud: int = 0
    tier: int = 0
    team: str = ""
    touched: int = 0
    last_began: int = 0
    first_event: int = 0
    last_event: int = 0


DeliveryState = Literal["waiting", "draft", "open", "closed", "dropped"]


class Delivery(msgspec.Struct, gc=False, array_like=True):
    """One object at one sink, for one incident and generation. Once opened it is served to its end.

    A raise that must ring is an object of its own (PagerDuty cannot be told again under one key).

    purpose: page, ticket, entry, message, raise-N, or summary (a message about all that is open).
    key: what the sink knows the object by.
    state: waiting (held back until `due_send`), draft (a person must publish it), open (a create
        was asked for), closed (its end was asked for), dropped (never sent, and not to be).
    ref: the sink's own name for the object, known once `confirmed`: the create was done.
    create: the outbox row of its create (or reopen). sends: outbox rows not yet done.
    previous: the delivery of the generation before whose object is opened again, 0 for none.
    told: what was last asked to be shown. members_told: the incident's version that it showed.
    calendar: `due_send` is a calendar time (support hours), which a clock step does not move.
    shadow: decided while nothing is sent.
    """

    id: int
    incident: int
    generation: int
    sink: str
    kind: Kind
    purpose: str
    key: str
    state: DeliveryState
    team: str = ""
    ref: str = ""
    confirmed: bool = False
    previous: int = 0
    create: int = 0
    sends: tuple[int, ...] = ()
    told: str = ""
    members_told: int = 0
    last_update: int = 0
    calendar: bool = False
    shadow: bool = False
    due_send: int = 0
    due_update: int = 0
