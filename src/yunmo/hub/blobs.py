"""Small files' contents: in the database when tiny, in the object store otherwise."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import datetime
from weakref import WeakSet

import sqlalchemy as sa

from yunmo.core.errors import Conflict
from yunmo.hub.objects import blob_oid
from yunmo.hub.store import commits as store
from yunmo.hub.store.commits import BlobRow
from yunmo.hub.turns import Turns
from yunmo.storage.blobs import ObjectStore
from yunmo.storage.database import Database

BLOB_FOLDER = "blobs"
INLINE_LIMIT_BYTES = 64 * 1024
_FLUSH_BYTES = 4 * 1024 * 1024


def blob_key(sha256: str) -> str:
    """Where the object store keeps a small file."""
    return f"{BLOB_FOLDER}/{sha256[:2]}/{sha256[2:4]}/{sha256}"


@dataclass(eq=False)
class Staging:
    """Files on their way in. What is staged is kept before the commit that names it, and collected later if none does."""

    blobs: "Blobs"
    _rows: list[BlobRow] = field(default_factory=list)
    _inline_bytes: int = 0

    def holds(self, sha256: str) -> bool:
        """Whether this content was put but its row is not written yet."""
        return any(row.sha256 == sha256 for row in self._rows)

    async def add(self, content: bytes) -> str:
        """Keep a file's content; the answer is its git id."""
        row = await asyncio.to_thread(_row, content) if len(content) > INLINE_LIMIT_BYTES else _row(content)
        self._rows.append(row)
        if row.content is None:
            async with self.blobs.turns.turn(row.sha256):
                await self.blobs.objects.put(blob_key(row.sha256), content)
        self._inline_bytes += len(row.content or b"")
        if self._inline_bytes >= _FLUSH_BYTES or len(self._rows) >= 1000:
            await self.flush()
        return row.oid

    async def flush(self) -> None:
        """Make everything staged so far durable. Raises Conflict on a SHA-1 collision."""
        rows = list({row.oid: row for row in self._rows}.values())
        if rows:
            await self.blobs.database.write(lambda connection: _put(connection, rows, self.blobs.clock()))
        self._rows, self._inline_bytes = [], 0


@dataclass(frozen=True, slots=True)
class Blobs:
    """Reads and stages small files."""

    database: Database
    objects: ObjectStore
    clock: Callable[[], datetime]
    turns: Turns = field(default_factory=Turns)
    _open: "WeakSet[Staging]" = field(default_factory=WeakSet)

    def staging(self) -> Staging:
        """A place to put the files of one commit."""
        staging = Staging(self)
        self._open.add(staging)
        return staging

    async def drop(self, sha256: str) -> bool:
        """Delete a content from the object store unless a row names it or somebody is about to write one."""
        async with self.turns.turn(sha256):
            is_named = await self.database.read(lambda connection: bool(store.stored_hashes(connection, [sha256])))
            if is_named or any(staging.holds(sha256) for staging in self._open):
                return False
            await self.objects.delete(blob_key(sha256))
            return True

    async def read(self, oid: str, start: int = 0, end: int | None = None) -> bytes:
        """The bytes from `start` up to, not including, `end`."""
        row = await self._row(oid)
        if row.content is not None:
            return row.content[start:end]
        return await self.objects.get(blob_key(row.sha256), start, end)

    async def stream(self, oid: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """The same range in pieces."""
        row = await self._row(oid)
        if row.content is not None:
            yield row.content[start:end]
            return
        async for piece in self.objects.stream(blob_key(row.sha256), start, end):
            yield piece

    async def _row(self, oid: str) -> BlobRow:
        row = await self.database.read(lambda connection: store.get_blob(connection, oid))
        if row is None:
            raise FileNotFoundError(f"blob {oid} is named by a tree but is not stored")
        return row


def _row(content: bytes) -> BlobRow:
    is_inline = len(content) <= INLINE_LIMIT_BYTES
    return BlobRow(blob_oid(content), hashlib.sha256(content).hexdigest(), len(content), content if is_inline else None)


def _put(connection: sa.Connection, rows: list[BlobRow], at: datetime) -> None:
    there = store.blob_hashes(connection, [row.oid for row in rows])
    if any(there.get(row.oid, row.sha256) != row.sha256 for row in rows):
        raise Conflict("This file has the same SHA-1 as another one with different content, which git's object ids cannot tell apart.")
    store.put_blobs(connection, rows, at)
