"""A project's files: uploaded whole or in parts, made by jobs, kept for a time."""

import asyncio
import hashlib
import secrets
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from datetime import date, timedelta

import sqlalchemy as sa
import structlog

from yunmo.core.errors import Conflict, InsufficientStorage, InvalidRequest, NotFound, YunmoError
from yunmo.files import store
from yunmo.files.file import File, Part, Upload
from yunmo.storage.blobs import ObjectStore
from yunmo.storage.database import Database
from yunmo.storage.staged import all_of, receive, require_space, staged
from yunmo.storage.tables import now

UPLOAD_SECONDS = 3600
"""An upload in parts has to be completed within this time."""

DRAFT_SECONDS = 30 * 24 * 3600
"""A job has to end within this time, or what it has written so far is gone."""

PART_BYTES = 64 * 1024 * 1024
KEEP_SECONDS = (3600, 30 * 24 * 3600)
"""What may be asked for a file's time, in seconds from its beginning."""

_FOLDER = "files"
_SWEEP_SECONDS = 60.0
_STRAY_SECONDS = 24 * 3600.0
_AT_ONCE = 500
_FILENAME_CHARACTERS = 255
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class FileRules:
    """`file_bytes`: the largest file; `project_bytes`: all files of one project together."""

    file_bytes: int = 8 * 1024**3
    project_bytes: int = 100 * 1024**3


