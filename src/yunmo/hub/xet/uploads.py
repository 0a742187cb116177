"""Taking in xorbs and shards: nothing counts before it was checked here, whatever the client says about it."""

import asyncio
import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

import sqlalchemy as sa

from yunmo.core.errors import InvalidRequest
from yunmo.hub.turns import Turns
from yunmo.hub.unnamed import Unnamed
from yunmo.hub.xet import store
from yunmo.hub.xet.hashes import DIGEST_BYTES, dedup_positions, digest_of, file_digest, text_of, verification_digest
from yunmo.hub.xet.reading import Reader, xorb_key
from yunmo.hub.xet.reconstruction import spans_of
from yunmo.hub.xet.shards import ShardFile, read_shard
from yunmo.hub.xet.store import StoredFile
from yunmo.hub.xet.xorbs import XORB_LIMIT_BYTES, ChunkTable, XorbCheck
from yunmo.storage.blobs import ObjectStore
from yunmo.storage.database import Database
from yunmo.storage.staged import receive, staged

T = TypeVar("T")

_BEAT_SECONDS = 5.0
"""A client gives a connection up that is silent for long; reading a large file back takes a while."""


@dataclass(slots=True)
class Progress:
    """How much of a shard has been checked, in bytes."""

    verified: int = 0
    total: int = 0


class Uploads:
    """The writing side of the content-addressed store."""

    def __init__(self, database: Database, blobs: ObjectStore, reader: Reader, unnamed: Unnamed) -> None:
        self._database = database
        self._blobs = blobs
        self._reader = reader
        self._unnamed = unnamed
        self._turns = Turns()

    async def xorb(self, name: str, pieces: AsyncIterator[bytes], project: str | None = None) -> bool:
        """Take in one xorb, charged to the project until a commit names it; False if it was there already.

        Raises InvalidRequest if it is not what its name says, and InsufficientStorage.
        """
        digest = digest_of(name)
        if not await self._database.read(lambda connection: store.has_xorb(connection, name)):
            await self._unnamed.check(project)
        check = XorbCheck()
        async with staged(self._blobs.staging, "xorb") as path:
            size = await receive(pieces, path, check.feed, limit=XORB_LIMIT_BYTES, executor=self._reader.worker)
            table = await self._in_worker(check.finish, name)
            async with self._turns.turn(name):
                is_there = await self._database.read(lambda connection: store.has_xorb(connection, name))
                if is_there and digest not in self._reader.damaged:
                    return False
                await self._unnamed.check(project, size)
                if digest in self._reader.damaged:
                    await self._blobs.delete(xorb_key(name))
                await self._blobs.put_file(xorb_key(name), path)
                self._reader.damaged.discard(digest)
                packed = table.pack()
                await self._database.write(lambda connection: store.add_xorb(connection, name, size, packed, project))
        return True

    async def shard(self, repository_id: int, body: bytes) -> AsyncGenerator[Progress, None]:
        """Check the files of a shard and let the repository refer to them; yields now and then while it works.

        Raises InvalidRequest when a file is not what the shard says; then none of them counts.
        """
        progress = Progress()
        work = asyncio.create_task(self._register(repository_id, body, progress))
        try:
            while not work.done():
                await asyncio.wait({work}, timeout=_BEAT_SECONDS)
                if not work.done():
                    yield progress
            await work
            yield progress
        finally:
            if not work.done():
                work.cancel()
                with suppress(asyncio.CancelledError):
                    await work

    async def remove_xorb(self, name: str, forget: Callable[[sa.Connection, str], bool]) -> bool:
        """Delete a xorb's object if `forget` finds it unneeded; no upload of the same xorb comes in between."""
        async with self._turns.turn(name):
            gone = await self._database.write(lambda connection: forget(connection, name))
            if gone:
                self._reader.forget(digest_of(name))
                await self._blobs.delete(xorb_key(name))
        return gone

    async def _register(self, repository_id: int, body: bytes, progress: Progress) -> None:
        files = await self._in_worker(read_shard, body)
        progress.total = sum(file.size for file in files)
        checked: list[tuple[StoredFile, dict[str, set[str]]]] = []
        for file in files:
            tables = await self._tables(file)
            chunks = await self._in_worker(_check_file, file, tables)
            checked.append((await self._verified(file, progress), chunks))
        missing = await self._database.write(lambda connection: _add_files(connection, repository_id, checked))
        if missing:
            raise _gone(missing)

    async def _tables(self, file: ShardFile) -> dict[bytes, ChunkTable]:
        wanted = {span.xorb for span in spans_of(file.terms)}
        tables = await self._reader.tables(wanted)
        if len(tables) < len(wanted):
            raise _gone({text_of(xorb) for xorb in wanted - tables.keys()})
        return tables

    async def _verified(self, file: ShardFile, progress: Progress) -> StoredFile:
        """The file with the sha256 of what its terms unpack to, computed here unless it was before."""
        known = await self._database.read(lambda connection: store.find_file(connection, file.name))
        if known is None:
            sha256 = await self._sha256(StoredFile(file.name, "", file.size, file.terms), progress)
        else:
            sha256 = known.sha256
            progress.verified += file.size
        if file.sha256 not in (None, sha256):
            raise InvalidRequest(f"File {file.name} has the sha256 {sha256}, not {file.sha256} as the shard says.")
        return StoredFile(file.name, sha256, file.size, file.terms)

    async def _sha256(self, file: StoredFile, progress: Progress) -> str:
        sha256 = hashlib.sha256()
        async for piece in self._reader.stream(file, 0, file.size):
            await asyncio.to_thread(sha256.update, piece)
            progress.verified += len(piece)
        return sha256.hexdigest()

    async def _in_worker(self, work: Callable[..., T], *arguments: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._reader.worker, work, *arguments)


