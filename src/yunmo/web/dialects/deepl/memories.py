"""/v3/translation_memories: memories, their segments, and TMX that comes and goes by signed addresses without a key."""

import tempfile
from collections.abc import AsyncIterator, Iterator
from typing import Annotated, BinaryIO, cast

import msgspec
from msgspec import UNSET, Meta, UnsetType
from starlette.responses import Response, StreamingResponse

from yunmo.apps.translate.memories import Memories, MemoryInfo, MemoryJob, MemoryUnit
from yunmo.core.errors import InvalidRequest, TooLarge
from yunmo.web.base_url import base_url
from yunmo.web.dialects.deepl.glossaries import written_time
from yunmo.web.parameters import T, converted, read_parameters
from yunmo.web.replies import json_reply
from yunmo.web.request import Request
from yunmo.web.routing import Route

_PATH = "/v3/translation_memories"
_FILES = "/v3/translation_memory_files"
_BODY_LIMIT_BYTES = 64 * 1024
_PAGE_LIMIT = 25
_SEGMENTS = 50
_SEGMENTS_LIMIT = 500
_SPOOLED_BYTES = 1024 * 1024
_PIECE_BYTES = 256 * 1024
_TMX = "application/x-tmx+xml"


class MemoryReply(msgspec.Struct):
    """A memory."""

    translation_memory_id: str
    name: str
    source_language: str
    target_languages: list[str]
    segment_count: int
    creation_time: str
    updated_time: str


class MemoryList(msgspec.Struct):
    """A page of the project's memories."""

    translation_memories: list[MemoryReply]


class TargetReply(msgspec.Struct):
    """A translation of a segment."""

    target_segment_id: str
    target_language: str
    target_text: str


class SegmentReply(msgspec.Struct):
    """A segment with its translations."""

    source_segment_id: str
    source_text: str
    targets: list[TargetReply]


class SegmentList(msgspec.Struct):
    """A page of a memory's segments; without a cursor it is the last one."""

    segments: list[SegmentReply]
    segment_count: int
    next_page_cursor: str | UnsetType = UNSET


class SourceFile(msgspec.Struct, omit_defaults=True):
    """A file that is to be sent."""

    file_name: Annotated[str, Meta(min_length=1)]
    content_length: int
    content_type: str | None = None


class ImportName(msgspec.Struct):
    """What an import's memory is to be called."""

    display_name: str | None = None


class ImportBody(msgspec.Struct):
    """The body of POST /v3/translation_memories/import."""

    source_file: SourceFile
    parameters: ImportName | None = None


class ImportReply(msgspec.Struct):
    """Where an import's file is to be sent."""

    job_id: str
    upload_url: str
    expires_at: str


class JobParameters(msgspec.Struct, omit_defaults=True):
    """What a job is about."""

    translation_memory_id: str | None = None
    display_name: str | None = None


class ExportReply(msgspec.Struct):
    """An export."""

    job_id: str
    parameters: JobParameters


class JobError(msgspec.Struct):
    """Why a job failed."""

    message: str


class RequiredAction(msgspec.Struct):
    """What a job waits for."""

    required_action: str


class JobResult(msgspec.Struct, omit_defaults=True):
    """How a job stands."""

    status: str
    download_url: str | None = None
    expires_at: str | None = None
    translation_memory_id: str | None = None
    skipped_segment_count: int | None = None
    error: JobError | None = None
    status_metadata: RequiredAction | None = None


class JobReply(msgspec.Struct):
    """An import or export."""

    job_id: str
    operation: str
    product: str
    parameters: JobParameters
    results: list[JobResult]
    creation_time: str
    updated_time: str


class _Page(msgspec.Struct):
    page: Annotated[int, Meta(ge=0, le=1_000_000)] = 0
    page_size: Annotated[int, Meta(ge=1, le=_PAGE_LIMIT)] = _PAGE_LIMIT


class _SegmentPage(msgspec.Struct):
    page_size: Annotated[int, Meta(ge=1, le=_SEGMENTS_LIMIT)] = _SEGMENTS
    page_cursor: Annotated[int, Meta(ge=0, le=2**31 - 1)] = 0
    filter_text: Annotated[str, Meta(min_length=2, max_length=1000)] | None = None
    filter_case_sensitive: bool = False