class Files:
    """Every file has an owner, a purpose, and bytes that never change."""

    def __init__(self, database: Database, blobs: ObjectStore, rules: FileRules | None = None) -> None:
        self._database = database
        self._blobs = blobs
        self._strays_at = 0.0
        self.rules = rules or FileRules()

    async def add(self, project: str, filename: str, purpose: str, pieces: AsyncIterator[bytes], keep_seconds: int | None = None) -> File:
        """Keep the bytes as a file; durable when this returns. Raises TooLarge, InsufficientStorage and InvalidRequest."""
        file = await self.prepare(project, filename, purpose, pieces, keep_seconds)
        await self._database.write(lambda connection: self.insert(connection, file))
        return file

    async def prepare(
        self, project: str, filename: str, purpose: str, pieces: AsyncIterator[bytes], keep_seconds: int | None = None
    ) -> File:
        """Put the bytes where they belong; they become a file with `insert`, else they are swept away after a day."""
        _check(filename, keep_seconds)
        key, size = await self._put(pieces, self.rules.file_bytes)
        return _file(project, filename, purpose, size, key, keep_seconds)

    def insert(self, connection: sa.Connection, file: File) -> None:
        """Make what was prepared a file of its project. Raises InsufficientStorage when that has too many bytes by now."""
        self._check_room(connection, file.project, file.size)
        store.insert(connection, file)

    async def get(self, project: str, file_id: str) -> File:
        """The project's file. Raises NotFound."""
        at = now()
        file = await self._database.read(lambda connection: store.find(connection, project, file_id, at))
        if file is None:
            raise _no_file(file_id)
        return file

    async def page(
        self, project: str, *, purpose: str | None = None, after: str | None = None, limit: int = 100, newest_first: bool = True
    ) -> list[File]:
        """The project's files in order of time, from behind the file `after` on. Raises NotFound when that one is not there."""
        at, last = now(), None if after is None else await self.get(project, after)
        return await self._database.read(
            lambda connection: store.page(connection, project, at, purpose, last, limit, newest_first=newest_first)
        )

    async def delete(self, project: str, file_id: str) -> None:
        """Forget a file. Raises NotFound."""
        if not await self._database.write(lambda connection: store.remove(connection, project, file_id)):
            raise _no_file(file_id)

    def stream(self, file: File) -> AsyncIterator[bytes]:
        """The file's bytes in pieces of about 1 MiB."""
        return self._blobs.stream(file.key)

    async def lines(self, file: File, longest: int) -> AsyncIterator[bytes]:
        """The file's lines without their ends. Raises InvalidRequest for one with more than `longest` bytes."""
        rest, number = b"", 0
        async for piece in self.stream(file):
            *whole, rest = (rest + piece).split(b"\n")
            for line in whole:
                number += 1
                _check_line(line, number, longest)
                yield line.removesuffix(b"\r")
            _check_line(rest, number + 1, longest)
        if rest:
            yield rest.removesuffix(b"\r")

    # ------------------------------------------------------------ in parts

    async def begin(self, project: str, filename: str, purpose: str, size: int, keep_seconds: int | None = None) -> Upload:
        """Announce a file that comes in parts. Raises InvalidRequest for a size that cannot be, InsufficientStorage without room."""
        _check(filename, keep_seconds)
        if not 1 <= size <= self.rules.file_bytes:
            raise InvalidRequest(f"A file has 1 to {self.rules.file_bytes} bytes.", param="bytes")
        require_space(self._blobs.staging, size)
        values = _upload(project, filename, purpose, size, keep_seconds, UPLOAD_SECONDS)

        def write(connection: sa.Connection) -> Upload:
            self._check_room(connection, project, size)
            return store.insert_upload(connection, values)

        return await self._database.write(write)

    async def upload(self, project: str, upload_id: str) -> Upload:
        """The project's upload. Raises NotFound."""
        upload = await self._database.read(lambda connection: store.find_upload(connection, project, upload_id))
        if upload is None:
            raise NotFound(f"There is no upload '{upload_id[:80]}'.", param="upload_id")
        return upload

    async def add_part(self, project: str, upload_id: str, pieces: AsyncIterator[bytes]) -> Part:
        """Keep a part of at most `PART_BYTES`. Raises Conflict when the upload has ended, TooLarge, InvalidRequest past the announced size."""
        upload = await self._pending(project, upload_id)
        key, size = await self._put(pieces, PART_BYTES)
        part = Part(f"part_{secrets.token_hex(12)}", upload.id, size, key, now())

        def write(connection: sa.Connection) -> None:
            current = store.find_upload(connection, project, upload_id)
            if current is None or current.status != "pending":
                raise _ended(upload)
            if upload.size is not None and sum(each.size for each in store.parts(connection, upload_id)) + size > upload.size:
                raise InvalidRequest(f"The parts are more than the {upload.size} bytes that were announced.", param="data")
            store.insert_part(connection, part)

        await self._database.write(write)
        return part

    async def complete(self, project: str, upload_id: str, part_ids: list[str], md5: str | None = None) -> Upload:
        """Make a file of the parts, in the order given. Raises InvalidRequest unless they are what was announced."""
        upload = await self._pending(project, upload_id)
        came = {part.id: part for part in await self._database.read(lambda connection: store.parts(connection, upload_id))}
        unknown = [part_id for part_id in part_ids if part_id not in came]
        if unknown:
            raise InvalidRequest(f"'{unknown[0][:80]}' is no part of the upload '{upload_id}'.", param="part_ids")
        chosen = [came[part_id] for part_id in part_ids]
        size = sum(part.size for part in chosen)
        if size != upload.size:
            raise InvalidRequest(f"The parts have {size} bytes, but {upload.size} were announced.", param="part_ids")
        digest = hashlib.md5(usedforsecurity=False)
        key, _ = await self._put(self._joined(chosen, digest), size)
        if md5 is not None and digest.hexdigest() != md5.lower():
            raise InvalidRequest(f"The parts' MD5 is {digest.hexdigest()}, not {md5[:40]}.", param="md5")
        file = _file(project, upload.filename, upload.purpose, size, key, upload.keep_seconds)
        if not await self._database.write(lambda connection: store.end_upload(connection, upload, "completed", file)):
            raise _ended(upload)
        return await self.upload(project, upload_id)

    async def give_up(self, project: str, upload_id: str) -> Upload:
        """Cancel an upload. Raises Conflict when it has ended."""
        upload = await self._pending(project, upload_id)
        if not await self._database.write(lambda connection: store.end_upload(connection, upload, "cancelled")):
            raise _ended(upload)
        return await self.upload(project, upload_id)

    async def _pending(self, project: str, upload_id: str) -> Upload:
        upload = await self.upload(project, upload_id)
        if upload.status != "pending" or upload.expires_at <= now():
            raise _ended(upload)
        return upload

    async def _joined(self, parts: Iterable[Part], digest: "hashlib._Hash | None" = None) -> AsyncIterator[bytes]:
        for part in parts:
            async for piece in self._blobs.stream(part.key):
                if digest is not None:
                    digest.update(piece)
                yield piece

    # ------------------------------------------------------------ as a job goes on

    async def draft(self, project: str, filename: str, purpose: str, keep_seconds: int | None = None) -> Upload:
        """Begin a file that grows by parts; what is not `publish`ed in time is swept away."""
        _check(filename, keep_seconds)
        values = _upload(project, filename, purpose, None, keep_seconds, DRAFT_SECONDS)
        return await self._database.write(lambda connection: store.insert_upload(connection, values))

    async def prepare_part(self, draft_id: str, data: bytes) -> Part:
        """Put a part's bytes where they belong; they count from `append` on."""
        key, size = await self._put(_one(data), len(data))
        return Part(f"part_{secrets.token_hex(12)}", draft_id, size, key, now())

    def append(self, connection: sa.Connection, part: Part) -> None:
        """Make what was prepared the draft's last part."""
        store.insert_part(connection, part)

    async def read_draft(self, project: str, draft_id: str) -> AsyncIterator[bytes]:
        """What has been appended to the draft so far, in order."""
        await self._pending(project, draft_id)
        async for piece in self._joined(await self._database.read(lambda connection: store.parts(connection, draft_id))):
            yield piece

    async def join(self, project: str, draft_id: str) -> tuple[Upload, File | None]:
        """Put the draft's parts together, for `publish`; no file when there are none."""
        draft = await self._pending(project, draft_id)
        parts = await self._database.read(lambda connection: store.parts(connection, draft_id))
        if not parts:
            return draft, None
        key, size = await self._put(self._joined(parts), sum(part.size for part in parts))
        return draft, _file(project, draft.filename, draft.purpose, size, key, draft.keep_seconds)

    def publish(self, connection: sa.Connection, draft: Upload, file: File | None) -> None:
        """Make what was joined a file, in place of its parts. Raises Conflict when that has happened before."""
        if not store.end_upload(connection, draft, "cancelled" if file is None else "completed", file):
            raise _ended(draft)

    # ------------------------------------------------------------ bytes

    async def _put(self, pieces: AsyncIterator[bytes], limit: int) -> tuple[str, int]:
        key = f"{_FOLDER}/{now().date().isoformat()}/{secrets.token_hex(16)}"
        async with staged(self._blobs.staging, "file") as path:
            size = await receive(pieces, path, all_of(lambda _view: None), limit=limit)
            await self._blobs.put_file(key, path)
        return key, size

    def _check_room(self, connection: sa.Connection, project: str, size: int) -> None:
        used = store.sum_sizes(connection, project)
        if used + size > self.rules.project_bytes:
            raise InsufficientStorage(
                f"The files of the project '{project}' have {used} bytes; {size} more are over its limit of {self.rules.project_bytes} "
                "(setting jobs.project_bytes). Delete some."
            )

    async def run(self) -> None:
        """Delete what is over and what nothing leads to, until cancelled."""
        while True:
            try:
                await self.sweep()
            except YunmoError as error:
                _log.warning("files_not_swept", reason=error.message)
            await asyncio.sleep(_SWEEP_SECONDS)

    async def sweep(self) -> None:
        """Forget files whose time is over, and delete bytes without a row; strays of crashes are looked for once a day."""
        at = now()
        await self._database.write(lambda connection: store.remove_expired(connection, at))
        while keys := await self._database.read(lambda connection: store.removed_keys(connection, _AT_ONCE)):
            await self._delete(keys)
        loop_time = asyncio.get_running_loop().time()
        if loop_time >= self._strays_at:
            self._strays_at = loop_time + _STRAY_SECONDS
            await self._delete_strays(at.date() - timedelta(days=1))

    async def _delete(self, keys: Iterable[str]) -> None:
        gone = list(keys)
        for key in gone:
            await self._blobs.delete(key)
        await self._database.write(lambda connection: store.forget_removed(connection, gone))

    async def _delete_strays(self, before: date) -> None:
        """Bytes that were put before this day and have no row: their writer died, or changed its mind."""
        looked_at: list[str] = []
        async for key in self._blobs.keys(_FOLDER):
            if key.split("/")[1] < before.isoformat():
                looked_at.append(key)
            if len(looked_at) == _AT_ONCE:
                await self._delete_unknown(looked_at)
                looked_at = []
        if looked_at:
            await self._delete_unknown(looked_at)

    async def _delete_unknown(self, keys: list[str]) -> None:
        known = await self._database.read(lambda connection: store.known_keys(connection, keys))
        strays = [key for key in keys if key not in known]
        for key in strays:
            await self._blobs.delete(key)
        if strays:
            _log.info("stray_files_deleted", count=len(strays))


