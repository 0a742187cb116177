"""What a project has uploaded that no commit names yet: it takes space, and shows nowhere, so there is only so much of it."""

from dataclasses import dataclass

from yunmo.core.errors import InsufficientStorage
from yunmo.hub.xet import store
from yunmo.storage.database import Database

UNNAMED_LIMIT_BYTES = 500 * 1000**3
"""Clients upload all of a commit's files before the commit, so this is also the largest commit."""


@dataclass(slots=True)
class Unnamed:
    """The allowance of each project, for xorbs and Git-LFS objects together."""

    database: Database
    limit_bytes: int = UNNAMED_LIMIT_BYTES

    async def check(self, project: str | None, more: int = 1, *, staged: int = 0) -> None:
        """Raise InsufficientStorage unless the project may store so many bytes more; `staged` have come but are not stored yet."""
        if project is None:
            return
        kept = staged + await self.database.read(lambda connection: store.unnamed_bytes(connection, project))
        if kept + more > self.limit_bytes:
            raise InsufficientStorage(
                f"The project {project!r} has uploaded {kept} bytes that no commit names, and may have {self.limit_bytes} "
                "(setting hub.unnamed_bytes). Commit what was uploaded; what no file names is deleted after four weeks."
            )
