"""Tenancy: projects, API keys, the usage ledger, the audit log."""

import sqlalchemy as sa
from alembic import op

from yunmo.storage.tables import BigId, Time

revision = "0001_tenancy"
down_revision = None


def upgrade() -> None:
    """Create the tables of tenancy."""
    op.create_table(
        "project",
        sa.Column("name", sa.String(96), nullable=False),
        sa.Column("folded", sa.String(96), nullable=False),
        sa.Column("created_at", Time(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_project"),
        sa.UniqueConstraint("folded", name="uq_project_folded"),
    )
    _create_keys()
    _create_usage()
    op.create_table(
        "audit",
        sa.Column("id", BigId, nullable=False),
        sa.Column("at", Time(), nullable=False),
        sa.Column("project", sa.String(96), nullable=False),
        sa.Column("key_id", sa.String(32), nullable=False),
        sa.Column("key_name", sa.String(), nullable=False),
        sa.Column("action", sa.String(), nullable=False),
        sa.Column("target", sa.String(), nullable=False),
        sa.Column("detail", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_audit"),
    )


def _create_keys() -> None:
    op.create_table(
        "api_key",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("project", sa.String(96), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("digest", sa.LargeBinary(32), nullable=False),
        sa.Column("hint", sa.String(16), nullable=False),
        sa.Column("scopes", sa.String(100), nullable=False),
        sa.Column("requests_per_minute", sa.BigInteger(), nullable=True),
        sa.Column("tokens_per_minute", sa.BigInteger(), nullable=True),
        sa.Column("concurrent_requests", sa.BigInteger(), nullable=True),
        sa.Column("is_adopted", sa.Boolean(), nullable=False),
        sa.Column("created_at", Time(), nullable=False),
        sa.Column("expires_at", Time(), nullable=True),
        sa.Column("revoked_at", Time(), nullable=True),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["project"], ["project.name"], name="fk_api_key_project"),
        sa.PrimaryKeyConstraint("id", name="pk_api_key"),
        sa.UniqueConstraint("digest", name="uq_api_key_digest"),
    )
    op.create_index("ix_api_key_project", "api_key", ["project"])
    op.create_index("ix_api_key_revision", "api_key", ["revision"])


def _create_usage() -> None:
    op.create_table(
        "usage",
        sa.Column("hour", Time(), nullable=False),
        sa.Column("project", sa.String(96), nullable=False),
        sa.Column("key_id", sa.String(32), nullable=False),
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("model_commit", sa.String(), nullable=False),
        sa.Column("task", sa.String(), nullable=False),
        sa.Column("requests", sa.BigInteger(), nullable=False),
        sa.Column("input_tokens", sa.BigInteger(), nullable=False),
        sa.Column("output_tokens", sa.BigInteger(), nullable=False),
        sa.Column("cached_tokens", sa.BigInteger(), nullable=False),
        sa.Column("characters", sa.BigInteger(), nullable=False),
        sa.Column("microseconds", sa.BigInteger(), nullable=False),
        sa.Column("aborted", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("hour", "project", "key_id", "model", "model_commit", "task", name="pk_usage"),
    )
    op.create_index("ix_usage_project_hour", "usage", ["project", "hour"])
    op.create_table(
        "usage_flush",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("at", Time(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_usage_flush"),
    )
    op.create_index("ix_usage_flush_at", "usage_flush", ["at"])
