"""Branches and tags."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from yunmo.core.errors import Conflict, Forbidden, RevisionNotFound
from yunmo.core.identity import Principal
from yunmo.hub import history
from yunmo.hub.names import check_ref_name
from yunmo.hub.records import Commit, Ref, Repository
from yunmo.hub.repositories import require_write
from yunmo.hub.store import commits as store
from yunmo.hub.store import repositories as repository_store
from yunmo.storage.database import Database

BRANCH = "refs/heads/"
TAG = "refs/tags/"
PROPOSAL = "refs/pr/"


@dataclass(frozen=True, slots=True)
class Refs:
    """The names that revisions of a repository have. The repository was found for the caller before."""

    database: Database
    clock: Callable[[], datetime]

    async def resolve(self, repository: Repository, revision: str) -> Commit:
        """The commit behind a branch, tag, ref or commit id. Raises RevisionNotFound."""
        return await self.database.read(lambda connection: history.resolve(connection, repository, revision))

    async def list(self, repository: Repository) -> list[Ref]:
        """Every branch, tag and proposal."""
        return await self.database.read(lambda connection: store.refs(connection, repository.id))

    async def create(self, principal: Principal, repository: Repository, prefix: str, name: str, start: str | None) -> Ref:
        """Add a branch (prefix BRANCH) or tag (TAG) at a revision, `main` if None. Raises Conflict if it is there."""
        require_write(principal, repository.namespace)
        check_ref_name(name)

        def work(connection: sa.Connection) -> Ref:
            repository_store.lock(connection, repository.id)
            if store.get_ref(connection, repository.id, prefix + name) is not None:
                raise Conflict(f"Reference already exists: {prefix}{name}. Delete it first or choose another name.")
            commit = history.resolve(connection, repository, start or "main")
            store.move_ref(connection, repository.id, prefix + name, commit.oid, (principal.project, self.clock()))
            return Ref(prefix + name, commit.oid)

        return await self.database.write(work)

    async def delete(self, principal: Principal, repository: Repository, prefix: str, name: str) -> None:
        """Remove a branch or tag; its commits stay readable by id. Raises RevisionNotFound; `main` cannot go."""
        require_write(principal, repository.namespace)
        if prefix + name == history.MAIN:
            raise Forbidden("The branch 'main' cannot be deleted.")

        def work(connection: sa.Connection) -> None:
            repository_store.lock(connection, repository.id)
            if "\0" in name or store.get_ref(connection, repository.id, prefix + name) is None:
                raise RevisionNotFound(f"{repository.full_name} has no {prefix}{name}.")
            store.move_ref(connection, repository.id, prefix + name, None, (principal.project, self.clock()))

        await self.database.write(work)
