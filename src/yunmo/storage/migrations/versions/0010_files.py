"""Files and uploads in parts."""

import sqlalchemy as sa
from alembic import op

revision = "0010_files"
down_revision = "0009_jobs"


def upgrade() -> None:
    """Add files, uploads and their parts."""
    op.create_table(
        "file",
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column("project", sa.String(96), nullable=False),
        sa.Column("filename", sa.String(255), nullable=False),
        sa.Column("purpose", sa.String(40), nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("key", sa.String(100), nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.BigInteger),
        sa.UniqueConstraint("key", name="uq_file_key"),
    )
    op.create_index("ix_file_project", "file", ["project", "created_at"])
    op.create_index("ix_file_expires_at", "file", ["expires_at"])
    op.create_table(
        "file_upload",
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column("project", sa.String(96), nullable=False),
        sa.Column("filename", sa.String(255), nullable=False),
        sa.Column("purpose", sa.String(40), nullable=False),
        sa.Column("size", sa.BigInteger),
        sa.Column("status", sa.String(12), nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
        sa.Column("keep_seconds", sa.BigInteger),
        sa.Column("file_id", sa.String(40)),
    )
    op.create_index("ix_file_upload_project", "file_upload", ["project"])
    op.create_table(
        "file_part",
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column("upload_id", sa.String(40), sa.ForeignKey("file_upload.id", ondelete="CASCADE"), nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("key", sa.String(100), nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.UniqueConstraint("key", name="uq_file_part_key"),
    )
    op.create_index("ix_file_part_upload_id", "file_part", ["upload_id"])
    op.create_table("file_removed", sa.Column("key", sa.String(100), primary_key=True))
