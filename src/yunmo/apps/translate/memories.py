"""Translation memories: what people have translated, brought in as TMX, looked at, and given back as TMX.

An import and an export are jobs with an address of their own that needs no key: it is signed and holds for an hour.
"""

import asyncio
import hmac
import re
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import BinaryIO, Literal

import msgspec

from yunmo.apps.translate import memory_store as store
from yunmo.apps.translate import tmx
from yunmo.apps.translate.languages import parse
from yunmo.apps.translate.segments import Segment
from yunmo.core.errors import Conflict, Forbidden, InvalidRequest, NotFound, TooLarge
from yunmo.storage.database import Database

Operation = Literal["import", "export"]
Status = Literal["awaiting_input", "completed", "failed", "expired"]
Variants = Mapping[str, Segment]

_SOURCE_LANGUAGE = re.compile(rb"""<header\b[^>]*?\bsrclang\s*=\s*["']([A-Za-z0-9_-]{2,35})["']""")
_HEADER_BYTES = 64 * 1024
_TICKET = re.compile(r"(import|export)-([0-9a-f-]{36})-([0-9a-f]{64})")
_decode = msgspec.json.Decoder(dict[str, Segment]).decode


@dataclass(frozen=True, slots=True)
class MemoryInfo:
    """A project's memory; it never changes."""

    id: str
    name: str
    source: str
    targets: tuple[str, ...]
    unit_count: int
    created_at: datetime


@dataclass(frozen=True, slots=True)
class MemoryJob:
    """An import or export. `memory_id` is what is exported, or what the import became."""

    id: str
    project: str
    operation: Operation
    status: Status
    name: str
    content_length: int
    memory_id: str | None
    skipped: int
    error: str | None
    created_at: datetime
    updated_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class MemoryUnit:
    """A text with its translations; `number` is its place in the memory."""

    number: int
    variants: Variants


@dataclass(frozen=True, slots=True)
class MemoryLimits:
    """What projects may keep. Jobs are those whose addresses hold."""

    memories: int = 100
    units: int = 100_000
    file_bytes: int = 100 * 1024 * 1024
    name_bytes: int = 1024
    jobs: int = 1000
    seconds: int = 3600


