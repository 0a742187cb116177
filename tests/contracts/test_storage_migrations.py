"""The migrations make exactly what the stores declare, once, whoever starts at the same time."""

import importlib
import pkgutil
import subprocess
import sys

import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

import yunmo
from yunmo.storage.migrate import migrate
from yunmo.storage.tables import metadata

PROGRAM = """
import sys
from yunmo.storage.database import open_database
from yunmo.storage.migrate import migrate
database = open_database(sys.argv[1])
sys.stdin.readline()
migrate(database.engine)
print("migrated")
"""


def import_every_store():
    """Stores declare their tables when imported."""
    for module in pkgutil.walk_packages(yunmo.__path__, "yunmo."):
        parts = module.name.split(".")
        if any(part == "store" or part.endswith("_store") for part in parts[2:]):
            importlib.import_module(module.name)


async def test_the_migrations_make_what_the_stores_declare(database):
    import_every_store()
    with database.engine.connect() as connection:
        # Alembic cannot read back an empty default from SQLite; PostgreSQL checks the defaults for both.
        options = {"compare_type": True, "compare_server_default": database.dialect == "postgresql"}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, metadata) == []


async def test_migrating_again_changes_nothing(database):
    await database.write(lambda connection: connection.execute(sa.text("INSERT INTO project VALUES ('p', 'p', 0)")))
    migrate(database.engine)
    assert await database.read(lambda connection: connection.execute(sa.text("SELECT name FROM project")).scalars().all()) == ["p"]


async def test_jobs_from_before_may_do_what_they_might(empty_database):
    migrate(empty_database.engine, "0015_translation_memories")
    row = "'k', 'train', 'queued', 'run', 0, '{}', 0, 0, 0, 1, 1"
    names = "key_id, kind, state, wanted, priority, input, attempt, failures, fence, wake_at, created_at"
    for project in ("admin", "acme"):
        asked = sa.text(f"INSERT INTO job (id, project, {names}) VALUES ('{project}', '{project}', {row})")
        await empty_database.write(lambda connection, asked=asked: connection.execute(asked))
    migrate(empty_database.engine)
    made = await empty_database.read(lambda connection: connection.execute(sa.text("SELECT id, is_admin FROM job")).all())
    assert {name: bool(is_admin) for name, is_admin in made} == {"admin": True, "acme": False}


async def test_foreign_keys_hold_again_after_migrating(empty_database):
    migrate(empty_database.engine)
    if empty_database.dialect == "sqlite":
        with empty_database.engine.connect() as connection:
            assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar_one() == 1


def test_processes_that_start_at_once_migrate_once(database_url):
    command = [sys.executable, "-c", PROGRAM, database_url]
    starting = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(3)
    ]
    for process in starting:
        process.stdin.write("go\n")
        process.stdin.flush()
    ends = [process.communicate(timeout=60) for process in starting]
    assert [out for out, _ in ends] == ["migrated\n"] * 3, ends
