"""Discussions and pull requests: talking about a repository, and proposing changes to it.

Whoever sees a repository reads them. Whoever may read its files may open them and comment (`repositories.require_propose`); the project
that opened one, and who may write to the repository, rename it and change its status; only the latter merge it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TypeVar

import sqlalchemy as sa

from yunmo.core.errors import Conflict, Forbidden, InvalidRequest, NotFound, RevisionNotFound
from yunmo.core.identity import Principal
from yunmo.hub import diffs, history, proposals
from yunmo.hub.files import Files
from yunmo.hub.proposals import EVENTS_LIMIT, TITLE_LIMIT
from yunmo.hub.records import Discussion, DiscussionStatus, Event, EventKind, Repository
from yunmo.hub.refs import PROPOSAL
from yunmo.hub.repositories import may_write, require_propose, require_write
from yunmo.hub.scans import Scans
from yunmo.hub.store import discussions as store
from yunmo.hub.store import repositories as repository_store
from yunmo.hub.store.discussions import Wanted
from yunmo.hub.trees import Difference, Item
from yunmo.hub.turns import Turns
from yunmo.storage.database import Database

T = TypeVar("T")

COMMENT_LIMIT = 64 * 1024
_TITLE_LEAST = 3
_STATUSES: tuple[DiscussionStatus, ...] = ("open", "closed")

Work = Callable[[sa.Connection, Discussion, history.By], T]


@dataclass(frozen=True, slots=True)
class Thread:
    """A discussion with all that happened in it; `conflicts` are the paths that keep a pull request from being merged."""

    discussion: Discussion
    events: Sequence[Event] = ()
    conflicts: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Discussions:
    """Reads and writes discussions. The repository was found for the caller before."""

    database: Database
    files: Files
    clock: Callable[[], datetime]
    forbid_pickles: Scans | None = None
    """Set where weights are taken as safetensors only."""
    _turns: Turns = field(default_factory=Turns)

    async def list(self, repository: Repository, wanted: Wanted, window: tuple[int, int]) -> tuple[Sequence[Discussion], int]:
        """The discussions wanted, newest first, from `window[0]`, at most `window[1]`; and how many there are in all."""
        return await self.database.read(lambda connection: store.listing(connection, repository.id, wanted, window))

    async def get(self, repository: Repository, number: int) -> Thread:
        """One discussion with its events. Raises NotFound."""

        def work(connection: sa.Connection) -> Thread:
            found = proposals.find(connection, repository, number)
            thread = Thread(found, store.events(connection, (repository.id, number)))
            if not found.is_pull_request or found.status in {"closed", "merged"}:
                return thread
            try:
                return replace(thread, conflicts=proposals.conflicts(connection, repository, found))
            except RevisionNotFound:  # its branch was deleted: there is nothing to be in conflict with
                return thread

        return await self.database.read(work)

    async def changes(self, repository: Repository, number: int) -> Sequence[Difference]:
        """The files that a pull request changes. The caller has been found to read the repository's files."""

        def work(connection: sa.Connection) -> Sequence[Difference]:
            return proposals.changes(connection, repository, _proposal(connection, repository, number))

        return await self.database.read(work)

    async def diff(self, repository: Repository, number: int) -> str:
        """The same as git prints it."""
        return await diffs.unified(self.files, await self.changes(repository, number))

    async def open(
        self, principal: Principal, repository: Repository, title: str, description: str = "", *, as_proposal: bool = False
    ) -> Discussion:
        """Begin a discussion, or a pull request for `main`, which is a draft until its status is set to open."""
        title = _checked_title(title)
        _check_comment(description)

        def work(connection: sa.Connection) -> Discussion:
            require_propose(connection, principal, repository)
            repository_store.lock(connection, repository.id)
            start = (history.MAIN, history.resolve(connection, repository, history.MAIN).oid) if as_proposal else None
            words = history.Words(title, description, (principal.project, self.clock()))
            return proposals.begin(connection, repository, words, "draft" if as_proposal else "open", start)

        async with self._turns.turn(str(repository.id)):
            return await self.database.write(work)

    async def comment(self, principal: Principal, repository: Repository, number: int, text: str) -> Event:
        """Say something. Raises InvalidRequest for an empty comment and a full discussion."""
        _check_comment(text, may_be_empty=False)

        def work(connection: sa.Connection, discussion: Discussion, by: history.By) -> Event:
            require_propose(connection, principal, repository)
            return _happened(connection, discussion, by, "comment", text)

        return await self._change(principal, repository, number, work)

    async def edit(
        self, principal: Principal, repository: Repository, number: int, comment: int, text: str
    ) -> tuple[Event, Sequence[Event]]:
        """Put other words into a comment of the caller's project; the comment, and its former words. Raises Forbidden and NotFound."""
        _check_comment(text, may_be_empty=False)

        def work(connection: sa.Connection, discussion: Discussion, by: history.By) -> tuple[Event, Sequence[Event]]:
            require_propose(connection, principal, repository)
            key = (repository.id, number)
            found = _comment(connection, key, comment)
            if found.author != principal.project or found.is_hidden:
                raise Forbidden("Only the project that wrote a comment can edit it, and only while it is shown.")
            _happened(connection, discussion, by, "edit", found.text, str(comment))
            changed = store.change_comment(connection, key, comment, text=text, edited_at=by[1])
            return changed, [event for event in store.events(connection, key) if is_edit_of(event, comment)]

        return await self._change(principal, repository, number, work)

    async def hide(self, principal: Principal, repository: Repository, number: int, comment: int) -> Event:
        """Take a comment's words away for good; for the project that wrote it and for who may write to the repository."""

        def work(connection: sa.Connection, _discussion: Discussion, by: history.By) -> Event:
            require_propose(connection, principal, repository)
            key = (repository.id, number)
            _require_owner(principal, repository, _comment(connection, key, comment).author)
            store.forget_edits(connection, key, comment)
            return store.change_comment(connection, key, comment, text="", is_hidden=True, edited_at=by[1])

        return await self._change(principal, repository, number, work)

    async def rename(self, principal: Principal, repository: Repository, number: int, title: str) -> Event:
        """Give a discussion another title."""
        title = _checked_title(title)

        def work(connection: sa.Connection, discussion: Discussion, by: history.By) -> Event:
            _require_owner(principal, repository, discussion.author)
            store.update(connection, (repository.id, number), title=title)
            return _happened(connection, discussion, by, "title", title, discussion.title)

        return await self._change(principal, repository, number, work)

    async def change_status(self, principal: Principal, repository: Repository, number: int, status: str, comment: str = "") -> Event:
        """Close a discussion or open it (again). Raises Conflict for what was merged."""
        _check_comment(comment)
        wanted = next((each for each in _STATUSES if each == status), None)
        if wanted is None:
            raise InvalidRequest(f"The status can be set to 'open' or 'closed', not to {status[:40]!r}.", param="status")

        def work(connection: sa.Connection, discussion: Discussion, by: history.By) -> Event:
            _require_owner(principal, repository, discussion.author)
            if discussion.status == "merged":
                raise Conflict(f"Pull request {number} is merged: its status is final.")
            if comment:
                _happened(connection, discussion, by, "comment", comment)
            store.update(connection, (repository.id, number), status=wanted)
            return _happened(connection, discussion, by, "status", wanted)

        return await self._change(principal, repository, number, work)

    async def merge(self, principal: Principal, repository: Repository, number: int, comment: str = "") -> Discussion:
        """Bring a pull request into its branch as one commit; for who may write to the repository.

        Raises Conflict when it is not open or when its branch has changed the same files, and InvalidRequest for pickles where
        they are not taken.
        """
        require_write(principal, repository.namespace)
        _check_comment(comment)
        if self.forbid_pickles is not None:  # it may have come before the rule did
            await self._check_weights(self.forbid_pickles, repository, number)

        def work(connection: sa.Connection, discussion: Discussion, by: history.By) -> Discussion:
            proposal = _proposal(connection, repository, number)
            if comment:
                _happened(connection, discussion, by, "comment", comment)
            return proposals.merge(connection, repository, proposal, by)

        return await self._change(principal, repository, number, work)

    async def _check_weights(self, scans: Scans, repository: Repository, number: int) -> None:
        for change in await self.changes(repository, number):
            if change.new is not None:
                large = await self.files.large.known(repository.id, change.new.sha256) if change.new.sha256 else None
                await scans.refuse_pickle(Item(change.path, change.new), large)

    async def _change(self, principal: Principal, repository: Repository, number: int, work: Work[T]) -> T:
        def transaction(connection: sa.Connection) -> T:
            repository_store.lock(connection, repository.id)
            discussion = proposals.find(connection, repository, number)
            return work(connection, discussion, (principal.project, self.clock()))

        async with self._turns.turn(str(repository.id)):
            return await self.database.write(transaction)


