"""Pull requests inside one transaction: beginning one, committing to it, and merging it."""

from collections.abc import Sequence
from dataclasses import replace

import sqlalchemy as sa

from yunmo.core.errors import Conflict, Forbidden, NotFound, RevisionNotFound
from yunmo.core.identity import Principal
from yunmo.hub import history, merging
from yunmo.hub.objects import EMPTY_TREE
from yunmo.hub.records import Commit, Discussion, DiscussionStatus, Repository
from yunmo.hub.refs import PROPOSAL
from yunmo.hub.repositories import may_write, require_propose
from yunmo.hub.store import commits as commit_store
from yunmo.hub.store import discussions as store
from yunmo.hub.trees import Difference, TreeEdit, differences

TITLE_LIMIT = 200
EVENTS_LIMIT = 1000
"""A discussion is answered whole, so it cannot grow for ever."""


def begin(
    connection: sa.Connection, repository: Repository, words: history.Words, status: DiscussionStatus, start: tuple[str, str] | None
) -> Discussion:
    """Open a discussion, or a pull request for `start`: the branch's ref and the commit to start from.

    `words` are its title and first comment. The caller holds the repository's lock.
    """
    author, at = words.by
    number = store.next_number(connection, repository.id)
    target, base = start or (None, None)
    discussion = Discussion(repository.id, number, words.title[:TITLE_LIMIT], author, status, target, base, None, at)
    store.insert(connection, discussion)
    if words.message:
        store.add_event(connection, (repository.id, number), words.by, "comment", words.message)
    if base is not None:
        commit_store.move_ref(connection, repository.id, f"{PROPOSAL}{number}", base, words.by)
    return discussion


def find(connection: sa.Connection, repository: Repository, number: int) -> Discussion:
    """The discussion or pull request with this number. Raises NotFound."""
    found = store.get(connection, (repository.id, number)) if 0 < number < 2**31 else None
    if found is None:
        raise NotFound(f"{repository.full_name} has no discussion or pull request {number}.")
    return found


def require_commit(connection: sa.Connection, principal: Principal, repository: Repository, ref: str) -> Discussion:
    """The pull request that this ref is of, if the caller may commit to it. Raises Forbidden, and Conflict when it is closed."""
    number = ref.removeprefix(PROPOSAL)
    if not number.isdecimal() or len(number) > 9:
        raise RevisionNotFound(f"{repository.full_name} has no pull request {ref[:200]!r}.")
    proposal = find(connection, repository, int(number))
    if not may_write(principal, repository.namespace):
        require_propose(connection, principal, repository)
        if proposal.author != principal.project:
            raise Forbidden(f"Pull request {number} is the project {proposal.author!r}'s: open one of your own (create_pr=True).")
    if proposal.status in {"closed", "merged"}:
        raise Conflict(f"Pull request {number} is {proposal.status}: nothing can be added to it. Open another one.")
    return proposal


def committed(connection: sa.Connection, proposal: Discussion, commit: Commit, by: history.By) -> None:
    """Note a commit in its pull request; a thread that is full goes on without."""
    key = (proposal.repository_id, proposal.number)
    if store.event_count(connection, key) < EVENTS_LIMIT:
        store.add_event(connection, key, by, "commit", commit.title, commit.oid)


def changes(connection: sa.Connection, repository: Repository, proposal: Discussion) -> list[Difference]:
    """The files that the pull request changes."""
    head = history.resolve(connection, repository, f"{PROPOSAL}{proposal.number}")
    return list(differences(commit_store.tree_reader(connection), _base_tree(connection, proposal), head.tree))


def conflicts(connection: sa.Connection, repository: Repository, proposal: Discussion) -> Sequence[str]:
    """The paths that keep the pull request from being merged. Raises RevisionNotFound when its branch is gone."""
    return _merged(connection, repository, proposal)[2]


def merge(connection: sa.Connection, repository: Repository, proposal: Discussion, by: history.By) -> Discussion:
    """Bring the pull request into its branch as one commit. Raises Conflict when it is not open or changes what the branch changed.

    The caller has checked the right and holds the repository's lock.
    """
    if proposal.status != "open":
        hint = " Set its status to 'open' first." if proposal.status == "draft" else ""
        raise Conflict(f"Pull request {proposal.number} is {proposal.status} and cannot be merged.{hint}")
    head, edit, clashing = _merged(connection, repository, proposal)
    if clashing:
        named = ", ".join(repr(path) for path in clashing[:10])
        raise Conflict(
            f"Pull request {proposal.number} cannot be merged: {len(clashing)} files were changed on both sides ({named}). Open "
            "another one that starts from the branch as it is now."
        )
    key = (repository.id, proposal.number)
    titles = [event.text for event in store.events(connection, key) if event.kind == "commit"]
    message = "\n".join(f"- {title}" for title in titles)
    words = history.Words(f"{proposal.title} (#{proposal.number})", message, by, head.oid)
    commit = history.advance(connection, repository, proposal.target or history.MAIN, edit.write(), words)
    store.update(connection, key, status="merged", merged_as=commit.oid)
    store.add_event(connection, key, by, "status", "merged")
    return replace(proposal, status="merged", merged_as=commit.oid)


def _merged(connection: sa.Connection, repository: Repository, proposal: Discussion) -> tuple[Commit, TreeEdit, Sequence[str]]:
    ours = history.resolve(connection, repository, proposal.target or history.MAIN)
    theirs = history.resolve(connection, repository, f"{PROPOSAL}{proposal.number}")
    load = commit_store.tree_reader(connection)
    return ours, *merging.merged(load, _base_tree(connection, proposal), theirs.tree, ours.tree)


def _base_tree(connection: sa.Connection, proposal: Discussion) -> str:
    base = commit_store.get_commit(connection, proposal.repository_id, proposal.base) if proposal.base else None
    return base.tree if base is not None else EMPTY_TREE
