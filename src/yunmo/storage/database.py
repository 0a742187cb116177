"""SQLite or PostgreSQL behind two verbs: read and write.

A store hands in a function of one SQLAlchemy connection; it runs in a thread, inside one transaction.
What `write` returned from is durable, and writes happen as if one after another, on both databases.
On SQLite one thread writes and commits many callers' work together (`synchronous=FULL` costs one fsync a group,
not one a call); on PostgreSQL each work has a serializable transaction. Only one process should write a SQLite file
for long: another one that writes (a command line) waits its turn, up to five seconds.
"""

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
import structlog
from sqlalchemy.pool import QueuePool

from yunmo.core.errors import InsufficientStorage, InvalidRequest, Unavailable
from yunmo.storage.writers import GroupWriter, PoolWriter, Work, Writer

T = TypeVar("T")

SAFE_SQLITE = (3, 51, 3)
"""Older versions can corrupt a WAL database when two connections checkpoint at once (fixed 2026-03-13)."""

_READERS = 4
_WRITERS = 4
_log = structlog.get_logger()


class Database:
    """One database; open it with `open_database`.

    A database that cannot be used raises Unavailable, a full disk InsufficientStorage.
    """

    def __init__(self, engine: sa.Engine, writer: Writer) -> None:
        self.engine = engine
        self._writer = writer
        self._reading = engine if engine.dialect.name == "sqlite" else engine.execution_options(isolation_level="REPEATABLE READ")
        self._readers = ThreadPoolExecutor(_READERS, thread_name_prefix="database-read")
        self.writes = 0
        """How many writes of this process have ended: what was read is as it was while this is the same, but for other processes."""

    @property
    def dialect(self) -> str:
        """Either "sqlite" or "postgresql"."""
        return self.engine.dialect.name

    async def read(self, work: Callable[[sa.Connection], T]) -> T:
        """Run `work` on a connection that sees one consistent state; what it writes is rolled back."""
        with _troubles_are_said():
            return await asyncio.get_running_loop().run_in_executor(self._readers, self._read, work)

    async def write(self, work: Callable[[sa.Connection], T]) -> T:
        """Run `work` in a transaction of its own; durable when this returns, nothing happened when it raises.

        `work` may run more than once: when a concurrent write changed what it had read, or when the group that it was
        in could not commit as a whole. So it must have no effect but on the connection. When the caller is cancelled,
        work that has begun is finished.
        """
        with _troubles_are_said():
            try:
                return await asyncio.wrap_future(self._writer.submit(work))
            finally:
                self.writes += 1

    async def close(self) -> None:
        """Finish the writes handed in and close every connection."""
        await asyncio.to_thread(self._writer.close)
        await asyncio.to_thread(self._readers.shutdown)
        self.engine.dispose()

    def _read(self, work: Work[T]) -> T:
        with self._reading.connect() as connection:
            return work(connection)


def open_database(url: str) -> Database:
    """Open `sqlite:///path` or `postgresql://…`; the schema is brought up by `storage.migrate`.

    Raises RuntimeError when the SQLite library is older than `SAFE_SQLITE` or the PostgreSQL driver is missing.
    """
    if url.startswith("sqlite:"):
        engine = _sqlite_engine(url)
        return Database(engine, GroupWriter(engine))
    engine = _postgresql_engine(url)
    return Database(engine, PoolWriter(engine, _WRITERS))


def sqlite_version() -> tuple[int, ...]:
    """The version of the SQLite library that would be used."""
    return tuple(_sqlite_library().sqlite_version_info)


def _sqlite_library() -> Any:
    try:
        import pysqlite3 as sqlite  # newer than the standard library's
    except ImportError:
        import sqlite3 as sqlite
    return sqlite


def _sqlite_engine(url: str) -> sa.Engine:
    sqlite = _sqlite_library()
    if sqlite.sqlite_version_info < SAFE_SQLITE:
        raise RuntimeError(f"SQLite {sqlite.sqlite_version} can corrupt a WAL database; at least 3.51.3 is needed (pip install pysqlite3)")
    path = url.removeprefix("sqlite:///")
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    engine = sa.create_engine(url, module=sqlite, poolclass=QueuePool, pool_size=_READERS + 1, connect_args={"check_same_thread": False})
    sa.event.listen(engine, "connect", _prepare_sqlite)
    sa.event.listen(
        engine, "begin", lambda connection: connection.exec_driver_sql(connection.get_execution_options().get("begin", "BEGIN"))
    )
    return engine


def _prepare_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # SQLAlchemy's "begin" event says BEGIN; the driver must not
    cursor = connection.cursor()
    for pragma in ("busy_timeout=5000", "journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _postgresql_engine(url: str) -> sa.Engine:
    address = sa.make_url(url).set(drivername="postgresql+psycopg")
    try:
        return sa.create_engine(address, pool_size=_READERS + _WRITERS, pool_pre_ping=True)
    except ModuleNotFoundError as error:
        raise RuntimeError(f"The driver for PostgreSQL is missing ({error}); install it with: pip install 'yunmo[postgres]'") from error


@contextmanager
def _troubles_are_said() -> Iterator[None]:
    """Turns the trouble of the database itself into our errors; a broken constraint stays what it is."""
    try:
        yield
    except (sa.exc.OperationalError, sa.exc.InterfaceError, sa.exc.TimeoutError) as error:
        reason = str(getattr(error, "orig", error)).split("\n", 1)[0]
        if "disk is full" in reason or "No space left" in reason:
            raise InsufficientStorage("The disk under the database is full. Free some space or move it to a larger disk.") from error
        _log.error("database_unavailable", reason=reason, statement=getattr(error, "statement", None))
        raise Unavailable("The database cannot be used now. The server's log says why.") from error
    except sa.exc.DataError as error:  # only PostgreSQL is so strict
        raise InvalidRequest("A text with a NUL character, or a number that is too large, cannot be kept. Send another.") from error
