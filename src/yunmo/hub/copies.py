"""Copies between repositories; nothing is moved, the target only learns that it may refer to the content."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from yunmo.core.identity import Principal
from yunmo.hub import history
from yunmo.hub.files import Files
from yunmo.hub.large import LargeFiles
from yunmo.hub.records import Repository
from yunmo.hub.repositories import Repositories
from yunmo.hub.store import repositories as store
from yunmo.storage.database import Database

_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Copies:
    """Duplicates repositories, and lends large files for a commit that copies them."""

    database: Database
    repositories: Repositories
    files: Files
    large: LargeFiles
    clock: Callable[[], datetime]

    async def duplicate(self, principal: Principal, source: Repository, to: str, *, is_private: bool) -> Repository:
        """Make a repository whose `main` has the files of the source's; the source was found readable."""
        page = await self.files.all(source, "main")
        target = await self.repositories.create(principal, source.type, to, is_private=is_private)
        for sha256 in page.large:
            await self.large.adopt(target.id, sha256, source.id)

        def work(connection: sa.Connection) -> None:
            store.lock(connection, target.id)
            head = history.resolve(connection, target, "main")
            words = history.Words(f"Duplicate from {source.full_name}", "", (principal.project, self.clock()), head.oid)
            history.advance(connection, target, history.MAIN, (page.commit.tree, {}), words)

        await self.database.write(work)
        return target

    async def lend(self, source: Repository, target: Repository, hashes: Sequence[str]) -> list[str]:
        """Let the target refer to these large files of the source; the answer is those that the source does not have.

        The caller has been found to read the source's files and to write to the target.
        """
        missing = []
        for sha256 in hashes:
            if not _SHA256.fullmatch(sha256) or await self.large.known(source.id, sha256) is None:
                missing.append(sha256)
            else:
                await self.large.adopt(target.id, sha256, source.id)
        return missing
