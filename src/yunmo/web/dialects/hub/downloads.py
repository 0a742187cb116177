"""Files' bytes: resolve and raw (specification: Hub §2.4)."""

import re
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from typing import Any
from urllib.parse import quote

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from yunmo.cloud.cloud import Cloud
from yunmo.cloud.repositories import OpenFile, RepositoryType, Where, pointer_text
from yunmo.web.dialects.hub.addresses import api_url, file_routes, repository_name
from yunmo.web.request import Request
from yunmo.web.routing import Route

_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


class DownloadRoutes:
    """Routes that give files. Nothing is ever compressed: that would break lengths and ranges."""

    def __init__(self, cloud: Cloud) -> None:
        self._hub = cloud.hub

    def routes(self) -> Iterator[Route]:
        """The routes of this group."""
        for method in ("GET", "HEAD"):
            yield from file_routes(method, "/resolve/{revision}/{path*}", self.resolve, "Download a file")
            yield from file_routes(method, "/raw/{revision}/{path*}", self.raw, "Download a file as git has it: pointers for large ones")

    async def resolve(self, type_: RepositoryType, request: Request) -> Response:
        """The file, or one range of it."""
        file = await self._open(type_, request)
        headers = _headers(file, file.etag)
        if file.large is not None:
            headers |= {"X-Linked-ETag": f'"{file.etag}"', "X-Linked-Size": str(file.size)}
            headers |= _xet_headers(request, type_, file)
        if _is_known(request, file.etag):
            return Response(status_code=304, headers=headers)
        span = _span(request, file.size, file.etag) if request.method == "GET" else None
        if span == (0, 0):
            return Response(status_code=416, headers=headers | {"Content-Range": f"bytes */{file.size}"})
        start, end = span or (0, file.size)
        headers["Content-Length"] = str(end - start)
        if request.method == "HEAD":
            return Response(status_code=200, headers=headers)
        if span is not None:
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{file.size}"
        if request.headers.get("x-hf-download-counter"):
            await self._hub.downloads.count(file.repository)
        return _Pieces(self._hub.files.stream(file.entry, file.large, start, end), 200 if span is None else 206, headers)

    async def raw(self, type_: RepositoryType, request: Request) -> Response:
        """The file as git has it."""
        file = await self._open(type_, request)
        headers = _headers(file, file.entry.oid) | {"Content-Type": "text/plain; charset=utf-8"}
        if file.large is not None:
            text = pointer_text(file.large.sha256, file.size)
            return Response(text, headers=headers | {"Content-Length": str(len(text))})
        headers["Content-Length"] = str(file.size)
        if request.method == "HEAD":
            return Response(status_code=200, headers=headers)
        return _Pieces(self._hub.files.stream(file.entry, None), 200, headers)

    async def _open(self, type_: RepositoryType, request: Request) -> OpenFile:
        where = Where(type_, repository_name(request), request.params["revision"])
        return await self._hub.files.open(request.principal, where, request.params["path"])


class _Pieces(Response):
    """Streams a file and closes its source, however the reply ends."""

    def __init__(self, pieces: AsyncIterator[bytes], status: int, headers: dict[str, str]) -> None:
        super().__init__(status_code=status, headers=headers)
        self._pieces: Any = pieces

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        async with aclosing(self._pieces):
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            async for piece in self._pieces:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})


def _headers(file: OpenFile, etag: str) -> dict[str, str]:
    """Repositories hold strangers' HTML and SVG: browsers must never run it on our origin."""
    name = file.path.rsplit("/", 1)[-1]
    return {
        "X-Repo-Commit": file.commit.oid,
        "ETag": f'"{etag}"',
        "Accept-Ranges": "bytes",
        "Content-Type": "application/octet-stream",
        "Content-Disposition": f"attachment; filename*=UTF-8''{quote(name, safe='')}",
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "sandbox; default-src 'none'",
        "Cache-Control": "private, no-cache" if file.repository.is_private or file.repository.gated else "no-cache",
        "Access-Control-Expose-Headers": "X-Repo-Commit, ETag, X-Linked-ETag, X-Linked-Size, X-Error-Code, X-Error-Message, X-Xet-Hash",
    }


def _xet_headers(request: Request, type_: RepositoryType, file: OpenFile) -> dict[str, str]:
    if file.large is None or file.large.xet_hash is None:
        return {}
    # by commit: clients keep one token for each repository and revision
    route = api_url(request, type_, file.repository.full_name, f"/xet-read-token/{file.commit.oid}")
    return {"X-Xet-Hash": file.large.xet_hash, "X-Xet-Refresh-Route": route, "Link": f'<{route}>; rel="xet-auth"'}


def _is_known(request: Request, etag: str) -> bool:
    known = request.headers.get("if-none-match")
    return known is not None and any(each.strip().removeprefix("W/").strip('"') in {etag, "*"} for each in known.split(","))


def _span(request: Request, size: int, etag: str) -> tuple[int, int] | None:
    """The range asked for as (start, end); None for the whole file, (0, 0) for a range outside it."""
    wanted = _RANGE.fullmatch(request.headers.get("range", "").strip())
    condition = request.headers.get("if-range")
    if wanted is None or wanted.groups() == ("", "") or (condition is not None and condition.strip().strip('"') != etag):
        return None
    first, last = wanted.groups()
    if not first:
        start, end = max(size - int(last), 0), size
    else:
        start, end = int(first), min(int(last) + 1, size) if last else size
        if last and int(last) < start:
            return None
    return (start, end) if start < end else (0, 0)
