"""The tables of glossaries and every line of SQL about them."""

from dataclasses import asdict, dataclass
from datetime import datetime

import sqlalchemy as sa

from yunmo.storage.tables import Time, metadata

glossary_table = sa.Table(
    "glossary",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("project", sa.String(96), nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("created_at", Time, nullable=False),
    sa.Index("ix_glossary_project", "project", "created_at"),
)

dictionary_table = sa.Table(
    "glossary_dictionary",
    metadata,
    sa.Column("glossary_id", sa.ForeignKey("glossary.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("source", sa.String(35), primary_key=True),
    sa.Column("target", sa.String(35), primary_key=True),
    sa.Column("entry_count", sa.Integer, nullable=False),
    sa.Column("entries", sa.Text, nullable=False),
)

Connection = sa.Connection


@dataclass(frozen=True, slots=True)
class DictionaryRow:
    """A dictionary; `entries` are tab-separated values."""

    glossary_id: str
    source: str
    target: str
    entry_count: int
    entries: str


@dataclass(frozen=True, slots=True)
class GlossaryRow:
    """A glossary with its dictionaries' languages and sizes."""

    id: str
    name: str
    created_at: datetime
    dictionaries: tuple[tuple[str, str, int], ...]


def insert(connection: Connection, glossary_id: str, project: str, name: str, created_at: datetime) -> None:
    """Add a glossary that has no dictionaries yet."""
    connection.execute(glossary_table.insert().values(id=glossary_id, project=project, name=name, created_at=created_at))


def select(connection: Connection, project: str, glossary_id: str | None = None) -> list[GlossaryRow]:
    """The project's glossaries, or the one of this id, oldest first."""
    table, of = glossary_table.c, dictionary_table.c
    query = (
        sa.select(table.id, table.name, table.created_at, of.source, of.target, of.entry_count)
        .outerjoin(dictionary_table, of.glossary_id == table.id)
        .where(table.project == project)
        .order_by(table.created_at, table.id, of.source, of.target)
    )
    if glossary_id is not None:
        query = query.where(table.id == glossary_id)
    found: dict[str, GlossaryRow] = {}
    for row in connection.execute(query):
        before = found[row.id].dictionaries if row.id in found else ()
        own = () if row.source is None else ((row.source, row.target, row.entry_count),)
        found[row.id] = GlossaryRow(row.id, row.name, row.created_at, (*before, *own))
    return list(found.values())


def count_glossaries(connection: Connection, project: str) -> int:
    """How many glossaries the project has."""
    query = sa.select(sa.func.count()).select_from(glossary_table).where(glossary_table.c.project == project)
    return connection.execute(query).scalar_one()


def rename(connection: Connection, glossary_id: str, name: str) -> None:
    """Give a glossary another name."""
    connection.execute(glossary_table.update().where(glossary_table.c.id == glossary_id).values(name=name))


def delete(connection: Connection, glossary_id: str) -> None:
    """Delete a glossary and its dictionaries."""
    connection.execute(glossary_table.delete().where(glossary_table.c.id == glossary_id))


def find_entries(connection: Connection, glossary_id: str, source: str, target: str) -> str | None:
    """A dictionary's entries."""
    query = sa.select(dictionary_table.c.entries).where(_is(glossary_id, source, target))
    return connection.execute(query).scalar_one_or_none()


def put_dictionary(connection: Connection, row: DictionaryRow) -> None:
    """Keep the dictionary in the place of the one of its pair."""
    delete_dictionary(connection, row.glossary_id, row.source, row.target)
    connection.execute(dictionary_table.insert().values(asdict(row)))


def delete_dictionary(connection: Connection, glossary_id: str, source: str, target: str) -> bool:
    """Delete a dictionary; False if it was not there."""
    return connection.execute(dictionary_table.delete().where(_is(glossary_id, source, target))).rowcount > 0


def _is(glossary_id: str, source: str, target: str) -> sa.ColumnElement[bool]:
    table = dictionary_table.c
    return sa.and_(table.glossary_id == glossary_id, table.source == source, table.target == target)
