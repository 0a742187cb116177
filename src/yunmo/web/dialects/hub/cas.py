"""The Xet content-addressed store's routes under `/cas/{epoch}` (specification: Hub §3; Xet protocol specification).

They have credentials of their own: a short-lived token from `xet-{read|write}-token`, or a signed URL.
"""

import re
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any

import msgspec
from starlette.responses import Response, StreamingResponse

from yunmo.cloud.cloud import Cloud
from yunmo.core.errors import InternalError, InvalidRequest, NotFound, Unauthenticated, YunmoError
from yunmo.web.base_url import base_url
from yunmo.web.replies import json_reply
from yunmo.web.request import Request
from yunmo.web.routing import Route

_RANGE = re.compile(r"bytes=(\d{1,18})-(\d{0,18})\Z")
_SHARD_LIMIT_BYTES = 80 * 1024 * 1024
_TELEMETRY_LIMIT_BYTES = 1024 * 1024
_LASTING_ERRORS = (InvalidRequest, NotFound, InternalError)


class CasRoutes:
    """Handlers of the content-addressed store."""

    def __init__(self, cloud: Cloud) -> None:
        self._large = cloud.hub.large

    def routes(self) -> list[Route]:
        """All routes; what is not here is 404, by which clients find out what a server can do."""
        table = [
            ("GET", "/v1/chunks/{prefix}/{hash}", self._chunk, "Who has this chunk (a shard)"),
            ("POST", "/v1/xorbs/{prefix}/{hash}", self._add_xorb, "Store a xorb"),
            ("POST", "/v1/shards", self._add_shard, "Register the files of a shard"),
            ("POST", "/v2/shards", self._follow_shard, "Register the files of a shard, with progress"),
            ("GET", "/v1/reconstructions/{hash}", self._reconstruction_v1, "Where a file's chunks are"),
            ("GET", "/v2/reconstructions/{hash}", self._reconstruction_v2, "Where a file's chunks are"),
            ("GET", "/xorbs/{ticket}", self._xorb, "Bytes of a xorb, by a signed URL"),
            ("POST", "/v1/telemetry", self._telemetry, "Ignored"),
        ]
        routes = [
            Route(method, f"/cas/{{epoch}}{path}", handler, summary=summary, checks_key=False) for method, path, handler, summary in table
        ]
        return [*routes, Route("POST", "/v1/telemetry", self._telemetry, is_documented=False, checks_key=False)]

    async def _chunk(self, request: Request) -> Response:
        access = self._access(request)
        answer = await self._large.dedup.answer(request.params["hash"], access)
        if answer is None:
            raise NotFound("No file that you may read has this chunk.")
        return Response(answer, media_type="application/octet-stream")

    async def _add_xorb(self, request: Request) -> Response:
        access = self._access(request, write=True)
        inserted = await self._large.xet.xorb(request.params["hash"], request.pieces(), access.project)
        return json_reply({"was_inserted": inserted})

    async def _add_shard(self, request: Request) -> Response:
        access = self._access(request, write=True)
        body = await request.bytes(_SHARD_LIMIT_BYTES)
        async with aclosing(self._large.xet.shard(access.repository_id, body)) as steps:
            async for _progress in steps:
                pass
        return json_reply({"result": 1})

    async def _follow_shard(self, request: Request) -> Response:
        access = self._access(request, write=True)
        body = await request.bytes(_SHARD_LIMIT_BYTES)
        steps = self._large.xet.shard(access.repository_id, body)
        try:
            first = await anext(steps)
        except BaseException:
            await steps.aclose()
            raise
        return StreamingResponse(_frames(first, steps), media_type="application/x-ndjson")

    async def _reconstruction_v1(self, request: Request) -> Response:
        return await self._reconstruction(request, 1)

    async def _reconstruction_v2(self, request: Request) -> Response:
        return await self._reconstruction(request, 2)

    async def _reconstruction(self, request: Request, version: int) -> Response:
        access = self._access(request)
        base = f"{base_url(request)}/cas/{request.params['epoch']}"
        bounds = _bounds(request) or (0, None)
        answer = await self._large.links.reconstruction(access, request.params["hash"], bounds, base, version)
        if answer is None:
            # the client reads a file piece by piece until it is told this
            return json_reply({"error": "The range starts after the file's end."}, 416)
        return json_reply(answer)

    async def _xorb(self, request: Request) -> Response:
        self._check_epoch(request)
        linked = self._large.links.open(request.params["ticket"], _bounds(request))
        headers = {
            "content-length": str(linked.end - linked.start),
            "content-range": f"bytes {linked.start}-{linked.end - 1}/*",
            "accept-ranges": "bytes",
        }
        return StreamingResponse(linked.pieces, 206, headers, "application/octet-stream")

    async def _telemetry(self, request: Request) -> Response:
        await request.bytes(_TELEMETRY_LIMIT_BYTES)
        return json_reply({})

    def _access(self, request: Request, *, write: bool = False) -> Any:
        self._check_epoch(request)
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        if kind.lower() != "bearer":
            raise Unauthenticated("A Xet token is required. Ask the repository for one.")
        return self._large.access(token.strip(), write=write)

    def _check_epoch(self, request: Request) -> None:
        if request.params["epoch"] != self._large.epoch:
            raise NotFound("This store's address has changed. Ask the repository for a new Xet token.")


async def _frames(first: Any, steps: AsyncGenerator[Any, None]) -> AsyncIterator[bytes]:
    """The progress of a shard as lines of JSON, the last one its result or error."""
    async with aclosing(steps):
        progress = first
        try:
            while True:
                yield _line({"type": "validating", "verified": progress.verified, "total": progress.total})
                progress = await anext(steps)
        except StopAsyncIteration:
            yield _line({"type": "committing", "stage": "syncing"})
            yield _line({"type": "result"})
        except YunmoError as error:
            is_lasting = isinstance(error, _LASTING_ERRORS)
            yield _line({"type": "error", "message": error.message, "retryable": not is_lasting})


def _line(frame: dict[str, Any]) -> bytes:
    return msgspec.json.encode(frame) + b"\n"


def _bounds(request: Request) -> tuple[int, int | None] | None:
    """The one range that is asked for, its end excluded; None without a Range header. Raises InvalidRequest for other forms."""
    text = request.headers.get("range")
    if text is None:
        return None
    match = _RANGE.match(text.strip())
    if match is None:
        raise InvalidRequest("Only a single range of the form 'bytes=first-last' can be read here.")
    first, last = int(match[1]), match[2]
    return first, int(last) + 1 if last else None
