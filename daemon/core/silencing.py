"""Silences as people make, change and end them, with Alertmanager's rules for changing one."""

from daemon.core.context import Context
from daemon.core.effects import Reply
from daemon.core.model.silence import Silence
from daemon.core.records import SilenceExpired, SilencePut
from daemon.core.suppress import SILENCES_MAX, arm, start, stop


def put(ctx: Context, record: SilencePut, index: int) -> Reply:
    """Makes a silence, or changes one: an expired or incompatibly changed one ends, and a new one is made.

    The reply's text is the silence's UUID.
    """
    state = ctx.state
    if record.ends_at <= record.starts_at or record.ends_at <= ctx.now:
        return Reply(index, "invalid", "the silence would end before it begins, or has ended already")
    old = state.silences.rows.get(record.silence)
    if record.silence and old is None:
        return Reply(index, "missing", "there is no such silence")
    if old is not None and _may_change(old, record, ctx.now):
        return Reply(index, "ok", _change(ctx, state.silences.edit(old.id), record).uuid)
    if len(state.silences.rows) >= SILENCES_MAX:
        return Reply(index, "invalid", f"there are {SILENCES_MAX} silences already; end some first")
    if old is not None and old.status(ctx.now) != "expired":
        _end(ctx, state.silences.edit(old.id))
    silence = Silence(
        id=state.new_id(),
        kind=record.kind,
        matchers=record.matchers,
        terms=record.terms,
        starts_at=max(record.starts_at, ctx.now) if old is not None else record.starts_at,
        ends_at=record.ends_at,
        created_by=record.actor,
        comment=record.comment,
        updated_at=ctx.now,
    )
    state.silences.add(silence)
    if silence.status(ctx.now) == "active":
        start(ctx, silence)
    arm(ctx, silence)
    ctx.count("silences", "made")
    return Reply(index, "ok", silence.uuid)


def _may_change(old: Silence, record: SilencePut, now: int) -> bool:
    """As Alertmanager: not once expired, not the matchers, and of an active one not the start."""
    status = old.status(now)
    if status == "expired" or old.terms != record.terms or old.kind != record.kind:
        return False
    return record.starts_at == old.starts_at if status == "active" else record.starts_at >= now


def _change(ctx: Context, silence: Silence, record: SilencePut) -> Silence:
    silence.starts_at, silence.ends_at = record.starts_at, record.ends_at
    silence.created_by, silence.comment, silence.updated_at = record.actor, record.comment, ctx.now
    if silence.status(ctx.now) == "active" and not silence.active:
        start(ctx, silence)
    arm(ctx, silence)
    return silence


def expire(ctx: Context, record: SilenceExpired, index: int) -> Reply:
    """Ends a silence now. One that has ended stays as it is."""
    silence = ctx.state.silences.rows.get(record.silence)
    if silence is None:
        return Reply(index, "missing", "there is no such silence")
    if silence.status(ctx.now) == "expired":
        return Reply(index, "conflict", f"silence {silence.uuid} has ended already")
    _end(ctx, ctx.state.silences.edit(silence.id))
    ctx.count("silences", "expired")
    return Reply(index, "ok", silence.uuid)


def _end(ctx: Context, silence: Silence) -> None:
    silence.ends_at = silence.updated_at = ctx.now
    silence.starts_at = min(silence.starts_at, ctx.now)
    if silence.active:
        stop(ctx, silence)
    arm(ctx, silence)
