"""What deployments served before they were promoted, and how trained models are served."""

import sqlalchemy as sa
from alembic import op

revision = "0011_promotions"
down_revision = "0010_files"


def upgrade() -> None:
    """Add the tables of promotions and of certificates."""
    op.create_table(
        "promotion",
        sa.Column("name", sa.String(255), primary_key=True),
        sa.Column("repository", sa.String(255), nullable=False),
        sa.Column("revision", sa.String(64), nullable=False),
        sa.Column("branch", sa.String(255)),
        sa.Column("options", sa.JSON, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "certificate",
        sa.Column("commit", sa.String(40), primary_key=True),
        sa.Column("repository", sa.String(255), nullable=False),
        sa.Column("certificate", sa.LargeBinary, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
    )