class Memories:
    """The memories of every project. One that is not the project's is not there for it: NotFound."""

    def __init__(self, database: Database, secret: bytes, limits: MemoryLimits | None = None) -> None:
        self._database = database
        self._secret = secret
        self.limits = limits or MemoryLimits()

    async def page(self, project: str, offset: int, limit: int) -> list[MemoryInfo]:
        """Some of the project's memories, oldest first."""
        return [
            _info(row) for row in await self._database.read(lambda connection: store.select_memories(connection, project, offset, limit))
        ]

    async def get(self, project: str, memory_id: str) -> MemoryInfo:
        """One of the project's memories."""
        checked = _checked_id(memory_id)
        return _info(await self._database.read(lambda connection: _found(connection, project, checked)))

    async def delete(self, project: str, memory_id: str) -> None:
        """Delete a memory."""
        checked = _checked_id(memory_id)

        def work(connection: store.Connection) -> None:
            _found(connection, project, checked)
            store.delete_memory(connection, checked)

        await self._database.write(work)

    async def units(self, memory: MemoryInfo, after: int, limit: int, text: str = "", *, is_exact: bool = False) -> list[MemoryUnit]:
        """Units behind a number; those with a text in them, also in other cases unless `is_exact`."""
        rows = await self._database.read(
            lambda connection: store.select_units(connection, memory.id, after, limit, text, is_exact=is_exact)
        )
        return [MemoryUnit(number, _decode(content)) for number, content in rows]

    async def every(self, memory: MemoryInfo) -> list[Variants]:
        """All units' segments by language."""
        return await self._database.read(lambda connection: [_decode(content) for content in store.every_unit(connection, memory.id)])

    async def begin_import(self, project: str, name: str, content_length: int) -> MemoryJob:
        """A job that waits for its file. Raises InvalidRequest for a name or a length that cannot be, Conflict when too many wait."""
        if not name.strip() or len(name.encode()) > self.limits.name_bytes:
            raise InvalidRequest(f"The name of a memory has 1 to {self.limits.name_bytes} bytes of UTF-8.", param="display_name")
        if not 0 < content_length <= self.limits.file_bytes:
            raise InvalidRequest(f"A TMX file may have 1 to {self.limits.file_bytes:,} bytes. Divide it.", param="content_length")
        return await self._begin(project, "import", "awaiting_input", name, content_length, None)

    async def begin_export(self, project: str, memory_id: str) -> tuple[MemoryJob, bool]:
        """A job whose file can be fetched at once, and whether it is one that was there."""
        memory = await self.get(project, memory_id)
        moment = datetime.now(UTC)
        found = await self._database.read(lambda connection: store.find_export(connection, memory.id, moment))
        if found is not None:
            return _job(found), True
        return await self._begin(project, "export", "completed", memory.name, 0, memory.id), False

    async def job(self, project: str, job_id: str) -> MemoryJob:
        """How a job of the project stands."""
        checked = _checked_id(job_id)
        found = await self._database.read(lambda connection: store.find_job(connection, checked))
        if found is None or found["project"] != project:
            raise NotFound(f"There is no job '{checked}' in your project.")
        return _job(found)

    def ticket(self, job: MemoryJob) -> str:
        """What opens the job's address."""
        return f"{job.operation}-{job.id}-{self._mac(job.operation, job.id)}"

    async def opened(self, ticket: str, operation: Operation) -> MemoryJob:
        """The job of a ticket. Raises Forbidden for one that is not ours or not for this, or that no longer holds."""
        match = _TICKET.fullmatch(ticket)
        if match is None or match[1] != operation or not hmac.compare_digest(match[3], self._mac(match[1], match[2])):
            raise Forbidden("This address is not one that this server has signed.")
        job_id = match[2]
        found = await self._database.read(lambda connection: store.find_job(connection, job_id))
        if found is None or _job(found).status == "expired":
            raise Forbidden("This address no longer holds. Ask for another.")
        return _job(found)

    async def bring_in(self, job: MemoryJob, file: BinaryIO) -> None:
        """Read the job's file and keep its memory, whole or not at all; what is wrong with the file is kept as the job's error."""
        if job.status != "awaiting_input":
            return
        try:
            read = await asyncio.to_thread(self._read, file)
        except (InvalidRequest, TooLarge) as error:
            await self._end(job, {"status": "failed", "error": error.message})
            return
        memory_id, moment = str(uuid.uuid4()), datetime.now(UTC)
        values = {
            "id": memory_id,
            "project": job.project,
            "name": job.name,
            "source": read.source,
            "targets": ",".join(read.targets),
            "unit_count": len(read.rows),
            "created_at": moment,
        }
        ended = {"status": "completed", "memory_id": memory_id, "skipped": read.skipped, "updated_at": moment}

        def work(connection: store.Connection) -> None:
            if store.count_memories(connection, job.project) >= self.limits.memories:
                raise Conflict(f"The project '{job.project}' has {self.limits.memories} memories, and may not have more. Delete some.")
            if store.end_job(connection, job.id, ended):
                store.insert_memory(connection, values, read.rows)

        try:
            await self._database.write(work)
        except Conflict as error:
            await self._end(job, {"status": "failed", "error": error.message})

    async def write_out(self, job: MemoryJob, file: BinaryIO) -> None:
        """Write the job's memory as TMX."""
        memory = await self.get(job.project, job.memory_id or "")
        await self._database.read(lambda connection: tmx.write(file, _units(connection, memory.id), memory.source))

    async def _begin(
        self, project: str, operation: Operation, status: Status, name: str, content_length: int, memory_id: str | None
    ) -> MemoryJob:
        moment = datetime.now(UTC)
        until = moment + timedelta(seconds=self.limits.seconds)
        job = MemoryJob(str(uuid.uuid4()), project, operation, status, name, content_length, memory_id, 0, None, moment, moment, until)

        def work(connection: store.Connection) -> None:
            store.delete_jobs(connection, moment - timedelta(seconds=self.limits.seconds))
            if store.count_jobs(connection, project, moment) >= self.limits.jobs:
                raise Conflict(f"The project '{project}' has {self.limits.jobs} imports and exports open. Wait until some have expired.")
            store.insert_job(connection, {each: getattr(job, each) for each in MemoryJob.__slots__})

        await self._database.write(work)
        return job

    async def _end(self, job: MemoryJob, values: store.Row) -> None:
        ended = {**values, "updated_at": datetime.now(UTC)}
        await self._database.write(lambda connection: store.end_job(connection, job.id, ended))

    def _read(self, file: BinaryIO) -> "_Read":
        head = _SOURCE_LANGUAGE.search(file.read(_HEADER_BYTES))
        file.seek(0)
        units = [unit.variants for unit in tmx.read(file, tmx.Limits(self.limits.file_bytes, self.limits.units))]
        if not units:
            raise InvalidRequest("The TMX file has no text in two languages that are known.")
        source = _source(None if head is None else head[1].decode(), units)
        kept = [unit for unit in units if source in unit]
        targets = sorted({code for unit in kept for code in unit if code != source})
        return _Read(source, tuple(targets), [_row(number, unit) for number, unit in enumerate(kept, 1)], len(units) - len(kept))

    def _mac(self, operation: str, job_id: str) -> str:
        return hmac.new(self._secret, f"translation memory {operation} {job_id}".encode(), "sha256").hexdigest()