class MemoryRoutes:
    """The translation memories of the caller's project."""

    def __init__(self, memories: Memories) -> None:
        self._memories = memories

    def routes(self) -> Iterator[Route]:
        """Memories and jobs, which need a key; the signed addresses are `file_routes`."""
        one = f"{_PATH}/{{memory_id}}"
        yield Route("GET", _PATH, self._list, "infer", "List translation memories (query: page, page_size)", None, MemoryList)
        yield Route("GET", one, self._get, "infer", "Look at a translation memory", None, MemoryReply)
        yield Route("DELETE", one, self._delete, "infer", "Delete a translation memory")
        yield Route(
            "GET", f"{one}/segments", self._segments, "infer", "A memory's segments (query: page_size, filter_text …)", None, SegmentList
        )
        yield Route("POST", f"{_PATH}/import", self._begin_import, "infer", "Say that a TMX file will come", ImportBody, ImportReply)
        yield Route("POST", f"{one}/export", self._begin_export, "infer", "Have a memory as TMX", None, ExportReply)
        yield Route("GET", f"{_PATH}/jobs/{{job_id}}", self._job, "infer", "How an import or export stands", None, JobReply)

    def file_routes(self) -> Iterator[Route]:
        """Addresses that are keys themselves: clients send no other there."""
        address = f"{_FILES}/{{ticket}}"
        yield Route("PUT", address, self._put, summary="Send an import's TMX, by a signed URL", is_documented=False, checks_key=False)
        yield Route("GET", address, self._fetch, summary="Fetch an export's TMX, by a signed URL", is_documented=False, checks_key=False)

    async def _list(self, request: Request) -> Response:
        asked = converted(dict(request.query_params), _Page)
        found = await self._memories.page(request.principal.project, asked.page * asked.page_size, asked.page_size)
        return json_reply(MemoryList([_memory(each) for each in found]))

    async def _get(self, request: Request) -> Response:
        return json_reply(_memory(await self._found(request)))

    async def _delete(self, request: Request) -> Response:
        await self._memories.delete(request.principal.project, request.params["memory_id"])
        return Response(status_code=204)

    async def _segments(self, request: Request) -> Response:
        memory = await self._found(request)
        asked = converted(dict(request.query_params), _SegmentPage)
        units = await self._memories.units(
            memory, asked.page_cursor, asked.page_size + 1, asked.filter_text or "", is_exact=asked.filter_case_sensitive
        )
        shown = units[: asked.page_size]
        reply = SegmentList([_segment(memory, each) for each in shown], memory.unit_count)
        if len(units) > len(shown):
            reply.next_page_cursor = str(shown[-1].number)
        return json_reply(reply)

    async def _begin_import(self, request: Request) -> Response:
        body = await _read(request, ImportBody)
        name = (body.parameters.display_name if body.parameters else None) or body.source_file.file_name
        job = await self._memories.begin_import(request.principal.project, name, body.source_file.content_length)
        return json_reply(ImportReply(job.id, self._address(request, job), written_time(job.expires_at)))

    async def _begin_export(self, request: Request) -> Response:
        job, was_there = await self._memories.begin_export(request.principal.project, request.params["memory_id"])
        return json_reply(ExportReply(job.id, JobParameters(translation_memory_id=job.memory_id)), 200 if was_there else 202)

    async def _job(self, request: Request) -> Response:
        job = await self._memories.job(request.principal.project, request.params["job_id"])
        is_import = job.operation == "import"
        result = JobResult(job.status, error=None if job.error is None else JobError(job.error))
        if job.status == "awaiting_input":
            result.status_metadata = RequiredAction("Send the TMX file to the upload URL with PUT.")
        elif job.status == "completed" and is_import:
            result.translation_memory_id, result.skipped_segment_count = job.memory_id, job.skipped
        elif job.status == "completed":
            result.download_url, result.expires_at = self._address(request, job), written_time(job.expires_at)
        about = JobParameters(display_name=job.name) if is_import else JobParameters(translation_memory_id=job.memory_id)
        times = written_time(job.created_at), written_time(job.updated_at)
        return json_reply(JobReply(job.id, job.operation, "translation_memory", about, [result], *times))

    async def _put(self, request: Request) -> Response:
        """The whole file is read and checked before the reply: a job whose file has come has ended."""
        job = await self._memories.opened(request.params["ticket"], "import")
        with tempfile.SpooledTemporaryFile(_SPOOLED_BYTES) as file:
            size = 0
            async for piece in request.pieces():
                size += len(piece)
                if size > job.content_length:
                    raise TooLarge(f"The file is longer than the {job.content_length} bytes that its import was begun with.")
                file.write(piece)
            if size < job.content_length:
                raise InvalidRequest(f"{size} bytes have come of the {job.content_length} that the import was begun with. Send it whole.")
            file.seek(0)
            await self._memories.bring_in(job, cast(BinaryIO, file))
        return Response(status_code=200)

    async def _fetch(self, request: Request) -> Response:
        job = await self._memories.opened(request.params["ticket"], "export")
        file = cast(BinaryIO, tempfile.SpooledTemporaryFile(_SPOOLED_BYTES))  # noqa: SIM115 (the reply closes it)
        try:
            await self._memories.write_out(job, file)
        except BaseException:
            file.close()
            raise
        headers = {
            "content-length": str(file.tell()),
            "content-disposition": 'attachment; filename="memory.tmx"',
            "x-content-type-options": "nosniff",
        }
        file.seek(0)
        return StreamingResponse(_pieces(file), 200, headers, _TMX)

    async def _found(self, request: Request) -> MemoryInfo:
        return await self._memories.get(request.principal.project, request.params["memory_id"])

    def _address(self, request: Request, job: MemoryJob) -> str:
        return f"{base_url(request)}{_FILES}/{self._memories.ticket(job)}"


async def _read(request: Request, kind: type[T]) -> T:
    return converted(await read_parameters(request, _BODY_LIMIT_BYTES), kind)


async def _pieces(file: BinaryIO) -> AsyncIterator[bytes]:
    with file:
        while piece := file.read(_PIECE_BYTES):
            yield piece


def _memory(memory: MemoryInfo) -> MemoryReply:
    moment = written_time(memory.created_at)
    return MemoryReply(memory.id, memory.name, memory.source, list(memory.targets), memory.unit_count, moment, moment)


def _segment(memory: MemoryInfo, unit: MemoryUnit) -> SegmentReply:
    name = f"{memory.id}-{unit.number}"
    targets = [TargetReply(f"{name}-{code}", code, each.source) for code, each in unit.variants.items() if code != memory.source]
    return SegmentReply(name, unit.variants[memory.source].source, targets)
