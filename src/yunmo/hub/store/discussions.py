"""SQL for discussions, pull requests and what happens in them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from yunmo.hub.records import Discussion, DiscussionStatus, Event, EventKind
from yunmo.hub.store import tables

_COLUMNS = list(tables.discussion.c)
_EVENT_COLUMNS = [column for column in tables.discussion_event.c if column.name not in {"repository_id", "number"}]

Key = tuple[int, int]
"""A repository's id and the number of the discussion in it."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which discussions to list; None for all."""

    are_pull_requests: bool | None = None
    statuses: Sequence[DiscussionStatus] | None = None
    author: str | None = None


def next_number(connection: sa.Connection, repository_id: int) -> int:
    """The number of the next discussion. The caller holds the repository's lock."""
    table = tables.discussion.c
    query = sa.select(sa.func.coalesce(sa.func.max(table.number), 0)).where(table.repository_id == repository_id)
    return int(connection.execute(query).scalar_one()) + 1


def insert(connection: sa.Connection, discussion: Discussion) -> None:
    """A new discussion."""
    connection.execute(sa.insert(tables.discussion).values({column.name: getattr(discussion, column.name) for column in _COLUMNS}))


def get(connection: sa.Connection, key: Key) -> Discussion | None:
    """The discussion with this number."""
    found = connection.execute(sa.select(*_COLUMNS).where(_is(key))).mappings().one_or_none()
    return Discussion(**found) if found else None


def update(connection: sa.Connection, key: Key, **values: Any) -> None:
    """Change columns of a discussion."""
    connection.execute(sa.update(tables.discussion).where(_is(key)).values(**values))


def listing(connection: sa.Connection, repository_id: int, wanted: Wanted, window: tuple[int, int]) -> tuple[list[Discussion], int]:
    """The discussions wanted, newest first, from `window[0]`, at most `window[1]`; and how many there are in all."""
    table = tables.discussion.c
    conditions = [table.repository_id == repository_id]
    if wanted.are_pull_requests is not None:
        conditions.append(table.target.is_not(None) if wanted.are_pull_requests else table.target.is_(None))
    if wanted.statuses is not None:
        conditions.append(table.status.in_(wanted.statuses))
    if wanted.author is not None:
        conditions.append(sa.func.lower(table.author) == wanted.author.lower())
    total = connection.execute(sa.select(sa.func.count()).select_from(tables.discussion).where(*conditions)).scalar_one()
    first, count = window
    page = sa.select(*_COLUMNS).where(*conditions).order_by(table.number.desc()).limit(count).offset(first)
    return [Discussion(**row) for row in connection.execute(page).mappings()], total


def add_event(
    connection: sa.Connection, key: Key, by: tuple[str, datetime], kind: EventKind, text: str, detail: str | None = None
) -> Event:
    """Note that something happened."""
    author, at = by
    row = {"repository_id": key[0], "number": key[1], "kind": kind, "author": author, "text": text, "detail": detail, "created_at": at}
    made = sa.insert(tables.discussion_event).values(**row).returning(*_EVENT_COLUMNS)
    return Event(**connection.execute(made).mappings().one())


def events(connection: sa.Connection, key: Key) -> list[Event]:
    """All that happened, oldest first."""
    query = sa.select(*_EVENT_COLUMNS).where(_has(key)).order_by(tables.discussion_event.c.id)
    return [Event(**row) for row in connection.execute(query).mappings()]


def event_count(connection: sa.Connection, key: Key) -> int:
    """How much has happened."""
    return int(connection.execute(sa.select(sa.func.count()).select_from(tables.discussion_event).where(_has(key))).scalar_one())


def change_comment(connection: sa.Connection, key: Key, event_id: int, **values: Any) -> Event:
    """Change columns of a comment."""
    table = tables.discussion_event
    changed = sa.update(table).where(_has(key), table.c.id == event_id).values(**values).returning(*_EVENT_COLUMNS)
    return Event(**connection.execute(changed).mappings().one())


def forget_edits(connection: sa.Connection, key: Key, comment_id: int) -> None:
    """Forget a comment's former words."""
    table = tables.discussion_event
    connection.execute(sa.delete(table).where(_has(key), table.c.kind == "edit", table.c.detail == str(comment_id)))


def rename_commits(connection: sa.Connection, repository_id: int, renamed: Mapping[str, str]) -> None:
    """Let everything that names one of these commits name the one that took its place."""
    discussion, event = tables.discussion, tables.discussion_event
    rows = connection.execute(sa.select(*_COLUMNS).where(discussion.c.repository_id == repository_id)).mappings()
    for found in [Discussion(**row) for row in rows]:
        changed = {"base": renamed.get(found.base or ""), "merged_as": renamed.get(found.merged_as or "")}
        changed = {name: oid for name, oid in changed.items() if oid is not None}
        if changed:
            update(connection, (repository_id, found.number), **changed)
    commits = sa.select(event.c.id, event.c.detail).where(event.c.repository_id == repository_id, event.c.kind == "commit")
    for row in connection.execute(commits).all():
        if row.detail in renamed:
            connection.execute(sa.update(event).where(event.c.id == row.id).values(detail=renamed[row.detail]))


def _is(key: Key) -> sa.ColumnElement[bool]:
    return sa.and_(tables.discussion.c.repository_id == key[0], tables.discussion.c.number == key[1])


def _has(key: Key) -> sa.ColumnElement[bool]:
    return sa.and_(tables.discussion_event.c.repository_id == key[0], tables.discussion_event.c.number == key[1])
