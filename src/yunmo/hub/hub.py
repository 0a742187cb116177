"""Hub: the repositories of models and data sets, with everything that can be done to them."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import structlog

from yunmo.core.errors import YunmoError
from yunmo.hub.access import Access
from yunmo.hub.acts import Record, no_record
from yunmo.hub.blobs import Blobs
from yunmo.hub.commits import Commits
from yunmo.hub.copies import Copies
from yunmo.hub.discussions import Discussions
from yunmo.hub.downloads import Downloads
from yunmo.hub.erasure import Erasure
from yunmo.hub.files import Files
from yunmo.hub.garbage import Garbage
from yunmo.hub.large_store import LargeFileStore
from yunmo.hub.models import Models
from yunmo.hub.overviews import Overviews
from yunmo.hub.publishing import Publishing
from yunmo.hub.refs import Refs
from yunmo.hub.repositories import Repositories
from yunmo.hub.scans import Scans
from yunmo.hub.tensor_headers import TensorHeaders
from yunmo.hub.unnamed import UNNAMED_LIMIT_BYTES
from yunmo.hub.uploads import Uploads
from yunmo.storage.blobs import ObjectStore
from yunmo.storage.database import Database
from yunmo.storage.tables import now

_COLLECT_SECONDS = 3600.0
_log = structlog.get_logger()

LARGE_FILE_BYTES = 10_000_000
"""Files of at least this size are stored as large files unless a setting says otherwise."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What an operator may choose (settings `hub`)."""

    large_file_bytes: int = LARGE_FILE_BYTES
    cas_epoch: int = 1
    safetensors_only: bool = False
    unnamed_bytes: int = UNNAMED_LIMIT_BYTES


class Hub:
    """Gathers the parts of the hub over one database and one object store. `secret` signs tokens and addresses."""

    def __init__(
        self,
        database: Database,
        blobs: ObjectStore,
        secret: bytes,
        clock: Callable[[], datetime] = now,
        *,
        rules: Rules = Rules(),
        record: Record = no_record,
    ) -> None:
        self.large = LargeFileStore(database, blobs, secret, clock, epoch=rules.cas_epoch, unnamed_limit_bytes=rules.unnamed_bytes)
        self.blobs = Blobs(database, blobs, clock)
        self.repositories = Repositories(database, self.blobs, clock, record)
        self.refs = Refs(database, clock)
        self.files = Files(database, self.blobs, self.large)
        self.scans = Scans(self.files)
        forbid_pickles = self.scans if rules.safetensors_only else None
        self.commits = Commits(database, self.large, clock, forbid_pickles)
        self.discussions = Discussions(database, self.files, clock, forbid_pickles)
        self.downloads = Downloads(database, clock)
        self.uploads = Uploads(self.files, self.blobs, rules.large_file_bytes, rules.safetensors_only)
        self.publishing = Publishing(self.repositories, self.uploads, self.commits, self.large)
        self.copies = Copies(database, self.repositories, self.files, self.large, clock, forbid_pickles)
        self.erasure = Erasure(database, self.large, clock, record)
        self.access = Access(database, clock, record)
        self.overviews = Overviews(database, self.files)
        self.tensor_headers = TensorHeaders(self.files)
        self.models = Models(database, self.files, self.overviews)
        self.garbage = Garbage(database, self.blobs, clock)

    async def run(self) -> None:
        """Collect garbage every hour, until cancelled; download counts are written at the end."""
        try:
            while True:
                await asyncio.sleep(_COLLECT_SECONDS)
                await self._collect()
        finally:
            await self.downloads.write()
            self.scans.close()
            self.large.close()

    async def _collect(self) -> None:
        try:
            small, large = await self.garbage.collect(), await self.large.collect()
        except YunmoError as error:
            _log.warning("garbage_not_collected", error=error.message)
            return
        _log.info("garbage_collected", small_objects=small, large_objects=large)
