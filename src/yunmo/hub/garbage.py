"""Collects what no commit holds: the files of broken-off uploads and of deleted repositories.

A commit stays readable by its id for as long as its repository is there, also after a branch has left it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from yunmo.hub.blobs import BLOB_FOLDER, Blobs
from yunmo.hub.store import commits as store
from yunmo.storage.database import Database

GRACE = timedelta(hours=12)
"""How long after its upload a file may wait for its commit."""

_BATCH = 400


@dataclass(frozen=True, slots=True)
class Garbage:
    """Deletes git objects and small files that nothing refers to."""

    database: Database
    blobs: Blobs
    clock: Callable[[], datetime]

    async def collect(self, grace: timedelta = GRACE) -> int:
        """Delete what has been without a commit for longer than `grace`; how many objects went."""
        before = self.clock() - grace
        # oldest first, then what is reachable: a commit made in between touches what it needs
        old = await self.database.read(lambda connection: store.older_objects(connection, before))
        kept = await self.database.read(store.reachable)
        garbage = [oid for oid in old if oid not in kept]
        count = 0
        for start in range(0, len(garbage), _BATCH):
            some = garbage[start : start + _BATCH]
            count += await self.database.write(partial(store.delete_objects, oids=some, before=before))
        return count + await self._drop_unnamed()

    async def _drop_unnamed(self) -> int:
        count = 0
        batch: list[str] = []
        async for key in self.blobs.objects.keys(BLOB_FOLDER):
            batch.append(key.rsplit("/", 1)[-1])
            if len(batch) >= _BATCH:
                count += await self._drop(batch)
                batch = []
        return count + await self._drop(batch)

    async def _drop(self, hashes: Sequence[str]) -> int:
        if not hashes:
            return 0
        named = await self.database.read(lambda connection: store.stored_hashes(connection, hashes))
        return sum([await self.blobs.drop(sha256) for sha256 in hashes if sha256 not in named])
