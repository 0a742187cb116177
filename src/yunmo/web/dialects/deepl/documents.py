"""/v2/document: documents as DeepL's clients send, watch and fetch them; each is a job, known by an id and by a key that only its sender has."""

import hashlib
import hmac
import re
import secrets
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import msgspec
from starlette.datastructures import FormData, UploadFile
from starlette.responses import Response, StreamingResponse

from yunmo.apps.translate.document_reading import DOCUMENT_BYTES
from yunmo.apps.translate.glossaries import Glossaries, Pair
from yunmo.apps.translate.translations import DocumentOrder, DocumentResult, Documents, Sent
from yunmo.cloud.cloud import Cloud
from yunmo.cloud.values import File, Job
from yunmo.core.errors import InvalidRequest, NotFound, Unavailable, Unsupported
from yunmo.web.dialects.deepl.codes import read_code
from yunmo.web.dialects.deepl.waiting import Flights, held
from yunmo.web.dialects.deepl.wire import BODY_LIMIT_BYTES, DocumentBody, DocumentHandle, DocumentKey, DocumentStatus
from yunmo.web.parameters import converted, read_parameters
from yunmo.web.replies import json_reply
from yunmo.web.request import Request
from yunmo.web.routing import Route

KEEP_SECONDS = 24 * 3600
"""How long documents and translations that nobody fetches are kept."""

_FORM_BYTES = DOCUMENT_BYTES + (1 << 20)
_READ_BYTES = 1 << 20
_STYLE = "Style rules are not supported here. Leave 'style_id' out."
_MEMORY = "Translation memories are not supported for documents here. Leave 'translation_memory_id' out."


class DocumentRoutes:
    """Documents of the caller's project."""

    def __init__(self, cloud: Cloud, documents: Documents, glossaries: Glossaries) -> None:
        self._cloud = cloud
        self._documents = documents
        self._glossaries = glossaries
        self._flights = Flights()

    def routes(self) -> list[Route]:
        """Send, watch, fetch."""
        one = "/v2/document/{document_id}"
        return [
            Route("POST", "/v2/document", self._send, "infer", "Translate a document (multipart)", DocumentBody, DocumentHandle),
            Route("POST", one, self._status, "infer", "How far a document is", DocumentKey, DocumentStatus),
            Route("POST", one + "/result", self._result, "infer", "Fetch a translated document, once", DocumentKey),
        ]

    async def _send(self, request: Request) -> Response:
        """Large documents take a while to be read: what does not answer soon is sent white space meanwhile."""
        fields = await request.fields(_FORM_BYTES)
        return await held(self._flights.join(object(), lambda: self._taken(request, fields)))

    async def _taken(self, request: Request, fields: FormData) -> DocumentHandle:
        try:
            sent, body = _file(fields), _body(fields)
            filename = re.split(r"[/\\]", body.filename or sent.filename or "file")[-1]
            _check_output(body, filename)
            order = await self._order(request.principal.project, body)
            key = secrets.token_hex(32).upper()
            document = Sent(filename, _pieces(sent), KEEP_SECONDS)
            try:
                job = await self._documents.submit_sent(request.principal, document, order, {"document_key": _digest(key)})
            except InvalidRequest as error:
                raise _in_their_words(error) from error
        finally:
            await fields.close()
        return DocumentHandle(_document_id(job.id), key)

    async def _order(self, project: str, body: DocumentBody) -> DocumentOrder:
        target = read_code(body.target_lang, "target_lang")
        source = read_code(body.source_lang, "source_lang") if body.source_lang else None
        ids = [body.glossary_id] if body.glossary_id else [each.strip() for each in body.glossary_ids.split(",") if each.strip()]
        if ids and source is None:
            raise InvalidRequest("Use of a glossary requires the source_lang parameter to be specified.", param="source_lang")
        terms: Mapping[str, str] = {}
        if ids and source is not None:
            terms = await self._glossaries.merged_terms(project, ids, Pair(source.base, target.base))
        return DocumentOrder(
            target=target.code,
            source=None if source is None else source.code,
            model=body.model or None,
            formality=body.formality,
            terms=dict(terms),
            keep_seconds=KEEP_SECONDS,
        )

    async def _status(self, request: Request) -> Response:
        job = await self._found(request)
        reply = DocumentStatus(_document_id(job.id), "translating" if job.state == "running" else "queued")
        if job.state == "succeeded":
            reply.status, reply.billed_characters = "done", msgspec.convert(job.result, DocumentResult).characters
        elif job.has_ended:
            reply.status = "error"
            reply.message = reply.error_message = "The translation was cancelled." if job.error is None else job.error.message
        elif job.progress is not None and job.progress.eta is not None:
            reply.seconds_remaining = max(1, round((job.progress.eta - datetime.now(UTC)).total_seconds()))
        return json_reply(reply)

    async def _result(self, request: Request) -> Response:
        job = await self._found(request)
        if not job.has_ended:
            raise Unavailable("The document is not translated yet. Ask for its status until it is done.")
        if job.state != "succeeded":
            why = "it was cancelled." if job.error is None else job.error.message
            raise InvalidRequest(f"The document is not translated: {why}")
        file, result = await self._documents.result(request.principal, job.id)
        headers = {
            "content-length": str(file.size),
            "content-disposition": f"attachment; filename*=UTF-8''{quote(file.filename, safe='')}",
            "x-content-type-options": "nosniff",
        }
        return StreamingResponse(self._given_out(job, file, result), headers=headers, media_type=result.media_type)

    async def _given_out(self, job: Job, file: File, result: DocumentResult) -> AsyncIterator[bytes]:
        """The translation; once it is out, nothing of the document stays."""
        async for piece in self._cloud.files.stream(file):
            yield piece
        for file_id in (result.segments_file, job.input["file"], file.id):
            try:
                await self._cloud.files.delete(job.project, file_id)
            except NotFound:
                continue

    async def _found(self, request: Request) -> Job:
        """The job, for whoever has its key."""
        parameters = await read_parameters(request, BODY_LIMIT_BYTES)
        key = converted(parameters, DocumentKey).document_key
        document_id = request.params["document_id"]
        job_id = document_id[:-_CHECK_CHARACTERS].lower()
        if document_id.upper() != _document_id(job_id):
            raise _no_document()
        job = await self._documents.get(request.principal, job_id)
        if not hmac.compare_digest(str(job.input.get("document_key", "")), _digest(key)):
            raise _no_document()
        return job


