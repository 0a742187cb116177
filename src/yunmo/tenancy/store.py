"""Tenancy's tables and every line of SQL about them."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from yunmo.storage.tables import BigId, Time, metadata, now

project_table = sa.Table(
    "project",
    metadata,
    sa.Column("name", sa.String(96), primary_key=True),
    sa.Column("folded", sa.String(96), nullable=False, unique=True),
    sa.Column("created_at", Time, nullable=False),
)

key_table = sa.Table(
    "api_key",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("project", sa.ForeignKey("project.name"), nullable=False, index=True),
    sa.Column("name", sa.String(), nullable=False),
    sa.Column("digest", sa.LargeBinary(32), nullable=False, unique=True),
    sa.Column("hint", sa.String(16), nullable=False),
    sa.Column("scopes", sa.String(100), nullable=False),
    sa.Column("requests_per_minute", sa.BigInteger),
    sa.Column("tokens_per_minute", sa.BigInteger),
    sa.Column("concurrent_requests", sa.BigInteger),
    sa.Column("is_adopted", sa.Boolean, nullable=False),
    sa.Column("created_at", Time, nullable=False),
    sa.Column("expires_at", Time),
    sa.Column("revoked_at", Time),
    # Counts every change of any key: who knows a revision asks only for later ones, whatever the clocks say.
    sa.Column("revision", sa.BigInteger, nullable=False, index=True),
)

usage_table = sa.Table(
    "usage",
    metadata,
    sa.Column("hour", Time, primary_key=True),
    sa.Column("project", sa.String(96), primary_key=True),
    sa.Column("key_id", sa.String(32), primary_key=True),
    sa.Column("model", sa.String(), primary_key=True),
    sa.Column("model_commit", sa.String(), primary_key=True),
    sa.Column("task", sa.String(), primary_key=True),
    sa.Column("requests", sa.BigInteger, nullable=False),
    sa.Column("input_tokens", sa.BigInteger, nullable=False),
    sa.Column("output_tokens", sa.BigInteger, nullable=False),
    sa.Column("cached_tokens", sa.BigInteger, nullable=False),
    sa.Column("characters", sa.BigInteger, nullable=False),
    sa.Column("microseconds", sa.BigInteger, nullable=False),
    sa.Column("aborted", sa.BigInteger, nullable=False),
    sa.Index(None, "project", "hour"),
)
USAGE_KEYS = ("hour", "project", "key_id", "model", "model_commit", "task")
USAGE_COUNTERS = ("requests", "input_tokens", "output_tokens", "cached_tokens", "characters", "microseconds", "aborted")

flush_table = sa.Table(
    "usage_flush",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("at", Time, nullable=False, index=True),
)
_FLUSHES_KEPT = timedelta(days=7)

audit_table = sa.Table(
    "audit",
    metadata,
    sa.Column("id", BigId, primary_key=True),
    sa.Column("at", Time, nullable=False),
    sa.Column("project", sa.String(96), nullable=False),
    sa.Column("key_id", sa.String(32), nullable=False),
    sa.Column("key_name", sa.String(), nullable=False),
    sa.Column("action", sa.String(), nullable=False),
    sa.Column("target", sa.String(), nullable=False),
    sa.Column("detail", sa.JSON, nullable=False),
)

Row = sa.RowMapping
Connection = sa.Connection


def find_project(connection: sa.Connection, folded: str) -> Row | None:
    """The project of this name, whatever its case."""
    return connection.execute(sa.select(project_table).where(project_table.c.folded == folded)).mappings().one_or_none()


def insert_project(connection: sa.Connection, name: str, folded: str) -> None:
    """Add a project."""
    connection.execute(project_table.insert().values(name=name, folded=folded, created_at=now()))


def list_projects(connection: sa.Connection) -> Sequence[Row]:
    """Every project by name."""
    return connection.execute(sa.select(project_table).order_by(project_table.c.folded)).mappings().all()


def insert_key(connection: sa.Connection, values: Mapping[str, Any]) -> Row:
    """Add a key and return its row."""
    return (
        connection.execute(key_table.insert().values(revision=_next_revision(connection), **values).returning(key_table)).mappings().one()
    )


def update_key(connection: sa.Connection, key_id: str, values: Mapping[str, Any]) -> Row:
    """Change a key and return its row."""
    change = key_table.update().where(key_table.c.id == key_id).values(revision=_next_revision(connection), **values)
    return connection.execute(change.returning(key_table)).mappings().one()


def find_key(connection: sa.Connection, key_id: str) -> Row | None:
    """The key of this id."""
    return connection.execute(sa.select(key_table).where(key_table.c.id == key_id)).mappings().one_or_none()


def find_digest(connection: sa.Connection, digest: bytes) -> Row | None:
    """The key with this digest."""
    return connection.execute(sa.select(key_table).where(key_table.c.digest == digest)).mappings().one_or_none()


def delete_ended_keys(connection: sa.Connection, before: datetime) -> Sequence[bytes]:
    """Delete the keys that ended before this moment, and return their digests. The latest change stays: revisions must not come again."""
    every = key_table.alias()
    latest = sa.select(sa.func.max(every.c.revision)).scalar_subquery()
    ended = key_table.delete().where(key_table.c.expires_at < before, key_table.c.revision < latest)
    return [bytes(digest) for digest in connection.execute(ended.returning(key_table.c.digest)).scalars()]


def list_keys(connection: sa.Connection, project: str | None) -> Sequence[Row]:
    """The project's keys (None: everybody's), revoked ones too, oldest first."""
    query = sa.select(key_table).order_by(key_table.c.created_at, key_table.c.id)
    if project is not None:
        query = query.where(key_table.c.project == project)
    return connection.execute(query).mappings().all()


def list_adopted_keys(connection: sa.Connection, project: str, name: str) -> Sequence[Row]:
    """The keys in force that were adopted under this name."""
    mine = (key_table.c.project == project) & (key_table.c.name == name)
    query = sa.select(key_table).where(mine & key_table.c.is_adopted & key_table.c.revoked_at.is_(None))
    return connection.execute(query).mappings().all()


def list_changed_keys(connection: sa.Connection, after_revision: int) -> Sequence[Row]:
    """The keys that changed after this revision, oldest change first."""
    query = sa.select(key_table).where(key_table.c.revision > after_revision).order_by(key_table.c.revision)
    return connection.execute(query).mappings().all()


def add_usage(connection: sa.Connection, flush_id: str, rows: Sequence[Mapping[str, Any]]) -> bool:
    """Add the rows' counters to the ledger; False, and nothing is added, if this flush was added before."""
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    moment = now()
    marked = connection.execute(
        insert(flush_table).values(id=flush_id, at=moment).on_conflict_do_nothing().returning(flush_table.c.id)
    ).all()
    if not marked:
        return False
    connection.execute(flush_table.delete().where(flush_table.c.at < moment - _FLUSHES_KEPT))
    added = insert(usage_table)
    sums = {name: usage_table.c[name] + added.excluded[name] for name in USAGE_COUNTERS}
    connection.execute(added.on_conflict_do_update(index_elements=list(USAGE_KEYS), set_=sums), list(rows))
    return True


