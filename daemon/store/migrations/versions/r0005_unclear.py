"""An index of outbox rows that have had an unclear attempt, so that a start finds the newest at once."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds the index."""
    unclear = sa.text("unsure_at > 0")
    op.create_index("outbox_unclear", "outbox", ["unsure_at"], sqlite_where=unclear, postgresql_where=unclear)


def downgrade() -> None:
    """Takes it away."""
    op.drop_index("outbox_unclear", "outbox")
