"""Changes that were reported, and which of them an incident may come from: nearness times recency."""

from daemon.core.context import Context
from daemon.core.model.change import Change, ParsedChange
from daemon.core.policy import DAY, HOUR, MINUTE, Policy
from daemon.core.state import State

CHANGES_MAX = 10_000
REMEMBERED = 7 * DAY
LOOK_BACK = 4 * HOUR
"""A change further back before the incident is not shown."""
SHOWN_MAX = 3


def remember(ctx: Context, parsed: ParsedChange) -> None:
    """Takes a change in; the same source's change of the same id replaces what was known of it."""
    state = ctx.state
    same = [n for n in state.changes_of.get(parsed.service, ()) if _is(state.changes.rows[n], parsed)]
    for number in same:
        forget(ctx, number)
    if len(state.changes.rows) >= CHANGES_MAX:
        forget(ctx, next(iter(state.changes.rows)))
    change = Change(
        id=state.new_id(),
        at=min(parsed.at or ctx.now, ctx.now + 5 * MINUTE),
        source=parsed.source,
        name=parsed.id,
        service=parsed.service,
        environment=parsed.environment,
        summary=parsed.summary,
        url=parsed.url,
        labels=parsed.labels,
    )
    state.changes.add(change)
    state.link(state.changes_of, change.service, change.id)
    state.arm(change, "due_forget", ctx.now + REMEMBERED)
    ctx.count("changes", parsed.source)


def _is(change: Change, parsed: ParsedChange) -> bool:
    return bool(parsed.id) and change.name == parsed.id and change.source == parsed.source


def forget(ctx: Context, number: int) -> None:
    """The change leaves."""
    change = ctx.state.changes.rows[number]
    ctx.state.unlink(ctx.state.changes_of, change.service, number)
    ctx.state.changes.remove(number)


def near(state: State, policy: Policy, services: list[str], opened_at: int) -> list[Change]:
    """The changes that an incident of these services may come from, the likeliest first, at most three.

    Likely is near (the service itself before its neighbours) and recent. A change says when, not why:
    it is shown, and suppresses nothing.
    """
    found: dict[int, tuple[int, Change]] = {}
    for service in services:
        for other, distance in [(service, 1), *((one, 2) for one in policy.catalogue.neighbours.get(service, ()))]:
            for number in state.changes_of.get(other, ()):
                change = state.changes.rows[number]
                age = opened_at - change.at
                if -5 * MINUTE <= age <= LOOK_BACK:
                    score = max(age, MINUTE) * distance
                    if number not in found or score < found[number][0]:
                        found[number] = (score, change)
    ranked = sorted(found.values(), key=lambda one: (one[0], one[1].id))
    return [change for _, change in ranked[:SHOWN_MAX]]
