"""Who answers for a Git-LFS object that no commit has named yet; those that are there already are nobody's."""

import sqlalchemy as sa
from alembic import op

revision = "0008_unnamed_objects"
down_revision = "0007_discussions"


def upgrade() -> None:
    """Add the column."""
    op.add_column("lfs_object", sa.Column("charged_to", sa.String(96), nullable=True))
    op.create_index("ix_lfs_object_charged_to", "lfs_object", ["charged_to"], unique=False)
