"""Translation memories: what was translated before, and their imports and exports."""

import sqlalchemy as sa
from alembic import op

revision = "0015_translation_memories"
down_revision = "0014_translation_styles"


def upgrade() -> None:
    """Add the tables of memories, of their units and of jobs."""
    op.create_table(
        "translation_memory",
        sa.Column("id", sa.String(36), primary_key=True),
        sa.Column("project", sa.String(96), nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("source", sa.String(35), nullable=False),
        sa.Column("targets", sa.Text, nullable=False),
        sa.Column("unit_count", sa.Integer, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_translation_memory_project", "translation_memory", ["project", "created_at"])
    op.create_table(
        "translation_memory_unit",
        sa.Column("memory_id", sa.String(36), sa.ForeignKey("translation_memory.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("texts", sa.Text, nullable=False),
        sa.Column("folded", sa.Text, nullable=False),
        sa.Column("content", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "translation_memory_job",
        sa.Column("id", sa.String(36), primary_key=True),
        sa.Column("project", sa.String(96), nullable=False),
        sa.Column("operation", sa.String(8), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("content_length", sa.BigInteger, nullable=False),
        sa.Column("memory_id", sa.String(36)),
        sa.Column("skipped", sa.Integer, nullable=False),
        sa.Column("error", sa.Text),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("updated_at", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_translation_memory_job_project", "translation_memory_job", ["project", "created_at"])
