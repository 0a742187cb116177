"""SQL for git's objects: blobs, trees, commits and refs."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa

from yunmo.hub.objects import EMPTY_TREE, Entry
from yunmo.hub.records import Commit, Ref
from yunmo.hub.store import tables
from yunmo.hub.store.rows import batches, insert_or

Load = Callable[[str], tuple[Entry, ...]]

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(tuple[Entry, ...]).decode
_COLUMNS = [tables.commit.c[name] for name in ("repository_id", "oid", "tree", "parent", "title", "message", "author", "created_at")]


@dataclass(frozen=True, slots=True)
class BlobRow:
    """A small file; `content` is None when the object store has it."""

    oid: str
    sha256: str
    size: int
    content: bytes | None


def put_blobs(connection: sa.Connection, blobs: Iterable[BlobRow], at: datetime) -> None:
    """Keep the blobs; those that are there already are touched."""
    rows = [{"oid": blob.oid, "sha256": blob.sha256, "size": blob.size, "content": blob.content, "touched_at": at} for blob in blobs]
    insert_or(connection, tables.blob, rows, update=("touched_at",))


def get_blob(connection: sa.Connection, oid: str) -> BlobRow | None:
    """The blob with this id."""
    table = tables.blob.c
    found = connection.execute(sa.select(table.oid, table.sha256, table.size, table.content).where(table.oid == oid)).one_or_none()
    return BlobRow(*found) if found else None


def blob_hashes(connection: sa.Connection, oids: Sequence[str]) -> dict[str, str]:
    """The sha256 of each of these blobs that is there."""
    table = tables.blob.c
    found: dict[str, str] = {}
    for some in batches(oids):
        found.update((row.oid, row.sha256) for row in connection.execute(sa.select(table.oid, table.sha256).where(table.oid.in_(some))))
    return found


def stored_hashes(connection: sa.Connection, hashes: Sequence[str]) -> set[str]:
    """Those of these contents that a blob keeps in the object store."""
    table = tables.blob.c
    query = sa.select(table.sha256).where(table.sha256.in_(hashes), table.content.is_(None))
    return set(connection.execute(query).scalars())


def reachable(connection: sa.Connection) -> set[str]:
    """The ids of every tree and blob that some commit of some repository holds."""
    found: set[str] = set()
    pending = set(connection.execute(sa.select(tables.commit.c.tree).distinct()).scalars())
    while pending:
        found |= pending
        children: set[str] = set()
        for some in batches(list(pending)):
            for content in connection.execute(sa.select(tables.tree.c.entries).where(tables.tree.c.oid.in_(some))).scalars():
                entries = _decode(content)
                found.update(entry.oid for entry in entries if not entry.is_folder)
                children.update(entry.oid for entry in entries if entry.is_folder)
        pending = children - found
    return found


def older_objects(connection: sa.Connection, before: datetime) -> list[str]:
    """The ids of the trees and blobs that nobody has touched since."""
    found: list[str] = []
    for table in (tables.tree, tables.blob):
        found += connection.execute(sa.select(table.c.oid).where(table.c.touched_at < before)).scalars()
    return found


def delete_objects(connection: sa.Connection, oids: Sequence[str], before: datetime) -> int:
    """Delete those of these trees and blobs that are still untouched; how many."""
    count = 0
    for table in (tables.tree, tables.blob):
        for some in batches(oids):
            count += connection.execute(sa.delete(table).where(table.c.oid.in_(some), table.c.touched_at < before)).rowcount
    return count


def tree_reader(connection: sa.Connection) -> Load:
    """A function that reads a tree's entries by its id, each only once."""
    seen: dict[str, tuple[Entry, ...]] = {EMPTY_TREE: ()}

    def load(oid: str) -> tuple[Entry, ...]:
        entries = seen.get(oid)
        if entries is None:
            content = connection.execute(sa.select(tables.tree.c.entries).where(tables.tree.c.oid == oid)).scalar_one()
            entries = seen[oid] = _decode(content)
        return entries

    return load


def put_trees(connection: sa.Connection, trees: Mapping[str, tuple[Entry, ...]], at: datetime) -> None:
    """Keep the trees; those that are there already are touched."""
    rows = [{"oid": oid, "entries": _encode(entries), "touched_at": at} for oid, entries in trees.items()]
    insert_or(connection, tables.tree, rows, update=("touched_at",))


def insert_commit(connection: sa.Connection, commit: Commit, request_key: str | None) -> None:
    """A new commit; the same one again is a no-op."""
    row = {column.name: getattr(commit, column.name) for column in _COLUMNS}
    insert_or(connection, tables.commit, [row | {"request_key": request_key}])


def get_commit(connection: sa.Connection, repository_id: int, oid: str) -> Commit | None:
    """The repository's commit with this id."""
    table = tables.commit.c
    query = sa.select(*_COLUMNS).where(table.repository_id == repository_id, table.oid == oid)
    return next(iter(_commits(connection, query)), None)


