"""Files of a revision: listing folders, looking at paths, and reading contents."""

from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice

import sqlalchemy as sa

from yunmo.core.errors import EntryNotFound
from yunmo.core.identity import Principal
from yunmo.hub import history
from yunmo.hub.blobs import Blobs
from yunmo.hub.large import LargeFile, LargeFiles
from yunmo.hub.names import RepositoryType
from yunmo.hub.objects import Entry
from yunmo.hub.records import Commit, Repository
from yunmo.hub.repositories import check_files, find_in
from yunmo.hub.store import commits as store
from yunmo.hub.trees import Item, find, walk
from yunmo.storage.database import Database


@dataclass(frozen=True, slots=True)
class OpenFile:
    """A file that the caller may read."""

    repository: Repository
    commit: Commit
    path: str
    entry: Entry
    large: LargeFile | None

    @property
    def etag(self) -> str:
        return self.entry.sha256 or self.entry.oid

    @property
    def size(self) -> int:
        return self.entry.size


@dataclass(frozen=True, slots=True)
class Page:
    """Part of a listing. `large` knows the large files among the items; `changes` the last change of each, if asked for."""

    commit: Commit
    items: Sequence[Item]
    large: dict[str, LargeFile] = field(default_factory=dict)
    changes: dict[str, Commit] = field(default_factory=dict)
    has_more: bool = False


@dataclass(frozen=True, slots=True)
class Where:
    """A revision of a repository, as the caller names it."""

    type: RepositoryType
    name: str
    revision: str


@dataclass(frozen=True, slots=True)
class Files:
    """Reads the files of repositories that the caller may see."""

    database: Database
    blobs: Blobs
    large: LargeFiles

    async def list(
        self, repository: Repository, revision: str, folder: str = "", *, is_recursive: bool = False, window: tuple[int, int] = (0, 1000)
    ) -> Page:
        """What is in a folder, from item `window[0]`, at most `window[1]` items. Raises EntryNotFound."""
        first, count = window

        def work(connection: sa.Connection) -> Page:
            commit = history.resolve(connection, repository, revision)
            load = store.tree_reader(connection)
            root = find(load, commit.tree, folder)
            if root is None or not root.is_folder:
                raise EntryNotFound(f"{repository.full_name} has no folder {folder!r} at {revision[:200]!r}.", commit=commit.oid)
            prefix = f"{folder}/" if folder else ""
            items = list(islice(walk(load, root.oid, prefix, is_recursive=is_recursive), first, first + count + 1))
            return Page(commit, items[:count], self._known(connection, repository, items), has_more=len(items) > count)

        return await self.database.read(work)

    async def at(self, repository: Repository, revision: str, paths: Sequence[str]) -> Page:
        """The files and folders at these paths; those that are not there are left out."""

        def work(connection: sa.Connection) -> Page:
            commit = history.resolve(connection, repository, revision)
            load = store.tree_reader(connection)
            found = ((path.strip("/"), find(load, commit.tree, path)) for path in dict.fromkeys(paths))
            items = [Item(path, entry) for path, entry in found if entry is not None and path]
            return Page(commit, items, self._known(connection, repository, items))

        return await self.database.read(work)

    async def all(self, repository: Repository, revision: str) -> Page:
        """Every file of a revision."""

        def work(connection: sa.Connection) -> Page:
            commit = history.resolve(connection, repository, revision)
            items = history.files(connection, commit)
            return Page(commit, items, self._known(connection, repository, items))

        return await self.database.read(work)

    async def last_changes(self, page: Page) -> dict[str, Commit]:
        """The commit that last changed each item of the page."""
        return await self.database.read(lambda connection: history.last_changes(connection, page.commit, page.items))

    async def open(self, principal: Principal, where: Where, path: str) -> OpenFile:
        """Find a file for reading. Raises RepositoryNotFound, Gated, RevisionNotFound and EntryNotFound."""

        def work(connection: sa.Connection) -> OpenFile:
            repository = find_in(connection, principal, where.type, where.name)
            check_files(connection, principal, repository)
            commit = history.resolve(connection, repository, where.revision)
            entry = find(store.tree_reader(connection), commit.tree, path)
            large = self.large.known_in(connection, repository.id, entry.sha256) if entry and entry.sha256 else None
            if entry is None or entry.is_folder or (entry.sha256 and large is None):
                raise EntryNotFound(f"{repository.full_name} has no file {path[:200]!r} at {where.revision[:200]!r}.", commit=commit.oid)
            return OpenFile(repository, commit, path, entry, large)

        return await self.database.read(work)

    def stream(self, entry: Entry, large: LargeFile | None, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """The file's bytes from `start` up to, not including, `end`."""
        if large is not None:
            return self.large.stream(large, start, end)
        return self.blobs.stream(entry.oid, start, end)

    async def read(self, entry: Entry, large: LargeFile | None, start: int = 0, end: int | None = None) -> bytes:
        """The same in one piece; for headers and small documents."""
        if large is None:
            return await self.blobs.read(entry.oid, start, end)
        stop = large.size if end is None else min(end, large.size)
        if start >= stop:
            return b""
        pieces = self.large.stream(large, start, stop)
        return b"".join([piece async for piece in pieces])

    def _known(self, connection: sa.Connection, repository: Repository, items: Iterable[Item]) -> dict[str, LargeFile]:
        hashes = {item.entry.sha256 for item in items if item.entry.sha256}
        files = (self.large.known_in(connection, repository.id, sha256) for sha256 in hashes)
        return {file.sha256: file for file in files if file is not None}
