"""SQL for repositories, their other names, and requests for access to them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from yunmo.hub.names import RepositoryType
from yunmo.hub.records import AccessRequest, Repository
from yunmo.hub.store import tables
from yunmo.hub.store.rows import insert_or, pattern

_COLUMNS = [
    tables.repository.c[name]
    for name in ("id", "type", "namespace", "name", "is_private", "gated", "is_disabled", "downloads", "created_at", "updated_at")
]


@dataclass(frozen=True, slots=True)
class Listing:
    """Which repositories to list, in what order. `reader` is the project whose private ones are seen too; None sees all."""

    type: RepositoryType
    reader: str | None = ""
    author: str | None = None
    search: Sequence[str] = ()
    tags: Sequence[str] = ()
    pipeline_tag: str | None = None
    library_name: str | None = None
    gated: bool | None = None
    parameters: tuple[int | None, int | None] = (None, None)
    sort: str = "updated_at"
    is_ascending: bool = False
    limit: int = 100
    offset: int = 0


def by_id(connection: sa.Connection, repository_id: int) -> Repository | None:
    """The repository with this id."""
    return _one(connection, tables.repository.c.id == repository_id)


def by_name(connection: sa.Connection, type_: RepositoryType, full_name: str) -> Repository | None:
    """The repository that is called so now (`namespace/name`, in any case)."""
    return _one(connection, sa.and_(tables.repository.c.type == type_, tables.repository.c.folded == full_name.lower()))


def by_alias(connection: sa.Connection, type_: RepositoryType, name: str) -> Repository | None:
    """The repository that this alias or former name leads to."""
    wanted = sa.select(tables.alias.c.repository_id).where(tables.alias.c.type == type_, tables.alias.c.folded == name.lower())
    return _one(connection, tables.repository.c.id == wanted.scalar_subquery())


def insert(connection: sa.Connection, type_: RepositoryType, full_name: str, *, is_private: bool, at: datetime) -> Repository:
    """A new repository."""
    namespace, name = full_name.split("/")
    values: dict[str, Any] = {"type": type_, "namespace": namespace, "name": name, "folded": full_name.lower()}
    values |= {"is_private": is_private, "gated": "", "is_disabled": False, "downloads": 0, "created_at": at, "updated_at": at}
    return Repository(**connection.execute(sa.insert(tables.repository).values(**values).returning(*_COLUMNS)).mappings().one())


def update(connection: sa.Connection, repository_id: int, **values: Any) -> None:
    """Change columns of a repository."""
    connection.execute(sa.update(tables.repository).where(tables.repository.c.id == repository_id).values(**values))


def add_downloads(connection: sa.Connection, counts: Mapping[int, int]) -> None:
    """Add to the repositories' numbers of downloads."""
    table = tables.repository
    for repository_id, count in counts.items():
        connection.execute(sa.update(table).where(table.c.id == repository_id).values(downloads=table.c.downloads + count))


def rename(connection: sa.Connection, repository: Repository, full_name: str, at: datetime) -> None:
    """Give the repository a new name; the old one becomes an alias."""
    namespace, name = full_name.split("/")
    delete_alias(connection, repository.type, full_name)
    put_alias(connection, repository.type, repository.full_name, repository.id)
    update(connection, repository.id, namespace=namespace, name=name, folded=full_name.lower(), updated_at=at)


def delete(connection: sa.Connection, repository_id: int) -> None:
    """Forget a repository with its commits, refs and aliases."""
    connection.execute(sa.delete(tables.repository).where(tables.repository.c.id == repository_id))


def lock(connection: sa.Connection, repository_id: int) -> None:
    """Make other writers to this repository wait (SQLite has one writer anyway)."""
    connection.execute(sa.select(tables.repository.c.id).where(tables.repository.c.id == repository_id).with_for_update())


