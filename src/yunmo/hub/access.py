"""Gated repositories: projects ask for access, owners grant or refuse it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from yunmo.core.errors import InvalidRequest, NotFound, Unauthenticated
from yunmo.core.identity import Principal
from yunmo.hub.acts import Record
from yunmo.hub.names import check_name
from yunmo.hub.records import AccessRequest, Repository, RequestStatus
from yunmo.hub.repositories import require_write
from yunmo.hub.store import repositories as store
from yunmo.storage.database import Database

_REASON_LIMIT = 2000


@dataclass(frozen=True, slots=True)
class Access:
    """Requests for access. The repository was found for the caller before."""

    database: Database
    clock: Callable[[], datetime]
    record: Record

    async def ask(self, principal: Principal, repository: Repository) -> RequestStatus:
        """Ask for access in the name of the caller's project; with gating "auto" it is granted at once."""
        if principal.is_anonymous:
            raise Unauthenticated("An API key is required to ask for access.")
        if not repository.gated:
            raise InvalidRequest(f"{repository.full_name} is not gated: its files are open to all who see it.")
        status: RequestStatus = "accepted" if repository.gated == "auto" else "pending"

        def work(connection: sa.Connection) -> RequestStatus:
            existing = store.access(connection, repository.id, principal.project)
            if existing is not None and (existing.status != "pending" or status == "pending"):
                return existing.status
            store.put_access(connection, repository.id, principal.project, status, self.clock())
            return status

        return await self.database.write(work)

    async def decide(
        self, principal: Principal, repository: Repository, project: str, status: RequestStatus, reason: str | None = None
    ) -> None:
        """Accept or reject a project's request, or put it back to pending. Raises NotFound without a request."""
        require_write(principal, repository.namespace)

        def work(connection: sa.Connection) -> None:
            if "\0" in project or store.access(connection, repository.id, project) is None:
                raise NotFound(f"The project {project!r} has not asked for access to {repository.full_name}.")
            store.put_access(
                connection, repository.id, project, status, self.clock(), (reason or "").replace("\0", "")[:_REASON_LIMIT] or None
            )

        await self.database.write(work)
        await self.record(principal, f"access.{status}", repository.full_name, {"type": repository.type, "project": project})

    async def grant(self, principal: Principal, repository: Repository, project: str) -> None:
        """Give a project access that it has not asked for."""
        require_write(principal, repository.namespace)
        check_name(project, is_namespace=True)
        await self.database.write(lambda connection: store.put_access(connection, repository.id, project, "accepted", self.clock()))
        await self.record(principal, "access.granted", repository.full_name, {"type": repository.type, "project": project})

    async def list(self, principal: Principal, repository: Repository, status: RequestStatus) -> Sequence[AccessRequest]:
        """The requests in one state; for the owner."""
        require_write(principal, repository.namespace)
        return await self.database.read(lambda connection: store.accesses(connection, repository.id, status))
