"""Whether a job was ordered by one who may do everything."""

import sqlalchemy as sa
from alembic import op

revision = "0016_jobs_of_operators"
down_revision = "0015_translation_memories"


def upgrade() -> None:
    """Add the column. Jobs from before did what their project may do, and the operator's everything."""
    op.add_column("job", sa.Column("is_admin", sa.Boolean, nullable=False, server_default=sa.false()))
    job = sa.table("job", sa.column("project", sa.String), sa.column("is_admin", sa.Boolean))
    op.execute(job.update().where(job.c.project == "admin").values(is_admin=True))
