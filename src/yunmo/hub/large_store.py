"""Large files: what came over Xet or Git LFS, each readable only through the repositories that uploaded it."""

import asyncio
import hashlib
import os
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TypeVar

import sqlalchemy as sa
import structlog

from yunmo.core.errors import Forbidden, InternalError, NotFound, Unauthenticated
from yunmo.core.identity import Principal
from yunmo.hub.large import LargeFile, XetToken
from yunmo.hub.lfs import LfsUploads, lfs_key
from yunmo.hub.unnamed import UNNAMED_LIMIT_BYTES, Unnamed
from yunmo.hub.xet import store
from yunmo.hub.xet.dedup import Dedup
from yunmo.hub.xet.links import Links
from yunmo.hub.xet.reading import Reader
from yunmo.hub.xet.tokens import AccessTicket, CompletionTicket, DownloadTicket, Signer, Ticket, UploadTicket
from yunmo.hub.xet.uploads import Uploads
from yunmo.storage.blobs import ObjectStore
from yunmo.storage.database import Database
from yunmo.storage.staged import batched, full_disk_is_said
from yunmo.storage.tables import now

T = TypeVar("T", bound=Ticket)

TOKEN_SECONDS = 900
"""Clients renew their token when half a minute is left; a revoked key's last token is good for no longer than this."""

TOMBSTONE_DAYS = 28
"""Clients refer to what they uploaded for three weeks without asking whether it is still there."""

_MARKED = timedelta(days=TOMBSTONE_DAYS)
_ORPHANS_BATCH = 500
_log = structlog.get_logger()


