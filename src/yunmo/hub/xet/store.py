"""The large files' tables and all SQL over them. Hashes are kept as text, tables and terms as packed bytes."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray
from sqlalchemy.dialects import postgresql, sqlite

from yunmo.core.errors import NotFound
from yunmo.hub.large import LargeFile
from yunmo.hub.store.tables import repository
from yunmo.hub.xet.shards import TERM
from yunmo.storage.tables import Time, metadata, now

xorbs = sa.Table(
    "xet_xorb",
    metadata,
    sa.Column("hash", sa.String(64), primary_key=True),
    sa.Column("stored_bytes", sa.BigInteger, nullable=False),
    sa.Column("chunks", sa.LargeBinary, nullable=False),
    sa.Column("tombstoned_at", Time, index=True),
    sa.Column("charged_to", sa.String(96), index=True),
)
"""`chunks` is a packed `ChunkTable`; empty for an object without an upload, which only waits for its removal.

`charged_to` is the project that uploaded the xorb, until a commit names a file that is made of it.
"""

chunk_index = sa.Table(
    "xet_chunk",
    metadata,
    sa.Column("hash", sa.String(64), primary_key=True),
    sa.Column("xorb", sa.ForeignKey("xet_xorb.hash", ondelete="CASCADE"), primary_key=True, index=True),
)
"""The chunks that clients ask for: one in 1,024, and the first of each file."""

files = sa.Table(
    "xet_file",
    metadata,
    sa.Column("hash", sa.String(64), primary_key=True),
    sa.Column("sha256", sa.String(64), nullable=False, index=True),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("terms", sa.LargeBinary, nullable=False),
)
"""Files whose bytes were read back and have this sha256."""

file_xorbs = sa.Table(
    "xet_file_xorb",
    metadata,
    sa.Column("file", sa.ForeignKey("xet_file.hash", ondelete="CASCADE"), primary_key=True),
    sa.Column("xorb", sa.ForeignKey("xet_xorb.hash"), primary_key=True, index=True),
)

objects = sa.Table(
    "lfs_object",
    metadata,
    sa.Column("sha256", sa.String(64), primary_key=True),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("tombstoned_at", Time, index=True),
    sa.Column("charged_to", sa.String(96), index=True),
)
"""Plain objects that came over Git LFS; `charged_to` is the project that uploaded one, until a commit names it."""

large_files = sa.Table(
    "large_file",
    metadata,
    sa.Column("repository_id", sa.ForeignKey("hub_repository.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("sha256", sa.String(64), primary_key=True),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("xet_hash", sa.String(64), index=True),
    sa.Column("added_at", Time, nullable=False),
    sa.Index("ix_large_file_sha256", "sha256"),
)
"""The proof that this repository may refer to the file."""

_BATCH = 500


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file that was read back once and found right."""

    hash: str
    sha256: str
    size: int
    terms: NDArray[np.void]


def add_xorb(connection: sa.Connection, name: str, stored_bytes: int, chunks: bytes, project: str | None) -> None:
    """Know an uploaded xorb; one that waits for its removal lives again. A new or revived one is charged to the project."""
    row = {"hash": name, "stored_bytes": stored_bytes, "chunks": chunks, "tombstoned_at": None, "charged_to": project}
    _insert_once(connection, xorbs, [row])
    revived = sa.and_(xorbs.c.hash == name, xorbs.c.tombstoned_at.is_not(None))
    connection.execute(xorbs.update().where(revived).values(charged_to=project))
    connection.execute(xorbs.update().where(xorbs.c.hash == name).values(stored_bytes=stored_bytes, chunks=chunks, tombstoned_at=None))


def unnamed_bytes(connection: sa.Connection, project: str) -> int:
    """How much the project has stored that no commit has named yet."""
    sums = [
        sa.select(sa.func.coalesce(sa.func.sum(size), 0)).where(charged_to == project)
        for size, charged_to in ((xorbs.c.stored_bytes, xorbs.c.charged_to), (objects.c.size, objects.c.charged_to))
    ]
    return sum(int(connection.execute(query).scalar_one()) for query in sums)


