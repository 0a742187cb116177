"""The hub's tables.

Blobs, trees and commits have git's own object ids, so that a repository can be exported to git without translation.
"""

import sqlalchemy as sa

from yunmo.storage.tables import BigId, Time, metadata

repository = sa.Table(
    "hub_repository",
    metadata,
    sa.Column("id", BigId, primary_key=True),
    sa.Column("type", sa.String(16), nullable=False),
    sa.Column("namespace", sa.String(96), nullable=False),
    sa.Column("name", sa.String(96), nullable=False),
    sa.Column("folded", sa.String(193), nullable=False),
    sa.Column("is_private", sa.Boolean, nullable=False),
    sa.Column("gated", sa.String(8), nullable=False, server_default=""),
    sa.Column("is_disabled", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("downloads", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("created_at", Time, nullable=False),
    sa.Column("updated_at", Time, nullable=False),
    sa.UniqueConstraint("type", "folded"),
    sa.Index("ix_hub_repository_type_updated_at", "type", "updated_at"),
    sqlite_autoincrement=True,
)
"""Ids are never used twice: what still refers to a deleted repository must not find a newer one."""

alias = sa.Table(
    "hub_alias",
    metadata,
    sa.Column("type", sa.String(16), primary_key=True),
    sa.Column("folded", sa.String(193), primary_key=True),
    sa.Column("name", sa.String(193), nullable=False),
    sa.Column("repository_id", sa.ForeignKey("hub_repository.id", ondelete="CASCADE"), nullable=False),
)
"""Other names of a repository: bare ones that an administrator gave, and former ones of moved repositories."""

blob = sa.Table(
    "hub_blob",
    metadata,
    sa.Column("oid", sa.String(40), primary_key=True),
    sa.Column("sha256", sa.String(64), nullable=False, index=True),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("content", sa.LargeBinary),
    sa.Column("touched_at", Time, nullable=False),
)
"""Small files. `content` is NULL for those kept in the object store."""

tree = sa.Table(
    "hub_tree",
    metadata,
    sa.Column("oid", sa.String(40), primary_key=True),
    sa.Column("entries", sa.LargeBinary, nullable=False),
    sa.Column("touched_at", Time, nullable=False),
)
"""Folders. `touched_at` keeps a tree or blob that a commit in progress relies on from being collected."""

commit = sa.Table(
    "hub_commit",
    metadata,
    sa.Column("repository_id", sa.ForeignKey("hub_repository.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("oid", sa.String(40), primary_key=True),
    sa.Column("tree", sa.String(40), nullable=False),
    sa.Column("parent", sa.String(40)),
    sa.Column("title", sa.Text, nullable=False),
    sa.Column("message", sa.Text, nullable=False),
    sa.Column("author", sa.String(96), nullable=False),
    sa.Column("created_at", Time, nullable=False),
    sa.Column("request_key", sa.String(64)),
    sa.Index("ix_hub_commit_repository_id_request_key", "repository_id", "request_key"),
)
"""`request_key` identifies the request that made the commit, so that a retry finds it."""

ref = sa.Table(
    "hub_ref",
    metadata,
    sa.Column("repository_id", sa.ForeignKey("hub_repository.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("name", sa.String(255), primary_key=True),
    sa.Column("oid", sa.String(40), nullable=False),
    sa.Column("updated_at", Time, nullable=False),
)

reflog = sa.Table(
    "hub_reflog",
    metadata,
    sa.Column("id", BigId, primary_key=True),
    sa.Column("repository_id", sa.ForeignKey("hub_repository.id", ondelete="CASCADE"), nullable=False, index=True),
    sa.Column("ref", sa.String(255), nullable=False),
    sa.Column("old", sa.String(40)),
    sa.Column("new", sa.String(40)),
    sa.Column("moved_by", sa.String(96), nullable=False),
    sa.Column("moved_at", Time, nullable=False),
)

overview = sa.Table(
    "hub_overview",
    metadata,
    sa.Column("repository_id", sa.ForeignKey("hub_repository.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("commit", sa.String(40), nullable=False),
    sa.Column("pipeline_tag", sa.String(96)),
    sa.Column("library_name", sa.String(96)),
    sa.Column("parameters", sa.BigInteger),
    sa.Column("content", sa.LargeBinary, nullable=False),
)
"""What the newest commit of `main` says about itself: card, configuration, formats; recomputed when `commit` is outdated."""

tag = sa.Table(
    "hub_tag",
    metadata,
    sa.Column("repository_id", sa.ForeignKey("hub_repository.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("tag", sa.String(255), primary_key=True),
    sa.Index("ix_hub_tag_tag", "tag"),
)

access_request = sa.Table(
    "hub_access_request",
    metadata,
    sa.Column("id", BigId, primary_key=True),
    sa.Column("repository_id", sa.ForeignKey("hub_repository.id", ondelete="CASCADE"), nullable=False),
    sa.Column("project", sa.String(96), nullable=False),
    sa.Column("status", sa.String(16), nullable=False),
    sa.Column("reason", sa.Text),
    sa.Column("created_at", Time, nullable=False),
    sa.UniqueConstraint("repository_id", "project"),
)

discussion = sa.Table(
    "hub_discussion",
    metadata,
    sa.Column("repository_id", sa.ForeignKey("hub_repository.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("title", sa.String(200), nullable=False),
    sa.Column("author", sa.String(96), nullable=False),
    sa.Column("status", sa.String(16), nullable=False),
    sa.Column("target", sa.String(255)),
    sa.Column("base", sa.String(40)),
    sa.Column("merged_as", sa.String(40)),
    sa.Column("created_at", Time, nullable=False),
)
"""Discussions and pull requests, counted together in each repository.

A pull request has a `target` (the branch that it is for) and a `base` (the commit that it started from); `merged_as` is the commit that
brought it in.
"""

discussion_event = sa.Table(
    "hub_discussion_event",
    metadata,
    sa.Column("id", BigId, primary_key=True),
    sa.Column("repository_id", BigId, nullable=False),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("author", sa.String(96), nullable=False),
    sa.Column("text", sa.Text, nullable=False),
    sa.Column("detail", sa.String(255)),
    sa.Column("is_hidden", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("created_at", Time, nullable=False),
    sa.Column("edited_at", Time),
    sa.ForeignKeyConstraint(["repository_id", "number"], ["hub_discussion.repository_id", "hub_discussion.number"], ondelete="CASCADE"),
    sa.Index("ix_hub_discussion_event_repository_id_number", "repository_id", "number"),
    sqlite_autoincrement=True,
)
"""What happened, in order. `text` and `detail` by kind: a comment's words; a new status; a new title and the old one; a commit's title and
id; a comment's former words and its id."""
