"""What a kind of job is, and what it gets to work with."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Protocol

import sqlalchemy as sa

from yunmo.jobs import store
from yunmo.jobs.job import Failure, Job, Level, Progress, Wanted
from yunmo.storage.database import Database
from yunmo.storage.tables import now

Effect = Callable[[sa.Connection], None]
"""What happens to the database if, and only if, the job's own change does."""

Checkpoint = Mapping[str, Any] | Callable[[sa.Connection], Mapping[str, Any]]
"""How far the work is; or what makes it so, in the transaction that keeps it, where only that can tell (a commit's id)."""

_SMOOTHING = 0.3


class PutBack(Exception):
    """Raised by a kind at a point from which it can go on: the job goes back into the queue, and nothing has failed.

    It is looked at again after `wait_seconds`, and goes on as another kind of job if `kind` names one.
    """

    def __init__(self, *, wait_seconds: float = 0.0, kind: str | None = None) -> None:
        super().__init__()
        self.wait_seconds = wait_seconds
        self.kind = kind


class Paused(PutBack):
    """Raised by a kind at a point from which it can go on: the job's owner wants it to wait."""


class LeaseLost(Exception):
    """Somebody else works on the job by now: nothing that this one does counts any more."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a job ended: its result, and what becomes true in the same transaction. With an error it has failed."""

    result: Mapping[str, Any]
    effect: Effect | None = None
    error: Failure | None = None


class Kind(Protocol):
    """A kind of job. `slots` is how many one server works on at a time.

    `run` goes on from `work.checkpoint`. It raises a YunmoError when it fails: one that may pass (Unavailable, EngineFailed …)
    is tried again later, others are final, and a full disk makes the job wait for its owner. It is cancelled when its
    owner cancels the job or the server stops.
    """

    name: str
    slots: int

    async def run(self, work: "Work") -> Outcome: ...

    async def cancelled(self, work: "Work") -> Outcome:
        """What is left of a job that was cancelled after it had begun."""
        ...


@dataclass(slots=True)
class _Pace:
    """How fast the work goes, by what was done lately."""

    done: float = 0.0
    at: float | None = None
    per_second: float | None = None

    def seconds_to(self, done: float, total: float, clock: Callable[[], float] = time.monotonic) -> float | None:
        at = clock()
        if self.at is None:
            self.done, self.at = done, at
        elif at - self.at >= 1 and done > self.done:
            pace = (done - self.done) / (at - self.at)
            self.per_second = pace if self.per_second is None else self.per_second + _SMOOTHING * (pace - self.per_second)
            self.done, self.at = done, at
        return None if not self.per_second else max(0.0, total - done) / self.per_second


@dataclass(frozen=True, slots=True)
class News:
    """An event of a job that has not been written down yet, see `JobEvent`."""

    message: str
    level: Level = "info"
    type: str = "message"
    data: Mapping[str, Any] = field(default_factory=dict)


class Work:
    """One attempt at a job."""

    def __init__(self, job: Job, database: Database, on_change: Callable[[], None]) -> None:
        self.job = job
        self.wanted: Wanted = job.wanted
        self.progress = job.progress
        self.checkpoint = job.checkpoint
        self.failures = job.failures
        self._database = database
        self._on_change = on_change
        self._told = job.progress
        self._pace = _Pace()

    def advance(self, done: float, total: float | None = None, unit: str = "") -> None:
        """Tell how far the work is; it costs nothing, and is written down about once a second."""
        eta = None
        if total is not None:
            seconds = self._pace.seconds_to(done, total)
            eta = None if seconds is None else now() + timedelta(seconds=seconds)
        self.progress = Progress(done, total, unit, eta)

    async def save(self, checkpoint: Checkpoint, effect: Effect | None = None) -> None:
        """Keep how far the work is: the next attempt begins here. Raises LeaseLost, and Paused when that is wanted."""
        progress = self.progress

        def write(connection: sa.Connection) -> tuple[Wanted, Mapping[str, Any]]:
            kept = checkpoint(connection) if callable(checkpoint) else checkpoint
            wanted = store.save(connection, self.job, kept, progress)
            if wanted is None:
                raise LeaseLost
            if effect is not None:
                effect(connection)
            return wanted, kept

        self.wanted, self.checkpoint = await self._database.write(write)
        self.failures = 0
        self._told = progress
        self._on_change()
        if self.wanted == "pause":
            raise Paused

    async def tell(self, message: str, level: Level = "info", type_: str = "message", data: Mapping[str, Any] | None = None) -> None:
        """Add to the job's events."""
        await self.tell_all([News(message, level, type_, data or {})])

    async def tell_all(self, news: Sequence["News"]) -> None:
        """Add several events at once."""

        def write(connection: sa.Connection) -> None:
            for each in news:
                store.tell(connection, self.job.id, each.level, each.message, each.type, each.data)

        if news:
            await self._database.write(write)
            self._on_change()

    async def renew(self, lease_seconds: float) -> None:
        """Keep the lease, and learn what the owner wants. Raises LeaseLost."""
        progress = self.progress if self.progress != self._told else None
        wanted = await self._database.write(lambda connection: store.renew(connection, self.job, lease_seconds, progress))
        if wanted is None:
            raise LeaseLost
        self.wanted = wanted
        if progress is not None:
            self._told = progress
            self._on_change()

    @property
    def has_news(self) -> bool:
        """Whether there is progress that nobody has written down."""
        return self.progress != self._told
