"""Works on queued jobs: claims them, keeps their leases, and says how each attempt ended."""

import asyncio
import contextlib
import secrets
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

import structlog

from yunmo.core.errors import (
    DeadlineExceeded,
    EngineFailed,
    InsufficientStorage,
    InternalError,
    Overloaded,
    RateLimited,
    Unavailable,
    YunmoError,
)
from yunmo.jobs import store
from yunmo.jobs.job import Failure, Job, State
from yunmo.jobs.queue import Jobs
from yunmo.jobs.work import Kind, LeaseLost, Outcome, Paused, PutBack, Work
from yunmo.storage.database import Database
from yunmo.storage.tables import now

_MAY_PASS = (Unavailable, Overloaded, RateLimited, EngineFailed, DeadlineExceeded)
_FORGET_AT_ONCE = 500
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Rhythm:
    """Seconds: how long a lease holds, when it is renewed, how often the queue is looked at, and how long a failed try waits at first.

    `tries` are attempts that get no further before the job fails; jobs that have ended are kept for `kept_days`.
    """

    lease: float = 30.0
    heartbeat: float = 10.0
    look: float = 1.0
    first_wait: float = 5.0
    longest_wait: float = 300.0
    tries: int = 3
    kept_days: float = 90.0


class JobRunner:
    """One server's workers. `run` until it is cancelled; what it works on then goes back into the queue at once.

    One that `is_alone` with its database goes on at once with what its predecessor left, and waits for no lease.
    """

    def __init__(
        self, jobs: Jobs, database: Database, kinds: Mapping[str, Kind], rhythm: Rhythm | None = None, *, is_alone: bool = False
    ) -> None:
        self._jobs = jobs
        self._database = database
        self._kinds = kinds
        self._rhythm = rhythm or Rhythm()
        self._owner = secrets.token_hex(8)
        self._is_alone = is_alone
        self._working: Counter[str] = Counter()
        self._attempts: dict[Work, asyncio.Task[Outcome]] = {}

    async def run(self) -> None:
        """Claim and work until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._recover(), name="jobs-recover")
            group.create_task(self._listen(), name="jobs-listen")
            await self._claim(group)

    async def _claim(self, group: asyncio.TaskGroup) -> None:
        while True:
            beat = self._jobs.changed.next()
            while (job := await self._next()) is not None:
                self._working[job.kind] += 1
                group.create_task(self._attend(job), name=f"job-{job.id}")
            await beat.wait(self._rhythm.look)

    async def _next(self) -> Job | None:
        free = [name for name, kind in self._kinds.items() if self._working[name] < kind.slots]
        if not free:
            return None
        rhythm, running = self._rhythm, self._jobs.limits.running
        try:
            if not await self._database.read(lambda connection: store.has_due(connection, free)):
                return None
            return await self._database.write(lambda connection: store.claim(connection, free, self._owner, rhythm.lease, running))
        except YunmoError as error:
            _log.warning("jobs_not_claimed", reason=error.message)
            return None

    async def _attend(self, job: Job) -> None:
        """One attempt from its claim to its end."""
        work = Work(job, self._database, self._jobs.changed.beat)
        _log.info("job_claimed", job=job.id, kind=job.kind, project=job.project, attempt=job.attempt)
        self._jobs.changed.beat()
        try:
            await self._attempt(work)
        except LeaseLost:
            _log.warning("job_lease_lost", job=job.id, kind=job.kind)
        except YunmoError as error:  # the database itself: the lease runs out, and somebody takes the job up again
            _log.warning("job_left", job=job.id, kind=job.kind, reason=error.message)
        finally:
            self._working[job.kind] -= 1
            self._jobs.changed.beat()

    async def _attempt(self, work: Work) -> None:
        kind = self._kinds[work.job.kind]
        try:
            if work.job.wanted == "cancel":
                await self._end_cancelled(kind, work)
                return
            outcome = await self._kept_alive(kind, work)
            await self._end(work, "succeeded" if outcome.error is None else "failed", outcome)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if work.wanted == "cancel" and (task is None or not task.cancelling()):
                await self._end_cancelled(kind, work)
                return
            await asyncio.shield(self._put_back(work, PutBack()))  # the server stops
            raise
        except PutBack as stop:
            await self._put_back(work, stop)
        except LeaseLost:
            raise
        except YunmoError as error:
            await self._fail(work, error)
        except Exception as error:  # boundary: job runner
            _log.exception("job_attempt_broke", job=work.job.id, kind=work.job.kind, error=type(error).__name__)
            await self._fail(work, InternalError("Something went wrong on our side. The server's log has it under the job's id."))

    async def _kept_alive(self, kind: Kind, work: Work) -> Outcome:
        """The kind's own work, beside a heartbeat. Raises CancelledError when the owner cancels it, LeaseLost, and whatever it raises."""
        task = asyncio.create_task(kind.run(work))
        self._attempts[work] = task
        beating = asyncio.create_task(self._beat(work, task))
        try:
            done, _ = await asyncio.wait([task, beating], return_when=asyncio.FIRST_COMPLETED)
            if beating in done and not task.done():
                task.cancel()
                await asyncio.wait([task])
                beating.result()  # raises LeaseLost
            return task.result()
        finally:
            del self._attempts[work]
            for each in (task, beating):
                each.cancel()
            await asyncio.wait([task, beating])

    async def _beat(self, work: Work, task: "asyncio.Task[Outcome]") -> None:
        renewed = asyncio.get_running_loop().time()
        while True:
            await asyncio.sleep(self._rhythm.look)
            is_due = asyncio.get_running_loop().time() - renewed >= self._rhythm.heartbeat
            if is_due or work.has_news:
                try:
                    await work.renew(self._rhythm.lease)
                except YunmoError as error:
                    _log.warning("job_lease_not_renewed", job=work.job.id, reason=error.message)
                    if asyncio.get_running_loop().time() - renewed > self._rhythm.lease:
                        raise LeaseLost from error
                    continue
                renewed = asyncio.get_running_loop().time()
            if work.wanted == "cancel":
                task.cancel()
                return

    async def _listen(self) -> None:
        """Learn what owners want of the jobs in work: at once from this process, within a look's time from another."""
        while True:
            beat = self._jobs.changed.next()
            if self._attempts:
                with contextlib.suppress(YunmoError):
                    ids = {work.job.id for work in self._attempts}
                    wanted = await self._database.read(lambda connection: store.wants(connection, ids))  # noqa: B023
                    self._pass_on(wanted)
            await beat.wait(self._rhythm.look)

    def _pass_on(self, wanted: Mapping[str, str]) -> None:
        for work, task in self._attempts.items():
            now_wanted = wanted.get(work.job.id, "run")
            if now_wanted == "cancel" and work.wanted != "cancel":
                work.wanted = "cancel"
                task.cancel()
            elif now_wanted in {"run", "pause"} and work.wanted != "cancel":
                work.wanted = now_wanted  # type: ignore[assignment]  # the two literals

    async def _end(self, work: Work, state: State, outcome: Outcome) -> None:
        def write(connection: store.Connection) -> None:
            if not store.finish(connection, work.job, state, outcome.result, outcome.error, work.progress):
                raise LeaseLost
            if outcome.effect is not None:
                outcome.effect(connection)

        await asyncio.shield(self._database.write(write))
        _log.info("job_ended", job=work.job.id, kind=work.job.kind, state=state)

    async def _end_cancelled(self, kind: Kind, work: Work) -> None:
        await self._end(work, "cancelled", await kind.cancelled(work))

    async def _fail(self, work: Work, error: YunmoError) -> None:
        failure = Failure(error.code, error.message, error.param)
        job = work.job
        waits = isinstance(error, InsufficientStorage)
        retries = isinstance(error, (*_MAY_PASS, InternalError)) and work.failures < self._rhythm.tries
        wait_seconds = min(self._rhythm.longest_wait, self._rhythm.first_wait * 2 ** max(0, work.failures - 1))

        def write(connection: store.Connection) -> None:
            if waits:
                held = store.put_back(connection, job, error=failure, pauses=True)
                store.tell(connection, job.id, "warning", f"The job waits until it is resumed: {error.message}")
            elif retries:
                held = store.put_back(connection, job, wait_seconds=wait_seconds, error=failure)
                store.tell(
                    connection, job.id, "warning", f"Attempt {job.attempt} failed, the next is in {wait_seconds:.0f} s: {error.message}"
                )
            else:
                held = store.finish(connection, job, "failed", None, failure, work.progress)
                store.tell(connection, job.id, "error", error.message)
            if not held:
                raise LeaseLost

        await self._database.write(write)
        _log.warning("job_attempt_ended", job=job.id, kind=job.kind, code=error.code, retries=retries, waits=waits)

    async def _put_back(self, work: Work, stop: PutBack) -> None:
        pauses, wait, kind = isinstance(stop, Paused), stop.wait_seconds, stop.kind
        await self._database.write(lambda connection: store.put_back(connection, work.job, pauses=pauses, wait_seconds=wait, kind=kind))

    async def _recover(self) -> None:
        but_for = self._owner if self._is_alone else None
        while True:
            before = now() - timedelta(days=self._rhythm.kept_days)
            try:
                lost = await self._database.write(lambda connection: store.recover(connection, self._rhythm.tries, but_for=but_for))
                await self._database.write(lambda connection: store.delete_ended(connection, before, _FORGET_AT_ONCE))  # noqa: B023
                for job in lost:
                    _log.warning("job_recovered", job=job.id, kind=job.kind, state=job.state)
                if lost:
                    self._jobs.changed.beat()
            except YunmoError as error:
                _log.warning("jobs_not_recovered", reason=error.message)
            await asyncio.sleep(self._rhythm.lease / 6)
