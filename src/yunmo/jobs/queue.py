"""The queue of jobs as those see it who ask for them: submit, look, pause, cancel, follow."""

import asyncio
import hashlib
import secrets
from collections.abc import AsyncGenerator, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import sqlalchemy as sa

from yunmo.core.errors import Conflict, InvalidRequest, NotFound, Overloaded
from yunmo.core.identity import Principal
from yunmo.jobs import store
from yunmo.jobs.job import Job, JobEvent, State
from yunmo.storage.database import Database

_PAGE_LIMIT = 1000
_PRIORITY_LIMIT = 100
_KEY_CHARACTERS = 255
_FOLLOW_SECONDS = 1.0
_EVENTS_AT_ONCE = 200


@dataclass(frozen=True, slots=True)
class QueueLimits:
    """`waiting`: jobs of one project that have not ended; `running`: those worked on at a time, by all servers together."""

    waiting: int = 1000
    running: int = 4


class Jobs:
    """The durable queue. What `submit` returned is never lost, and its effects happen exactly once."""

    def __init__(self, database: Database, limits: QueueLimits) -> None:
        self._database = database
        self.limits = limits
        self.changed = Pulse()

    async def submit(
        self,
        principal: Principal,
        kind: str | Sequence[str],
        given: Mapping[str, Any],
        *,
        priority: int = 0,
        idempotency_key: str | None = None,
        effect: Callable[[sa.Connection, Job], None] | None = None,
    ) -> Job:
        """Queue a job; `effect` happens in the same transaction. Of several kinds it begins as the first, and goes on as the others.

        The same `idempotency_key` again leads to the job that was made first. Raises Conflict when that was another request,
        and Overloaded when too many of the project's jobs have not ended.
        """
        if not -_PRIORITY_LIMIT <= priority <= _PRIORITY_LIMIT:
            raise InvalidRequest(f"A job's priority is from {-_PRIORITY_LIMIT} to {_PRIORITY_LIMIT}.", param="priority")
        if idempotency_key is not None and not 1 <= len(idempotency_key) <= _KEY_CHARACTERS:
            raise InvalidRequest(f"An idempotency key has 1 to {_KEY_CHARACTERS} characters.", param="Idempotency-Key")
        kinds = (kind,) if isinstance(kind, str) else kind
        values = {
            "id": secrets.token_hex(12),
            "project": principal.project,
            "key_id": principal.key_id,
            "is_admin": principal.is_admin,
            "kind": kinds[0],
            "priority": priority,
            "input": dict(given),
            "idempotency_key": idempotency_key,
            "request_digest": None if idempotency_key is None else digest(given),
        }

        def write(connection: sa.Connection) -> Job:
            if idempotency_key is not None:
                made = store.find_repeated(connection, principal.project, kinds, idempotency_key)
                if made is not None:
                    return _repeated(*made, digest(given))
            self._check_room(connection, principal.project)
            job = store.insert(connection, values)
            if effect is not None:
                effect(connection, job)
            return job

        job = await self._database.write(write)
        self.changed.beat()
        return job

    async def get(self, project: str | None, job_id: str) -> Job:
        """The project's job (None: anybody's). Raises NotFound."""
        found = await self._database.read(lambda connection: store.find(connection, project, job_id))
        if found is None:
            raise _no_job(job_id)
        return found

    async def page(
        self,
        project: str | None,
        *,
        kinds: Collection[str] | None = None,
        states: Collection[State] | None = None,
        after: str | None = None,
        limit: int = 20,
    ) -> list[Job]:
        """The newest jobs first, from behind the job `after` on. Raises NotFound when that one is not there."""
        if not 1 <= limit <= _PAGE_LIMIT:
            raise InvalidRequest(f"A page has 1 to {_PAGE_LIMIT} jobs.", param="limit")
        last = None if after is None else await self.get(project, after)
        return await self._database.read(lambda connection: store.page(connection, project, kinds, states, last, limit))

    async def cancel(self, project: str | None, job_id: str) -> Job:
        """Have a job end soon; one that is cancelled already stays so. Raises Conflict for one that has ended otherwise."""
        return await self._want(project, job_id, "cancel")

    async def pause(self, project: str | None, job_id: str) -> Job:
        """Have a job wait: at once if it is queued, else from its next checkpoint on. Raises Conflict for one that has ended."""
        return await self._want(project, job_id, "pause")

    async def resume(self, project: str | None, job_id: str) -> Job:
        """Have a job that waits go on. Raises Conflict for one that has ended or was cancelled."""
        return await self._want(project, job_id, "run")

    async def events(self, project: str | None, job_id: str, after: int = 0, limit: int = 100) -> list[JobEvent]:
        """The job's events behind the one with the id `after`, oldest first."""
        await self.get(project, job_id)
        return await self._events(job_id, after, limit)

    async def latest_events(self, project: str | None, job_id: str, before: int | None = None, limit: int = 20) -> list[JobEvent]:
        """The job's events newest first, those before the one with the id `before`."""
        await self.get(project, job_id)
        return await self._database.read(lambda connection: store.latest_events(connection, job_id, before, limit))

    async def follow(self, project: str | None, job_id: str, after: int = 0) -> AsyncGenerator[Job | JobEvent]:
        """The job and its events as they come, until it has ended."""
        seen: Job | None = None
        while True:
            beat = self.changed.next()
            job = await self.get(project, job_id)
            while events := await self._events(job_id, after, _EVENTS_AT_ONCE):
                for event in events:
                    yield event
                after = events[-1].id
            if job != seen:
                yield job
            if job.has_ended:
                return
            seen = job
            await beat.wait(_FOLLOW_SECONDS)

    async def wait(self, project: str | None, job_id: str) -> Job:
        """The job when it has ended."""
        while True:
            beat = self.changed.next()
            job = await self.get(project, job_id)
            if job.has_ended:
                return job
            await beat.wait(_FOLLOW_SECONDS)

    async def _events(self, job_id: str, after: int, limit: int) -> list[JobEvent]:
        return await self._database.read(lambda connection: store.events(connection, job_id, after, limit))

    async def _want(self, project: str | None, job_id: str, wanted: Any) -> Job:
        def write(connection: sa.Connection) -> tuple[Job | None, Job | None]:
            changed = store.want(connection, project, job_id, wanted)
            return changed, changed or store.find(connection, project, job_id)

        changed, found = await self._database.write(write)
        if found is None:
            raise _no_job(job_id)
        if changed is None and not (wanted == "cancel" and found.state == "cancelled"):
            is_at = f"has {found.state}" if found.has_ended else "is being cancelled"
            raise Conflict(f"The job '{job_id}' {is_at}; it cannot {'go on' if wanted == 'run' else wanted}.")
        self.changed.beat()
        return found

    def _check_room(self, connection: sa.Connection, project: str) -> None:
        waiting = store.count_unfinished(connection, project)
        if waiting >= self.limits.waiting:
            raise Overloaded(
                f"The project '{project}' has {waiting} jobs that have not ended, which is its limit (setting jobs.waiting_per_project). "
                "Wait for some of them, or cancel some.",
                retry_after_seconds=60,
            )


class Pulse:
    """Tells everybody who waits that something has changed; what, they look up."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def beat(self) -> None:
        """Something has changed."""
        self._event.set()
        self._event = asyncio.Event()

    def next(self) -> "Beat":
        """The next beat. Take it before looking, so that none is missed in between."""
        return Beat(self._event)


@dataclass(frozen=True, slots=True)
class Beat:
    """One beat that may come."""

    event: asyncio.Event

    async def wait(self, seconds: float) -> None:
        """Until it comes, but no longer than this: another process may have changed something in silence."""
        try:
            async with asyncio.timeout(seconds):
                await self.event.wait()
        except TimeoutError:
            return


def digest(given: Mapping[str, Any]) -> bytes:
    """What tells one request from another."""
    return hashlib.sha256(msgspec.json.encode(given, order="deterministic")).digest()


def _repeated(job: Job, made_of: bytes, given: bytes) -> Job:
    if made_of != given:
        raise Conflict(
            f"This idempotency key was used for another request (job '{job.id}'). Use a new key for a new request.", param="Idempotency-Key"
        )
    return job


def _no_job(job_id: str) -> NotFound:
    return NotFound(f"There is no job '{job_id[:80]}'. 'yunmo jobs list' shows yours.", param="id")
