"""/v1/files and /v1/uploads: what batches and training read, and what they write."""

import re
import time
from collections.abc import AsyncIterator, Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta
from starlette.datastructures import FormData, UploadFile
from starlette.responses import Response, StreamingResponse

from yunmo.cloud.cloud import Cloud
from yunmo.cloud.values import PURPOSES, File, Upload, UploadPart
from yunmo.core.errors import InvalidRequest
from yunmo.web.dialects.openai.fields import read
from yunmo.web.dialects.openai.headers import plain_headers
from yunmo.web.dialects.openai.listing import Listing, check_query, page_limit
from yunmo.web.replies import json_reply
from yunmo.web.request import Request
from yunmo.web.routing import Route

FILE_BYTES_LIMIT = 512 * 1024 * 1024
"""Of a file in one request; larger ones come in parts."""

BATCH_KEEP_SECONDS = 30 * 24 * 3600
PAGE_LIMIT = 10_000
_PART_FORM_BYTES = 65 * 1024 * 1024
_READ_BYTES = 1024 * 1024
_QUERY = frozenset({"purpose", "limit", "after", "order"})
_EXPIRY_FIELD = re.compile(r"expires_after\[(anchor|seconds)\]\Z")

Seconds = Annotated[int, Meta(ge=1, le=2**31 - 1)]


class ExpiresAfter(msgspec.Struct, forbid_unknown_fields=True):
    """How long a file is kept, from when it was made."""

    seconds: Seconds
    anchor: Literal["created_at"] = "created_at"


class FileObject(msgspec.Struct, omit_defaults=False):
    """A file as clients know it."""

    id: str
    bytes: int
    created_at: int
    expires_at: int | None
    filename: str
    purpose: str
    object: str = "file"
    status: str = "processed"
    status_details: str | None = None


class FileDeleted(msgspec.Struct):
    """The reply of DELETE /v1/files/{file_id}."""

    id: str
    object: str = "file"
    deleted: bool = True


