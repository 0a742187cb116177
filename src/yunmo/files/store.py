"""The tables of files and every line of SQL about them.

A file's row comes after its bytes and goes before them, so that no row ever leads to nothing. `removed` names the bytes
whose row has gone; they are deleted by the sweep.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from yunmo.files.file import File, Part, Upload
from yunmo.storage.tables import Time, metadata

file_table = sa.Table(
    "file",
    metadata,
    sa.Column("id", sa.String(40), primary_key=True),
    sa.Column("project", sa.String(96), nullable=False),
    sa.Column("filename", sa.String(255), nullable=False),
    sa.Column("purpose", sa.String(40), nullable=False),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("key", sa.String(100), nullable=False, unique=True),
    sa.Column("created_at", Time, nullable=False),
    sa.Column("expires_at", Time, index=True),
    sa.Index("ix_file_project", "project", "created_at"),
)

upload_table = sa.Table(
    "file_upload",
    metadata,
    sa.Column("id", sa.String(40), primary_key=True),
    sa.Column("project", sa.String(96), nullable=False, index=True),
    sa.Column("filename", sa.String(255), nullable=False),
    sa.Column("purpose", sa.String(40), nullable=False),
    sa.Column("size", sa.BigInteger),
    sa.Column("status", sa.String(12), nullable=False),
    sa.Column("created_at", Time, nullable=False),
    sa.Column("expires_at", Time, nullable=False),
    sa.Column("keep_seconds", sa.BigInteger),
    sa.Column("file_id", sa.String(40)),
)

part_table = sa.Table(
    "file_part",
    metadata,
    sa.Column("id", sa.String(40), primary_key=True),
    sa.Column("upload_id", sa.ForeignKey("file_upload.id", ondelete="CASCADE"), nullable=False, index=True),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("key", sa.String(100), nullable=False, unique=True),
    sa.Column("created_at", Time, nullable=False),
)

removed_table = sa.Table("file_removed", metadata, sa.Column("key", sa.String(100), primary_key=True))

Connection = sa.Connection


def insert(connection: Connection, file: File) -> None:
    """Add a file whose bytes are there."""
    connection.execute(file_table.insert().values({name: getattr(file, name) for name in File.__slots__}))


def find(connection: Connection, project: str, file_id: str, at: datetime) -> File | None:
    """The project's file of this id, unless its time is over."""
    query = sa.select(file_table).where(file_table.c.id == file_id, file_table.c.project == project, _is_alive(at))
    row = connection.execute(query).mappings().one_or_none()
    return None if row is None else File(**row)


def page(  # noqa: PLR0913 (what a page may be narrowed to)
    connection: Connection, project: str, at: datetime, purpose: str | None, after: File | None, limit: int, *, newest_first: bool
) -> list[File]:
    """The project's files in order of time, those that come behind `after`."""
    table = file_table.c
    order = (table.created_at.desc(), table.id.desc()) if newest_first else (table.created_at, table.id)
    query = sa.select(file_table).where(table.project == project, _is_alive(at)).order_by(*order).limit(limit)
    if purpose is not None:
        query = query.where(table.purpose == purpose)
    if after is not None:
        is_later = table.created_at < after.created_at if newest_first else table.created_at > after.created_at
        is_behind = table.id < after.id if newest_first else table.id > after.id
        query = query.where(sa.or_(is_later, (table.created_at == after.created_at) & is_behind))
    return [File(**row) for row in connection.execute(query).mappings()]


def sum_sizes(connection: Connection, project: str) -> int:
    """The bytes of the project's files and of the parts of its uploads."""
    files = sa.select(sa.func.coalesce(sa.func.sum(file_table.c.size), 0)).where(file_table.c.project == project)
    parts = (
        sa.select(sa.func.coalesce(sa.func.sum(part_table.c.size), 0))
        .join(upload_table, upload_table.c.id == part_table.c.upload_id)
        .where(upload_table.c.project == project)
    )
    return int(connection.execute(files).scalar_one()) + int(connection.execute(parts).scalar_one())


