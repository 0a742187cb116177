"""Documents: files of a project, translated as jobs that outlive who asked for them and the server that works on them."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Annotated, Any

import msgspec

from yunmo.apps.translate.document_reading import DocumentReader
from yunmo.apps.translate.documents.format import FormatOptions
from yunmo.apps.translate.languages import covers, parse
from yunmo.apps.translate.orders import Formality, IssueKind, Options, SentenceSplitting
from yunmo.apps.translate.translator import Translator
from yunmo.cloud.cloud import Cloud
from yunmo.cloud.values import Connection, File, Job
from yunmo.core.errors import Conflict, InvalidRequest, NotFound
from yunmo.core.identity import Principal

KIND = "translate"
KEEP_SECONDS = 30 * 24 * 3600
"""How long a translation is kept unless its order says otherwise."""

_LEAST_KEEP_SECONDS = 3600
SOURCE_PURPOSE, RESULT_PURPOSE = "user_data", "translation"
_TERMS_LIMIT = 10_000
_RULES_LIMIT = 1000
_NAME_CHARACTERS = 200

Terms = Annotated[dict[str, str], msgspec.Meta(max_length=_TERMS_LIMIT)]
Rules = Annotated[tuple[str, ...], msgspec.Meta(max_length=_RULES_LIMIT)]


class DocumentOrder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A document to translate into `target`, from `source` or from what most of it is found to be written in.

    `fields` of a JSON file or `columns` of a table are translated alone. `previous` is an earlier job of the same languages and options: what its
    document said as well is taken from there. The translation is kept for `keep_seconds`; None is for good.
    """

    target: str
    source: str | None = None
    model: str | None = None
    formality: Formality = "default"
    context: str = ""
    instructions: tuple[str, ...] = ()
    terms: Terms = {}
    kept: tuple[str, ...] = ()
    splitting: SentenceSplitting = "all"
    fields: Rules | None = None
    columns: Rules | None = None
    previous: str | None = None
    keep_seconds: int | None = KEEP_SECONDS
    metadata: dict[str, str] = {}

    @property
    def options(self) -> Options:
        """How its segments are translated."""
        return Options(self.formality, self.context, self.terms, self.kept, self.instructions, self.splitting, self.model)

    @property
    def format_options(self) -> FormatOptions:
        """What of the file is translated."""
        return FormatOptions(self.fields, self.columns)


class UnitIssue(msgspec.Struct, frozen=True):
    """What did not come through in a unit; `note` tells people where that is."""

    unit: str
    note: str
    kind: IssueKind
    what: str


class DocumentResult(msgspec.Struct, kw_only=True):
    """What became of a document: files of the translation and of its segments, and a report.

    `source` is the language it was in. `characters` are those that were translated for this job: each segment once, without the `reused` ones.
    `issues` are the first ones of `issue_count`. `models` have the revision of each.
    """

    file: str
    filename: str
    media_type: str
    segments_file: str
    source: str
    target: str
    units: int
    segments: int
    reused: int
    characters: int
    models: dict[str, str]
    issue_count: int
    issues: list[UnitIssue]


@dataclass(frozen=True, slots=True)
class Sent:
    """A document as it arrives with the request that orders its translation; it is kept for `keep_seconds`."""

    filename: str
    pieces: AsyncIterator[bytes]
    keep_seconds: int | None = KEEP_SECONDS


