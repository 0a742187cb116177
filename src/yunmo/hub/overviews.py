"""What a revision says about itself, read from its small documents and the bounded headers of its weights."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
import structlog

from yunmo.core.errors import YunmoError
from yunmo.hub import cards, formats
from yunmo.hub.files import Files, Page
from yunmo.hub.history import MAIN
from yunmo.hub.names import RepositoryType
from yunmo.hub.records import Overview, Repository
from yunmo.hub.store import overviews as store
from yunmo.hub.store.commits import get_ref
from yunmo.hub.store.repositories import by_id
from yunmo.hub.tasks_of import library_of, pipeline_tag_of
from yunmo.hub.trees import Item
from yunmo.storage.database import Database

DOCUMENT_LIMIT_BYTES = 2 * 1024 * 1024
_DOCUMENTS_LIMIT = 64
_NOT_DOCUMENTS = frozenset({"tokenizer.json", "vocab.json"})
_GGUF_STEPS = (1 << 20, 1 << 23, 1 << 26)
_SHARDS_LIMIT = 200
_CAUGHT_UP_AT_ONCE = 100
_TAGS_LIMIT = 10_000
_log = structlog.get_logger()
_KEPT_CONFIG = ("architectures", "model_type", "auto_map", "quantization_config")


@dataclass(frozen=True, slots=True)
class Overviews:
    """Reads revisions' own words, and keeps those of each repository's newest revision for the lists."""

    database: Database
    files: Files

    async def refresh(self, repository: Repository) -> Overview:
        """The overview of the newest revision of `main`; it is kept."""
        page = await self.files.all(repository, "main")
        try:
            overview = await self.of(repository, page)
        except (FileNotFoundError, YunmoError) as error:  # one damaged repository must not break every list
            _log.warning("overview_failed", repository=repository.full_name, commit=page.commit.oid, error=str(error))
            overview = Overview(commit=page.commit.oid)
        await self.database.write(lambda connection: store.put(connection, repository.id, overview))
        return overview

    async def tags(self, type_: RepositoryType) -> dict[str, list[str]]:
        """The tags in use on what everyone may see, by their type; a certain number at most."""
        await self.catch_up(type_)
        found: dict[str, list[str]] = {}
        for tag, kind in await self.database.read(lambda connection: store.public_tags(connection, type_, _TAGS_LIMIT)):
            found.setdefault(kind, []).append(tag)
        return found

    async def newest(self, repository: Repository) -> Overview:
        """The overview of the newest revision of `main`, read anew if the branch has moved."""
        head, kept = await self.database.read(
            lambda connection: (get_ref(connection, repository.id, MAIN), store.get(connection, [repository.id]).get(repository.id))
        )
        return kept if kept is not None and kept.commit == head else await self.refresh(repository)

    async def catch_up(self, type_: RepositoryType) -> None:
        """Bring the overviews that lists filter by up to date, some at a time."""

        def work(connection: sa.Connection) -> list[Repository]:
            found = (by_id(connection, identity) for identity in store.outdated(connection, type_, MAIN, _CAUGHT_UP_AT_ONCE))
            return [repository for repository in found if repository is not None]

        for repository in await self.database.read(work):
            await self.refresh(repository)

    async def kept(self, repositories: Sequence[Repository]) -> dict[int, Overview]:
        """The overviews kept for these repositories."""
        return await self.database.read(lambda connection: store.get(connection, [repository.id for repository in repositories]))

    async def of(self, repository: Repository, page: Page) -> Overview:
        """The overview of a revision whose every file is in `page`."""
        files = {item.path: item for item in page.items}
        card = cards.card_of(await self._read(files["README.md"], page, cards.CARD_LIMIT_BYTES)) if "README.md" in files else {}
        is_model = repository.type == "model"
        documents = await self.documents(page, only=("config.json", "tokenizer_config.json")) if is_model else {}
        metadata = await self.gguf(page) if is_model else {}
        safetensors = await self._safetensors(page) if is_model else None
        sizes = {path: item.entry.size for path, item in files.items()}
        pipeline_tag = _text(card.get("pipeline_tag")) or (pipeline_tag_of(sizes, documents, metadata) if is_model else None)
        library = _text(card.get("library_name")) or (library_of(sizes, documents) if is_model else None)
        return Overview(
            commit=page.commit.oid,
            card=card,
            tags=tuple(_tags(card, files, documents, (pipeline_tag, library))),
            pipeline_tag=pipeline_tag,
            library_name=library,
            config=_config(documents),
            safetensors=safetensors,
            gguf=_gguf_summary(metadata),
            used_bytes=sum(sizes.values()),
        )

    async def documents(self, page: Page, only: Sequence[str] | None = None) -> dict[str, Any]:
        """The revision's small JSON files by path: at its root and one folder down, or `only` these."""
        chosen = [item for item in page.items if (item.path in only if only is not None else _is_document(item))]
        found: dict[str, Any] = {}
        for item in chosen[:_DOCUMENTS_LIMIT]:
            if item.entry.size <= DOCUMENT_LIMIT_BYTES:
                try:
                    found[item.path] = json.loads(await self._read(item, page, DOCUMENT_LIMIT_BYTES))
                except (ValueError, RecursionError):
                    continue
        return found

    async def gguf(self, page: Page, file: str | None = None) -> dict[str, Any]:
        """The metadata of this GGUF file, or of the revision's first; empty if there is none that can be read."""
        candidates = (each for each in page.items if each.path.lower().endswith(".gguf") and "mmproj" not in each.path.lower())
        item = next((each for each in candidates if file in {None, each.path}), None)
        for step in _GGUF_STEPS if item is not None else ():
            assert item is not None
            try:
                return await asyncio.to_thread(formats.gguf, await self._read(item, page, step), item.entry.size)
            except formats.Incomplete:
                continue
            except formats.BadFormat:
                return {}
        return {}

    async def card(self, page: Page) -> dict[str, Any]:
        """The fields of the revision's model card."""
        item = next((each for each in page.items if each.path == "README.md"), None)
        return cards.card_of(await self._read(item, page, cards.CARD_LIMIT_BYTES)) if item else {}

    async def _safetensors(self, page: Page) -> dict[str, Any] | None:
        shards = [item for item in page.items if "/" not in item.path and item.path.endswith(".safetensors")]
        shards = [item for item in shards if item.path.startswith(("model", "diffusion_pytorch_model"))] or shards[:1]
        parameters: dict[str, int] = {}
        for item in shards[:_SHARDS_LIMIT]:
            try:
                first = await self._read(item, page, 8)
                header = await self._read(item, page, formats.safetensors_header_size(first, item.entry.size))
                tensors = await asyncio.to_thread(formats.safetensors, header, item.entry.size)
            except formats.BadFormat:
                return None
            for dtype, count in tensors.parameters.items():
                parameters[dtype] = parameters.get(dtype, 0) + count
        return {"parameters": parameters, "total": sum(parameters.values())} if parameters else None

    async def _read(self, item: Item, page: Page, end: int) -> bytes:
        large = page.large.get(item.entry.sha256) if item.entry.sha256 else None
        if item.entry.sha256 and large is None:
            return b""
        return await self.files.read(item.entry, large, 0, end)


