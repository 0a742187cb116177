"""Git LFS: whole files by signed URLs, in one body or in parts, kept as plain objects once their sha256 is checked."""

import asyncio
import hashlib
import math
import re
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from yunmo.core.errors import InvalidRequest
from yunmo.hub.large import LargeFile
from yunmo.hub.turns import Turns
from yunmo.hub.unnamed import Unnamed
from yunmo.hub.xet import store
from yunmo.hub.xet.tokens import CompletionTicket, Signer, UploadTicket
from yunmo.storage.blobs import ObjectStore
from yunmo.storage.database import Database
from yunmo.storage.staged import all_of, receive, require_space, staged

PART_BYTES = 64 * 1024 * 1024
"""Larger files are sent in parts, if the client can, so that a broken connection costs one part."""

_PARTS_LIMIT = 1000
_URL_SECONDS = 24 * 3600
_READ_BYTES = 4 * 1024 * 1024
_SHA256 = re.compile(r"[0-9a-f]{64}\Z")


@dataclass(frozen=True, slots=True)
class Upload:
    """How to send one object: a ticket for its body, or for each of its parts (`part_bytes` long) and for the end."""

    whole: str | None
    parts: list[str]
    part_bytes: int
    completion: str | None


def lfs_key(sha256: str) -> str:
    """Where the object store keeps a plain object."""
    return f"lfs/{sha256[:2]}/{sha256[2:4]}/{sha256}"


def require_sha256(text: str) -> None:
    """Raise InvalidRequest unless this is a sha256 in hexadecimal."""
    if not _SHA256.match(text):
        raise InvalidRequest("An LFS object is named by its sha256: 64 lower-case hexadecimal digits.")


