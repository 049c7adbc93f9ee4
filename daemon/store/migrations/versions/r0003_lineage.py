"""The server and timeline that a scope was last written on."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds the column; that nothing is known yet is as good as any."""
    op.add_column("scope", sa.Column("lineage", sa.Text, nullable=False, server_default=""))


def downgrade() -> None:
    """Takes the column away; a failover goes unnoticed then."""
    op.drop_column("scope", "lineage")
