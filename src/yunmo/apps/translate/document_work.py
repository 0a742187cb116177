"""Works on documents: translates their segments when nobody waits, and writes them again with what came of it.

Translations are put aside in parts, each with the checkpoint of the job: what a crash takes is translated again, and nothing else.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from itertools import islice

import msgspec

from yunmo.apps.translate.document_reading import DocumentReader, Opened, pieces_of
from yunmo.apps.translate.document_report import ready
from yunmo.apps.translate.earlier import Earlier
from yunmo.apps.translate.journal import Entry, key_of, read_entries, written
from yunmo.apps.translate.segment_work import Progress, SegmentWork
from yunmo.apps.translate.translations import KIND, RESULT_PURPOSE, DocumentResult, order_of, translated_name
from yunmo.apps.translate.translator import Translator
from yunmo.cloud.cloud import Cloud
from yunmo.cloud.values import Connection, File, Job, Outcome, Paused, Work
from yunmo.core.identity import Principal

_DOCUMENTS_AT_ONCE = 2
_LINES_AT_ONCE = 500
_SEGMENTS_SUFFIX = ".segments.jsonl"


class _State(msgspec.Struct, omit_defaults=True):
    """The checkpoint: the draft that is the journal, and the language that the document is in as far as it is known."""

    journal: str
    source: str | None = None


class DocumentWork:
    """The kind of job that the translation of a document is."""

    name = KIND
    slots = _DOCUMENTS_AT_ONCE

    def __init__(self, cloud: Cloud, translator: Translator, reader: DocumentReader) -> None:
        self._files = cloud.files
        self._translator = translator
        self._reader = reader
        self._earlier = Earlier(cloud, translator)

    async def run(self, work: Work) -> Outcome:
        """Translate every segment that is not translated yet, and write the document."""
        job, order = work.job, order_of(work.job)
        file = await self._files.get(job.project, job.input["file"])
        async with self._reader.open(file, order.format_options) as opened:
            segments = await asyncio.to_thread(lambda: {key_of(unit.segment): unit.segment for unit in opened.document.units})
            state = await self._begun(work)
            known = {entry.key: entry async for entry in read_entries(self._files.read_draft(job.project, state.journal))}
            reused = await self._earlier.entries(work, _owner(job), order, segments.keys() - known.keys())
            progress = Progress(segments, reused | known, state.source)
            await self._translate(work, state, progress)
            return await self._outcome(work, progress, reused, opened, file)

    async def cancelled(self, work: Work) -> Outcome:
        """Nothing is left."""
        if work.checkpoint is None:
            return Outcome({})
        draft = await self._files.upload(work.job.project, msgspec.convert(work.checkpoint, _State).journal)
        return Outcome({}, lambda connection: self._files.publish(connection, draft, None))

    async def _begun(self, work: Work) -> _State:
        if work.checkpoint is not None:
            return msgspec.convert(work.checkpoint, _State)
        draft = await self._files.draft(work.job.project, f"translate_{work.job.id}{_SEGMENTS_SUFFIX}", RESULT_PURPOSE)
        state = _State(draft.id, order_of(work.job).source)
        await work.save(msgspec.to_builtins(state))
        return state

    async def _translate(self, work: Work, state: _State, progress: Progress) -> None:
        """Translate what is left, and save it as it comes. Raises Paused when that is wanted."""

        async def save(entries: Sequence[Entry]) -> None:
            state.source = progress.source
            part = await self._files.prepare_part(state.journal, written(entries)) if entries else None
            work.advance(progress.done, progress.total, "characters")

            def append(connection: Connection) -> None:
                if part is not None:
                    self._files.append(connection, part)

            with contextlib.suppress(Paused):  # what models have begun is waited for, and saved, too
                await work.save(msgspec.to_builtins(state), append)

        work.advance(progress.done, progress.total, "characters")
        segment_work = SegmentWork(self._translator, self._earlier, _owner(work.job), order_of(work.job), progress)
        while not progress.is_over:  # a pause may have been taken back while it was waited for
            await segment_work.run(save, lambda: work.wanted == "pause")
            if work.wanted == "pause":
                raise Paused

    async def _outcome(self, work: Work, progress: Progress, reused: Mapping[str, Entry], opened: Opened, file: File) -> Outcome:
        """The document with its translations, and the journal, as files of the project with a report; the draft goes."""
        job, order, entries, path = work.job, order_of(work.job), progress.known, opened.folder / "translation"
        readied = await asyncio.to_thread(ready, opened.document, entries)
        await asyncio.to_thread(opened.document.write, readied.translations, order.target, path)
        name = translated_name(file.filename, order.target, opened.format.extensions)
        made = [
            await self._files.prepare(job.project, each, RESULT_PURPOSE, pieces, order.keep_seconds)
            for each, pieces in ((name, pieces_of(path)), (name + _SEGMENTS_SUFFIX, _lines(entries.values())))
        ]
        draft = await self._files.upload(job.project, msgspec.convert(work.checkpoint, _State).journal)

        def publish(connection: Connection) -> None:
            self._files.publish(connection, draft, None)
            for each in made:
                self._files.insert(connection, each)

        result = DocumentResult(
            file=made[0].id,
            filename=name,
            media_type=opened.format.media_types[0],
            segments_file=made[1].id,
            source=progress.source or _most_common(entries.values()),
            target=order.target,
            units=len(opened.document.units),
            segments=len(progress.segments),
            reused=len(reused),
            characters=sum(entry.characters for key, entry in entries.items() if key not in reused),
            models={name: revision for entry in entries.values() for name, revision in zip(entry.models, entry.revisions, strict=True)},
            issue_count=readied.issue_count,
            issues=readied.issues,
        )
        return Outcome(msgspec.to_builtins(result), publish)


def _owner(job: Job) -> Principal:
    """Who the models are asked for: whoever ordered the translation, without a pace of their own."""
    return job.principal("infer", "read")


def _most_common(entries: Iterable[Entry]) -> str:
    return Counter(entry.source for entry in entries).most_common(1)[0][0]


async def _lines(entries: Iterable[Entry]) -> AsyncIterator[bytes]:
    left = iter(entries)
    while some := tuple(islice(left, _LINES_AT_ONCE)):
        yield written(some)