class UploadBody(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The body of POST /v1/uploads."""

    filename: str
    purpose: str
    bytes: Annotated[int, Meta(ge=1, le=2**53)]
    mime_type: str
    expires_after: ExpiresAfter | None = None


class CompleteBody(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The body of POST /v1/uploads/{upload_id}/complete."""

    part_ids: list[str]
    md5: str | None = None


class UploadObject(msgspec.Struct):
    """A file on its way, in parts."""

    id: str
    bytes: int
    created_at: int
    expires_at: int
    filename: str
    purpose: str
    status: str
    file: FileObject | None
    object: str = "upload"


class PartObject(msgspec.Struct):
    """One part of an upload."""

    id: str
    created_at: int
    upload_id: str
    object: str = "upload.part"


class FileRoutes:
    """Files and uploads of the caller's project."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    def routes(self) -> Sequence[Route]:
        """The routes of this group."""
        files, uploads = "/v1/files", "/v1/uploads"
        one, upload = files + "/{file_id}", uploads + "/{upload_id}"
        return [
            Route("POST", files, self._create, "infer", "Upload a file (multipart: file, purpose)", None, FileObject),
            Route("GET", files, self._list, "infer", "List files", None, Listing[FileObject]),
            Route("GET", one, self._get, "infer", "Look at a file", None, FileObject),
            Route("DELETE", one, self._delete, "infer", "Delete a file", None, FileDeleted),
            Route("GET", one + "/content", self._content, "infer", "Read a file's content"),
            Route("POST", uploads, self._begin, "infer", "Announce a large file that comes in parts", UploadBody, UploadObject),
            Route("POST", upload + "/parts", self._add_part, "infer", "Send a part (multipart: data)", None, PartObject),
            Route("POST", upload + "/complete", self._complete, "infer", "Make a file of the parts", CompleteBody, UploadObject),
            Route("POST", upload + "/cancel", self._cancel, "infer", "Give an upload up", None, UploadObject),
        ]

    async def _create(self, request: Request) -> Response:
        started = time.perf_counter()
        fields = await request.fields(FILE_BYTES_LIMIT + _READ_BYTES)
        try:
            sent = _sent(fields, "file", {"purpose"})
            purpose = checked_purpose(str(fields.get("purpose") or ""))
            keep = _keep_seconds(fields)
            if keep is None and purpose == "batch":
                keep = BATCH_KEEP_SECONDS
            filename = _base_name(sent.filename or "")
            file = await self._cloud.files.add(request.principal.project, filename, purpose, _pieces(sent), keep)
        finally:
            await fields.close()
        return json_reply(file_object(file), headers=plain_headers(request, started))

    async def _list(self, request: Request) -> Response:
        started = time.perf_counter()
        check_query(request, _QUERY)
        query = request.query_params
        order = query.get("order", "desc")
        if order not in {"asc", "desc"}:
            raise InvalidRequest("'order' must be 'asc' or 'desc'.", param="order")
        limit = page_limit(request, PAGE_LIMIT, PAGE_LIMIT)
        found = await self._cloud.files.page(
            request.principal.project,
            purpose=query.get("purpose"),
            after=query.get("after"),
            limit=limit + 1,
            newest_first=order == "desc",
        )
        data = [file_object(file) for file in found[:limit]]
        ends = (data[0].id, data[-1].id) if data else (None, None)
        return json_reply(Listing(data, len(found) > limit, *ends), headers=plain_headers(request, started))

    async def _get(self, request: Request) -> Response:
        started = time.perf_counter()
        file = await self._cloud.files.get(request.principal.project, request.params["file_id"])
        return json_reply(file_object(file), headers=plain_headers(request, started))

    async def _delete(self, request: Request) -> Response:
        started = time.perf_counter()
        await self._cloud.files.delete(request.principal.project, request.params["file_id"])
        return json_reply(FileDeleted(request.params["file_id"]), headers=plain_headers(request, started))

    async def _content(self, request: Request) -> Response:
        started = time.perf_counter()
        file = await self._cloud.files.get(request.principal.project, request.params["file_id"])
        headers = {
            **plain_headers(request, started),
            "content-length": str(file.size),
            "content-disposition": "attachment",
            "x-content-type-options": "nosniff",
        }
        return StreamingResponse(self._cloud.files.stream(file), headers=headers, media_type="application/octet-stream")

    async def _begin(self, request: Request) -> Response:
        started = time.perf_counter()
        body = await read(request, UploadBody, {})
        keep = None if body.expires_after is None else body.expires_after.seconds
        purpose = checked_purpose(body.purpose)
        upload = await self._cloud.files.begin(request.principal.project, _base_name(body.filename), purpose, body.bytes, keep)
        return json_reply(_upload_object(upload), headers=plain_headers(request, started))

    async def _add_part(self, request: Request) -> Response:
        started = time.perf_counter()
        fields = await request.fields(_PART_FORM_BYTES)
        try:
            sent = _sent(fields, "data", set())
            part = await self._cloud.files.add_part(request.principal.project, request.params["upload_id"], _pieces(sent))
        finally:
            await fields.close()
        return json_reply(_part_object(part), headers=plain_headers(request, started))

    async def _complete(self, request: Request) -> Response:
        started = time.perf_counter()
        body = await read(request, CompleteBody, {})
        upload = await self._cloud.files.complete(request.principal.project, request.params["upload_id"], body.part_ids, body.md5)
        return json_reply(_upload_object(upload), headers=plain_headers(request, started))

    async def _cancel(self, request: Request) -> Response:
        started = time.perf_counter()
        upload = await self._cloud.files.give_up(request.principal.project, request.params["upload_id"])
        return json_reply(_upload_object(upload), headers=plain_headers(request, started))


def file_object(file: File) -> FileObject:
    """The file in this vendor's words."""
    return FileObject(
        file.id,
        file.size,
        int(file.created_at.timestamp()),
        None if file.expires_at is None else int(file.expires_at.timestamp()),
        file.filename,
        file.purpose,
    )


def checked_purpose(text: str) -> str:
    """Raise InvalidRequest unless files are uploaded for this."""
    if text not in PURPOSES:
        raise InvalidRequest(f"'purpose' must be one of {', '.join(PURPOSES)}.", param="purpose")
    return text


def _upload_object(upload: Upload) -> UploadObject:
    return UploadObject(
        upload.id,
        upload.size or 0,
        int(upload.created_at.timestamp()),
        int(upload.expires_at.timestamp()),
        upload.filename,
        upload.purpose,
        upload.status,
        None if upload.file is None else file_object(upload.file),
    )


def _part_object(part: UploadPart) -> PartObject:
    return PartObject(part.id, int(part.created_at.timestamp()), part.upload_id)


def _sent(fields: FormData, name: str, texts: set[str]) -> UploadFile:
    """The form's file. Raises InvalidRequest when it is missing, or when there are fields that nobody reads."""
    for key, value in fields.multi_items():
        if key == name or _EXPIRY_FIELD.match(key) or key in texts:
            if key == name and not isinstance(value, UploadFile):
                raise InvalidRequest(f"'{name}' must be sent as a file, with a file name.", param=name)
            continue
        raise InvalidRequest(f"Unknown argument '{key[:80]}'. Remove it, or check its spelling.", param=key[:80])
    sent = fields.get(name)
    if not isinstance(sent, UploadFile):
        raise InvalidRequest(f"'{name}' is missing. Send it as a multipart file.", param=name)
    return sent


def _keep_seconds(fields: FormData) -> int | None:
    given: dict[str, Any] = {found[1]: fields[key] for key in fields if (found := _EXPIRY_FIELD.match(key))}
    if not given:
        return None
    try:
        return msgspec.convert(given, ExpiresAfter, strict=False).seconds
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"'expires_after' cannot be read: {error}.", param="expires_after") from error


def _base_name(filename: str) -> str:
    """The last part of a path that a client may have sent."""
    return re.split(r"[/\\]", filename)[-1]


async def _pieces(sent: UploadFile) -> AsyncIterator[bytes]:
    while piece := await sent.read(_READ_BYTES):
        yield piece
