"""Revisions inside one transaction: naming them, adding one, and asking which one last changed a file."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from yunmo.core.errors import RevisionNotFound
from yunmo.hub.objects import EMPTY_TREE, CommitText, Entry, file_entry
from yunmo.hub.records import Commit, Ref, Repository
from yunmo.hub.store import commits as store
from yunmo.hub.trees import Item, TreeEdit, find, walk

MAIN = "refs/heads/main"
RETRY_WINDOW = timedelta(minutes=10)
_COMMIT = re.compile(r"[0-9a-fA-F]{40}")
_SHA = re.compile(r"[0-9a-fA-F]{7,40}")
_LOOK_BACK = 1000
"""How many commits are searched for a file's last change; older changes are said to be the oldest commit searched."""

By = tuple[str, datetime]
"""Who changes something, and when."""


@dataclass(frozen=True, slots=True)
class Words:
    """What a commit says, who says it, what it follows, and the key of the request that asked for it."""

    title: str
    message: str
    by: By
    parent: str | None = None
    request_key: str | None = None


def start(connection: sa.Connection, repository: Repository, first: tuple[str, str, int], by: By) -> Commit:
    """The first commit of a repository: one file as (path, blob id, size)."""
    path, oid, size = first
    edit = TreeEdit(store.tree_reader(connection), EMPTY_TREE)
    edit.put(path, file_entry(path, oid, size))
    return advance(connection, repository, MAIN, edit.write(), Words("initial commit", "", by))


def advance(
    connection: sa.Connection, repository: Repository, ref: str, tree: tuple[str, dict[str, tuple[Entry, ...]]], words: Words
) -> Commit:
    """Write a commit and point the ref at it."""
    root, folders = tree
    commit = described(repository.id, root, words)
    store.put_trees(connection, folders, words.by[1])
    store.insert_commit(connection, commit, words.request_key)
    store.move_ref(connection, repository.id, ref, commit.oid, words.by)
    return commit


def described(repository_id: int, tree: str, words: Words) -> Commit:
    """The commit of a tree under these words, with the id that follows from both."""
    author, at = words.by
    at = at.replace(microsecond=0)
    whole = f"{words.title}\n\n{words.message}" if words.message else words.title
    oid = CommitText(tree, words.parent, author, at, whole).oid()
    return Commit(repository_id, oid, tree, words.parent, words.title, words.message, author, at)


def find_ref(connection: sa.Connection, repository_id: int, revision: str) -> Ref | None:
    """The ref that a revision names: exact, then a branch, then a tag. None if it names none."""
    if _COMMIT.fullmatch(revision) or "\0" in revision:
        return None  # no ref can be called so
    candidates = [revision] if revision.startswith("refs/") else [f"refs/heads/{revision}", f"refs/tags/{revision}"]
    found = store.get_refs(connection, repository_id, candidates)
    return next((Ref(name, found[name]) for name in candidates if name in found), None)


def resolve(connection: sa.Connection, repository: Repository, revision: str) -> Commit:
    """The commit that a branch, tag, ref or (part of a) commit id names. Raises RevisionNotFound."""
    ref = find_ref(connection, repository.id, revision)
    commit = None
    if ref is not None:
        commit = store.get_commit(connection, repository.id, ref.oid)
    elif _SHA.fullmatch(revision):
        commit = store.commit_by_prefix(connection, repository.id, revision.lower())
    if commit is None:
        raise RevisionNotFound(f"{repository.type} {repository.full_name} has no branch, tag or commit {revision[:200]!r}.")
    return commit


def last_changes(connection: sa.Connection, commit: Commit, items: Iterable[Item]) -> dict[str, Commit]:
    """For each file or folder of the commit, the commit that made it what it is."""
    load = store.tree_reader(connection)
    waiting = {item.path: item.entry.oid for item in items}
    found: dict[str, Commit] = {}
    commits = store.history(connection, commit.repository_id, commit.oid, _LOOK_BACK)
    for newer, older in zip(commits, [*commits[1:], None], strict=True):
        if older is None:
            changed = list(waiting)
        elif older.tree == newer.tree:
            continue
        else:
            changed = [path for path, oid in waiting.items() if _oid_at(load, older.tree, path) != oid]
        found.update(dict.fromkeys(changed, newer))
        for path in changed:
            del waiting[path]
        if not waiting:
            break
    return found


def files(connection: sa.Connection, commit: Commit) -> list[Item]:
    """Every file of the revision."""
    return [item for item in walk(store.tree_reader(connection), commit.tree) if not item.entry.is_folder]


def _oid_at(load: store.Load, root: str, path: str) -> str | None:
    entry = find(load, root, path)
    return entry.oid if entry else None
