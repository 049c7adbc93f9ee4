"""A command with an idempotency key is carried out once: the same key again gets the same answer."""

from collections.abc import Callable

from daemon.core.context import Context
from daemon.core.effects import Reply
from daemon.core.model.memory import Given

COMMANDS_MAX = 1_000
"""How many commands are remembered: the newest."""


def once(ctx: Context, command: str, index: int, carry_out: Callable[[], Reply]) -> Reply:
    """Carries out, or answers as it did the first time. What changed nothing is not remembered."""
    state = ctx.state
    known = state.given.rows.get(state.by_command.get(command, 0))
    if known is not None:
        return Reply(index, known.status, known.text, known.incident)  # type: ignore[arg-type]  # it was one
    reply = carry_out()
    if reply.status == "ok" and command:
        given = state.given.add(Given(state.new_id(), command, reply.status, reply.text, reply.incident))
        state.put(state.by_command, command, given.id)
        if len(state.by_command) > COMMANDS_MAX:
            oldest = next(iter(state.by_command))
            state.given.remove(state.by_command[oldest])
            state.drop(state.by_command, oldest)
    return reply