class LfsUploads:
    """The writing side of Git LFS."""

    def __init__(self, database: Database, blobs: ObjectStore, signer: Signer, unnamed: Unnamed) -> None:
        self._database = database
        self._blobs = blobs
        self._signer = signer
        self._unnamed = unnamed
        self._turns = Turns()

    async def begin(self, repository_id: int, sha256: str, size: int, project: str | None = None, *, in_parts: bool) -> Upload:
        """Tickets for sending an object, charged to the project until a commit names it. Raises InsufficientStorage when it cannot fit."""
        require_sha256(sha256)
        if size < 0:
            raise InvalidRequest("An object's size cannot be negative.")
        await self._check_unnamed(project, sha256, size)
        require_space(self._blobs.staging, size)
        upload = f"{_prefix(project)}{secrets.token_hex(12)}"
        expires_at = self._signer.expiry(_URL_SECONDS)
        if not in_parts or size <= PART_BYTES:
            whole = self._signer.seal(UploadTicket(expires_at, repository_id, sha256, size, upload, 0, size, project))
            return Upload(whole, [], 0, None)
        part_bytes = max(PART_BYTES, math.ceil(size / _PARTS_LIMIT))
        parts = [
            self._signer.seal(UploadTicket(expires_at, repository_id, sha256, size, upload, part, part_bytes, project))
            for part in range(1, math.ceil(size / part_bytes) + 1)
        ]
        completion = self._signer.seal(CompletionTicket(expires_at, repository_id, sha256, size, upload, project))
        return Upload(None, parts, part_bytes, completion)

    async def put(self, ticket: UploadTicket, pieces: AsyncIterator[bytes]) -> str:
        """Take in a body, or one part of one; its ETag. Raises InvalidRequest when the bytes are not the announced ones."""
        if ticket.part:
            return await self._put_part(ticket, pieces)
        await self._check_unnamed(ticket.project, ticket.sha256, ticket.size)
        sha256 = hashlib.sha256()
        async with staged(self._blobs.staging, "lfs") as path:
            size = await receive(pieces, path, all_of(sha256.update), limit=ticket.size)
            await self._keep(ticket, path, LargeFile(sha256.hexdigest(), size))
        return ticket.sha256

    async def complete(self, ticket: CompletionTicket) -> None:
        """Check an object whose parts have all come, and keep it. Done twice, it is done once."""
        async with self._turns.turn(ticket.upload):
            if await self._is_known(ticket):
                return
            path = self._blobs.staging / ticket.upload
            if not await asyncio.to_thread(path.exists):
                raise InvalidRequest("No part of this upload has come. Start it again.")
            found = await asyncio.to_thread(_measure, path)
            await self._keep(ticket, path, found)

    async def remove(self, sha256: str, forget: Callable[[sa.Connection, str], bool]) -> bool:
        """Delete an object if `forget` finds it unneeded; no upload of the same object comes in between."""
        async with self._turns.turn(sha256):
            gone = await self._database.write(lambda connection: forget(connection, sha256))
            if gone:
                await self._blobs.delete(lfs_key(sha256))
        return gone

    async def _put_part(self, ticket: UploadTicket, pieces: AsyncIterator[bytes]) -> str:
        start = (ticket.part - 1) * ticket.part_bytes
        wanted = min(ticket.part_bytes, ticket.size - start)
        await self._check_unnamed(ticket.project, ticket.sha256, wanted)
        digest = hashlib.sha256()
        size = await receive(pieces, self._blobs.staging / ticket.upload, all_of(digest.update), limit=wanted, offset=start)
        if size != wanted:
            raise InvalidRequest(f"Part {ticket.part} has {size} bytes, not {wanted}. Send it again.")
        return digest.hexdigest()

    async def _check_unnamed(self, project: str | None, sha256: str, more: int) -> None:
        """What is stored already costs nothing again; parts that wait for their end count as far as they have come."""
        if project is None or await self._database.read(lambda connection: store.has_object(connection, sha256)):
            return
        waiting = await asyncio.to_thread(_staged_bytes, self._blobs.staging, _prefix(project))
        await self._unnamed.check(project, more, staged=waiting)

    async def _keep(self, ticket: UploadTicket | CompletionTicket, path: Path, found: LargeFile) -> None:
        repository_id, claimed = ticket.repository_id, LargeFile(ticket.sha256, ticket.size)
        if claimed != found:
            await asyncio.to_thread(path.unlink, missing_ok=True)
            raise InvalidRequest(
                f"The bytes that came have the sha256 {found.sha256} ({found.size} bytes), not {claimed.sha256} ({claimed.size} bytes). "
                "Send them again."
            )
        xet_hash = await self._database.read(lambda connection: store.find_file_with(connection, claimed.sha256))
        if xet_hash is not None:  # the content is in xorbs already: no second copy
            await asyncio.to_thread(path.unlink, missing_ok=True)
            same = LargeFile(claimed.sha256, claimed.size, xet_hash)
            await self._database.write(lambda connection: store.add_large_file(connection, repository_id, same))
            return
        async with self._turns.turn(claimed.sha256):
            if not await self._database.read(lambda connection: store.has_object(connection, claimed.sha256)):
                await self._unnamed.check(ticket.project, claimed.size)
            if claimed.size:
                await self._blobs.put_file(lfs_key(claimed.sha256), path)
            else:
                await self._blobs.put(lfs_key(claimed.sha256), b"")
            await self._database.write(
                lambda connection: store.add_object(connection, repository_id, claimed.sha256, claimed.size, ticket.project)
            )

    async def _is_known(self, ticket: CompletionTicket) -> bool:
        found = await self._database.read(lambda connection: store.find_large_file(connection, ticket.repository_id, ticket.sha256))
        return found is not None


def _prefix(project: str | None) -> str:
    """How the names of a project's staged uploads begin."""
    return f"lfs-{hashlib.sha256(project.encode()).hexdigest()[:16]}-" if project is not None else "lfs-"


def _staged_bytes(staging: Path, prefix: str) -> int:
    """How much space the staged files of this prefix take; parts may come in any order and leave holes."""
    total = 0
    for path in staging.glob(f"{prefix}*"):
        with suppress(FileNotFoundError):
            total += path.stat().st_blocks * 512
    return total


def _measure(path: Path) -> LargeFile:
    sha256 = hashlib.sha256()
    size = 0
    with path.open("rb") as file:
        while data := file.read(_READ_BYTES):
            sha256.update(data)
            size += len(data)
    return LargeFile(sha256.hexdigest(), size)
