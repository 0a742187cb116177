"""How often repositories are downloaded: counted in memory, written now and then."""

from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta

from yunmo.hub.records import Repository
from yunmo.hub.store import repositories as store
from yunmo.storage.database import Database

_WRITE_EVERY = timedelta(seconds=30)


class Downloads:
    """Counts downloads. What was counted in the last half minute is lost with the process, which nobody bills by."""

    def __init__(self, database: Database, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._clock = clock
        self._counts: Counter[int] = Counter()
        self._written_at = clock()

    async def count(self, repository: Repository) -> None:
        """Count one download; the first after half a minute writes them all."""
        self._counts[repository.id] += 1
        if self._clock() - self._written_at >= _WRITE_EVERY:
            await self.write()

    async def write(self) -> None:
        """Add what was counted to the database."""
        counts, self._counts, self._written_at = self._counts, Counter(), self._clock()
        if counts:
            await self._database.write(lambda connection: store.add_downloads(connection, counts))
