"""Documents on their way through this server: files put where they can be read, parsed beside the event loop, and gone again."""

import asyncio
import secrets
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from yunmo.apps.translate.documents.format import Document, Format, FormatOptions
from yunmo.apps.translate.documents.registry import format_of
from yunmo.cloud.cloud import Cloud
from yunmo.cloud.values import File
from yunmo.core.errors import InvalidRequest, TooLarge

DOCUMENT_BYTES = 128 << 20
"""Of a document as it is uploaded; what its archive may unpack to is limited in `documents/archive.py`."""

UNITS = 250_000
"""Of a document: its segments and their translations are in memory while it is worked on, about 1 kB for each short one."""

_READ_AT_ONCE = 2
_PIECE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Opened:
    """A document that was read, its format, and a folder that lives as long as it is open."""

    document: Document
    format: Format
    folder: Path


class DocumentReader:
    """Reads documents that are files of projects; at most two at a time are parsed."""

    def __init__(self, cloud: Cloud, directory: Path, *, limit_bytes: int = DOCUMENT_BYTES, limit_units: int = UNITS) -> None:
        self._cloud = cloud
        self._directory = directory
        self._limit_bytes = limit_bytes
        self._limit_units = limit_units
        self._turns = asyncio.Semaphore(_READ_AT_ONCE)

    def clear(self) -> None:
        """Remove what a server that was killed has left."""
        shutil.rmtree(self._directory, ignore_errors=True)

    @asynccontextmanager
    async def open(self, file: File, options: FormatOptions) -> AsyncIterator[Opened]:
        """The document. Raises InvalidRequest for one that cannot be read, TooLarge for one that is too large to try."""
        if file.size > self._limit_bytes:
            raise TooLarge(
                f"The document has {file.size:,} bytes, more than the {self._limit_bytes:,} that are read: split it.", param="file"
            )
        folder = self._directory / secrets.token_hex(12)
        await asyncio.to_thread(folder.mkdir, parents=True)
        try:
            path = folder / "source"
            await self._fetch(file, path)
            async with self._turns:
                format_, document = await asyncio.to_thread(self._read, file.filename, path, options)
            yield Opened(document, format_, folder)
        finally:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    def _read(self, filename: str, path: Path, options: FormatOptions) -> tuple[Format, Document]:
        found = format_of(filename, path)
        try:
            document = found.read(path, options)
        except RecursionError:
            raise InvalidRequest("The document is nested too deeply to be read.", param="file") from None
        if len(document.units) > self._limit_units:
            raise TooLarge(
                f"The document has {len(document.units):,} paragraphs or cells, more than the {self._limit_units:,} that are translated: split it.",
                param="file",
            )
        if not document.units:
            raise InvalidRequest("The document has nothing to translate.", param="file")
        return found, document

    async def _fetch(self, file: File, path: Path) -> None:
        with path.open("wb") as target:
            async for piece in self._cloud.files.stream(file):
                await asyncio.to_thread(target.write, piece)


async def pieces_of(path: Path) -> AsyncIterator[bytes]:
    """A local file's bytes."""
    with path.open("rb") as source:
        while piece := await asyncio.to_thread(source.read, _PIECE_BYTES):
            yield piece
