"""The hub: repositories, git objects, refs, access requests, overviews."""

import sqlalchemy as sa
from alembic import op

from yunmo.storage.tables import BigId, Time

revision = "0002_hub"
down_revision = "0001_tenancy"


def upgrade() -> None:
    """Create the hub's tables."""
    op.create_table(
        "hub_blob",
        sa.Column("oid", sa.String(length=40), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=True),
        sa.Column("touched_at", Time(), nullable=False),
        sa.PrimaryKeyConstraint("oid", name=op.f("pk_hub_blob")),
    )
    op.create_index(op.f("ix_hub_blob_sha256"), "hub_blob", ["sha256"], unique=False)
    op.create_table(
        "hub_repository",
        sa.Column("id", BigId, nullable=False),
        sa.Column("type", sa.String(length=16), nullable=False),
        sa.Column("namespace", sa.String(length=96), nullable=False),
        sa.Column("name", sa.String(length=96), nullable=False),
        sa.Column("folded", sa.String(length=193), nullable=False),
        sa.Column("is_private", sa.Boolean(), nullable=False),
        sa.Column("gated", sa.String(length=8), server_default="", nullable=False),
        sa.Column("is_disabled", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("downloads", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("created_at", Time(), nullable=False),
        sa.Column("updated_at", Time(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_hub_repository")),
        sa.UniqueConstraint("type", "folded", name=op.f("uq_hub_repository_type_folded")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_hub_repository_type_updated_at", "hub_repository", ["type", "updated_at"], unique=False)
    op.create_table(
        "hub_tree",
        sa.Column("oid", sa.String(length=40), nullable=False),
        sa.Column("entries", sa.LargeBinary(), nullable=False),
        sa.Column("touched_at", Time(), nullable=False),
        sa.PrimaryKeyConstraint("oid", name=op.f("pk_hub_tree")),
    )
    op.create_table(
        "hub_access_request",
        sa.Column("id", BigId, nullable=False),
        sa.Column("repository_id", BigId, nullable=False),
        sa.Column("project", sa.String(length=96), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("created_at", Time(), nullable=False),
        sa.ForeignKeyConstraint(
            ["repository_id"], ["hub_repository.id"], name=op.f("fk_hub_access_request_repository_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_hub_access_request")),
        sa.UniqueConstraint("repository_id", "project", name=op.f("uq_hub_access_request_repository_id_project")),
    )
    op.create_table(
        "hub_alias",
        sa.Column("type", sa.String(length=16), nullable=False),
        sa.Column("folded", sa.String(length=193), nullable=False),
        sa.Column("name", sa.String(length=193), nullable=False),
        sa.Column("repository_id", BigId, nullable=False),
        sa.ForeignKeyConstraint(["repository_id"], ["hub_repository.id"], name=op.f("fk_hub_alias_repository_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("type", "folded", name=op.f("pk_hub_alias")),
    )
    op.create_table(
        "hub_commit",
        sa.Column("repository_id", BigId, nullable=False),
        sa.Column("oid", sa.String(length=40), nullable=False),
        sa.Column("tree", sa.String(length=40), nullable=False),
        sa.Column("parent", sa.String(length=40), nullable=True),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("author", sa.String(length=96), nullable=False),
        sa.Column("created_at", Time(), nullable=False),
        sa.Column("request_key", sa.String(length=64), nullable=True),
        sa.ForeignKeyConstraint(["repository_id"], ["hub_repository.id"], name=op.f("fk_hub_commit_repository_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("repository_id", "oid", name=op.f("pk_hub_commit")),
    )
    op.create_index("ix_hub_commit_repository_id_request_key", "hub_commit", ["repository_id", "request_key"], unique=False)
    op.create_table(
        "hub_overview",
        sa.Column("repository_id", BigId, nullable=False),
        sa.Column("commit", sa.String(length=40), nullable=False),
        sa.Column("pipeline_tag", sa.String(length=96), nullable=True),
        sa.Column("library_name", sa.String(length=96), nullable=True),
        sa.Column("parameters", sa.BigInteger(), nullable=True),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["repository_id"], ["hub_repository.id"], name=op.f("fk_hub_overview_repository_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("repository_id", name=op.f("pk_hub_overview")),
    )
    op.create_table(
        "hub_ref",
        sa.Column("repository_id", BigId, nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("oid", sa.String(length=40), nullable=False),
        sa.Column("updated_at", Time(), nullable=False),
        sa.ForeignKeyConstraint(["repository_id"], ["hub_repository.id"], name=op.f("fk_hub_ref_repository_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("repository_id", "name", name=op.f("pk_hub_ref")),
    )
    op.create_table(
        "hub_reflog",
        sa.Column("id", BigId, nullable=False),
        sa.Column("repository_id", BigId, nullable=False),
        sa.Column("ref", sa.String(length=255), nullable=False),
        sa.Column("old", sa.String(length=40), nullable=True),
        sa.Column("new", sa.String(length=40), nullable=True),
        sa.Column("moved_by", sa.String(length=96), nullable=False),
        sa.Column("moved_at", Time(), nullable=False),
        sa.ForeignKeyConstraint(["repository_id"], ["hub_repository.id"], name=op.f("fk_hub_reflog_repository_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_hub_reflog")),
    )
    op.create_index(op.f("ix_hub_reflog_repository_id"), "hub_reflog", ["repository_id"], unique=False)
    op.create_table(
        "hub_tag",
        sa.Column("repository_id", BigId, nullable=False),
        sa.Column("tag", sa.String(length=255), nullable=False),
        sa.ForeignKeyConstraint(["repository_id"], ["hub_repository.id"], name=op.f("fk_hub_tag_repository_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("repository_id", "tag", name=op.f("pk_hub_tag")),
    )
    op.create_index("ix_hub_tag_tag", "hub_tag", ["tag"], unique=False)