def is_edit_of(event: Event, comment: int) -> bool:
    """Whether the event keeps former words of this comment."""
    return event.kind == "edit" and event.detail == str(comment)


def _proposal(connection: sa.Connection, repository: Repository, number: int) -> Discussion:
    found = proposals.find(connection, repository, number)
    if not found.is_pull_request:
        raise InvalidRequest(f"Number {number} of {repository.full_name} is a discussion, not a pull request ({PROPOSAL}{number}).")
    return found


def _comment(connection: sa.Connection, key: store.Key, comment: int) -> Event:
    found = next((event for event in store.events(connection, key) if event.id == comment and event.kind == "comment"), None)
    if found is None:
        raise NotFound(f"Discussion {key[1]} has no such comment.")
    return found


def _happened(
    connection: sa.Connection, discussion: Discussion, by: history.By, kind: EventKind, text: str, detail: str | None = None
) -> Event:
    key = (discussion.repository_id, discussion.number)
    if store.event_count(connection, key) >= EVENTS_LIMIT:
        raise InvalidRequest(f"Discussion {discussion.number} is full: it may have {EVENTS_LIMIT} entries. Open another one.")
    return store.add_event(connection, key, by, kind, text, detail)


def _require_owner(principal: Principal, repository: Repository, author: str) -> None:
    if may_write(principal, repository.namespace) or (author == principal.project and principal.may("write")):
        return
    raise Forbidden(f"Only the project {author!r}, which wrote it, and who may write to {repository.full_name} can change this.")


def _checked_title(title: str) -> str:
    title = title.strip()
    if not _TITLE_LEAST <= len(title) <= TITLE_LIMIT or not title.isprintable():
        raise InvalidRequest(f"A title has {_TITLE_LEAST} to {TITLE_LIMIT} characters in one line.", param="title")
    return title


def _check_comment(text: str, *, may_be_empty: bool = True) -> None:
    if "\0" in text or len(text) > COMMENT_LIMIT or not (may_be_empty or text.strip()):
        raise InvalidRequest(f"A comment has 1 to {COMMENT_LIMIT} characters, and no NUL.", param="comment")
