"""Styles: how projects want their translations written."""

import sqlalchemy as sa
from alembic import op

revision = "0014_translation_styles"
down_revision = "0013_glossaries"


def upgrade() -> None:
    """Add the table of styles."""
    op.create_table(
        "translation_style",
        sa.Column("id", sa.String(36), primary_key=True),
        sa.Column("project", sa.String(96), nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("content", sa.LargeBinary, nullable=False),
    )
    op.create_index("ix_translation_style_project", "translation_style", ["project", "created_at"])