class LargeFileStore:
    """Implements `hub.large.LargeFiles`; `xet` and `lfs` are its two ways in."""

    def __init__(
        self,
        database: Database,
        blobs: ObjectStore,
        secret: bytes,
        clock: Callable[[], datetime] = now,
        *,
        epoch: int = 1,
        unnamed_limit_bytes: int = UNNAMED_LIMIT_BYTES,
    ) -> None:
        self.signer = Signer(secret, clock)
        self.reader = Reader(database, blobs)
        self.unnamed = Unnamed(database, unnamed_limit_bytes)
        self.xet = Uploads(database, blobs, self.reader, self.unnamed)
        self.lfs = LfsUploads(database, blobs, self.signer, self.unnamed)
        self.dedup = Dedup(database, self.reader, self.signer)
        self.links = Links(database, self.reader, self.signer)
        self._database = database
        self._blobs = blobs
        self._clock = clock
        self._epoch = epoch

    @property
    def epoch(self) -> str:
        """What the CAS address `/cas/{epoch}` ends with: the operator's number and this store's own mark.

        Clients remember for weeks, by address, which chunks they have sent. Another store at the same address, such as one that
        was begun anew, must not be taken for the one that has them.
        """
        return f"e{self._epoch}-{self.signer.key_for('cas address')[:4].hex()}"

    async def known(self, repository_id: int, sha256: str) -> LargeFile | None:
        """The file, if this repository has uploaded or adopted it and it was verified."""
        return await self._database.read(lambda connection: store.find_large_file(connection, repository_id, sha256))

    def known_in(self, connection: sa.Connection, repository_id: int, sha256: str) -> LargeFile | None:
        """The same inside the caller's transaction."""
        return store.find_large_file(connection, repository_id, sha256)

    def settle_in(self, connection: sa.Connection, file: LargeFile) -> None:
        """A commit in the caller's transaction names the file: its uploader is charged for it no more."""
        store.settle(connection, file)

    def held_in(self, connection: sa.Connection, repository_id: int) -> dict[str, tuple[LargeFile, datetime]]:
        """Every file that the repository may refer to, by its sha256, and since when."""
        return store.large_files_of(connection, repository_id)

    def forget_in(self, connection: sa.Connection, repository_id: int, hashes: Sequence[str]) -> None:
        """Let the repository no longer refer to these files; the caller's transaction has seen to its commits."""
        store.forget_large_files(connection, repository_id, hashes)

    async def adopt(self, repository_id: int, sha256: str, from_repository_id: int) -> None:
        """Let `repository_id` refer to a file of another one; the caller has checked both rights. Raises NotFound."""

        def work(connection: sa.Connection) -> None:
            file = store.find_large_file(connection, from_repository_id, sha256)
            if file is None:
                raise NotFound(f"The repository holds no large file with the sha256 {sha256}.")
            store.add_large_file(connection, repository_id, file)

        await self._database.write(work)

    async def stream(self, file: LargeFile, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """The bytes from `start` up to, not including, `end`, in pieces of some MiB."""
        last = file.size if end is None else min(end, file.size)
        if start >= last:
            return
        pieces = (
            self._blobs.stream(lfs_key(file.sha256), start, last) if file.xet_hash is None else await self._xet_pieces(file, start, last)
        )
        async for piece in pieces:
            yield piece

    async def lay_out(self, file: LargeFile, path: Path) -> None:
        """Put the whole file at `path`: a hard link to the stored object where there is one, else a copy.

        The file appears at once, whole and with its sha256 checked, or not at all. Raises InternalError for a damaged one.
        """
        beside = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        source = self._blobs.local_path(lfs_key(file.sha256)) if file.xet_hash is None else None
        try:
            if source is None or not await asyncio.to_thread(_link, source, beside):
                found = await self._copy(file, beside)
            else:
                found = await asyncio.to_thread(_sha256_of, beside)
            if found != file.sha256:
                raise InternalError(f"The stored file {file.sha256} is damaged. Restore it from a backup.")
            await asyncio.to_thread(beside.replace, path)
        finally:
            beside.unlink(missing_ok=True)

    def grant(self, principal: Principal, repository_id: int, repository_name: str, repository_type: str, write: bool) -> XetToken:
        """A token for one repository; the caller has checked the right."""
        del repository_name, repository_type  # the id says it all, also after the repository was renamed
        expires_at = self.signer.expiry(TOKEN_SECONDS)
        ticket = AccessTicket(
            expires_at, repository_id, principal.project, principal.key_id, principal.is_admin, principal.may("read"), write
        )
        return XetToken(self.signer.seal(ticket), expires_at)

    def access(self, token: str, *, write: bool) -> AccessTicket:
        """What the bearer of a token may do. Raises Unauthenticated, and Forbidden when the token only reads."""
        ticket = self.signer.open(token, AccessTicket)
        if ticket is None:
            raise Unauthenticated("The Xet token is not valid or has expired. Ask the repository for a new one.")
        if write and not ticket.may_write:
            raise Forbidden("This Xet token is for reading only.")
        return ticket

    async def put_lfs(self, text: str, pieces: AsyncIterator[bytes]) -> str:
        """Take in the body that an LFS upload ticket announces; its ETag. Raises Forbidden for a bad or expired ticket."""
        return await self.lfs.put(self._opened(text, UploadTicket), pieces)

    async def complete_lfs(self, text: str) -> None:
        """End an LFS upload of several parts. Raises Forbidden for a bad or expired ticket."""
        await self.lfs.complete(self._opened(text, CompletionTicket))

    def link_lfs(self, repository_id: int, sha256: str) -> str:
        """A ticket to fetch a file of this repository without a key; the caller has checked the right."""
        return self.signer.seal(DownloadTicket(self.signer.expiry(TOKEN_SECONDS), repository_id, sha256))

    async def open_lfs(self, text: str) -> LargeFile:
        """The file that a download ticket opens. Raises Forbidden for a bad or expired one, and NotFound."""
        ticket = self._opened(text, DownloadTicket)
        file = await self.known(ticket.repository_id, ticket.sha256)
        if file is None:
            raise NotFound(f"The repository holds no large file with the sha256 {ticket.sha256}.")
        return file

    async def collect(self) -> int:
        """Mark what nothing refers to any more, and delete what has been marked for `TOMBSTONE_DAYS`; how many were deleted."""
        moment = self._clock()
        before = moment - _MARKED
        await self._mark_orphans()
        await self._database.write(lambda connection: store.forget_unnamed_objects(connection, before))
        marked = await self._database.write(lambda connection: store.tombstone(connection, moment))
        xorbs, objects = await self._database.read(lambda connection: store.expired(connection, before))
        deleted = 0
        for name in xorbs:
            deleted += await self.xet.remove_xorb(name, lambda connection, name: store.forget_xorb(connection, name, before))
        for sha256 in objects:
            deleted += await self.lfs.remove(sha256, lambda connection, sha256: store.forget_object(connection, sha256, before))
        _log.info("large_files_collected", marked=marked, deleted=deleted)
        return deleted

    def close(self) -> None:
        """Let the worker thread end."""
        self.reader.close()

    def _opened(self, text: str, kind: type[T]) -> T:
        ticket = self.signer.open(text, kind)
        if ticket is None:
            raise Forbidden("This address is not valid or has expired. Ask for a new one.")
        return ticket

    async def _xet_pieces(self, file: LargeFile, start: int, end: int) -> AsyncIterator[bytes]:
        name = file.xet_hash or ""
        stored = await self._database.read(lambda connection: store.find_file(connection, name))
        if stored is None:
            raise InternalError(f"The description of the stored file {file.sha256} is gone. Restore the database from a backup.")
        return self.reader.stream(stored, start, end)

    async def _copy(self, file: LargeFile, path: Path) -> str:
        sha256 = hashlib.sha256()
        await asyncio.to_thread(path.touch)
        async for piece in batched(self.stream(file)):
            await asyncio.to_thread(_append, path, piece, sha256)
        return sha256.hexdigest()

    async def _mark_orphans(self) -> None:
        """Objects without a row are what a crash left between the two; they wait for their removal like the rest."""
        names: list[str] = []
        moment = self._clock()
        async for key in self._blobs.keys("xorbs"):
            names.append(key.rsplit("/", 1)[-1])
            if len(names) >= _ORPHANS_BATCH:
                await self._database.write(partial(store.adopt_orphans, names=names, moment=moment))
                names = []
        if names:
            await self._database.write(partial(store.adopt_orphans, names=names, moment=moment))


def _link(source: Path, path: Path) -> bool:
    """Whether a hard link could be made; it cannot across file systems."""
    try:
        os.link(source, path)
    except FileNotFoundError:
        raise
    except OSError:
        return False
    return True


def _append(path: Path, data: bytes, sha256: "hashlib._Hash") -> None:
    with full_disk_is_said(), path.open("ab") as file:
        file.write(data)
    sha256.update(data)


def _sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