class Documents:
    """Takes orders, and gives translations out; all else that can be done to a job is the queue's."""

    def __init__(self, cloud: Cloud, translator: Translator, reader: DocumentReader) -> None:
        self._cloud = cloud
        self._translator = translator
        self._reader = reader

    async def submit(self, principal: Principal, file_id: str, order: DocumentOrder, *, idempotency_key: str | None = None) -> Job:
        """Queue the translation of a file of the project.

        Raises NotFound, InvalidRequest for a document that cannot be read and for languages that nothing here translates, and what `Jobs.submit` raises.
        """
        principal.require("infer")
        file = await self._cloud.files.get(principal.project, file_id)
        given = await self._checked(principal, file, order)
        return await self._cloud.jobs.submit(principal, KIND, given, idempotency_key=idempotency_key)

    async def submit_sent(self, principal: Principal, sent: Sent, order: DocumentOrder, more: Mapping[str, Any] | None = None) -> Job:
        """Keep a document and queue its translation, both or nothing; `more` is kept in the job's input."""
        principal.require("infer")
        files = self._cloud.files
        file = await files.prepare(principal.project, sent.filename, SOURCE_PURPOSE, sent.pieces, sent.keep_seconds)
        given = await self._checked(principal, file, order)

        def keep(connection: Connection, job: Job) -> None:
            del job
            files.insert(connection, file)

        return await self._cloud.jobs.submit(principal, KIND, {**given, **(more or {})}, effect=keep)

    async def get(self, principal: Principal, job_id: str) -> Job:
        """The project's translation of a document (to the admin anybody's). Raises NotFound."""
        job = await self._cloud.jobs.get(None if principal.is_admin else principal.project, job_id)
        if job.kind != KIND:
            raise NotFound(f"There is no translation of a document '{job_id[:80]}'.", param="id")
        return job

    async def result(self, principal: Principal, job_id: str) -> tuple[File, DocumentResult]:
        """The translated file. Raises NotFound when it has expired, Conflict while the job has not succeeded."""
        job = await self.get(principal, job_id)
        if job.state != "succeeded" or job.result is None:
            why = f": {job.error.message}" if job.error is not None else "."
            raise Conflict(f"The translation '{job.id}' is {job.state}{why}", param="id")
        result = msgspec.convert(job.result, DocumentResult)
        return await self._cloud.files.get(job.project, result.file), result

    async def _checked(self, principal: Principal, file: File, order: DocumentOrder) -> dict[str, Any]:
        """The job's input, for a document and an order that can be worked on."""
        order = _canonical(order)
        async with self._reader.open(file, order.format_options):
            pass
        await self._check_languages(principal, order)
        if order.previous is not None:
            await self.get(principal, order.previous)
        return {"file": file.id, "filename": file.filename, "order": msgspec.to_builtins(order)}

    async def _check_languages(self, principal: Principal, order: DocumentOrder) -> None:
        if order.model is not None:
            await self._cloud.inference.find(principal, order.model)
        elif order.source is not None:
            (await self._translator.routing.table(principal)).way(order.source, order.target)
        elif not any(covers(pair.target, order.target) for pair in await self._translator.pairs(principal)):
            raise InvalidRequest(
                f"Nothing here translates into {order.target}. Push a model that does, or let one by "
                f"'yunmo translate routes add SOURCE {order.target} MODEL'.",
                param="target",
            )


def order_of(job: Job) -> DocumentOrder:
    """What was ordered."""
    return msgspec.convert(job.input["order"], DocumentOrder)


def translated_name(filename: str, target: str, extensions: Sequence[str]) -> str:
    """What a translation is called: `letter.zh.html` for `letter.html`, the ending of its format where the document has another one or none."""
    path = PurePath(filename)
    ending = path.suffix if path.suffix.lower() in extensions else extensions[0]
    return f"{path.stem[:_NAME_CHARACTERS]}.{target}{ending}"


def _canonical(order: DocumentOrder) -> DocumentOrder:
    if order.keep_seconds is not None and not _LEAST_KEEP_SECONDS <= order.keep_seconds <= KEEP_SECONDS:
        raise InvalidRequest(f"A translation is kept for {_LEAST_KEEP_SECONDS} to {KEEP_SECONDS} seconds.", param="keep_seconds")
    source = None if order.source is None else _code(order.source, "source")
    return msgspec.structs.replace(order, target=_code(order.target, "target"), source=source)


def _code(code: str, field: str) -> str:
    try:
        return parse(code).code
    except InvalidRequest as error:
        raise InvalidRequest(error.message, param=field) from error