def _is_document(item: Item) -> bool:
    name = item.path.rsplit("/", 1)[-1]
    return name.endswith(".json") and item.path.count("/") <= 1 and name not in _NOT_DOCUMENTS


def _config(documents: Mapping[str, Any]) -> dict[str, Any]:
    config, tokenizer = documents.get("config.json"), documents.get("tokenizer_config.json")
    kept = {key: config[key] for key in _KEPT_CONFIG if key in config} if isinstance(config, dict) else {}
    if isinstance(tokenizer, dict) and isinstance(tokenizer.get("chat_template"), str):
        kept["tokenizer_config"] = {"chat_template": tokenizer["chat_template"]}
    return kept


def _gguf_summary(metadata: Mapping[str, Any]) -> dict[str, Any] | None:
    if not metadata:
        return None
    architecture = str(metadata.get("general.architecture", ""))
    summary = {
        "total": min(metadata["gguf.parameters"], 2**63 - 1),
        "architecture": architecture,
        "context_length": metadata.get(f"{architecture}.context_length"),
        "chat_template": metadata.get("tokenizer.chat_template"),
    }
    return {key: value for key, value in summary.items() if value is not None}


def _tags(
    card: Mapping[str, Any], files: Mapping[str, Item], documents: Mapping[str, Any], known: tuple[str | None, str | None]
) -> list[str]:
    pipeline_tag, library = known
    tags = [each for each in (library, pipeline_tag) if each]
    formats_of = {".safetensors": "safetensors", ".gguf": "gguf", ".onnx": "onnx"}
    tags += [tag for suffix, tag in formats_of.items() if any(path.endswith(suffix) for path in files)]
    config = documents.get("config.json")
    if isinstance(config, dict) and isinstance(config.get("model_type"), str):
        tags.append(config["model_type"])
    tags += cards.strings(card.get("tags")) + cards.strings(card.get("language"))
    prefixes = {
        "license": "license",
        "datasets": "dataset",
        "base_model": "base_model",
        "task_categories": "task_categories",
        "language": "language",
        "size_categories": "size_categories",
        "task_ids": "task_ids",
        "multilinguality": "multilinguality",
        "language_creators": "language_creators",
    }
    for key, prefix in prefixes.items():
        tags += [f"{prefix}:{value}" for value in cards.strings(card.get(key))]
    has_auto_map = any(isinstance(document, dict) and "auto_map" in document for document in documents.values())
    if has_auto_map or any(path.endswith(".py") for path in files):
        tags.append("custom_code")
    return list(dict.fromkeys(tags))


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
