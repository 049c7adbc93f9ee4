"""The first schema.

A migration is frozen: it says what the tables were then, whatever `schema` says now.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _whole(*names: str) -> "list[sa.Column[int]]":
    return [sa.Column(name, _BIG, nullable=False) for name in names]


def _texts(*names: str) -> "list[sa.Column[str]]":
    return [sa.Column(name, sa.Text, nullable=False) for name in names]


def _blobs(*names: str) -> "list[sa.Column[bytes]]":
    return [sa.Column(name, sa.LargeBinary, nullable=False) for name in names]


def _key(*, running: bool = False) -> "sa.Column[int]":
    return sa.Column("id", _BIG, primary_key=True, autoincrement=running)


def _journal() -> None:
    op.create_table(
        "scope",
        _key(running=True),
        *_texts("name"),
        *_whole("epoch", "seq", "now_ms", "next_id", "next_number"),
        *_texts("policy", "mode", "build"),
        *_blobs("positions"),
        *_texts("holder"),
        *_whole("lease_until"),
        sa.UniqueConstraint("name", name="scope_name"),
    )
    op.create_table(
        "journal",
        *_whole("scope", "seq", "epoch", "now_ms"),
        *_texts("build", "policy"),
        *_blobs("positions"),
        *_whole("count"),
        *_blobs("inputs", "digest"),
        sa.PrimaryKeyConstraint("scope", "seq", name="journal_key"),
    )
    op.create_table(
        "live",
        _key(),
        *_whole("scope", "kind", "crc"),
        *_blobs("image", "extra"),
    )
    op.create_table(
        "bases",
        *_whole("scope", "seq", "now_ms"),
        *_texts("policy", "build"),
        *_whole("next_id", "next_number"),
        sa.PrimaryKeyConstraint("scope", "seq", name="bases_key"),
    )
    op.create_table(
        "base_rows",
        *_whole("scope", "seq", "part"),
        *_blobs("rows"),
        sa.PrimaryKeyConstraint("scope", "seq", "part", name="base_rows_key"),
    )


def _incidents() -> None:
    op.create_table(
        "incidents",
        _key(),
        *_whole("scope", "live", "number"),
        *_texts("state"),
        *_whole("generation"),
        *_texts("priority", "impact", "urgency", "forced", "derivation", "owner", "environment"),
        *_whole("opened_at", "acknowledged_at"),
        *_texts("acknowledged_by"),
        *_whole("resolved_at"),
        *_texts("resolved_by"),
        *_whole("closed_at", "merged_into", "cleared", "cleared_at", "firing", "ended", "held", "lead"),
        *_texts("self_cause", "self_sink"),
        sa.UniqueConstraint("scope", "number", name="incidents_number"),
    )
    op.create_table(
        "timeline",
        _key(running=True),
        *_whole("scope", "incident", "at"),
        *_texts("kind", "text", "actor"),
    )
    op.create_index("timeline_incident", "timeline", ["incident", "id"])


def _history() -> None:
    op.create_table(
        "history_alerts",
        _key(),
        *_whole("scope", "incident"),
        *_blobs("key"),
        *_texts("source", "name", "severity", "service", "resource", "environment", "labels", "annotations"),
        *_whole("generation", "starts_at", "began_at", "ended_at", "last_sign"),
        *_texts("ending"),
        *_whole("event"),
        *_texts("held", "reason", "facts"),
        *_whole("strength"),
    )
    op.create_index("history_alerts_incident", "history_alerts", ["incident", "id"])
    op.create_table(
        "history_services",
        _key(),
        *_whole("scope", "incident"),
        *_texts("service", "environment"),
        *_whole("tier"),
        *_texts("team"),
        *_whole("ended"),
    )
    op.create_index("history_services_incident", "history_services", ["incident", "id"])
    op.create_index("history_services_service", "history_services", ["service", "incident"])
    op.create_table(
        "history_deliveries",
        _key(),
        *_whole("scope", "incident", "generation"),
        *_texts("sink", "kind", "purpose", "key", "state", "team", "ref"),
        *_whole("confirmed", "last_update", "shadow"),
    )
    op.create_index("history_deliveries_incident", "history_deliveries", ["incident", "id"])


def _outbox() -> None:
    op.create_table(
        "outbox",
        _key(),
        *_whole("scope", "at", "delivery", "incident", "generation"),
        *_texts("sink", "kind", "action", "purpose", "key"),
        *_whole("rank", "after", "shadow"),
        *_texts("state"),
        *_whole("attempts", "next_at", "first_try_at", "unsure_at"),
        *_texts("reason", "detail", "ref"),
        *_whole("done_at"),
    )
    op.create_index("outbox_incident", "outbox", ["incident", "id"])
    unfinished = sa.text("state IN ('waiting', 'sending', 'unsure', 'dead')")
    op.create_index("outbox_unfinished", "outbox", ["id"], sqlite_where=unfinished, postgresql_where=unfinished)
    op.create_table(
        "dead_letters",
        _key(running=True),
        *_whole("scope", "at"),
        *_texts("source", "reason"),
        *_blobs("raw"),
    )


def upgrade() -> None:
    """Makes the tables."""
    _journal()
    _incidents()
    _history()
    _outbox()


def downgrade() -> None:
    """There is nothing before it."""
    raise NotImplementedError("there is no schema before the first")
