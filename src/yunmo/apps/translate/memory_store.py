"""The tables of translation memories and every line of SQL about them."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any

import sqlalchemy as sa

from yunmo.storage.tables import Time, metadata

memory_table = sa.Table(
    "translation_memory",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("project", sa.String(96), nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("source", sa.String(35), nullable=False),
    sa.Column("targets", sa.Text, nullable=False),
    sa.Column("unit_count", sa.Integer, nullable=False),
    sa.Column("created_at", Time, nullable=False),
    sa.Index("ix_translation_memory_project", "project", "created_at"),
)

unit_table = sa.Table(
    "translation_memory_unit",
    metadata,
    sa.Column("memory_id", sa.ForeignKey("translation_memory.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("texts", sa.Text, nullable=False),
    sa.Column("folded", sa.Text, nullable=False),
    sa.Column("content", sa.LargeBinary, nullable=False),
)

job_table = sa.Table(
    "translation_memory_job",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("project", sa.String(96), nullable=False),
    sa.Column("operation", sa.String(8), nullable=False),
    sa.Column("status", sa.String(16), nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("content_length", sa.BigInteger, nullable=False),
    sa.Column("memory_id", sa.String(36)),
    sa.Column("skipped", sa.Integer, nullable=False),
    sa.Column("error", sa.Text),
    sa.Column("created_at", Time, nullable=False),
    sa.Column("updated_at", Time, nullable=False),
    sa.Column("expires_at", Time, nullable=False),
    sa.Index("ix_translation_memory_job_project", "project", "created_at"),
)

Connection = sa.Connection
Row = Mapping[str, Any]
_BATCH = 1000


@dataclass(frozen=True, slots=True)
class UnitRow:
    """A unit: `texts` are all of its texts, `folded` the same without case, `content` its segments by language."""

    number: int
    texts: str
    folded: str
    content: bytes


def insert_memory(connection: Connection, values: Row, units: Iterable[UnitRow]) -> None:
    """Add a memory with its units."""
    connection.execute(memory_table.insert().values(dict(values)))
    left = iter(units)
    while batch := list(islice(left, _BATCH)):
        rows = [
            {"memory_id": values["id"], "number": each.number, "texts": each.texts, "folded": each.folded, "content": each.content}
            for each in batch
        ]
        connection.execute(unit_table.insert(), rows)


def select_memories(connection: Connection, project: str, offset: int, limit: int) -> list[Row]:
    """Some of the project's memories, oldest first."""
    table = memory_table.c
    query = sa.select(memory_table).where(table.project == project).order_by(table.created_at, table.id).offset(offset).limit(limit)
    return [dict(row) for row in connection.execute(query).mappings()]


def find_memory(connection: Connection, project: str, memory_id: str) -> Row | None:
    """The project's memory of this id."""
    table = memory_table.c
    row = connection.execute(sa.select(memory_table).where(table.id == memory_id, table.project == project)).mappings().one_or_none()
    return None if row is None else dict(row)


def count_memories(connection: Connection, project: str) -> int:
    """How many memories the project has."""
    query = sa.select(sa.func.count()).select_from(memory_table).where(memory_table.c.project == project)
    return connection.execute(query).scalar_one()


def delete_memory(connection: Connection, memory_id: str) -> None:
    """Delete a memory with its units; exports of it lead to nothing."""
    connection.execute(memory_table.delete().where(memory_table.c.id == memory_id))


def select_units(
    connection: Connection, memory_id: str, after: int, limit: int, text: str = "", *, is_exact: bool = False
) -> list[tuple[int, bytes]]:
    """Numbers and contents of the units behind one, in their order; those with a text in them, also in other cases unless `is_exact`."""
    table = unit_table.c
    query = sa.select(table.number, table.content).where(table.memory_id == memory_id, table.number > after)
    if text:
        column = table.texts if is_exact else table.folded
        query = query.where(sa.func.replace(column, text if is_exact else text.casefold(), "") != column)
    return [(row.number, row.content) for row in connection.execute(query.order_by(table.number).limit(limit))]


def every_unit(connection: Connection, memory_id: str) -> Iterator[bytes]:
    """The contents of all units, in their order."""
    query = sa.select(unit_table.c.content).where(unit_table.c.memory_id == memory_id).order_by(unit_table.c.number)
    yield from connection.execution_options(yield_per=_BATCH).execute(query).scalars()


def insert_job(connection: Connection, values: Row) -> None:
    """Add a job."""
    connection.execute(job_table.insert().values(dict(values)))


def count_jobs(connection: Connection, project: str, since: datetime) -> int:
    """How many jobs of the project have not expired."""
    table = job_table.c
    query = sa.select(sa.func.count()).select_from(job_table).where(table.project == project, table.expires_at > since)
    return connection.execute(query).scalar_one()


def delete_jobs(connection: Connection, before: datetime) -> None:
    """Forget jobs that expired before a moment."""
    connection.execute(job_table.delete().where(job_table.c.expires_at < before))


def find_job(connection: Connection, job_id: str) -> Row | None:
    """The job of this id."""
    row = connection.execute(sa.select(job_table).where(job_table.c.id == job_id)).mappings().one_or_none()
    return None if row is None else dict(row)


def find_export(connection: Connection, memory_id: str, since: datetime) -> Row | None:
    """The memory's newest export that has not expired."""
    table = job_table.c
    query = sa.select(job_table).where(table.memory_id == memory_id, table.operation == "export", table.expires_at > since)
    row = connection.execute(query.order_by(table.expires_at.desc()).limit(1)).mappings().one_or_none()
    return None if row is None else dict(row)


def end_job(connection: Connection, job_id: str, values: Row) -> bool:
    """End a job that waits for its file; False, and nothing happens, if it has ended before."""
    waits = (job_table.c.id == job_id) & (job_table.c.status == "awaiting_input")
    return connection.execute(job_table.update().where(waits).values(dict(values))).rowcount == 1
