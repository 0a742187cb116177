"""/v1/fine_tuning/jobs: models that learn from the project's own rows."""

import asyncio
import re
import time
from collections.abc import Sequence

from starlette.responses import Response

from yunmo.cloud.cloud import Cloud
from yunmo.cloud.values import Job, Rows
from yunmo.core.errors import InvalidRequest, NotFound
from yunmo.web.dialects.openai.fields import read
from yunmo.web.dialects.openai.fine_tuning_request import REFUSED, FineTuningBody, order_of
from yunmo.web.dialects.openai.fine_tuning_wire import (
    CHECKPOINT_PREFIX,
    EVENT_PREFIX,
    JOB_PREFIX,
    FineTuningCheckpoint,
    FineTuningEvent,
    FineTuningJob,
    checkpoint_object,
    event_object,
    job_object,
    newest_first,
)
from yunmo.web.dialects.openai.headers import plain_headers
from yunmo.web.dialects.openai.listing import Listing, check_query, page_limit
from yunmo.web.replies import json_reply
from yunmo.web.request import Request
from yunmo.web.routing import Route

CANCEL_SECONDS = 5.0
"""How long a cancellation waits for the job's end, so that most clients see it in the reply."""

_PAGE_LIMIT = 100
_PAGE = frozenset({"after", "limit"})
_METADATA = re.compile(r"metadata\[(.{1,64})\]\Z", re.DOTALL)
_NUMBER = re.compile(r"[0-9]{1,18}\Z")
_Shown = FineTuningJob | FineTuningEvent | FineTuningCheckpoint


class FineTuningRoutes:
    """Trainings of the caller's project."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    def routes(self) -> Sequence[Route]:
        """The routes of this group."""
        jobs = "/v1/fine_tuning/jobs"
        one = jobs + "/{fine_tuning_job_id}"
        return [
            Route(
                "POST", jobs, self._create, "write", "Train a model with the rows of a file or a data set", FineTuningBody, FineTuningJob
            ),
            Route("GET", jobs, self._list, "infer", "List trainings", None, Listing[FineTuningJob]),
            Route("GET", one, self._get, "infer", "Look at a training", None, FineTuningJob),
            Route("POST", one + "/cancel", self._cancel, "infer", "Cancel a training", None, FineTuningJob),
            Route("POST", one + "/pause", self._pause, "infer", "Have a training wait at its next checkpoint", None, FineTuningJob),
            Route("POST", one + "/resume", self._resume, "infer", "Have a training that waits go on", None, FineTuningJob),
            Route("GET", one + "/events", self._events, "infer", "What happened to a training", None, Listing[FineTuningEvent]),
            Route("GET", one + "/checkpoints", self._checkpoints, "infer", "Models of its epochs", None, Listing[FineTuningCheckpoint]),
        ]

    async def _create(self, request: Request) -> Response:
        started = time.perf_counter()
        order = order_of(await read(request, FineTuningBody, REFUSED))
        await self._check_file(request, order.rows, "training_file")
        if order.validation is not None:
            await self._check_file(request, order.validation, "validation_file")
        key = request.headers.get("idempotency-key")
        job = await self._cloud.trainings.submit(request.principal, order, idempotency_key=key)
        return _reply(request, started, job)

    async def _list(self, request: Request) -> Response:
        started = time.perf_counter()
        metadata = {found[1]: value for name, value in request.query_params.items() if (found := _METADATA.match(name))}
        check_query(request, _PAGE | {name for name in request.query_params if _METADATA.match(name)})
        limit = page_limit(request, 20, _PAGE_LIMIT)
        after = request.query_params.get("after")
        jobs = await self._cloud.trainings.page(
            request.principal.project, after=None if after is None else _job_id(after), limit=limit + 1, metadata=metadata
        )
        return _page(request, started, [job_object(job) for job in jobs], limit)

    async def _get(self, request: Request) -> Response:
        started = time.perf_counter()
        return _reply(request, started, await self._find(request))

    async def _cancel(self, request: Request) -> Response:
        started = time.perf_counter()
        found = await self._find(request)
        job = await self._cloud.jobs.cancel(found.project, found.id)
        try:
            async with asyncio.timeout(CANCEL_SECONDS):
                job = await self._cloud.jobs.wait(job.project, job.id)
        except TimeoutError:
            job = await self._cloud.jobs.get(job.project, job.id)
        return _reply(request, started, job)

    async def _pause(self, request: Request) -> Response:
        started = time.perf_counter()
        job = await self._find(request)
        return _reply(request, started, await self._cloud.jobs.pause(job.project, job.id))

    async def _resume(self, request: Request) -> Response:
        started = time.perf_counter()
        job = await self._find(request)
        return _reply(request, started, await self._cloud.jobs.resume(job.project, job.id))

    async def _events(self, request: Request) -> Response:
        started = time.perf_counter()
        check_query(request, _PAGE)
        limit = page_limit(request, 20, _PAGE_LIMIT)
        after = request.query_params.get("after")
        job = await self._find(request)
        before = None if after is None else _number(after, EVENT_PREFIX, "event")
        events = await self._cloud.jobs.latest_events(job.project, job.id, before, limit + 1)
        return _page(request, started, [event_object(event) for event in events], limit)

    async def _checkpoints(self, request: Request) -> Response:
        started = time.perf_counter()
        check_query(request, _PAGE)
        limit = page_limit(request, 10, _PAGE_LIMIT)
        after = request.query_params.get("after")
        job = await self._find(request)
        before = None if after is None else _number(after, f"{CHECKPOINT_PREFIX}{job.id}-", "checkpoint")
        kept = [each for each in newest_first(job) if before is None or each.step < before]
        return _page(request, started, [checkpoint_object(job, each) for each in kept[: limit + 1]], limit)

    async def _find(self, request: Request) -> Job:
        given = request.params["fine_tuning_job_id"]
        return await self._cloud.trainings.get(request.principal.project, _job_id(given))

    async def _check_file(self, request: Request, rows: Rows, param: str) -> None:
        """Raise NotFound or InvalidRequest for a file that is not there or was uploaded for something else."""
        if rows.file is None:
            return
        try:
            file = await self._cloud.files.get(request.principal.project, rows.file)
        except NotFound as error:
            raise NotFound(error.message, param=param) from error
        if file.purpose != "fine-tune":
            raise InvalidRequest(f"The file was uploaded for '{file.purpose}'; upload it for 'fine-tune'.", param=param)


def _reply(request: Request, started: float, job: Job) -> Response:
    return json_reply(job_object(job), headers=plain_headers(request, started))


def _page(request: Request, started: float, found: Sequence[_Shown], limit: int) -> Response:
    data = list(found[:limit])
    ends = (data[0].id, data[-1].id) if data else (None, None)
    return json_reply(Listing(data, len(found) > limit, *ends), headers=plain_headers(request, started))


def _job_id(given: str) -> str:
    if not given.startswith(JOB_PREFIX):
        raise NotFound(f"There is no training '{given[:80]}'. GET /v1/fine_tuning/jobs lists yours.", param="fine_tuning_job_id")
    return given.removeprefix(JOB_PREFIX)


def _number(after: str, prefix: str, what: str) -> int:
    """The number in the id of an event or a checkpoint, behind which a page begins."""
    number = after.removeprefix(prefix)
    if number == after or not _NUMBER.match(number):
        raise NotFound(f"There is no {what} '{after[:80]}'.", param="after")
    return int(number)