@dataclass(frozen=True, slots=True)
class _Read:
    source: str
    targets: tuple[str, ...]
    rows: Sequence[store.UnitRow]
    skipped: int


def _source(told: str | None, units: Sequence[Variants]) -> str:
    """The language that the file says it is from, if it has texts in it; else the one that most units begin with."""
    try:
        code = None if told is None else parse(told).code
    except InvalidRequest:  # `*all*`
        code = None
    if code is not None and any(code in unit for unit in units):
        return code
    return Counter(next(iter(unit)) for unit in units).most_common(1)[0][0]


def _row(number: int, variants: Variants) -> store.UnitRow:
    texts = "\n".join(each.text for each in variants.values()).replace("\x00", "")
    return store.UnitRow(number, texts, texts.casefold(), msgspec.json.encode(variants))


def _units(connection: store.Connection, memory_id: str) -> Iterator[tmx.Unit]:
    for content in store.every_unit(connection, memory_id):
        yield tmx.Unit(_decode(content))


def _checked_id(text: str) -> str:
    try:
        return str(uuid.UUID(text))
    except ValueError as error:
        raise InvalidRequest(f"'{text[:60]}' is no id of a translation memory or its job: those are UUIDs.", param="id") from error


def _found(connection: store.Connection, project: str, memory_id: str) -> store.Row:
    row = store.find_memory(connection, project, memory_id)
    if row is None:
        raise NotFound(f"There is no translation memory '{memory_id}' in your project.")
    return row


def _info(row: store.Row) -> MemoryInfo:
    return MemoryInfo(
        row["id"], row["name"], row["source"], tuple(filter(None, row["targets"].split(","))), row["unit_count"], row["created_at"]
    )


def _job(row: store.Row) -> MemoryJob:
    job = MemoryJob(**{each: row[each] for each in MemoryJob.__slots__})
    has_expired = (
        job.expires_at <= datetime.now(UTC)
        and job.status in {"awaiting_input", "completed"}
        and (job.operation, job.status) != ("import", "completed")
    )
    return MemoryJob(**{each: getattr(job, each) for each in MemoryJob.__slots__} | {"status": "expired"}) if has_expired else job
