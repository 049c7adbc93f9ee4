"""Tokens that samband issues."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Makes the table."""
    op.create_table(
        "tokens",
        sa.Column("id", _BIG, primary_key=True, autoincrement=False),
        sa.Column("scope", _BIG, nullable=False),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("name", "role", "source")),
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.Column("created_at", _BIG, nullable=False),
        sa.Column("created_by", sa.Text, nullable=False),
        sa.Column("revoked_at", _BIG, nullable=False),
    )


def downgrade() -> None:
    """Takes the table away, and with it every token that was issued."""
    op.drop_table("tokens")
