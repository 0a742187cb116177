"""Calibrations."""

import sqlalchemy as sa
from alembic import op

revision = "0005_calibration"
down_revision = "0004_serving"


def upgrade() -> None:
    """Add the table of calibrations."""
    op.create_table(
        "calibration",
        sa.Column("repository", sa.String(255), primary_key=True),
        sa.Column("revision", sa.String(64), primary_key=True),
        sa.Column("fingerprint", sa.String(64), primary_key=True),
        sa.Column("report", sa.LargeBinary, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
    )
