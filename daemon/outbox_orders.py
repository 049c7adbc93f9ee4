"""Late rendering: what a sink is told is made when it is told, from the newest state."""

from collections.abc import Callable
from typing import Literal

import msgspec
from msgspec.structs import replace

from daemon.core import communication, going_live
from daemon.core.delivery import SUMMARY
from daemon.core.model.ids import public_id
from daemon.core.model.incident import Action, Delivery, Incident
from daemon.core.policy import Policy
from daemon.core.state import State
from daemon.store.base import OutboxRow
from sinks.base import Idempotency, Order

ComponentState = Literal["operational", "degraded_performance", "partial_outage", "major_outage"]
COMPONENT: dict[str, ComponentState] = {"P1": "major_outage", "P2": "partial_outage"}
"""Priority -> what the components of an open incident show; any other priority is degraded performance."""

_WORSE: tuple[ComponentState, ...] = ("operational", "degraded_performance", "partial_outage", "major_outage")


class Style(msgspec.Struct, frozen=True):
    """How things are said. link_base: where this daemon is read by people, "" if unknown.

    zone: time -> minutes east of UTC in the configuration's time zone, and what it is called then.
    """

    link_base: str = ""
    zone: Callable[[int], tuple[int, str]] = lambda _: (0, "UTC")


def build(
    row: OutboxRow,
    idempotency: Idempotency,
    state: State,
    policy: Policy,
    now: int,
    style: Style,
    action: Action | None = None,
) -> Order:
    """The order for the row, from the state as it stands. Its delivery and incident must be there (KeyError).

    action: instead of the row's own. first_try_at is only given when an earlier attempt may have arrived:
    one that certainly did not makes no repeat.
    """
    send = row.send
    delivery = state.deliveries[send.delivery]
    incident = state.incidents[delivery.incident]
    view = communication.picture(state, policy, incident.id, now, style.link_base)
    order = Order(
        action=action or send.action,
        purpose=send.purpose,
        key=delivery.key or send.key,
        incident=view,
        title=view.title,
        text=communication.page(view, now, *style.zone(now)),
        sent_at=now,
        first_try_at=row.first_try_at if row.unsure_at else 0,
        ref=delivery.ref or row.ref,
        repeat=row.unsure_at > 0 and idempotency != "native",
        duplicate_of=_survivor(state, incident, style),
        components=components(state, policy, delivery, incident) if delivery.kind == "status_page" else {},
        send=send.id,
    )
    return _of_all(order, state, policy, now, style) if delivery.purpose == SUMMARY else order


def _of_all(order: Order, state: State, policy: Policy, now: int, style: Style) -> Order:
    """The order as a message about everything that is open now."""
    views, total = going_live.pictures(state, policy, now, style.link_base)
    title, text = going_live.summary(views, total)
    return replace(order, title=title, text=text, incidents=tuple(views))


def _survivor(state: State, incident: Incident, style: Style) -> str:
    """The incident that this one was merged into: its reference, and where it is read."""
    if not incident.merged_into:
        return ""
    root = state.incidents.get(state.root(incident.id))
    if root is None:
        return ""
    link = f"{style.link_base}/incidents/{public_id(root.id)}" if style.link_base else ""
    return f"{root.ref} {link}".rstrip()


def components(state: State, policy: Policy, delivery: Delivery, incident: Incident) -> dict[str, str]:
    """For each component that the incident touches: the worst over all entries that stand open at that page.

    An entry stands open until its end was asked for, so a component does not turn green before its time. One
    that was never made does not: nobody would turn the component green when it is dropped.
    """
    worst: dict[str, int] = dict.fromkeys(_names(state, policy, incident), 0)
    for other in state.deliveries.rows.values():
        if other.sink != delivery.sink or other.state != "open" or other.shadow:
            continue
        if not other.confirmed and other.id != delivery.id:
            continue
        published = state.incidents[other.incident]
        level = _WORSE.index(COMPONENT.get(published.priority, "degraded_performance"))
        for name in _names(state, policy, published):
            if name in worst:
                worst[name] = max(worst[name], level)
    return {name: _WORSE[level] for name, level in sorted(worst.items())}


def _names(state: State, policy: Policy, incident: Incident) -> list[str]:
    """The status-page components of its services."""
    services = (policy.catalogue.services.get(row.service) for row in state.incident_services(incident.id))
    return [service.component for service in services if service is not None and service.component]
