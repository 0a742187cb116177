"""Small SQL idioms that SQLite and PostgreSQL spell through their own constructs."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

_BATCH = 400


def insert_or(connection: sa.Connection, table: sa.Table, rows: Sequence[dict[str, Any]], update: Sequence[str] = ()) -> None:
    """Insert the rows; where one is there already, overwrite its `update` columns, or leave it if there are none."""
    construct = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    for start in range(0, len(rows), _BATCH):
        statement: Any = construct(table)
        keys = [column.name for column in table.primary_key]
        if update:
            statement = statement.on_conflict_do_update(index_elements=keys, set_={name: statement.excluded[name] for name in update})
        else:
            statement = statement.on_conflict_do_nothing(index_elements=keys)
        connection.execute(statement, rows[start : start + _BATCH])


def batches(values: Sequence[str]) -> list[Sequence[str]]:
    """The values in pieces that fit into one IN clause."""
    return [values[start : start + _BATCH] for start in range(0, len(values), _BATCH)]


def pattern(text: str) -> str:
    """A LIKE pattern (its escape character is the backslash) for values that contain `text`."""
    escaped = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{escaped}%"