def commit_by_prefix(connection: sa.Connection, repository_id: int, prefix: str) -> Commit | None:
    """The only commit whose id starts so."""
    table = tables.commit.c
    query = sa.select(*_COLUMNS).where(table.repository_id == repository_id, table.oid >= prefix, table.oid < prefix + "g").limit(2)
    found = _commits(connection, query)
    return found[0] if len(found) == 1 else None


def commit_by_request(connection: sa.Connection, repository_id: int, request_key: str, since: datetime | None = None) -> Commit | None:
    """The newest commit that this request has made, ever or since a moment."""
    table = tables.commit.c
    query = sa.select(*_COLUMNS).where(table.repository_id == repository_id, table.request_key == request_key)
    if since is not None:
        query = query.where(table.created_at >= since)
    return next(iter(_commits(connection, query.order_by(table.created_at.desc()).limit(1))), None)


def history(connection: sa.Connection, repository_id: int, oid: str, limit: int) -> list[Commit]:
    """The commit and its ancestors, newest first."""
    table = tables.commit
    first = (
        sa.select(table.c.oid, table.c.parent, sa.literal(1).label("depth"))
        .where(table.c.repository_id == repository_id, table.c.oid == oid)
        .cte("ancestors", recursive=True)
    )
    older = table.alias("older")
    ancestors = first.union_all(
        sa.select(older.c.oid, older.c.parent, first.c.depth + 1).where(
            older.c.repository_id == repository_id, older.c.oid == first.c.parent, first.c.depth < limit
        )
    )
    query = sa.select(*_COLUMNS).join(ancestors, sa.and_(table.c.oid == ancestors.c.oid, table.c.repository_id == repository_id))
    return _commits(connection, query.order_by(ancestors.c.depth))


def all_commits(connection: sa.Connection, repository_id: int) -> list[tuple[Commit, str | None]]:
    """Every commit of the repository, on a branch or not, oldest first, each with the key of the request that made it."""
    table = tables.commit.c
    query = sa.select(*_COLUMNS, table.request_key).where(table.repository_id == repository_id).order_by(table.created_at)
    rows = [dict(row) for row in connection.execute(query).mappings()]
    return [(Commit(**{name: value for name, value in row.items() if name != "request_key"}), row["request_key"]) for row in rows]


def delete_commits(connection: sa.Connection, repository_id: int, oids: Sequence[str]) -> None:
    """Forget these commits. The caller has moved every ref away from them."""
    table = tables.commit
    for some in batches(oids):
        connection.execute(sa.delete(table).where(table.c.repository_id == repository_id, table.c.oid.in_(some)))


def commit_count(connection: sa.Connection, repository_id: int) -> int:
    """How many commits the repository has, on any branch."""
    query = sa.select(sa.func.count()).select_from(tables.commit).where(tables.commit.c.repository_id == repository_id)
    return connection.execute(query).scalar_one()


def get_ref(connection: sa.Connection, repository_id: int, name: str) -> str | None:
    """The commit that this ref points at."""
    table = tables.ref.c
    return connection.execute(sa.select(table.oid).where(table.repository_id == repository_id, table.name == name)).scalar_one_or_none()


def get_refs(connection: sa.Connection, repository_id: int, names: Sequence[str]) -> dict[str, str]:
    """The commits that those of these refs which are there point at."""
    table = tables.ref.c
    query = sa.select(table.name, table.oid).where(table.repository_id == repository_id, table.name.in_(names))
    return {row.name: row.oid for row in connection.execute(query)}


def refs(connection: sa.Connection, repository_id: int) -> list[Ref]:
    """Every ref by name."""
    table = tables.ref.c
    query = sa.select(table.name, table.oid).where(table.repository_id == repository_id).order_by(table.name)
    return [Ref(row.name, row.oid) for row in connection.execute(query)]


def move_ref(connection: sa.Connection, repository_id: int, name: str, new: str | None, by: tuple[str, datetime]) -> None:
    """Point the ref at another commit (None removes it) and note who did so when. The caller holds the repository's lock."""
    moved_by, at = by
    table = tables.ref
    old = get_ref(connection, repository_id, name)
    key = sa.and_(table.c.repository_id == repository_id, table.c.name == name)
    if new is None:
        connection.execute(sa.delete(table).where(key))
    elif old is None:
        connection.execute(sa.insert(table).values(repository_id=repository_id, name=name, oid=new, updated_at=at))
    else:
        connection.execute(sa.update(table).where(key).values(oid=new, updated_at=at))
    row = {"repository_id": repository_id, "ref": name, "old": old, "new": new, "moved_by": moved_by, "moved_at": at}
    connection.execute(sa.insert(tables.reflog).values(**row))


def _commits(connection: sa.Connection, query: sa.Select[Any]) -> list[Commit]:
    return [Commit(**row) for row in connection.execute(query).mappings()]
