"""Copies between repositories; nothing is moved, the target only learns that it may refer to the content."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from yunmo.core.identity import Principal
from yunmo.hub import history
from yunmo.hub.files import Files
from yunmo.hub.large import LargeFiles
from yunmo.hub.objects import large_entry
from yunmo.hub.records import Repository
from yunmo.hub.repositories import Repositories
from yunmo.hub.scans import Scans
from yunmo.hub.store import repositories as store
from yunmo.hub.trees import Item
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
    forbid_pickles: Scans | None = None
    """Set where weights are taken as safetensors only: what was there before the rule is not to spread."""

    async def duplicate(self, principal: Principal, source: Repository, to: str, *, is_private: bool) -> Repository:
        """Make a repository whose `main` has the files of the source's; the source was found readable.

        Raises InvalidRequest for pickles where they are not taken; then no repository is made.
        """
        page = await self.files.all(source, "main")
        for item in page.items if self.forbid_pickles else ():
            large = page.large.get(item.entry.sha256 or "")
            if self.forbid_pickles and (item.entry.sha256 is None or large is not None):
                await self.forbid_pickles.refuse_pickle(item, large)
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

    async def lend(self, source: Repository, target: Repository, names: Mapping[str, str]) -> list[str]:
        """Let the target refer to these large files of the source, given as sha256 and path; the answer is those that are not there.

        The caller has been found to read the source's files and to add to the target. Raises InvalidRequest for pickles where
        they are not taken.
        """
        found = {sha256: await self.large.known(source.id, sha256) if _SHA256.fullmatch(sha256) else None for sha256 in names}
        for sha256, large in found.items() if self.forbid_pickles else ():
            if self.forbid_pickles and large is not None:
                name = names[sha256]
                await self.forbid_pickles.refuse_pickle(Item(name, large_entry(name.rsplit("/", 1)[-1], sha256, large.size)), large)
        for sha256 in (each for each, large in found.items() if large is not None):
            await self.large.adopt(target.id, sha256, source.id)
        return [sha256 for sha256, large in found.items() if large is None]