async def _one(data: bytes) -> AsyncIterator[bytes]:
    yield data


def _file(project: str, filename: str, purpose: str, size: int, key: str, keep_seconds: int | None) -> File:
    at = now()
    expires_at = None if keep_seconds is None else at + timedelta(seconds=keep_seconds)
    return File(f"file-{secrets.token_hex(12)}", project, filename, purpose, size, key, at, expires_at)


def _upload(project: str, filename: str, purpose: str, size: int | None, keep_seconds: int | None, seconds: float) -> dict[str, object]:
    at = now()
    return {
        "id": f"upload_{secrets.token_hex(12)}",
        "project": project,
        "filename": filename,
        "purpose": purpose,
        "size": size,
        "created_at": at,
        "expires_at": at + timedelta(seconds=seconds),
        "keep_seconds": keep_seconds,
    }


def _check(filename: str, keep_seconds: int | None) -> None:
    if not 1 <= len(filename) <= _FILENAME_CHARACTERS or any(character < " " for character in filename):
        raise InvalidRequest(
            f"A file's name has 1 to {_FILENAME_CHARACTERS} characters, none of them a control character.", param="filename"
        )
    shortest, longest = KEEP_SECONDS
    if keep_seconds is not None and not shortest <= keep_seconds <= longest:
        raise InvalidRequest(f"A file may expire {shortest} to {longest} seconds after it was made.", param="expires_after.seconds")


def _check_line(line: bytes, number: int, longest: int) -> None:
    if len(line) > longest:
        raise InvalidRequest(f"Line {number} has more than {longest} bytes.")


def _ended(upload: Upload) -> Conflict:
    state = "has expired" if upload.status == "pending" else f"is {upload.status}"
    return Conflict(f"The upload '{upload.id}' {state}; begin another.")


def _no_file(file_id: str) -> NotFound:
    return NotFound(f"There is no file '{file_id[:80]}'. GET /v1/files lists yours.", param="file_id")
