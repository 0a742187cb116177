"""Brings a database's schema up to date; safe to call at every start, from several processes at once."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config

_LOCK = 0x59554E4D4F  # any number that no other program of this PostgreSQL server takes; "YUNMO"


def migrate(engine: sa.Engine, until: str = "head") -> None:
    """Run every migration up to this one that the database has not seen, in one transaction that keeps other starters waiting."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    with engine.execution_options(begin="BEGIN IMMEDIATE").connect() as connection, _without_foreign_keys(connection), connection.begin():
        if engine.dialect.name == "postgresql":
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
        config.attributes["connection"] = connection
        command.upgrade(config, until)


@contextmanager
def _without_foreign_keys(connection: sa.Connection) -> Iterator[None]:
    """SQLite changes a table by copying it and dropping the old one, which would delete the rows that refer to it."""
    if connection.dialect.name != "sqlite":
        yield
        return
    driver = connection.connection.driver_connection
    assert driver is not None
    driver.execute("PRAGMA foreign_keys=OFF")  # has no effect inside a transaction
    try:
        yield
    finally:
        driver.execute("PRAGMA foreign_keys=ON")
