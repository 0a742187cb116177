"""Glossaries: how projects want their terms translated."""

import sqlalchemy as sa
from alembic import op

revision = "0013_glossaries"
down_revision = "0012_translation_routes"


def upgrade() -> None:
    """Add the tables of glossaries and of their dictionaries."""
    op.create_table(
        "glossary",
        sa.Column("id", sa.String(36), primary_key=True),
        sa.Column("project", sa.String(96), nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_glossary_project", "glossary", ["project", "created_at"])
    op.create_table(
        "glossary_dictionary",
        sa.Column("glossary_id", sa.String(36), sa.ForeignKey("glossary.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("source", sa.String(35), primary_key=True),
        sa.Column("target", sa.String(35), primary_key=True),
        sa.Column("entry_count", sa.Integer, nullable=False),
        sa.Column("entries", sa.Text, nullable=False),
    )