def sum_usage(
    connection: sa.Connection, project: str | None, since: datetime | None, until: datetime | None, group_by: Sequence[str]
) -> Sequence[Row]:
    """The counters' sums over the hours from `since` up to `until`, one row for each group."""
    groups = [usage_table.c[name] for name in group_by]
    sums = [sa.cast(sa.func.coalesce(sa.func.sum(usage_table.c[name]), 0), sa.BigInteger).label(name) for name in USAGE_COUNTERS]
    query = sa.select(*groups, *sums).group_by(*groups).order_by(*groups)
    if project is not None:
        query = query.where(usage_table.c.project == project)
    if since is not None:
        query = query.where(usage_table.c.hour >= since)
    if until is not None:
        query = query.where(usage_table.c.hour < until)
    return connection.execute(query).mappings().all()


def insert_audit(connection: sa.Connection, values: Mapping[str, Any]) -> None:
    """Add an entry to the audit log."""
    connection.execute(audit_table.insert().values(at=now(), **values))


def list_audit(connection: sa.Connection, limit: int, before: int | None) -> Sequence[Row]:
    """The newest entries first, those before the entry `before`."""
    query = sa.select(audit_table).order_by(audit_table.c.id.desc()).limit(limit)
    if before is not None:
        query = query.where(audit_table.c.id < before)
    return connection.execute(query).mappings().all()


def _next_revision(connection: sa.Connection) -> int:
    return int(connection.execute(sa.select(sa.func.coalesce(sa.func.max(key_table.c.revision), 0) + 1)).scalar_one())