_CHECK_CHARACTERS = 8


def _document_id(job_id: str) -> str:
    """32 capital hexadecimal digits, as their clients expect: the job's id and a check of it."""
    return (job_id + hashlib.sha256(job_id.encode()).hexdigest()[:_CHECK_CHARACTERS]).upper()


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def _no_document() -> NotFound:
    return NotFound("Document not found: there is none of this id and key, or it has been fetched.")


def _file(fields: FormData) -> UploadFile:
    sent = fields.get("file")
    if not isinstance(sent, UploadFile):
        raise InvalidRequest("Parameter 'file' not specified. Send the document as a file of a multipart form.", param="file")
    return sent


def _body(fields: FormData) -> DocumentBody:
    """The fields beside the file. Raises for what is missing and what would change the translation and is not here."""
    given: dict[str, Any] = {name: value for name, value in fields.items() if isinstance(value, str) and value}
    if "target_lang" not in given:
        raise InvalidRequest("Parameter 'target_lang' not specified.", param="target_lang")
    try:
        body = converted(given, DocumentBody)
    except InvalidRequest as error:
        raise InvalidRequest(f"Value for '{error.param}' not supported. {error.message}", param=error.param) from error
    if body.glossary_id and body.glossary_ids:
        raise InvalidRequest("Give 'glossary_id' or 'glossary_ids', not both.", param="glossary_ids")
    if body.style_id:
        raise Unsupported(_STYLE, param="style_id")
    if body.translation_memory_id:
        raise Unsupported(_MEMORY, param="translation_memory_id")
    return body


def _check_output(body: DocumentBody, filename: str) -> None:
    own = filename.rpartition(".")[2].lower()
    if body.output_format and body.output_format.lower() != own:
        raise Unsupported(
            f"Value for 'output_format' not supported: a document comes back in its own format ({own[:20]}).", param="output_format"
        )


def _in_their_words(error: InvalidRequest) -> InvalidRequest:
    if error.param in {"source", "target"}:
        return InvalidRequest(f"Value for '{error.param}_lang' not supported. {error.message}", param=f"{error.param}_lang")
    if error.param in {None, "file"} and not error.message.startswith("Invalid file"):
        return InvalidRequest(f"Invalid file: {error.message}", param="file")
    return error


async def _pieces(sent: UploadFile) -> AsyncIterator[bytes]:
    while piece := await sent.read(_READ_BYTES):
        yield piece
