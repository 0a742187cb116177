"""Jobs and what happens to them."""

import sqlalchemy as sa
from alembic import op

revision = "0009_jobs"
down_revision = "0008_unnamed_objects"


def upgrade() -> None:
    """Add the queue and its events."""
    op.create_table(
        "job",
        sa.Column("id", sa.String(40), nullable=False),
        sa.Column("project", sa.String(96), nullable=False),
        sa.Column("key_id", sa.String(32), nullable=False),
        sa.Column("kind", sa.String(40), nullable=False),
        sa.Column("state", sa.String(12), nullable=False),
        sa.Column("wanted", sa.String(8), nullable=False),
        sa.Column("priority", sa.Integer, nullable=False),
        sa.Column("input", sa.JSON, nullable=False),
        sa.Column("checkpoint", sa.JSON),
        sa.Column("progress", sa.JSON),
        sa.Column("result", sa.JSON),
        sa.Column("error", sa.JSON),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("failures", sa.Integer, nullable=False),
        sa.Column("fence", sa.BigInteger, nullable=False),
        sa.Column("owner", sa.String(40)),
        sa.Column("lease_until", sa.BigInteger),
        sa.Column("claimed_at", sa.BigInteger),
        sa.Column("wake_at", sa.BigInteger, nullable=False),
        sa.Column("idempotency_key", sa.String(255)),
        sa.Column("request_digest", sa.LargeBinary(32)),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("started_at", sa.BigInteger),
        sa.Column("finished_at", sa.BigInteger),
        sa.PrimaryKeyConstraint("id", name="pk_job"),
        sa.UniqueConstraint("project", "kind", "idempotency_key", name="uq_job_project_kind_idempotency_key"),
    )
    op.create_index("ix_job_state", "job", ["state", "wake_at"])
    op.create_index("ix_job_project_kind", "job", ["project", "kind", "created_at"])
    op.create_index("ix_job_project_claimed", "job", ["project", "claimed_at"])
    op.create_index("ix_job_finished_at", "job", ["finished_at"])
    op.create_table(
        "job_event",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True),
        sa.Column("job_id", sa.String(40), sa.ForeignKey("job.id", ondelete="CASCADE"), nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("level", sa.String(8), nullable=False),
        sa.Column("type", sa.String(40), nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("data", sa.JSON, nullable=False),
    )
    op.create_index("ix_job_event_job_id", "job_event", ["job_id", "id"])
