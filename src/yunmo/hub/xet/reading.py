"""Reading files back from xorbs: plans for clients that fetch xorbs themselves, and plain bytes for everybody else."""

import asyncio
import os
from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator, Collection
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import sqlalchemy as sa

from yunmo.core.errors import InternalError, InvalidRequest
from yunmo.hub.xet import store
from yunmo.hub.xet.hashes import text_of
from yunmo.hub.xet.reconstruction import touched
from yunmo.hub.xet.store import StoredFile
from yunmo.hub.xet.xorbs import CHUNK_LIMIT_BYTES, ChunkTable, unpack_chunks, unpack_table
from yunmo.storage.blobs import ObjectStore
from yunmo.storage.database import Database

_PIECE_BYTES = 1024 * 1024
_KEPT_TABLES = 256


@dataclass(frozen=True, slots=True)
class _Piece:
    """Some chunks of one xorb, of whose unpacked bytes those from `low` up to, not including, `high` are wanted."""

    xorb: bytes
    table: ChunkTable
    first: int
    last: int
    low: int
    high: int


def xorb_key(name: str) -> str:
    """Where the object store keeps a xorb."""
    return f"xorbs/{name[:2]}/{name[2:4]}/{name}"


class Reader:
    """Reads verified files.

    Unpacking runs in one thread: it is many small library calls, and two threads would fight over the interpreter lock
    (measured: 2.8 GB/s with one, 1.0 GB/s with two).
    """

    def __init__(self, database: Database, blobs: ObjectStore) -> None:
        self._database = database
        self._blobs = blobs
        self.damaged: set[bytes] = set()
        """Xorbs that were found damaged: they are offered to nobody, and the next upload of one replaces it."""
        self._tables: OrderedDict[bytes, ChunkTable] = OrderedDict()
        self._scratch = np.empty(_PIECE_BYTES + CHUNK_LIMIT_BYTES, np.uint8)
        self.worker = ThreadPoolExecutor(1, thread_name_prefix="xet")

    async def tables(self, xorbs: Collection[bytes]) -> dict[bytes, ChunkTable]:
        """The chunk tables of those of these xorbs that are there."""
        found: dict[bytes, ChunkTable] = {}
        for xorb in xorbs:
            table = self._tables.get(xorb)
            if table is not None:
                self._tables.move_to_end(xorb)
                found[xorb] = table
        names = {text_of(xorb): xorb for xorb in xorbs if xorb not in found}
        if names:
            found |= await self._database.read(partial(_load_tables, names=names))
            self._keep(found)
        return found

    def forget(self, xorb: bytes) -> None:
        """The xorb is gone from the store."""
        self._tables.pop(xorb, None)

    async def stream(self, file: StoredFile, start: int, end: int) -> AsyncIterator[bytes]:
        """The file's bytes, every chunk checked against its hash; the next piece is fetched while one is being used."""
        pieces = self._pieces(file, start, end)
        ahead: asyncio.Task[bytes] | None = None
        try:
            async for piece in pieces:
                current, ahead = ahead, asyncio.create_task(self._fetch(piece))
                if current is not None:
                    yield await current
            if ahead is not None:
                yield await ahead
        finally:
            await pieces.aclose()
            if ahead is not None and not ahead.done():
                ahead.cancel()
                with suppress(asyncio.CancelledError):
                    await ahead

    def stored(self, xorb: bytes, start: int, end: int) -> AsyncIterator[bytes]:
        """A xorb's bytes as they are stored."""
        return self._blobs.stream(xorb_key(text_of(xorb)), start, end)

    def close(self) -> None:
        """Let the thread end."""
        self.worker.shutdown(wait=True)

    async def _pieces(self, file: StoredFile, start: int, end: int) -> AsyncGenerator[_Piece, None]:
        for offset, span in touched(file.terms, start, end):
            tables = await self.tables([span.xorb])
            if span.xorb not in tables:
                raise InternalError(
                    f"A part of the stored file {file.sha256} is gone. Restore the xorb {text_of(span.xorb)} from a backup."
                )
            table = tables[span.xorb]
            base = table.unpacked_range(span.first, span.last)[0]
            low, high = max(start - offset, 0) + base, min(end - offset, span.length) + base
            for first, last in _runs(table, span.first, span.last):
                run_low, run_high = table.unpacked_range(first, last)
                if run_high > low and run_low < high:
                    yield _Piece(span.xorb, table, first, last, max(low, run_low) - run_low, min(high, run_high) - run_low)

    async def _fetch(self, piece: _Piece) -> bytes:
        name = text_of(piece.xorb)
        start, end = piece.table.stored_range(piece.first, piece.last)
        loop = asyncio.get_running_loop()
        path = self._blobs.local_path(xorb_key(name))
        try:
            data = await self._blobs.get(xorb_key(name), start, end) if path is None else b""
            unpacked = await loop.run_in_executor(self.worker, self._unpack, piece, path or data)
        except (InvalidRequest, FileNotFoundError) as error:
            self.damaged.add(piece.xorb)
            raise InternalError(
                f"The stored xorb {name} is damaged: {error} Restore it from a backup, or upload the file again."
            ) from error
        if piece.low == 0 and piece.high == len(unpacked):
            return unpacked
        return unpacked[piece.low : piece.high]

    def _unpack(self, piece: _Piece, source: Path | bytes) -> bytes:
        """Runs in the worker; a local object is read there too, which saves a thread hop and a copy."""
        if isinstance(source, Path):
            start, end = piece.table.stored_range(piece.first, piece.last)
            with source.open("rb", buffering=0) as file:
                data = os.pread(file.fileno(), end - start, start)
        else:
            data = source
        return unpack_chunks(data, piece.table, piece.first, piece.last, self._scratch)

    def _keep(self, found: dict[bytes, ChunkTable]) -> None:
        self._tables.update(found)
        while len(self._tables) > _KEPT_TABLES:
            self._tables.popitem(last=False)


def _load_tables(connection: sa.Connection, names: dict[str, bytes]) -> dict[bytes, ChunkTable]:
    return {names[name]: unpack_table(data) for name, data in store.packed_tables(connection, names.keys()).items()}


def _runs(table: ChunkTable, first: int, last: int) -> list[tuple[int, int]]:
    """The chunks in runs of about `_PIECE_BYTES` unpacked."""
    runs: list[tuple[int, int]] = []
    start = first
    while start < last:
        low = table.unpacked_range(start, start + 1)[0]
        end = int(np.searchsorted(table.unpacked_ends, low + _PIECE_BYTES, side="right"))
        runs.append((start, min(max(end, start + 1), last)))
        start = runs[-1][1]
    return runs
