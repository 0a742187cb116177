"""Translation of documents over our own HTTP: ordered here, looked at as the jobs that they are, and fetched here."""

from urllib.parse import quote

from starlette.responses import Response, StreamingResponse

from yunmo.apps.translate.translations import DocumentOrder, Documents
from yunmo.cloud.cloud import Cloud
from yunmo.web.dialects.admin.jobs import JobView, job_view
from yunmo.web.replies import json_reply
from yunmo.web.request import Request
from yunmo.web.routing import Route


class TranslateDocument(DocumentOrder, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The order with its document: a file of the project (POST /v1/files, or in parts POST /v1/uploads)."""

    file: str


class DocumentRoutes:
    """Order translations of documents, and fetch them."""

    def __init__(self, documents: Documents, cloud: Cloud) -> None:
        self._documents = documents
        self._cloud = cloud

    def routes(self) -> list[Route]:
        """The routes of this group."""
        every = "/admin/translation/documents"
        return [
            Route("POST", every, self._submit, "infer", "Translate a document", TranslateDocument, JobView),
            Route("GET", every + "/{id}", self._get, "infer", "Look at the translation of a document", None, JobView),
            Route("GET", every + "/{id}/result", self._result, "infer", "The translated document"),
        ]

    async def _submit(self, request: Request) -> Response:
        wanted = await request.struct(TranslateDocument)
        order = DocumentOrder(**{name: getattr(wanted, name) for name in DocumentOrder.__struct_fields__})
        key = request.headers.get("idempotency-key")
        return json_reply(job_view(await self._documents.submit(request.principal, wanted.file, order, idempotency_key=key)), 201)

    async def _get(self, request: Request) -> Response:
        return json_reply(job_view(await self._documents.get(request.principal, request.params["id"])))

    async def _result(self, request: Request) -> Response:
        file, result = await self._documents.result(request.principal, request.params["id"])
        headers = {
            "content-length": str(file.size),
            "content-disposition": f"attachment; filename*=UTF-8''{quote(file.filename, safe='')}",
            "x-content-type-options": "nosniff",
        }
        return StreamingResponse(self._cloud.files.stream(file), headers=headers, media_type=result.media_type)
