"""/v1/batches: many requests in a file, answered when nobody waits, their answers in another."""

import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta
from starlette.responses import Response

from yunmo.cloud.cloud import Cloud
from yunmo.cloud.values import Job
from yunmo.core.errors import InvalidRequest, NotFound
from yunmo.web.dialects.openai.batch_lines import FILE_BYTES_LIMIT, Problem
from yunmo.web.dialects.openai.fields import read
from yunmo.web.dialects.openai.files import ExpiresAfter
from yunmo.web.dialects.openai.headers import plain_headers
from yunmo.web.dialects.openai.listing import Listing, check_query, page_limit
from yunmo.web.replies import json_reply
from yunmo.web.request import Request
from yunmo.web.routing import Route

KIND = "batch"
WINDOW_SECONDS = 24 * 3600
_PREFIX = "batch_"
_QUERY = frozenset({"after", "limit"})

Endpoint = Literal["/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/moderations"]
Metadata = Annotated[dict[Annotated[str, Meta(max_length=64)], Annotated[str, Meta(max_length=512)]], Meta(max_length=16)]


class BatchBody(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The body of POST /v1/batches."""

    input_file_id: str
    endpoint: Endpoint
    completion_window: Literal["24h"]
    metadata: Metadata | None = None
    output_expires_after: ExpiresAfter | None = None


class RequestCounts(msgspec.Struct):
    """Lines of the batch."""

    total: int = 0
    completed: int = 0
    failed: int = 0


class Problems(msgspec.Struct):
    """Why a batch could not be run."""

    data: list[Problem]
    object: str = "list"


class Batch(msgspec.Struct, kw_only=True):
    """A batch as clients know it."""

    id: str
    object: str = "batch"
    endpoint: str
    model: str | None = None
    errors: Problems | None = None
    input_file_id: str
    completion_window: str = "24h"
    status: str
    output_file_id: str | None = None
    error_file_id: str | None = None
    created_at: int
    in_progress_at: int | None = None
    expires_at: int
    finalizing_at: int | None = None
    completed_at: int | None = None
    failed_at: int | None = None
    expired_at: int | None = None
    cancelling_at: int | None = None
    cancelled_at: int | None = None
    request_counts: RequestCounts
    usage: dict[str, Any] | None = None
    metadata: dict[str, str] | None = None


class BatchRoutes:
    """Batches of the caller's project."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    def routes(self) -> Sequence[Route]:
        """The routes of this group."""
        one = "/v1/batches/{batch_id}"
        return [
            Route("POST", "/v1/batches", self._create, "infer", "Answer a file of requests when nobody waits", BatchBody, Batch),
            Route("GET", "/v1/batches", self._list, "infer", "List batches", None, Listing[Batch]),
            Route("GET", one, self._get, "infer", "Look at a batch", None, Batch),
            Route("POST", one + "/cancel", self._cancel, "infer", "Cancel a batch; what is answered stays", None, Batch),
        ]

    async def _create(self, request: Request) -> Response:
        started = time.perf_counter()
        body = await read(request, BatchBody, {})
        file = await self._cloud.files.get(request.principal.project, body.input_file_id)
        if file.purpose != "batch":
            raise InvalidRequest(f"The file was uploaded for '{file.purpose}'; upload it for 'batch'.", param="input_file_id")
        if file.size > FILE_BYTES_LIMIT:
            raise InvalidRequest(
                f"The file has {file.size} bytes; a batch's has at most {FILE_BYTES_LIMIT}. Split it.", param="input_file_id"
            )
        key = request.headers.get("idempotency-key")
        job = await self._cloud.jobs.submit(request.principal, KIND, msgspec.to_builtins(body), idempotency_key=key)
        return json_reply(batch_of(job), headers=plain_headers(request, started))

    async def _list(self, request: Request) -> Response:
        started = time.perf_counter()
        check_query(request, _QUERY)
        limit = page_limit(request, 20, 100)
        after = request.query_params.get("after")
        jobs = await self._cloud.jobs.page(
            request.principal.project, kinds=[KIND], after=None if after is None else _job_id(after), limit=limit + 1
        )
        data = [batch_of(job) for job in jobs[:limit]]
        ends = (data[0].id, data[-1].id) if data else (None, None)
        return json_reply(Listing(data, len(jobs) > limit, *ends), headers=plain_headers(request, started))

    async def _get(self, request: Request) -> Response:
        started = time.perf_counter()
        return json_reply(batch_of(await self._find(request)), headers=plain_headers(request, started))

    async def _cancel(self, request: Request) -> Response:
        started = time.perf_counter()
        job = await self._find(request)
        return json_reply(batch_of(await self._cloud.jobs.cancel(job.project, job.id)), headers=plain_headers(request, started))

    async def _find(self, request: Request) -> Job:
        batch_id = request.params["batch_id"]
        job = await self._cloud.jobs.get(request.principal.project, _job_id(batch_id))
        if job.kind != KIND:
            raise _no_batch(batch_id)
        return job


def batch_of(job: Job) -> Batch:
    """The job in this vendor's words."""
    kept: Mapping[str, Any] = {**(job.checkpoint or {}), **(job.result or {})}
    status = _status(job, kept)
    ended = _unix(job.finished_at)
    counts = RequestCounts(kept.get("total", 0), kept.get("completed", 0), kept.get("failed", 0))
    return Batch(
        id=_PREFIX + job.id,
        endpoint=job.input["endpoint"],
        model=kept.get("model"),
        errors=_problems(job, kept),
        input_file_id=job.input["input_file_id"],
        status=status,
        output_file_id=kept.get("output_file_id"),
        error_file_id=kept.get("error_file_id"),
        created_at=_unix(job.created_at) or 0,
        in_progress_at=kept.get("in_progress_at"),
        expires_at=(_unix(job.created_at) or 0) + WINDOW_SECONDS,
        finalizing_at=kept.get("finalizing_at"),
        completed_at=ended if status == "completed" else None,
        failed_at=ended if status == "failed" else None,
        expired_at=ended if status == "expired" else None,
        cancelling_at=ended if status == "cancelled" else None,
        cancelled_at=ended if status == "cancelled" else None,
        request_counts=counts,
        usage=kept.get("usage"),
        metadata=job.input.get("metadata"),
    )


def _status(job: Job, kept: Mapping[str, Any]) -> str:
    if job.state == "succeeded":
        return "expired" if kept.get("is_expired") else "completed"
    if job.has_ended:
        return job.state
    if job.wanted == "cancel":
        return "cancelling"
    if "finalizing_at" in kept:
        return "finalizing"
    return "in_progress" if "in_progress_at" in kept else "validating"


def _problems(job: Job, kept: Mapping[str, Any]) -> Problems | None:
    if kept.get("problems"):
        return Problems(msgspec.convert(kept["problems"], list[Problem]))
    if job.state == "failed" and job.error is not None:
        return Problems([Problem(job.error.message, None, job.error.code, job.error.param)])
    return None


def _unix(moment: datetime | None) -> int | None:
    return None if moment is None else int(moment.timestamp())


def _job_id(batch_id: str) -> str:
    if not batch_id.startswith(_PREFIX):
        raise _no_batch(batch_id)
    return batch_id.removeprefix(_PREFIX)


def _no_batch(batch_id: str) -> NotFound:
    return NotFound(f"There is no batch '{batch_id[:80]}'. GET /v1/batches lists yours.", param="batch_id")