def settle(connection: sa.Connection, file: LargeFile) -> None:
    """A commit names this file: nobody is charged for its xorbs, or its object, any more."""
    if file.xet_hash is None:
        own = sa.and_(objects.c.sha256 == file.sha256, objects.c.charged_to.is_not(None))
        connection.execute(objects.update().where(own).values(charged_to=None))
        return
    used = sa.select(file_xorbs.c.xorb).where(file_xorbs.c.file == file.xet_hash)
    connection.execute(xorbs.update().where(xorbs.c.hash.in_(used), xorbs.c.charged_to.is_not(None)).values(charged_to=None))


def has_xorb(connection: sa.Connection, name: str) -> bool:
    """Whether the xorb is there and does not wait for its removal."""
    where = sa.and_(xorbs.c.hash == name, xorbs.c.tombstoned_at.is_(None), sa.func.length(xorbs.c.chunks) > 0)
    return connection.execute(sa.select(xorbs.c.hash).where(where)).first() is not None


def packed_tables(connection: sa.Connection, names: Collection[str]) -> dict[str, bytes]:
    """The packed chunk tables of those of these xorbs that are there."""
    found: dict[str, bytes] = {}
    for batch in _batches(names):
        rows = connection.execute(sa.select(xorbs.c.hash, xorbs.c.chunks).where(xorbs.c.hash.in_(batch)))
        found.update((row.hash, row.chunks) for row in rows if row.chunks)
    return found


def find_file(connection: sa.Connection, name: str) -> StoredFile | None:
    """A verified file by its Xet hash."""
    row = connection.execute(sa.select(files).where(files.c.hash == name)).first()
    return None if row is None else StoredFile(row.hash, row.sha256, row.size, np.frombuffer(row.terms, TERM))


def find_file_of(connection: sa.Connection, name: str, repository_id: int) -> StoredFile | None:
    """The same, if this repository may refer to it."""
    allowed = sa.select(large_files.c.sha256).where(large_files.c.repository_id == repository_id, large_files.c.xet_hash == name)
    return find_file(connection, name) if connection.execute(allowed).first() is not None else None


def find_file_with(connection: sa.Connection, sha256: str) -> str | None:
    """The Xet hash of a verified file with this content."""
    return connection.execute(sa.select(files.c.hash).where(files.c.sha256 == sha256).limit(1)).scalar()


def add_file(connection: sa.Connection, file: StoredFile, chunks: Mapping[str, Iterable[str]], repository_id: int) -> set[str]:
    """Know a verified file and let the repository refer to it.

    `chunks` maps each of its xorbs to the chunks that the index shall find it by. Returns the xorbs that are no longer
    there; then nothing was changed.
    """
    missing = _revive(connection, chunks.keys())
    if missing:
        return missing
    row = {"hash": file.hash, "sha256": file.sha256, "size": file.size, "terms": file.terms.tobytes()}
    _insert_once(connection, files, [row])
    connection.execute(files.update().where(files.c.hash == file.hash).values(terms=row["terms"]))
    connection.execute(file_xorbs.delete().where(file_xorbs.c.file == file.hash))
    _insert_once(connection, file_xorbs, [{"file": file.hash, "xorb": xorb} for xorb in chunks])
    _insert_once(connection, chunk_index, [{"hash": chunk, "xorb": xorb} for xorb, found in chunks.items() for chunk in found])
    add_large_file(connection, repository_id, LargeFile(file.sha256, file.size, file.hash))
    return set()


