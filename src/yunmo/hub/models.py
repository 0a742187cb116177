"""Models as serving sees them: a pinned revision, what is known of it, and its files on a local disk."""

import asyncio
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import sqlalchemy as sa

from yunmo.core.engine import ModelDescription
from yunmo.core.errors import EntryNotFound, RepositoryNotFound
from yunmo.core.identity import Principal
from yunmo.hub import history
from yunmo.hub.cards import strings
from yunmo.hub.files import Files, Page
from yunmo.hub.overviews import Overviews
from yunmo.hub.paths import check_path
from yunmo.hub.records import Repository
from yunmo.hub.repositories import check_files, may_see, resolve_name
from yunmo.hub.store import commits as commit_store
from yunmo.hub.store import repositories as store
from yunmo.hub.store.repositories import Listing
from yunmo.hub.tasks_of import library_of, pipeline_tag_of
from yunmo.hub.trees import Item
from yunmo.storage.database import Database

_DESCRIPTIONS_KEPT = 256
_ALL = 100_000


@dataclass(frozen=True, slots=True)
class RevisionRef:
    """One revision of a model, for good. `project` owns it; `created` is the repository's birth in unix seconds."""

    repository_id: int
    repository: str
    commit: str
    project: str
    is_private: bool
    is_gated: bool
    created: int


@dataclass(frozen=True, slots=True)
class Models:
    """Finds, describes and lays out models."""

    database: Database
    files: Files
    overviews: Overviews
    _descriptions: dict[tuple[int, str, str | None], ModelDescription] = field(default_factory=dict)

    async def find(self, principal: Principal, name: str, revision: str = "main") -> RevisionRef:
        """Pin a model's revision; `name` may be bare or an alias. Any key of the owner's project may use a private model.

        Raises RepositoryNotFound, RevisionNotFound, and Gated where access must be asked for first.
        """

        def work(connection: sa.Connection) -> RevisionRef:
            repository = resolve_name(connection, "model", name)
            if repository is None or repository.is_disabled or not _may_use(principal, repository):
                raise RepositoryNotFound(f"There is no model {name[:200]!r}, or you may not use it. Check the name and your key.")
            check_files(connection, principal, repository)
            return _ref(repository, history.resolve(connection, repository, revision).oid)

        return await self.database.read(work)

    async def describe(self, ref: RevisionRef, file: str | None = None) -> ModelDescription:
        """What the revision's small documents and headers say; remembered, since a revision never changes.

        `file` is the one of several models in the revision that is meant.
        """
        known = self._descriptions.get((ref.repository_id, ref.commit, file))
        if known is None:
            known = await self._describe(ref, file)
            while len(self._descriptions) >= _DESCRIPTIONS_KEPT:
                self._descriptions.pop(next(iter(self._descriptions)))
            self._descriptions[ref.repository_id, ref.commit, file] = known
        return known

    async def lay_out(self, ref: RevisionRef, paths: Sequence[str], directory: Path) -> None:
        """Write the files (all of them if `paths` is empty) below `directory`, each atomically; those there are kept.

        Raises EntryNotFound for a path that the revision does not have.
        """
        page = await self._page(ref)
        items = {item.path: item for item in page.items}
        for path in paths or items:
            item = items.get(path)
            if item is None:
                raise EntryNotFound(f"{ref.repository} has no file {path!r} at {ref.commit[:12]}.", commit=ref.commit)
            target = directory / check_path(path)
            if not await asyncio.to_thread(target.exists):
                await asyncio.to_thread(target.parent.mkdir, parents=True, exist_ok=True)
                await self._write(item, page, target)

    async def list(self, principal: Principal) -> list[RevisionRef]:
        """The newest revision of `main` of every model that the caller may use."""
        reader = None if principal.is_admin else principal.project

        def work(connection: sa.Connection) -> list[RevisionRef]:
            found = store.listing(connection, Listing("model", reader, limit=_ALL))
            heads = ((repository, commit_store.get_ref(connection, repository.id, history.MAIN)) for repository in found)
            return [_ref(repository, oid) for repository, oid in heads if oid is not None]

        return await self.database.read(work)

    async def _describe(self, ref: RevisionRef, file: str | None) -> ModelDescription:
        page = await self._page(ref)
        sizes = {item.path: item.entry.size for item in page.items}
        documents = await self.overviews.documents(page)
        metadata = await self.overviews.gguf(page, file)
        card = await self.overviews.card(page)
        stated, library = card.get("pipeline_tag"), card.get("library_name")
        return ModelDescription(
            repository=ref.repository,
            revision=ref.commit,
            files=sizes,
            documents=documents,
            pipeline_tag=stated if isinstance(stated, str) else pipeline_tag_of(sizes, documents, metadata),
            library_name=library if isinstance(library, str) else library_of(sizes, documents),
            tags=tuple(strings(card.get("tags"))),
            gguf=metadata,
            file=file,
            languages=tuple(strings(card.get("language"))),
        )

    async def _page(self, ref: RevisionRef) -> Page:
        def work(connection: sa.Connection) -> Repository:
            repository = store.by_id(connection, ref.repository_id)
            if repository is None:
                raise RepositoryNotFound(f"The model {ref.repository} has been deleted.")
            return repository

        return await self.files.all(await self.database.read(work), ref.commit)

    async def _write(self, item: Item, page: Page, target: Path) -> None:
        if item.entry.sha256:
            large = page.large.get(item.entry.sha256)
            if large is None:
                raise EntryNotFound(f"The content of {item.path!r} is not stored.", commit=page.commit.oid)
            await self.files.large.lay_out(large, target)
            return
        content = await self.files.blobs.read(item.entry.oid)
        await asyncio.to_thread(_write_whole, target, content)


def _may_use(principal: Principal, repository: Repository) -> bool:
    return may_see(principal, repository) or (not principal.is_anonymous and principal.project == repository.namespace)


def _ref(repository: Repository, commit: str) -> RevisionRef:
    created = int(repository.created_at.timestamp())
    return RevisionRef(
        repository.id, repository.full_name, commit, repository.namespace, repository.is_private, bool(repository.gated), created
    )


def _write_whole(target: Path, content: bytes) -> None:
    with tempfile.NamedTemporaryFile(dir=target.parent, prefix=".part-", delete=False) as file:
        try:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            Path(file.name).replace(target)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise
