"""Trainings over HTTP as we call them: an order as it is, and everything that is known of it. What else can be done is a job's."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec
from starlette.responses import Response

from yunmo.cloud.cloud import Cloud
from yunmo.cloud.values import Failure, Job, Order, Progress, Trained, TrainingState, order_of, phase
from yunmo.core.training import TrainingEstimate
from yunmo.web.replies import json_reply
from yunmo.web.request import Request
from yunmo.web.routing import Route


class TrainingView(msgspec.Struct):
    """A training as people see it. `estimate` is there once it has been checked, with the recipe complete; `result` once it is published."""

    id: str
    project: str
    phase: str
    order: Order
    estimate: TrainingEstimate | None
    progress: Progress | None
    result: Trained | None
    error: Failure | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


class TrainingRoutes:
    """Order trainings, and look at them."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    def routes(self) -> list[Route]:
        """The routes of this group."""
        trainings = "/admin/trainings"
        return [
            Route("POST", trainings, self._submit, "write", "Order a training", Order, TrainingView),
            Route("GET", trainings + "/{id}", self._get, "infer", "Look at a training", None, TrainingView),
        ]

    async def _submit(self, request: Request) -> Response:
        order = await request.struct(Order)
        key = request.headers.get("idempotency-key")
        job = await self._cloud.trainings.submit(request.principal, order, idempotency_key=key)
        return json_reply(training_view(job), 201)

    async def _get(self, request: Request) -> Response:
        job_id = request.params["id"]
        project = request.principal.project
        if request.principal.is_admin:
            project = (await self._cloud.jobs.get(None, job_id)).project
        return json_reply(training_view(await self._cloud.trainings.get(project, job_id)))


def training_view(job: Job) -> TrainingView:
    """The training for people."""
    state = msgspec.convert(job.checkpoint or {}, TrainingState)
    given: Mapping[str, Any] = {
        name: getattr(job, name) for name in ("id", "project", "progress", "created_at", "started_at", "finished_at")
    }
    return TrainingView(
        phase=phase(job),
        order=order_of(job),
        estimate=state.estimate,
        result=msgspec.convert(job.result, Trained) if job.result else state.published,
        error=job.error,
        **given,
    )