def add_object(connection: sa.Connection, repository_id: int, sha256: str, size: int, project: str | None) -> None:
    """Know a plain object and let the repository refer to it. A new or revived one is charged to the project."""
    _insert_once(connection, objects, [{"sha256": sha256, "size": size, "tombstoned_at": None, "charged_to": project}])
    revived = sa.and_(objects.c.sha256 == sha256, objects.c.tombstoned_at.is_not(None))
    connection.execute(objects.update().where(revived).values(tombstoned_at=None, charged_to=project))
    add_large_file(connection, repository_id, LargeFile(sha256, size))


def has_object(connection: sa.Connection, sha256: str) -> bool:
    """Whether the plain object is there and does not wait for its removal."""
    where = sa.and_(objects.c.sha256 == sha256, objects.c.tombstoned_at.is_(None))
    return connection.execute(sa.select(objects.c.sha256).where(where)).first() is not None


def forget_unnamed_objects(connection: sa.Connection, before: datetime) -> None:
    """Forget that repositories may refer to plain objects which came before this moment and which no commit has named since."""
    recent = sa.select(large_files.c.sha256).where(large_files.c.added_at >= before)
    stale = sa.and_(objects.c.charged_to.is_not(None), objects.c.tombstoned_at.is_(None), objects.c.sha256.not_in(recent))
    names = list(connection.execute(sa.select(objects.c.sha256).where(stale)).scalars())
    for batch in _batches(names):
        connection.execute(large_files.delete().where(large_files.c.sha256.in_(batch), large_files.c.xet_hash.is_(None)))
        # no client remembers what it sent over Git LFS, so nothing waits for these
        connection.execute(objects.update().where(objects.c.sha256.in_(batch)).values(tombstoned_at=before - timedelta(seconds=1)))


def add_large_file(connection: sa.Connection, repository_id: int, file: LargeFile) -> None:
    """Let the repository refer to a file. Raises NotFound when it was deleted meanwhile."""
    if connection.execute(sa.select(repository.c.id).where(repository.c.id == repository_id)).first() is None:
        raise NotFound("The repository was deleted while the file came in.")
    row = {"repository_id": repository_id, "sha256": file.sha256, "size": file.size, "xet_hash": file.xet_hash, "added_at": now()}
    _insert_once(connection, large_files, [row])
    if file.xet_hash is not None:
        where = sa.and_(large_files.c.repository_id == repository_id, large_files.c.sha256 == file.sha256)
        connection.execute(large_files.update().where(where).values(xet_hash=file.xet_hash))


def find_large_file(connection: sa.Connection, repository_id: int, sha256: str) -> LargeFile | None:
    """The file, if the repository may refer to it."""
    where = sa.and_(large_files.c.repository_id == repository_id, large_files.c.sha256 == sha256)
    row = connection.execute(sa.select(large_files).where(where)).first()
    return None if row is None else LargeFile(row.sha256, row.size, row.xet_hash)


def large_files_of(connection: sa.Connection, repository_id: int) -> dict[str, tuple[LargeFile, datetime]]:
    """Every file that the repository may refer to, by its sha256, and since when."""
    rows = connection.execute(sa.select(large_files).where(large_files.c.repository_id == repository_id))
    return {row.sha256: (LargeFile(row.sha256, row.size, row.xet_hash), row.added_at) for row in rows}


def forget_large_files(connection: sa.Connection, repository_id: int, hashes: Collection[str]) -> None:
    """Let the repository no longer refer to these files."""
    for batch in _batches(hashes):
        connection.execute(large_files.delete().where(large_files.c.repository_id == repository_id, large_files.c.sha256.in_(batch)))


def files_with_chunk(connection: sa.Connection, chunk: str, readable: sa.Select[Any], limit: int) -> tuple[list[StoredFile], set[str]]:
    """Files whose xorbs hold this chunk, of the `readable` repositories (a selection of ids), newest first; and those xorbs."""
    held = sa.select(xorbs.c.hash).join(chunk_index, chunk_index.c.xorb == xorbs.c.hash)
    holders = set(connection.execute(held.where(chunk_index.c.hash == chunk, xorbs.c.tombstoned_at.is_(None))).scalars())
    found = (
        sa.select(file_xorbs.c.file)
        .join(large_files, large_files.c.xet_hash == file_xorbs.c.file)
        .where(file_xorbs.c.xorb.in_(holders), large_files.c.repository_id.in_(readable))
        .group_by(file_xorbs.c.file)
        .order_by(sa.func.max(large_files.c.added_at).desc())
        .limit(limit)
    )
    names = list(connection.execute(found).scalars()) if holders else []
    return [file for name in names if (file := find_file(connection, name)) is not None], holders


