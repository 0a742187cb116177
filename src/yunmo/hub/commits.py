"""Commits: any number of changes to a branch, all or none.

The branch moves by compare-and-swap inside one transaction; a retried request finds the commit it has already made.
"""

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa

from yunmo.core.errors import InvalidRequest, PreconditionFailed, RevisionNotFound
from yunmo.core.identity import Principal
from yunmo.hub import history, proposals
from yunmo.hub.large import LargeFile, LargeFiles
from yunmo.hub.objects import Entry, file_entry, large_entry
from yunmo.hub.paths import check_path
from yunmo.hub.records import Commit, Repository
from yunmo.hub.refs import PROPOSAL
from yunmo.hub.repositories import require_propose, require_write
from yunmo.hub.scans import Scans
from yunmo.hub.store import commits as store
from yunmo.hub.store import repositories as repository_store
from yunmo.hub.trees import Item, TreeEdit
from yunmo.hub.turns import Turns
from yunmo.storage.database import Database

Folders = dict[str, tuple[Entry, ...]]
_SHA256 = re.compile(r"[0-9a-f]{64}")
TITLE_LIMIT = 1000
MESSAGE_LIMIT = 64 * 1024


class AddFile(msgspec.Struct, frozen=True, tag="file"):
    """Add or replace a small file whose content has been staged."""

    path: str
    oid: str
    size: int


class AddLargeFile(msgspec.Struct, frozen=True, tag="large"):
    """Add or replace a large file that this repository has uploaded; `size` is checked if it is given."""

    path: str
    sha256: str
    size: int | None = None


class RemoveFile(msgspec.Struct, frozen=True, tag="remove"):
    """Remove a file."""

    path: str


class RemoveFolder(msgspec.Struct, frozen=True, tag="remove-folder"):
    """Remove a folder and all that is in it."""

    path: str


