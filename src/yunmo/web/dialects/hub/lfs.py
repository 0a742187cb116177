"""Git LFS: the batch API and the signed addresses that it gives out (specification: Hub §4; git-lfs/docs/api)."""

from collections.abc import Iterator
from typing import Any, Literal

import msgspec
from starlette.responses import Response, StreamingResponse

from yunmo.cloud.cloud import Cloud
from yunmo.cloud.repositories import Repository, RepositoryType
from yunmo.core.errors import InsufficientStorage, InvalidRequest, NotFound, RepositoryNotFound, TooLarge, YunmoError
from yunmo.web.base_url import base_url
from yunmo.web.dialects.hub.addresses import FILE_PREFIXES, file_routes, repository_name
from yunmo.web.replies import json_reply
from yunmo.web.request import Request
from yunmo.web.routing import Route

_MEDIA_TYPE = "application/vnd.git-lfs+json"
_OBJECTS_LIMIT = 1000
_COMPLETION_LIMIT_BYTES = 4 * 1024 * 1024


class Wanted(msgspec.Struct):
    """An object by its sha256."""

    oid: str
    size: int


class Batch(msgspec.Struct):
    """What a client wants to send or fetch."""

    operation: Literal["upload", "download"]
    objects: list[Wanted]
    transfers: list[str] = msgspec.field(default_factory=lambda: ["basic"])
    hash_algo: str = "sha256"


class LfsRoutes:
    """Handlers of Git LFS. Addresses below `/cas/lfs` are signed and take no key."""

    def __init__(self, cloud: Cloud) -> None:
        self._hub = cloud.hub

    def routes(self) -> Iterator[Route]:
        """The routes of this group."""
        yield from file_routes("POST", "/info/lfs/objects/batch", self.batch, "How to send or fetch large files (Git LFS)")
        yield from file_routes("POST", "/info/lfs/verify", self.verify, "Whether a large file has come whole (Git LFS)")
        yield Route("PUT", "/cas/lfs/{ticket}", self.put, summary="Send a large file or a part of one, by a signed URL", checks_key=False)
        yield Route("POST", "/cas/lfs/{ticket}", self.complete, summary="End a large file sent in parts, by a signed URL", checks_key=False)
        yield Route("GET", "/cas/lfs/{ticket}", self.fetch, summary="Fetch a large file, by a signed URL", checks_key=False)

    async def batch(self, type_: RepositoryType, request: Request) -> Response:
        """Signed addresses for each object; none for those that the repository has already."""
        wanted = await request.struct(Batch)
        if wanted.hash_algo != "sha256" or len(wanted.objects) > _OBJECTS_LIMIT:
            raise InvalidRequest(f"A batch names at most {_OBJECTS_LIMIT} objects by their sha256.")
        repository = await self._find(type_, request, is_writing=wanted.operation == "upload")
        in_parts = wanted.operation == "upload" and "multipart" in wanted.transfers
        objects = [await self._object(request, repository, wanted.operation, each, in_parts=in_parts) for each in wanted.objects]
        is_multipart = any("chunk_size" in each.get("actions", {}).get("upload", {}).get("header", {}) for each in objects)
        answer = {"transfer": "multipart" if is_multipart else "basic", "objects": objects, "hash_algo": "sha256"}
        return _reply(answer)

    async def verify(self, type_: RepositoryType, request: Request) -> Response:
        """200 if the object has come and its content was checked."""
        wanted = await request.struct(Wanted)
        repository = await self._find(type_, request, is_writing=True)
        found = await self._hub.large.known(repository.id, wanted.oid)
        if found is None or found.size != wanted.size:
            raise NotFound(f"The object {wanted.oid[:64]} has not come, or not whole. Send it again.")
        return _reply({})

    async def put(self, request: Request) -> Response:
        """Take in a body; its ETag is what the client names it by when it ends an upload of several parts."""
        etag = await self._hub.large.put_lfs(request.params["ticket"], request.pieces())
        return Response(headers={"etag": f'"{etag}"'})

    async def complete(self, request: Request) -> Response:
        """Check and keep an object whose parts have all come."""
        await request.bytes(_COMPLETION_LIMIT_BYTES)  # the parts' ETags: the object's own sha256 says more
        await self._hub.large.complete_lfs(request.params["ticket"])
        return _reply({})

    async def fetch(self, request: Request) -> Response:
        """The object's bytes."""
        file = await self._hub.large.open_lfs(request.params["ticket"])
        headers = {"content-length": str(file.size), "etag": f'"{file.sha256}"'}
        return StreamingResponse(self._hub.large.stream(file), 200, headers, "application/octet-stream")

    async def _find(self, type_: RepositoryType, request: Request, *, is_writing: bool) -> Repository:
        name = repository_name(request)
        if not name.endswith(".git"):
            raise RepositoryNotFound(
                f"There is no {type_} repository at this address. Git LFS addresses look like namespace/name.git/info/lfs."
            )
        # a batch does not say whether its files are for a pull request: the commit that names them does
        find = self._hub.repositories.find_proposable if is_writing else self._hub.repositories.find_readable
        return await find(request.principal, type_, name.removesuffix(".git"))

    async def _object(self, request: Request, repository: Repository, operation: str, wanted: Wanted, *, in_parts: bool) -> dict[str, Any]:
        answer: dict[str, Any] = {"oid": wanted.oid, "size": wanted.size}
        known = await self._hub.large.known(repository.id, wanted.oid)
        if operation == "download":
            if known is None:
                return {**answer, "error": {"code": 404, "message": "The repository holds no such object."}}
            href = _href(request, self._hub.large.link_lfs(repository.id, wanted.oid))
            return {**answer, "authenticated": True, "actions": {"download": {"href": href}}}
        if known is not None:
            return answer
        try:
            upload = await self._hub.large.lfs.begin(repository.id, wanted.oid, wanted.size, request.principal.project, in_parts=in_parts)
        except YunmoError as error:
            code = 413 if isinstance(error, InsufficientStorage | TooLarge) else 422
            return {**answer, "error": {"code": code, "message": error.message}}
        verify = f"{base_url(request)}{FILE_PREFIXES[repository.type]}/{repository.full_name}.git/info/lfs/verify"
        actions = {"upload": _upload_action(request, upload), "verify": {"href": verify}}
        return {**answer, "authenticated": True, "actions": actions}


def _upload_action(request: Request, upload: Any) -> dict[str, Any]:
    if upload.whole is not None:
        return {"href": _href(request, upload.whole)}
    parts = {f"{number:05}": _href(request, ticket) for number, ticket in enumerate(upload.parts, 1)}
    return {"href": _href(request, upload.completion), "header": {"chunk_size": str(upload.part_bytes), **parts}}


def _href(request: Request, ticket: str) -> str:
    return f"{base_url(request)}/cas/lfs/{ticket}"


def _reply(content: Any) -> Response:
    return json_reply(content, headers={"content-type": _MEDIA_TYPE})
