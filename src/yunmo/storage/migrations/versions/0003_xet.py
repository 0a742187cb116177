"""Large files: xorbs, the chunk index, verified files, LFS objects, and which repository may refer to what."""

import sqlalchemy as sa
from alembic import op

from yunmo.storage.tables import BigId, Time

revision = "0003_xet"
down_revision = "0002_hub"


def upgrade() -> None:
    """Create the large files' tables."""
    op.create_table(
        "xet_xorb",
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("stored_bytes", sa.BigInteger(), nullable=False),
        sa.Column("chunks", sa.LargeBinary(), nullable=False),
        sa.Column("tombstoned_at", Time(), nullable=True),
        sa.PrimaryKeyConstraint("hash", name=op.f("pk_xet_xorb")),
    )
    op.create_index("ix_xet_xorb_tombstoned_at", "xet_xorb", ["tombstoned_at"], unique=False)
    op.create_table(
        "xet_chunk",
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("xorb", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(["xorb"], ["xet_xorb.hash"], name=op.f("fk_xet_chunk_xorb"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("hash", "xorb", name=op.f("pk_xet_chunk")),
    )
    op.create_index("ix_xet_chunk_xorb", "xet_chunk", ["xorb"], unique=False)
    op.create_table(
        "xet_file",
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("terms", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("hash", name=op.f("pk_xet_file")),
    )
    op.create_index("ix_xet_file_sha256", "xet_file", ["sha256"], unique=False)
    op.create_table(
        "xet_file_xorb",
        sa.Column("file", sa.String(length=64), nullable=False),
        sa.Column("xorb", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(["file"], ["xet_file.hash"], name=op.f("fk_xet_file_xorb_file"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["xorb"], ["xet_xorb.hash"], name=op.f("fk_xet_file_xorb_xorb")),
        sa.PrimaryKeyConstraint("file", "xorb", name=op.f("pk_xet_file_xorb")),
    )
    op.create_index("ix_xet_file_xorb_xorb", "xet_file_xorb", ["xorb"], unique=False)
    op.create_table(
        "lfs_object",
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("tombstoned_at", Time(), nullable=True),
        sa.PrimaryKeyConstraint("sha256", name=op.f("pk_lfs_object")),
    )
    op.create_index("ix_lfs_object_tombstoned_at", "lfs_object", ["tombstoned_at"], unique=False)
    op.create_table(
        "large_file",
        sa.Column("repository_id", BigId, nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("xet_hash", sa.String(length=64), nullable=True),
        sa.Column("added_at", Time(), nullable=False),
        sa.ForeignKeyConstraint(["repository_id"], ["hub_repository.id"], name=op.f("fk_large_file_repository_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("repository_id", "sha256", name=op.f("pk_large_file")),
    )
    op.create_index("ix_large_file_sha256", "large_file", ["sha256"], unique=False)
    op.create_index("ix_large_file_xet_hash", "large_file", ["xet_hash"], unique=False)
