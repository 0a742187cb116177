"""The table of styles and every line of SQL about it. A style is kept whole: nothing but its project is asked for."""

from datetime import datetime

import sqlalchemy as sa

from yunmo.storage.tables import Time, metadata

style_table = sa.Table(
    "translation_style",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("project", sa.String(96), nullable=False),
    sa.Column("created_at", Time, nullable=False),
    sa.Column("content", sa.LargeBinary, nullable=False),
    sa.Index("ix_translation_style_project", "project", "created_at"),
)

Connection = sa.Connection


def insert(connection: Connection, style_id: str, project: str, created_at: datetime, content: bytes) -> None:
    """Add a style."""
    connection.execute(style_table.insert().values(id=style_id, project=project, created_at=created_at, content=content))


def find(connection: Connection, project: str, style_id: str) -> bytes | None:
    """The project's style of this id."""
    query = sa.select(style_table.c.content).where(_is(project, style_id))
    return connection.execute(query).scalar_one_or_none()


def page(connection: Connection, project: str, offset: int, limit: int) -> list[bytes]:
    """Some of the project's styles, oldest first."""
    table = style_table.c
    query = sa.select(table.content).where(table.project == project).order_by(table.created_at, table.id).offset(offset).limit(limit)
    return list(connection.execute(query).scalars())


def count(connection: Connection, project: str) -> int:
    """How many styles the project has."""
    query = sa.select(sa.func.count()).select_from(style_table).where(style_table.c.project == project)
    return connection.execute(query).scalar_one()


def update(connection: Connection, project: str, style_id: str, content: bytes) -> None:
    """Keep the style as it is now."""
    connection.execute(style_table.update().where(_is(project, style_id)).values(content=content))


def delete(connection: Connection, project: str, style_id: str) -> bool:
    """Delete a style; False if it was not there."""
    return connection.execute(style_table.delete().where(_is(project, style_id))).rowcount > 0


def _is(project: str, style_id: str) -> sa.ColumnElement[bool]:
    return sa.and_(style_table.c.id == style_id, style_table.c.project == project)