def tombstone(connection: sa.Connection, moment: datetime) -> int:
    """Mark everything that nothing refers to any more; forget the files whose last repository is gone."""
    connection.execute(
        files.delete().where(files.c.hash.not_in(sa.select(large_files.c.xet_hash).where(large_files.c.xet_hash.is_not(None))))
    )
    marked = 0
    for table, key, used in _referrers():
        where = sa.and_(table.c.tombstoned_at.is_(None), key.not_in(used))
        marked += connection.execute(table.update().where(where).values(tombstoned_at=moment)).rowcount
    return marked


def expired(connection: sa.Connection, before: datetime) -> tuple[list[str], list[str]]:
    """The xorbs and the plain objects that were marked before this moment."""
    names = [list(connection.execute(sa.select(key).where(table.c.tombstoned_at < before)).scalars()) for table, key, _ in _referrers()]
    return names[0], names[1]


def forget_xorb(connection: sa.Connection, name: str, before: datetime) -> bool:
    """Forget a marked xorb; False if somebody has come to need it."""
    where = sa.and_(xorbs.c.hash == name, xorbs.c.tombstoned_at < before, xorbs.c.hash.not_in(sa.select(file_xorbs.c.xorb)))
    return bool(connection.execute(xorbs.delete().where(where)).rowcount)


def forget_object(connection: sa.Connection, sha256: str, before: datetime) -> bool:
    """Forget a marked plain object; False if somebody has come to need it."""
    where = sa.and_(objects.c.sha256 == sha256, objects.c.tombstoned_at < before, objects.c.sha256.not_in(_used_objects()))
    return bool(connection.execute(objects.delete().where(where)).rowcount)


def adopt_orphans(connection: sa.Connection, names: Sequence[str], moment: datetime) -> None:
    """Mark xorbs that are in the object store but not known here, so that they go away like the others."""
    rows = [{"hash": name, "stored_bytes": 0, "chunks": b"", "tombstoned_at": moment} for name in names]
    _insert_once(connection, xorbs, rows)


def _revive(connection: sa.Connection, names: Collection[str]) -> set[str]:
    found: set[str] = set()
    for batch in _batches(names):
        rows = connection.execute(sa.select(xorbs.c.hash).where(xorbs.c.hash.in_(batch), sa.func.length(xorbs.c.chunks) > 0))
        found.update(rows.scalars())
        revived = sa.and_(xorbs.c.hash.in_(batch), xorbs.c.tombstoned_at.is_not(None))
        connection.execute(xorbs.update().where(revived).values(tombstoned_at=None))
    return set(names) - found


def _referrers() -> list[tuple[sa.Table, sa.Column[Any], sa.Select[Any]]]:
    return [(xorbs, xorbs.c.hash, sa.select(file_xorbs.c.xorb)), (objects, objects.c.sha256, _used_objects())]


def _used_objects() -> sa.Select[Any]:
    return sa.select(large_files.c.sha256).where(large_files.c.xet_hash.is_(None))


def _insert_once(connection: sa.Connection, table: sa.Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert the rows that are not there yet."""
    if not rows:
        return
    make = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    connection.execute(make(table).on_conflict_do_nothing(), list(rows))


def _batches(names: Collection[str]) -> Iterable[list[str]]:
    ordered = sorted(names)
    for start in range(0, len(ordered), _BATCH):
        yield ordered[start : start + _BATCH]