def _check_file(file: ShardFile, tables: Mapping[bytes, ChunkTable]) -> dict[str, set[str]]:
    """Check ranges, lengths, proofs of possession and the file's own hash; the chunks to find its xorbs by."""
    digests: list[bytes] = []
    lengths: list[int] = []
    for span, proof in zip(spans_of(file.terms), file.proofs["digest"], strict=True):
        table = tables[span.xorb]
        if not span.first < span.last <= table.count:
            raise InvalidRequest(f"File {file.name} names chunks that xorb {text_of(span.xorb)} does not have.")
        known = table.digests_of(span.first, span.last)
        low, high = table.unpacked_range(span.first, span.last)
        if high - low != span.length:
            raise InvalidRequest(f"File {file.name} gives a wrong length for chunks of xorb {text_of(span.xorb)}.")
        if verification_digest(known) != proof.tobytes():
            raise InvalidRequest(f"File {file.name} has a wrong verification hash for chunks of xorb {text_of(span.xorb)}.")
        digests.append(known)
        lengths.extend(table.lengths(span.first, span.last))
    if file_digest(b"".join(digests), lengths) != file.digest:
        raise InvalidRequest(f"The chunks of file {file.name} do not have that hash.")
    return _indexed_chunks(file, tables)


def _indexed_chunks(file: ShardFile, tables: Mapping[bytes, ChunkTable]) -> dict[str, set[str]]:
    """Per xorb of the file, the chunks that clients ask the index for: every 1,024th, and the file's first."""
    chunks: dict[str, set[str]] = {}
    for at, span in enumerate(spans_of(file.terms)):
        digests = tables[span.xorb].digests_of(span.first, span.last)
        found = chunks.setdefault(text_of(span.xorb), set())
        positions = [*dedup_positions(digests), *([0] if at == 0 else [])]
        found.update(text_of(digests[position * DIGEST_BYTES : (position + 1) * DIGEST_BYTES]) for position in positions)
    return chunks


def _add_files(connection: sa.Connection, repository_id: int, checked: list[tuple[StoredFile, dict[str, set[str]]]]) -> set[str]:
    missing: set[str] = set()
    for file, chunks in checked:
        missing |= store.add_file(connection, file, chunks, repository_id)
    return missing


def _gone(names: set[str]) -> InvalidRequest:
    return InvalidRequest(
        f"{len(names)} xorbs are not stored here, for one {min(names)}. Upload them again; if the client does not, remove its folder HF_HOME/xet."
    )
