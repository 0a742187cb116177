"""The headers of a sharded model's safetensors files, all at once: every tensor's name, type and shape without its numbers."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from yunmo.core.errors import EntryNotFound, InvalidRequest, TooLarge
from yunmo.hub import formats
from yunmo.hub.files import Files, Page
from yunmo.hub.records import Repository
from yunmo.hub.trees import Item

INDEX_LIMIT_BYTES = 32 * 1024 * 1024
SHARDS_LIMIT = 1000
HEADERS_LIMIT_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Headers:
    """Each shard's header as JSON by the shard's name in the index, and the index's own metadata."""

    by_shard: Mapping[str, msgspec.Raw]
    metadata: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class TensorHeaders:
    """Reads headers. The repository's files were found readable for the caller before."""

    files: Files

    async def of(self, repository: Repository, index: str) -> Headers:
        """The headers of the shards that the index file on `main` names. Raises EntryNotFound, InvalidRequest and TooLarge."""
        page = await self.files.at(repository, "main", [index])
        document = await self._index(page, index)
        folder = index.rpartition("/")[0]
        paths = {name: f"{folder}/{name}" if folder else name for name in _shards(document, index)}
        page = await self.files.at(repository, page.commit.oid, list(paths.values()))
        items = {item.path: item for item in page.items}
        headers: dict[str, msgspec.Raw] = {}
        total = 0
        for name, path in paths.items():
            header = await self._header(page, items.get(path), path)
            total += len(header)
            if total > HEADERS_LIMIT_BYTES:
                raise TooLarge(f"The headers that {index!r} names have more than {HEADERS_LIMIT_BYTES >> 20} MiB. Read them one by one.")
            headers[name] = msgspec.Raw(header)
        metadata = document.get("metadata")
        return Headers(headers, metadata if isinstance(metadata, dict) else {})

    async def _index(self, page: Page, path: str) -> dict[str, Any]:
        item = next(iter(page.items), None)
        if item is not None and item.entry.size > INDEX_LIMIT_BYTES:
            raise TooLarge(f"The index {path!r} has more than {INDEX_LIMIT_BYTES >> 20} MiB.")
        try:
            document = json.loads(await self._read(page, item, path, INDEX_LIMIT_BYTES))
        except (ValueError, RecursionError) as error:
            raise InvalidRequest(f"The index {path!r} is not JSON: {str(error)[:200]}.", param="path") from error
        return document if isinstance(document, dict) else {}

    async def _header(self, page: Page, item: Item | None, path: str) -> bytes:
        """The header without the length before it, checked."""
        first = await self._read(page, item, path, 8)
        size = item.entry.size if item is not None else 0
        try:
            header = await self._read(page, item, path, formats.safetensors_header_size(first, size))
            await asyncio.to_thread(formats.safetensors, header, size)
        except formats.BadFormat as error:
            raise InvalidRequest(f"{path!r} is not a safetensors file: {error}.", param="path") from error
        return header[8:]

    async def _read(self, page: Page, item: Item | None, path: str, end: int) -> bytes:
        large = page.large.get(item.entry.sha256 or "") if item is not None else None
        if item is None or item.entry.is_folder or (item.entry.sha256 and large is None):
            raise EntryNotFound(f"There is no file {path[:200]!r} on 'main'.", commit=page.commit.oid)
        return await self.files.read(item.entry, large, 0, end)


def _shards(document: Mapping[str, Any], index: str) -> list[str]:
    weights = document.get("weight_map")
    if not isinstance(weights, dict) or not all(isinstance(name, str) for name in weights.values()):
        raise InvalidRequest(f"{index!r} is not the index of a sharded model: it has no 'weight_map' of file names.", param="path")
    names = sorted(set(weights.values()))
    if len(names) > SHARDS_LIMIT:
        raise TooLarge(f"The index {index!r} names more than {SHARDS_LIMIT} files.")
    return names
