"""Which model translates which pair of languages."""

import sqlalchemy as sa
from alembic import op

revision = "0012_translation_routes"
down_revision = "0011_promotions"


def upgrade() -> None:
    """Add the table of told routes."""
    op.create_table(
        "translation_route",
        sa.Column("project", sa.String(96), primary_key=True),
        sa.Column("source", sa.String(35), primary_key=True),
        sa.Column("target", sa.String(35), primary_key=True),
        sa.Column("model", sa.String(255), primary_key=True),
        sa.Column("priority", sa.Integer, nullable=False),
    )
