"""Deployments."""

import sqlalchemy as sa
from alembic import op

revision = "0004_serving"
down_revision = "0003_xet"


def upgrade() -> None:
    """Add the table of deployments."""
    op.create_table(
        "deployment",
        sa.Column("name", sa.String(255), primary_key=True),
        sa.Column("project", sa.String(96), nullable=False, index=True),
        sa.Column("repository", sa.String(255), nullable=False),
        sa.Column("branch", sa.String(255)),
        sa.Column("revision", sa.String(64), nullable=False),
        sa.Column("replicas", sa.Integer, nullable=False),
        sa.Column("is_pinned", sa.Boolean, nullable=False),
        sa.Column("is_private", sa.Boolean, nullable=False),
        sa.Column("is_automatic", sa.Boolean, nullable=False),
        sa.Column("options", sa.JSON, nullable=False),
        sa.Column("limits", sa.JSON, nullable=False),
        sa.Column("created", sa.BigInteger, nullable=False),
    )
