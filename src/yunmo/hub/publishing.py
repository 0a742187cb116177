"""Publishing: a directory on this machine becomes a revision of a model's repository.

Its bytes go in before, by the ways of a client's push, and wait like a client's for the commit that names them. The commit is made in the
caller's transaction: whatever undoes that, publishes nothing.
"""

import asyncio
import hashlib
import stat
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from yunmo.core.errors import InvalidRequest, RepositoryNotFound
from yunmo.core.identity import Principal
from yunmo.hub import history
from yunmo.hub.commits import AddFile, AddLargeFile, Change, Commits, check_words
from yunmo.hub.large_store import LargeFileStore
from yunmo.hub.objects import EMPTY_TREE
from yunmo.hub.records import Repository
from yunmo.hub.repositories import Repositories, RepositoryExists, require_write
from yunmo.hub.store import commits as store
from yunmo.hub.store import repositories as repository_store
from yunmo.hub.trees import TreeEdit, find
from yunmo.hub.uploads import FILES_LIMIT, Candidate, Uploads

_ATTRIBUTES = ".gitattributes"
_SAMPLE_BYTES = 512
_READ_BYTES = 4 * 1024 * 1024

Additions = tuple[AddFile | AddLargeFile, ...]


@dataclass(frozen=True, slots=True)
class Prepared:
    """A revision whose bytes are in. `key` is that of the commit: the same one is made once, however often it is asked for."""

    repository: Repository
    author: str
    key: str
    additions: Additions


@dataclass(frozen=True, slots=True)
class Publishing:
    """Makes revisions of directories."""

    repositories: Repositories
    uploads: Uploads
    commits: Commits
    large: LargeFileStore

    async def prepare(self, principal: Principal, name: str, directory: Path, key: str) -> Prepared:
        """Take in the directory's files for the model `name`, which is made (private, empty) if it is not there.

        `key` names the revision among all that the principal's project publishes there: a job's id, or one and its epoch. Raises Forbidden,
        InsufficientStorage over the project's allowance, and InvalidRequest for a directory with links, names that cannot be, or pickles
        where they are not taken.
        """
        found = await asyncio.to_thread(lambda: list(_files(directory)))
        if not found:
            raise InvalidRequest(f"There is nothing to publish as {name!r}: the directory holds no file.")
        repository = await self._repository(principal, name)
        additions: list[AddFile | AddLargeFile] = []
        staging = self.uploads.staging()
        for start in range(0, len(found), FILES_LIMIT):
            some = found[start : start + FILES_LIMIT]
            decisions = await self.uploads.plan(repository, "main", await asyncio.to_thread(_candidates, directory, some), None)
            for path, decision in zip(some, decisions, strict=True):
                file = directory / path
                if decision.is_large:
                    additions.append(await self._sent(principal, repository, path, file))
                    continue
                content = await asyncio.to_thread(file.read_bytes)
                additions.append(AddFile(path, await staging.add(content), len(content)))
        await staging.flush()
        await self.commits.check(repository, additions)
        return Prepared(repository, principal.project, _request_key(principal.project, key), tuple(additions))

    def commit_in(self, connection: sa.Connection, prepared: Prepared, title: str, message: str = "") -> str:
        """Put the revision on `main` in the caller's transaction; the commit's id. It holds the directory's files and no others.

        The commit of the same key is found again, whatever came after it. Raises RepositoryNotFound for one that is gone meanwhile.
        """
        check_words(Change(title=title, message=message))
        repository = prepared.repository
        repository_store.lock(connection, repository.id)
        earlier = store.commit_by_request(connection, repository.id, prepared.key)
        if earlier is not None:
            return earlier.oid
        if repository_store.by_id(connection, repository.id) is None:
            raise RepositoryNotFound(f"The model {repository.full_name} was deleted while it was being published. Publish it again.")
        head = history.resolve(connection, repository, history.MAIN)
        load = store.tree_reader(connection)
        edit = TreeEdit(load, EMPTY_TREE)
        attributes = find(load, head.tree, _ATTRIBUTES)
        if attributes is not None and not attributes.is_folder:
            edit.put(_ATTRIBUTES, attributes)
        for added in prepared.additions:
            edit.put(added.path, self.commits.entry_in(connection, repository, added))
        words = history.Words(title, message, (prepared.author, self.commits.clock()), head.oid, prepared.key)
        return history.advance(connection, repository, history.MAIN, edit.write(), words).oid

    async def _repository(self, principal: Principal, name: str) -> Repository:
        try:
            repository = await self.repositories.find_writable(principal, "model", name)
        except RepositoryNotFound:
            try:
                return await self.repositories.create(principal, "model", name, is_private=True)
            except RepositoryExists as error:  # somebody was faster
                if error.repository is None:
                    raise
                repository = error.repository
        require_write(principal, repository.namespace)
        return repository

    async def _sent(self, principal: Principal, repository: Repository, path: str, file: Path) -> AddLargeFile:
        """A large file, sent as Git LFS unless the repository has it."""
        sha256, size = await asyncio.to_thread(_measured, file)
        if await self.large.known(repository.id, sha256) is None:
            upload = await self.large.lfs.begin(repository.id, sha256, size, principal.project, in_parts=False)
            await self.large.put_lfs(upload.whole or "", _pieces(file))
        return AddLargeFile(path, sha256, size)


def _files(directory: Path) -> Iterator[str]:
    """The paths of all files, in order. A link could lead out of the directory, to files that are nobody's to read."""
    for path in sorted(directory.rglob("*")):
        mode, name = path.lstat().st_mode, path.relative_to(directory).as_posix()
        if stat.S_ISREG(mode):
            yield name
        elif not stat.S_ISDIR(mode):
            raise InvalidRequest(f"{name!r} cannot be published: it is a link or a device. Put a file in its place.")


def _candidates(directory: Path, paths: Sequence[str]) -> list[Candidate]:
    candidates = []
    for path in paths:
        with (directory / path).open("rb") as file:
            candidates.append(Candidate(path, (directory / path).stat().st_size, file.read(_SAMPLE_BYTES)))
    return candidates


def _measured(path: Path) -> tuple[str, int]:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest(), file.tell()


async def _pieces(path: Path) -> AsyncIterator[bytes]:
    with await asyncio.to_thread(path.open, "rb") as file:
        while piece := await asyncio.to_thread(file.read, _READ_BYTES):
            yield piece


def _request_key(project: str, key: str) -> str:
    return hashlib.sha256(f"publish\0{project}\0{key}".encode()).hexdigest()
