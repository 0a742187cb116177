"""Taking large files out of a repository for good: their bytes, and every commit that names them.

A revision never changes, so those that named the files go, and others with new ids stand in their place. The bytes leave the disk when
no repository has them and the time that clients may still refer to them has passed (`large_store.TOMBSTONE_DAYS`).
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import datetime

import sqlalchemy as sa

from yunmo.core.errors import InvalidRequest
from yunmo.core.identity import Principal
from yunmo.hub import history
from yunmo.hub.acts import Record
from yunmo.hub.large import LargeFile, LargeFiles
from yunmo.hub.objects import EMPTY_TREE, FOLDER_MODE, Entry, tree_oid
from yunmo.hub.records import Commit, Repository
from yunmo.hub.repositories import may_write, require_write
from yunmo.hub.store import commits as store
from yunmo.hub.store import discussions as discussion_store
from yunmo.hub.store import repositories as repository_store
from yunmo.hub.trees import Load, walk
from yunmo.storage.database import Database

FILES_LIMIT = 1000
"""Clients name as many at a time."""

_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class HeldFile:
    """A large file of a repository: since when it is there, under which path, and whether `main` has it."""

    file: LargeFile
    added_at: datetime
    path: str
    is_on_main: bool


@dataclass(frozen=True, slots=True)
class Erasure:
    """Lists and erases the large files of repositories. The repository was found for the caller before."""

    database: Database
    large: LargeFiles
    clock: Callable[[], datetime]
    record: Record

    async def list(self, principal: Principal, repository: Repository) -> Sequence[HeldFile]:
        """The large files of `main` under each of their paths; for who may write, also all others under a path that they had.

        What no commit names goes under its sha256: it is nobody else's to know, and a history takes long to walk.
        """
        is_whole = may_write(principal, repository.namespace)

        def work(connection: sa.Connection) -> Sequence[HeldFile]:
            held = self.large.held_in(connection, repository.id)
            load = store.tree_reader(connection)
            head = history.resolve(connection, repository, "main")
            there = [(item.path, item.entry.sha256) for item in walk(load, head.tree) if item.entry.sha256 in held]
            rest = held.keys() - {sha256 for _, sha256 in there} if is_whole else set[str]()
            trees = [commit.tree for commit, _ in store.all_commits(connection, repository.id)] if rest else []
            former = _paths_of(load, reversed(trees), rest)
            found = [HeldFile(*held[sha256], path, is_on_main=True) for path, sha256 in there if sha256]
            return found + [HeldFile(*held[sha256], former.get(sha256, sha256), is_on_main=False) for sha256 in sorted(rest)]

        return await self.database.read(work)

    async def erase(self, principal: Principal, repository: Repository, hashes: Sequence[str], *, rewrites_history: bool) -> int:
        """Erase these large files, known by their sha256, and how many commits had to be replaced.

        Without rewriting, the commits stay and name files that can no longer be read. What is not there is passed over.
        """
        require_write(principal, repository.namespace)
        if len(hashes) > FILES_LIMIT or not all(_SHA256.fullmatch(each) for each in hashes):
            raise InvalidRequest(f"Name at most {FILES_LIMIT} large files by their sha256: 64 lower-case hexadecimal digits.", param="sha")
        rewriting = _Rewriting(frozenset(hashes))
        if rewrites_history:  # most of the reading, while others can still write: trees do not change
            await self.database.read(lambda connection: rewriting.prepare(connection, repository))

        def work(connection: sa.Connection) -> int:
            repository_store.lock(connection, repository.id)
            replaced = rewriting.replace_commits(connection, repository, (principal.project, self.clock())) if rewrites_history else 0
            self.large.forget_in(connection, repository.id, hashes)
            return replaced

        replaced = await self.database.write(work)
        detail = {"type": repository.type, "files": len(hashes), "replaced_commits": replaced}
        await self.record(principal, "repository.files_erased", repository.full_name, detail)
        return replaced


@dataclass(slots=True)
class _Rewriting:
    """Commits and trees without some large files."""

    hashes: frozenset[str]
    _trees: dict[str, str] = field(default_factory=dict)
    _folders: dict[str, tuple[Entry, ...]] = field(default_factory=dict)

    def prepare(self, connection: sa.Connection, repository: Repository) -> None:
        """Rewrite the trees there are now, without keeping them."""
        load = store.tree_reader(connection)
        for commit, _ in store.all_commits(connection, repository.id):
            self._tree(load, commit.tree)

    def replace_commits(self, connection: sa.Connection, repository: Repository, by: history.By) -> int:
        """Put others in the place of the commits that name the files, and of all that follow them; how many."""
        load = store.tree_reader(connection)
        commits = {commit.oid: (commit, key) for commit, key in store.all_commits(connection, repository.id)}
        renamed: dict[str, str] = {}
        for commit, key in _oldest_first(commits):
            parent = renamed.get(commit.parent or "", commit.parent)
            tree = self._tree(load, commit.tree)
            if (tree, parent) != (commit.tree, commit.parent):
                words = history.Words(commit.title, commit.message, (commit.author, commit.created_at), parent, key)
                other = history.described(repository.id, tree, words)
                renamed[commit.oid] = other.oid
                store.insert_commit(connection, other, key)
        if not renamed:
            return 0
        store.put_trees(connection, self._folders, by[1])
        for ref in store.refs(connection, repository.id):
            if ref.oid in renamed:
                store.move_ref(connection, repository.id, ref.name, renamed[ref.oid], by)
        discussion_store.rename_commits(connection, repository.id, renamed)
        store.delete_commits(connection, repository.id, list(renamed.keys() - renamed.values()))
        return len(renamed)

    def _tree(self, load: Load, oid: str) -> str:
        known = self._trees.get(oid)
        if known is not None:
            return known
        before = load(oid)
        after = []
        for entry in before:
            if entry.is_folder:
                inner = self._tree(load, entry.oid)
                if inner != EMPTY_TREE:
                    after.append(Entry(entry.name, FOLDER_MODE, inner))
            elif entry.sha256 not in self.hashes:
                after.append(entry)
        entries = tuple(after)
        new = oid if entries == before else tree_oid(entries)
        if new != oid:
            self._folders[new] = entries
        self._trees[oid] = new
        return new


def _oldest_first(commits: Mapping[str, tuple[Commit, str | None]]) -> Iterator[tuple[Commit, str | None]]:
    """Every commit after its parent."""
    done: set[str] = set()
    for start in commits:
        waiting: list[str] = []
        oid: str | None = start
        while oid is not None and oid in commits and oid not in done:
            waiting.append(oid)
            oid = commits[oid][0].parent
        for each in reversed(waiting):
            done.add(each)
            yield commits[each]


def _paths_of(load: Load, trees: Iterable[str], wanted: AbstractSet[str]) -> dict[str, str]:
    """A path that each of these files has in one of the trees, the first of them that has it."""
    found: dict[str, str] = {}
    seen: set[str] = set()

    def visit(oid: str, prefix: str) -> None:
        if oid in seen:
            return
        seen.add(oid)
        for entry in load(oid):
            if entry.is_folder:
                visit(entry.oid, f"{prefix}{entry.name}/")
            elif entry.sha256 in wanted:
                found.setdefault(entry.sha256 or "", f"{prefix}{entry.name}")

    for tree in trees:
        visit(tree, "")
    return found
