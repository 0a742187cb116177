"""Jobs over HTTP: those of the caller's project, to the admin everybody's."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

import msgspec
from starlette.responses import Response

from yunmo.cloud.cloud import Cloud
from yunmo.cloud.values import STATES, Failure, Job, JobEvent, Progress
from yunmo.core.errors import InvalidRequest, YunmoError
from yunmo.web.replies import event_reply, json_reply
from yunmo.web.request import Request
from yunmo.web.routing import Route

_PAGE_LIMIT = 1000
_QUIET_SECONDS = 10.0
_EVENTS_LIMIT = 1000


class JobView(msgspec.Struct):
    """A job as people see it. `status` is its state, or `paused` or `cancelling` where its owner wants that."""

    id: str
    project: str
    kind: str
    status: str
    priority: int
    attempt: int
    input: Mapping[str, Any]
    progress: Progress | None
    result: Mapping[str, Any] | None
    error: Failure | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


class JobList(msgspec.Struct):
    """One page of jobs, the newest first."""

    data: list[JobView]
    has_more: bool


class JobEventList(msgspec.Struct):
    """What happened to a job, oldest first; the last id is the next page's `after`."""

    data: list[JobEvent]


class JobRoutes:
    """Look at jobs, and say what is wanted of them."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    def routes(self) -> list[Route]:
        """The routes of this group."""
        one = "/admin/jobs/{id}"
        return [
            Route("GET", "/admin/jobs", self._list, "infer", "List jobs (query: kind, state, after, limit)", None, JobList),
            Route("GET", one, self._get, "infer", "Look at a job", None, JobView),
            Route("POST", one + "/cancel", self._cancel, "infer", "Cancel a job", None, JobView),
            Route("POST", one + "/pause", self._pause, "infer", "Have a job wait at its next checkpoint", None, JobView),
            Route("POST", one + "/resume", self._resume, "infer", "Have a job that waits go on", None, JobView),
            Route("GET", one + "/events", self._events, "infer", "What happened to a job (query: after, limit)", None, JobEventList),
            Route("GET", one + "/stream", self._stream, "infer", "The job and its events as they come, as server-sent events"),
        ]

    async def _list(self, request: Request) -> Response:
        query = request.query_params
        limit = _number(query.get("limit", "50"), "limit", _PAGE_LIMIT)
        state = query.get("state")
        if state is not None and state not in STATES:
            raise InvalidRequest(f"'state' must be one of {', '.join(STATES)}.", param="state")
        kind = query.get("kind")
        found = await self._cloud.jobs.page(
            _whose(request),
            kinds=None if kind is None else [kind],
            states=None if state is None else [state],
            after=query.get("after"),
            limit=min(limit + 1, _PAGE_LIMIT),
        )
        return json_reply(JobList([job_view(job) for job in found[:limit]], len(found) > limit))

    async def _get(self, request: Request) -> Response:
        return json_reply(job_view(await self._cloud.jobs.get(_whose(request), request.params["id"])))

    async def _cancel(self, request: Request) -> Response:
        return json_reply(job_view(await self._cloud.jobs.cancel(_whose(request), request.params["id"])))

    async def _pause(self, request: Request) -> Response:
        return json_reply(job_view(await self._cloud.jobs.pause(_whose(request), request.params["id"])))

    async def _resume(self, request: Request) -> Response:
        return json_reply(job_view(await self._cloud.jobs.resume(_whose(request), request.params["id"])))

    async def _events(self, request: Request) -> Response:
        query = request.query_params
        after = _number(query.get("after", "0"), "after", 2**62, lowest=0)
        limit = _number(query.get("limit", "100"), "limit", _EVENTS_LIMIT)
        return json_reply(JobEventList(await self._cloud.jobs.events(_whose(request), request.params["id"], after, limit)))

    async def _stream(self, request: Request) -> Response:
        """Clients that lost the connection send `Last-Event-ID` and miss nothing."""
        after = _number(request.headers.get("last-event-id") or "0", "Last-Event-ID", 2**62, lowest=0)
        job = await self._cloud.jobs.get(_whose(request), request.params["id"])
        return event_reply(self._news(job, after))

    async def _news(self, job: Job, after: int) -> AsyncIterator[bytes]:
        following = self._cloud.jobs.follow(job.project, job.id, after)
        coming: asyncio.Task[Job | JobEvent] | None = None
        try:
            while True:
                coming = coming or asyncio.ensure_future(anext(following))
                done, _ = await asyncio.wait([coming], timeout=_QUIET_SECONDS)
                if not done:
                    yield b": still there\n\n"
                    continue
                news, coming = coming.result(), None
                yield _told(news)
        except StopAsyncIteration:
            return
        except YunmoError as error:
            yield _sse("error", {"code": error.code, "message": error.message})
        finally:
            if coming is not None:
                coming.cancel()
                await asyncio.wait([coming])
            await following.aclose()


def job_view(job: Job) -> JobView:
    """The job for people."""
    status: str = job.state
    if job.is_paused:
        status = "paused"
    elif job.wanted == "cancel" and not job.has_ended:
        status = "cancelling"
    return JobView(status=status, **{name: getattr(job, name) for name in JobView.__struct_fields__ if name != "status"})


def _whose(request: Request) -> str | None:
    return None if request.principal.is_admin else request.principal.project


def _told(news: Job | JobEvent) -> bytes:
    if isinstance(news, Job):
        return _sse("job", job_view(news))
    return f"id: {news.id}\n".encode() + _sse("event", asdict(news))


def _sse(name: str, data: Any) -> bytes:
    return f"event: {name}\n".encode() + b"data: " + msgspec.json.encode(data) + b"\n\n"


def _number(text: str, name: str, highest: int, lowest: int = 1) -> int:
    if not text.isascii() or not text.isdigit() or not lowest <= int(text[:20]) <= highest:
        raise InvalidRequest(f"'{name}' must be a whole number from {lowest} to {highest}.", param=name)
    return int(text)
