"""Discussions and pull requests; those that were only refs until now get their entry."""

import sqlalchemy as sa
from alembic import op

from yunmo.storage.tables import BigId, Time

revision = "0007_discussions"
down_revision = "0006_unnamed_xorbs"

_TITLE_LIMIT = 200


def upgrade() -> None:
    """Create the tables and fill in the pull requests that there are."""
    discussion = op.create_table(
        "hub_discussion",
        sa.Column("repository_id", BigId, nullable=False),
        sa.Column("number", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("title", sa.String(length=200), nullable=False),
        sa.Column("author", sa.String(length=96), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("target", sa.String(length=255), nullable=True),
        sa.Column("base", sa.String(length=40), nullable=True),
        sa.Column("merged_as", sa.String(length=40), nullable=True),
        sa.Column("created_at", Time(), nullable=False),
        sa.ForeignKeyConstraint(["repository_id"], ["hub_repository.id"], name=op.f("fk_hub_discussion_repository_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("repository_id", "number", name=op.f("pk_hub_discussion")),
    )
    op.create_table(
        "hub_discussion_event",
        sa.Column("id", BigId, nullable=False),
        sa.Column("repository_id", BigId, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("author", sa.String(length=96), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("detail", sa.String(length=255), nullable=True),
        sa.Column("is_hidden", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("created_at", Time(), nullable=False),
        sa.Column("edited_at", Time(), nullable=True),
        sa.ForeignKeyConstraint(
            ["repository_id", "number"],
            ["hub_discussion.repository_id", "hub_discussion.number"],
            name=op.f("fk_hub_discussion_event_repository_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_hub_discussion_event")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_hub_discussion_event_repository_id_number", "hub_discussion_event", ["repository_id", "number"], unique=False)
    _adopt_refs(discussion)


def _adopt_refs(discussion: sa.Table) -> None:
    """A pull request made before started where its first commit did: at the newest one that no pull request was needed for."""
    connection = op.get_bind()
    query = (
        "SELECT r.repository_id, r.name, c.title, c.author, c.created_at, c.parent FROM hub_ref r "
        "JOIN hub_commit c ON c.repository_id = r.repository_id AND c.oid = r.oid WHERE r.name LIKE 'refs/pr/%'"
    )
    found = connection.execute(sa.text(query).columns(created_at=Time())).all()
    for row in found:
        base = _first_parent(connection, row.repository_id, row.parent)
        connection.execute(
            discussion.insert().values(
                repository_id=row.repository_id,
                number=int(row.name.rsplit("/", 1)[-1]),
                title=row.title[:_TITLE_LIMIT],
                author=row.author,
                status="open",
                target="refs/heads/main",
                base=base,
                created_at=row.created_at,
            )
        )


def _first_parent(connection: sa.Connection, repository_id: int, oid: str | None) -> str | None:
    """The commit itself or its nearest ancestor that a branch's reflog knows."""
    known = sa.text("SELECT 1 FROM hub_reflog WHERE repository_id = :repository AND new = :oid AND ref LIKE 'refs/heads/%' LIMIT 1")
    parent = sa.text("SELECT parent FROM hub_commit WHERE repository_id = :repository AND oid = :oid")
    while oid is not None and connection.execute(known, {"repository": repository_id, "oid": oid}).first() is None:
        oid = connection.execute(parent, {"repository": repository_id, "oid": oid}).scalar()
    return oid
