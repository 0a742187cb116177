"""Trainings as those see them who ask for them: ordered, looked at, and listed. What else can be done to a job is the queue's."""

import asyncio
from collections.abc import Mapping
from typing import Literal

import msgspec
import structlog

from yunmo.core.errors import Forbidden, NotFound, YunmoError
from yunmo.core.identity import Principal
from yunmo.hub.models import Models
from yunmo.jobs.job import Job
from yunmo.jobs.queue import Jobs
from yunmo.training.data import TrainingData
from yunmo.training.order import Order
from yunmo.training.state import CHECK_KIND, EVALUATE_KIND, TRAIN_KIND
from yunmo.training.workspaces import Workspaces

Phase = Literal["validating", "queued", "running", "paused", "succeeded", "failed", "cancelled"]
_KINDS = (CHECK_KIND, TRAIN_KIND)
_WITH_WORKSPACES = (*_KINDS, EVALUATE_KIND)
_PAGE = 100
_SWEEP_SECONDS = 3600.0
_log = structlog.get_logger()


class Trainings:
    """Takes orders. What a caller may not use as a base or as data is refused at once; what is wrong with it, the check finds."""

    def __init__(self, jobs: Jobs, models: Models, data: TrainingData, workspaces: Workspaces) -> None:
        self._jobs = jobs
        self._models = models
        self._data = data
        self._workspaces = workspaces

    async def run(self) -> None:
        """Remove what trainings that have ended have left behind, now and every hour, until cancelled."""
        while True:
            try:
                await self._workspaces.sweep(await self._unfinished())
            except (YunmoError, OSError) as error:
                _log.warning("workspaces_not_swept", reason=str(error))
            await asyncio.sleep(_SWEEP_SECONDS)

    async def _unfinished(self) -> set[str]:
        found: set[str] = set()
        after = None
        while jobs := await self._jobs.page(None, kinds=_WITH_WORKSPACES, states=("queued", "running"), after=after, limit=_PAGE):
            found |= {job.id for job in jobs}
            after = jobs[-1].id
        return found

    async def submit(self, principal: Principal, order: Order, *, idempotency_key: str | None = None, priority: int = 0) -> Job:
        """Queue a training. Raises InvalidRequest, NotFound for a base or rows that are not there, Forbidden for another's repository."""
        order.check()
        if order.repository is not None and not principal.may_write_to(order.repository.partition("/")[0]):
            raise Forbidden(
                f"The result cannot be kept as {order.repository}: this key may write to '{principal.project}/…'. Choose a name there.",
                param="repository",
            )
        if order.base:
            await self._models.find(principal, *revised(order.base))
        for rows in (order.rows, order.validation):
            if rows is not None:
                await self._data.look_up(principal, rows)
        return await self._jobs.submit(principal, _KINDS, msgspec.to_builtins(order), priority=priority, idempotency_key=idempotency_key)

    async def get(self, project: str, job_id: str) -> Job:
        """The project's training. Raises NotFound, also for a job of another kind."""
        job = await self._jobs.get(project, job_id)
        if job.kind not in _KINDS:
            raise NotFound(f"The job '{job_id[:80]}' is no training.", param="id")
        return job

    async def page(
        self, project: str, *, after: str | None = None, limit: int = 20, metadata: Mapping[str, str] | None = None
    ) -> list[Job]:
        """The newest trainings first, from behind the one `after` on; only those with this metadata, if any is asked for."""
        found: list[Job] = []
        while len(found) < limit:
            jobs = await self._jobs.page(project, kinds=_KINDS, after=after, limit=max(limit, _PAGE) if metadata else limit)
            found += [job for job in jobs if (metadata or {}).items() <= (job.input.get("metadata") or {}).items()]
            if not metadata or len(jobs) < max(limit, _PAGE):
                break
            after = jobs[-1].id
        return found[:limit]


def phase(job: Job) -> Phase:
    """Where a training is, in the words of those who wait for it."""
    if job.has_ended:
        return job.state
    if job.is_paused:
        return "paused"
    if job.kind == CHECK_KIND:
        return "validating"
    return "running" if job.state == "running" else "queued"


def order_of(job: Job) -> Order:
    """The order that the job was made for."""
    return msgspec.convert(job.input, Order)


def revised(name: str) -> tuple[str, str]:
    """A model's repository and revision, by its name with or without `@revision`."""
    repository, _, revision = name.partition("@")
    return repository, revision or "main"
