"""Whether a job was ordered by one who may do everything."""

import sqlalchemy as sa
from alembic import op

revision = "0016_jobs_of_operators"
down_revision = "0015_translation_memories"


def upgrade() -> None:
    """Add the column; jobs from before are their projects'."""
    op.add_column("job", sa.Column("is_admin", sa.Boolean, nullable=False, server_default=sa.false()))