def listing(connection: sa.Connection, wanted: Listing) -> list[Repository]:
    """The repositories wanted, one more than `limit` if there are more."""
    repository, overview = tables.repository.c, tables.overview.c
    query = sa.select(*_COLUMNS).select_from(sa.outerjoin(tables.repository, tables.overview)).where(*_conditions(wanted))
    key = repository[wanted.sort] if wanted.sort in repository else overview[wanted.sort]
    # what has no such number comes last, in either direction and on both databases
    order = [key.asc().nulls_last(), repository.id.asc()] if wanted.is_ascending else [key.desc().nulls_last(), repository.id.desc()]
    page = query.order_by(*order).limit(wanted.limit + 1).offset(wanted.offset)
    return [Repository(**row) for row in connection.execute(page).mappings()]


def put_alias(connection: sa.Connection, type_: RepositoryType, name: str, repository_id: int) -> None:
    """Let `name` lead to the repository."""
    row = {"type": type_, "folded": name.lower(), "name": name, "repository_id": repository_id}
    insert_or(connection, tables.alias, [row], update=("name", "repository_id"))


def delete_alias(connection: sa.Connection, type_: RepositoryType, name: str) -> bool:
    """Whether there was such an alias; it is gone."""
    gone = sa.delete(tables.alias).where(tables.alias.c.type == type_, tables.alias.c.folded == name.lower())
    return connection.execute(gone).rowcount > 0


def aliases(connection: sa.Connection) -> list[tuple[str, str, int]]:
    """Every alias as (type, name, repository id)."""
    query = sa.select(tables.alias.c.type, tables.alias.c.name, tables.alias.c.repository_id).order_by(tables.alias.c.folded)
    return [(row.type, row.name, row.repository_id) for row in connection.execute(query)]


def access(connection: sa.Connection, repository_id: int, project: str) -> AccessRequest | None:
    """The project's request for this repository."""
    table = tables.access_request.c
    query = sa.select(tables.access_request).where(table.repository_id == repository_id, table.project == project)
    found = connection.execute(query).mappings().one_or_none()
    return AccessRequest(**found) if found else None


def accesses(connection: sa.Connection, repository_id: int, status: str) -> list[AccessRequest]:
    """All requests for this repository in one state, oldest first."""
    table = tables.access_request.c
    query = sa.select(tables.access_request).where(table.repository_id == repository_id, table.status == status).order_by(table.id)
    return [AccessRequest(**row) for row in connection.execute(query).mappings()]


def put_access(connection: sa.Connection, repository_id: int, project: str, status: str, at: datetime, reason: str | None = None) -> None:
    """Set the state of the project's request, making one if there is none."""
    table = tables.access_request
    changed = (
        sa.update(table).where(table.c.repository_id == repository_id, table.c.project == project).values(status=status, reason=reason)
    )
    if connection.execute(changed).rowcount == 0:
        row = {"repository_id": repository_id, "project": project, "status": status, "reason": reason, "created_at": at}
        connection.execute(sa.insert(table).values(**row))


def _conditions(wanted: Listing) -> list[sa.ColumnElement[bool]]:
    repository, overview = tables.repository.c, tables.overview.c
    conditions: list[sa.ColumnElement[bool]] = [repository.type == wanted.type, repository.is_disabled == sa.false()]
    if wanted.reader is not None:
        conditions.append(sa.or_(repository.is_private == sa.false(), repository.namespace == wanted.reader))
    if wanted.author is not None:
        conditions.append(sa.func.lower(repository.namespace) == wanted.author.lower())
    if wanted.gated is not None:
        conditions.append(repository.gated != "" if wanted.gated else repository.gated == "")
    if wanted.pipeline_tag is not None:
        conditions.append(overview.pipeline_tag == wanted.pipeline_tag)
    if wanted.library_name is not None:
        conditions.append(overview.library_name == wanted.library_name)
    least, most = wanted.parameters
    if least is not None:
        conditions.append(overview.parameters >= least)
    if most is not None:
        conditions.append(overview.parameters <= most)
    conditions += [repository.folded.like(pattern(text.lower()), escape="\\") for text in wanted.search]
    conditions += [
        sa.exists().where(tables.tag.c.repository_id == repository.id, sa.func.lower(tables.tag.c.tag) == tag.lower())
        for tag in wanted.tags
    ]
    return conditions


def _one(connection: sa.Connection, condition: sa.ColumnElement[bool]) -> Repository | None:
    found = connection.execute(sa.select(*_COLUMNS).where(condition)).mappings().one_or_none()
    return Repository(**found) if found else None
