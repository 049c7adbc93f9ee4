"""Records about samband's own time: it was away, the clock stepped, the configuration changed."""

from daemon.core.context import Context
from daemon.core.dedup import arm_end
from daemon.core.enrich import service_entry, tier_of
from daemon.core.going_live import go_live
from daemon.core.membership import count_in, count_out, service_key
from daemon.core.priority import cell_of
from daemon.core.records import ClockStepped, PolicyChanged, Resumed
from daemon.core.state import DEADLINES
from daemon.core.streams import all_behind


def resumed(ctx: Context, record: Resumed) -> None:
    """After downtime nobody could resend: every lease gets its lead again, every emitter counts as just heard.

    Nothing of this is written to `live`: recovery reads older images, and this record evens them out.
    """
    _leases_anew(ctx)
    all_behind(ctx)
    ctx.state.served.clear()
    ctx.state.rebuild_deadlines()
    ctx.count("resumed")


def clock_stepped(ctx: Context, record: ClockStepped) -> None:
    """Running waits move with the clock; calendar times do not. Lapses start over."""
    state = ctx.state
    for table in (state.incidents, state.deliveries):
        for number in list(table.rows):
            row = table.rows[number]
            moved = [
                field
                for field in DEADLINES[table.kind]
                if getattr(row, field) and not (field == "due_send" and getattr(row, "calendar", False))
            ]
            if moved:
                row = table.edit(number)
                for field in moved:
                    setattr(row, field, getattr(row, field) + record.by)
    _leases_anew(ctx)
    state.rebuild_deadlines()


def _leases_anew(ctx: Context) -> None:
    state = ctx.state
    for emitter_id in list(state.emitters.rows):
        emitter = state.emitters.touch(emitter_id)
        emitter.last_contact = emitter.talking_since = ctx.now
    for number in list(state.alerts.rows):
        alert = state.alerts.rows[number]
        if alert.end:
            continue
        alert = state.alerts.touch(number)
        alert.last_sign = ctx.now
        if alert.ends_at:
            alert.ends_at = ctx.now + alert.lead
        alert.due_end = 0
        arm_end(ctx, alert)


def policy_changed(ctx: Context, record: PolicyChanged) -> None:
    """Another configuration: tiers and owners may differ. No timer moves, nothing is sent again."""
    state = ctx.state
    state.served.clear()
    for row in list(state.services.rows.values()):
        tier = tier_of(ctx.policy, row.service)
        team = service_entry(ctx.policy, row.service).team or row.team
        if (row.tier, row.team) != (tier, team):
            changed = state.services.edit(row.id)
            changed.tier, changed.team = tier, team
    for alert in list(state.alerts.rows.values()):
        if alert.cell >= 0 and alert.cell != cell_of(ctx, alert):
            member = state.alerts.edit(alert.id)
            count_out(ctx, member, member.severity, service_key(member))
            count_in(ctx, member)
    ctx.touched.clear()
    # Other policies may name other sinks: what was in line with the old ones is looked at again at its next change.
    state.served.clear()
    if record.before == "shadow" and record.mode == "live":
        go_live(ctx)