def remove(connection: Connection, project: str, file_id: str) -> bool:
    """Forget a file; its bytes are for the sweep."""
    gone = file_table.delete().where(file_table.c.id == file_id, file_table.c.project == project).returning(file_table.c.key)
    return _put_aside(connection, connection.execute(gone).scalars().all())


def remove_expired(connection: Connection, at: datetime) -> bool:
    """Forget the files whose time is over, and the parts of uploads that were not completed in time."""
    gone = file_table.delete().where(file_table.c.expires_at <= at).returning(file_table.c.key)
    keys = list(connection.execute(gone).scalars())
    late = (upload_table.c.status == "pending") & (upload_table.c.expires_at <= at)
    for upload_id in connection.execute(upload_table.update().where(late).values(status="expired").returning(upload_table.c.id)).scalars():
        keys += _remove_parts(connection, upload_id)
    return _put_aside(connection, keys)


def removed_keys(connection: Connection, limit: int) -> Sequence[str]:
    """Keys of bytes that no row leads to any more."""
    return connection.execute(sa.select(removed_table.c.key).limit(limit)).scalars().all()


def forget_removed(connection: Connection, keys: Collection[str]) -> None:
    """These bytes have been deleted."""
    connection.execute(removed_table.delete().where(removed_table.c.key.in_(keys)))


def known_keys(connection: Connection, keys: Collection[str]) -> set[str]:
    """Which of these keys a row leads to."""
    tables = (file_table, part_table, removed_table)
    return {key for table in tables for key in connection.execute(sa.select(table.c.key).where(table.c.key.in_(keys))).scalars()}


# ------------------------------------------------------------ uploads


def insert_upload(connection: Connection, values: Mapping[str, Any]) -> Upload:
    """Begin an upload."""
    row = connection.execute(upload_table.insert().values(status="pending", **values).returning(upload_table)).mappings().one()
    return _upload(row, None)


def find_upload(connection: Connection, project: str, upload_id: str) -> Upload | None:
    """The project's upload of this id, with what it became."""
    query = sa.select(upload_table).where(upload_table.c.id == upload_id, upload_table.c.project == project)
    row = connection.execute(query).mappings().one_or_none()
    if row is None:
        return None
    file = connection.execute(sa.select(file_table).where(file_table.c.id == row["file_id"])).mappings().one_or_none()
    return _upload(row, None if file is None else File(**file))


def insert_part(connection: Connection, part: Part) -> None:
    """Add a part whose bytes are there."""
    connection.execute(part_table.insert().values({name: getattr(part, name) for name in Part.__slots__}))


def parts(connection: Connection, upload_id: str) -> list[Part]:
    """The upload's parts, as they came."""
    query = sa.select(part_table).where(part_table.c.upload_id == upload_id).order_by(part_table.c.created_at, part_table.c.id)
    return [Part(**row) for row in connection.execute(query).mappings()]


def end_upload(connection: Connection, upload: Upload, status: str, file: File | None = None) -> bool:
    """A pending upload has become a file, or was given up; False, and nothing happens, when it has ended before."""
    change = upload_table.update().where(upload_table.c.id == upload.id, upload_table.c.status == "pending")
    if connection.execute(change.values(status=status, file_id=None if file is None else file.id)).rowcount != 1:
        return False
    if file is not None:
        insert(connection, file)
    _put_aside(connection, _remove_parts(connection, upload.id))
    return True


def _remove_parts(connection: Connection, upload_id: str) -> Sequence[str]:
    return connection.execute(part_table.delete().where(part_table.c.upload_id == upload_id).returning(part_table.c.key)).scalars().all()


def _put_aside(connection: Connection, keys: Sequence[str]) -> bool:
    if keys:
        connection.execute(removed_table.insert(), [{"key": key} for key in keys])
    return bool(keys)


def _is_alive(at: datetime) -> sa.ColumnElement[bool]:
    return file_table.c.expires_at.is_(None) | (file_table.c.expires_at > at)


def _upload(row: sa.RowMapping, file: File | None) -> Upload:
    return Upload(**{name: row[name] for name in Upload.__slots__ if name != "file"}, file=file)
