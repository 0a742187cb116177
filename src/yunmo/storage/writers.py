"""How writing work reaches the database: one thread that commits groups (SQLite), or a pool (PostgreSQL)."""

import os
import queue
import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import sqlalchemy as sa
import structlog

T = TypeVar("T")
Work = Callable[[sa.Connection], T]

_GROUP_LIMIT = 256
_PATIENCE_SECONDS = 30.0
_COLLISIONS = {"40001", "40P01"}  # serialization_failure, deadlock_detected: nothing was committed
_VIOLATIONS = {"23505", "23503"}  # unique, foreign key: perhaps against a row that the work could not see yet
_VIOLATION_ATTEMPTS = 3
_LOST_WRITE = 70  # the exit status EX_SOFTWARE
_log = structlog.get_logger()


class Writer(Protocol):
    """Runs each piece of work in a transaction; the future is set when it is durable."""

    def submit(self, work: Work[T]) -> "Future[T]": ...

    def close(self) -> None: ...


class GroupWriter:
    """One thread, one transaction for all work that waits, one savepoint for each."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine.execution_options(begin="BEGIN IMMEDIATE")
        self._waiting: queue.SimpleQueue[_Write | None] = queue.SimpleQueue()
        self._door = threading.Lock()
        self._is_closed = False
        self._thread = threading.Thread(target=self._run, name="database-write", daemon=True)
        self._thread.start()

    def submit(self, work: Work[T]) -> "Future[T]":
        future: Future[T] = Future()
        with self._door:
            if self._is_closed:
                raise RuntimeError("The database is closed")
            self._waiting.put(_Write(work, future))
        return future

    def close(self) -> None:
        with self._door:
            if not self._is_closed:
                self._is_closed = True
                self._waiting.put(None)
        self._thread.join()

    def _run(self) -> None:
        is_closing = False
        while not is_closing:
            group: list[_Write] = []
            write = self._waiting.get()
            while write is not None:
                # From here on the caller can no longer cancel: a future is either never run or always answered.
                if write.future.set_running_or_notify_cancel():
                    group.append(write)
                if len(group) >= _GROUP_LIMIT or self._waiting.empty():
                    break
                write = self._waiting.get()
            is_closing = write is None
            self._commit(group)

    def _commit(self, group: list["_Write"]) -> None:
        if not group:
            return
        failure = self._try(group)
        if failure is not None and len(group) > 1:
            # One of them spoils the transaction (a full disk, a deferred constraint): each gets its own.
            for write in group:
                self._commit([write])
            return
        for write in group:
            if (error := write.error or failure) is not None:
                write.future.set_exception(error)
            else:
                write.future.set_result(write.result)

    def _try(self, group: list["_Write"]) -> BaseException | None:
        try:
            with self._engine.begin() as connection:
                for write in group:
                    _run_one(connection, write)
        except BaseException as error:  # boundary: the thread must outlive everything that a group meets
            _end_if_disk_failed(error)
            return error
        return None


class PoolWriter:
    """PostgreSQL groups commits itself: each piece of work has its own connection and serializable transaction.

    Work that collided is repeated while nothing else of this process writes, so that it comes through however many write one
    row and however slow it is; against other processes it is repeated for `_PATIENCE_SECONDS`.
    """

    def __init__(self, engine: sa.Engine, threads: int) -> None:
        self._engine = engine.execution_options(isolation_level="SERIALIZABLE")
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="database-write")
        self._turns = _Turns()

    def submit(self, work: Work[T]) -> "Future[T]":
        return self._pool.submit(self._run, work)

    def close(self) -> None:
        self._pool.shutdown(wait=True)

    def _run(self, work: Work[T]) -> T:
        try:
            with self._turns.together():
                return self._once(work)
        except (sa.exc.OperationalError, sa.exc.IntegrityError) as error:
            if _state(error) not in _COLLISIONS | _VIOLATIONS:
                raise
        with self._turns.alone():
            return self._repeat(work)

    def _repeat(self, work: Work[T]) -> T:
        begun = time.monotonic()
        attempt = 1
        while True:
            attempt += 1
            try:
                return self._once(work)
            except (sa.exc.OperationalError, sa.exc.IntegrityError) as error:
                may_repeat = _state(error) in _COLLISIONS or (_state(error) in _VIOLATIONS and attempt < _VIOLATION_ATTEMPTS)
                if not may_repeat or time.monotonic() - begun > _PATIENCE_SECONDS:
                    raise
            time.sleep(random.uniform(0, 0.002 * min(attempt, 50)))  # noqa: S311  # other processes repeat too; no secret

    def _once(self, work: Work[T]) -> T:
        with self._engine.begin() as connection:
            return work(connection)


class _Turns:
    """Many may be inside together, or one alone; who wants to be alone goes before those who come later."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._inside = 0
        self._is_closed = False

    @contextmanager
    def together(self) -> Iterator[None]:
        with self._changed:
            self._changed.wait_for(lambda: not self._is_closed)
            self._inside += 1
        try:
            yield
        finally:
            with self._changed:
                self._inside -= 1
                self._changed.notify_all()

    @contextmanager
    def alone(self) -> Iterator[None]:
        with self._changed:
            self._changed.wait_for(lambda: not self._is_closed)
            self._is_closed = True
            self._changed.wait_for(lambda: self._inside == 0)
        try:
            yield
        finally:
            with self._changed:
                self._is_closed = False
                self._changed.notify_all()


def _state(error: sa.exc.DBAPIError) -> str | None:
    state: str | None = getattr(error.orig, "sqlstate", None)
    return state


@dataclass(slots=True)
class _Write:
    work: Work[Any]
    future: "Future[Any]"
    result: Any = None
    error: Exception | None = None


def _run_one(connection: sa.Connection, write: _Write) -> None:
    write.error = None
    savepoint = connection.begin_nested()
    try:
        write.result = write.work(connection)
    except Exception as error:  # boundary: the error belongs to the caller who waits for this work
        write.error = error
        _end_if_disk_failed(error)
        savepoint.rollback()
    else:
        savepoint.commit()


def _end_if_disk_failed(error: BaseException) -> None:
    """After a failed fsync the kernel may have dropped the pages, so nothing more can be promised: recover at the next start."""
    if isinstance(error, sa.exc.DBAPIError) and "disk I/O error" in str(error.orig):
        _log.critical("database_failed", error=str(error.orig))
        os._exit(_LOST_WRITE)
