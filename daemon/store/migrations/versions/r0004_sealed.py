"""Checksums over whole rows of the journal, its bases and the outbox."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_TABLES = ("journal", "bases", "outbox")


def upgrade() -> None:
    """Adds the column; rows that are there stay without a checksum."""
    for table in _TABLES:
        op.add_column(table, sa.Column("crc", _BIG, nullable=False, server_default="0"))


def downgrade() -> None:
    """Takes the column away."""
    for table in _TABLES:
        op.drop_column(table, "crc")
