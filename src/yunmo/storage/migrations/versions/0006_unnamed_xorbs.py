"""Who answers for a xorb that no commit has named yet; those that are there already are nobody's."""

import sqlalchemy as sa
from alembic import op

revision = "0006_unnamed_xorbs"
down_revision = "0005_calibration"


def upgrade() -> None:
    """Add the column."""
    op.add_column("xet_xorb", sa.Column("charged_to", sa.String(96), nullable=True))
    op.create_index("ix_xet_xorb_charged_to", "xet_xorb", ["charged_to"], unique=False)