Operation = AddFile | AddLargeFile | RemoveFile | RemoveFolder


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be committed. `parent` is (the start of) the commit that the branch must still be at."""

    title: str
    message: str = ""
    parent: str | None = None
    operations: tuple[Operation, ...] = ()


@dataclass(frozen=True, slots=True)
class Made:
    """A commit and the ref that now points at it."""

    commit: Commit
    ref: str


@dataclass(frozen=True, slots=True)
class Commits:
    """Writes and lists revisions. The repository was found for the caller before."""

    database: Database
    large: LargeFiles
    clock: Callable[[], datetime]
    forbid_pickles: Scans | None = None
    """Set where weights are taken as safetensors only."""
    _turns: Turns = field(default_factory=Turns)

    async def commit(
        self, principal: Principal, repository: Repository, revision: str, change: Change, *, as_proposal: bool = False
    ) -> Made:
        """Apply the change to a branch or pull request, or to a new pull request for the branch that starts there or at `parent`.

        Raises RevisionNotFound, PreconditionFailed when the branch is not at the expected parent, EntryNotFound for a
        removal of what is not there, and InvalidRequest for paths that cannot be, large files that were not uploaded, and
        pickles where they are not taken.
        """
        if not as_proposal and not revision.startswith(PROPOSAL):
            require_write(principal, repository.namespace)
        check_words(change)
        await self.check(repository, change.operations)

        def work(connection: sa.Connection) -> Made:
            repository_store.lock(connection, repository.id)
            return self._commit(connection, principal, repository, (revision, as_proposal), change)

        # on PostgreSQL, commits to one branch that run at once would only make each other start again
        async with self._turns.turn(str(repository.id)):
            return await self.database.write(work)

    async def squash(self, principal: Principal, repository: Repository, branch: str, message: str) -> Made:
        """Replace a branch's history by one commit with its present files."""
        require_write(principal, repository.namespace)

        def work(connection: sa.Connection) -> Made:
            repository_store.lock(connection, repository.id)
            ref = _branch(connection, repository, branch)
            head = history.resolve(connection, repository, ref)
            words = history.Words(message[:TITLE_LIMIT], "", (principal.project, self.clock()))
            return Made(history.advance(connection, repository, ref, (head.tree, {}), words), ref)

        return await self.database.write(work)

    async def history(self, repository: Repository, revision: str, limit: int) -> Sequence[Commit]:
        """The revision and its ancestors, newest first, at most `limit`."""

        def work(connection: sa.Connection) -> Sequence[Commit]:
            head = history.resolve(connection, repository, revision)
            return store.history(connection, repository.id, head.oid, limit)

        return await self.database.read(work)

    async def check(self, repository: Repository, operations: Sequence[Operation]) -> None:
        """Raise InvalidRequest for paths that cannot be, and for pickles where they are not taken."""
        for operation in operations:
            check_path(operation.path)
        for operation in operations if self.forbid_pickles else ():
            large: LargeFile | None = None
            match operation:
                case AddFile(path, oid, size):
                    entry = file_entry(_name(path), oid, size)
                case AddLargeFile(path, sha256):
                    large = await self.large.known(repository.id, sha256)
                    if large is None:
                        continue  # the commit says what is wrong with it
                    entry = large_entry(_name(path), sha256, large.size)
                case _:
                    continue
            if self.forbid_pickles:
                await self.forbid_pickles.refuse_pickle(Item(path, entry), large)

    def entry_in(self, connection: sa.Connection, repository: Repository, added: AddFile | AddLargeFile) -> Entry:
        """The line of a tree for a file that is added, inside the caller's transaction. Raises InvalidRequest for one that was not uploaded."""
        if isinstance(added, AddFile):
            return file_entry(_name(added.path), added.oid, added.size)
        return self._large_entry(connection, repository, added)

    def _commit(
        self, connection: sa.Connection, principal: Principal, repository: Repository, target: tuple[str, bool], change: Change
    ) -> Made:
        revision, as_proposal = target
        ref = _branch(connection, repository, revision)
        if as_proposal:
            return self._propose(connection, principal, repository, ref, change)
        proposal = proposals.require_commit(connection, principal, repository, ref) if ref.startswith(PROPOSAL) else None
        head = history.resolve(connection, repository, ref)
        key = _request_key(principal, ref, change)
        earlier = store.commit_by_request(connection, repository.id, key, self.clock() - history.RETRY_WINDOW)
        if earlier is not None and (earlier.oid == head.oid or change.parent):
            return Made(earlier, ref)
        if change.parent is not None and not head.oid.startswith(change.parent.lower()):
            raise PreconditionFailed(
                f"A commit has happened since: {revision!r} is at {head.oid[:12]}, not at {change.parent[:40]}. Look at it and try again."
            )
        tree = self._edited(connection, repository, head, change)
        if tree[0] == head.tree and change.operations:
            return Made(head, ref)
        by = (principal.project, self.clock())
        commit = history.advance(connection, repository, ref, tree, history.Words(change.title, change.message, by, head.oid, key))
        if proposal is not None:
            proposals.committed(connection, proposal, commit, by)
        return Made(commit, ref)

    def _propose(self, connection: sa.Connection, principal: Principal, repository: Repository, branch: str, change: Change) -> Made:
        require_propose(connection, principal, repository)
        if branch.startswith(PROPOSAL):
            raise InvalidRequest("A pull request is for a branch, not for another pull request: commit to that one instead.")
        start = history.resolve(connection, repository, change.parent or branch)
        tree = self._edited(connection, repository, start, change)
        by = (principal.project, self.clock())
        words = history.Words(change.title, change.message, by, start.oid)
        proposal = proposals.begin(connection, repository, words, "open", (branch, start.oid))
        ref = f"{PROPOSAL}{proposal.number}"
        commit = history.advance(connection, repository, ref, tree, words)
        proposals.committed(connection, proposal, commit, by)
        return Made(commit, ref)

    def _edited(self, connection: sa.Connection, repository: Repository, start: Commit, change: Change) -> tuple[str, Folders]:
        edit = TreeEdit(store.tree_reader(connection), start.tree)
        for operation in change.operations:
            self._apply(connection, repository, edit, operation)
        return edit.write()

    def _apply(self, connection: sa.Connection, repository: Repository, edit: TreeEdit, operation: Operation) -> None:
        match operation:
            case AddFile() | AddLargeFile():
                edit.put(operation.path, self.entry_in(connection, repository, operation))
            case RemoveFile(path):
                edit.remove_file(path)
            case RemoveFolder(path):
                edit.remove_folder(path)

    def _large_entry(self, connection: sa.Connection, repository: Repository, added: AddLargeFile) -> Entry:
        path, sha256, size = added.path, added.sha256, added.size
        file = self.large.known_in(connection, repository.id, sha256) if _SHA256.fullmatch(sha256) else None
        if file is None:
            raise InvalidRequest(
                f"{path!r} names a large file (sha256 {sha256[:64]}) that was not uploaded to this repository, or not wholly."
            )
        if size is not None and size != file.size:
            raise InvalidRequest(f"{path!r} is said to have {size} bytes, but {file.size} were uploaded.")
        self.large.settle_in(connection, file)
        return large_entry(_name(path), sha256, file.size)


def _name(path: str) -> str:
    return path.rsplit("/", 1)[-1]


def _branch(connection: sa.Connection, repository: Repository, revision: str) -> str:
    """The branch or pull request to commit to."""
    found = history.find_ref(connection, repository.id, revision)
    if found is None:
        raise RevisionNotFound(f"{repository.full_name} has no branch {revision[:200]!r} to commit to. Create it first.")
    if not found.name.startswith(("refs/heads/", PROPOSAL)):
        raise InvalidRequest(f"{revision[:200]!r} is not a branch: nothing can be committed to a tag or commit.")
    return found.name


def _request_key(principal: Principal, target: str, change: Change) -> str:
    parts: list[Any] = [principal.project, target, change]
    return hashlib.sha256(msgspec.msgpack.encode(parts)).hexdigest()


def check_words(change: Change) -> None:
    """Raise InvalidRequest for a summary or a description that no commit may have."""
    if not change.title.strip():
        raise InvalidRequest("A commit needs a summary.", param="summary")
    if len(change.title) > TITLE_LIMIT or len(change.message) > MESSAGE_LIMIT:
        raise InvalidRequest(f"A commit's summary may have {TITLE_LIMIT} characters and its description {MESSAGE_LIMIT}.", param="summary")
    if "\0" in change.title + change.message:
        raise InvalidRequest("A commit's summary cannot contain NUL.", param="summary")
