"""What the rest of the hub needs from the storage of large files (Xet and Git LFS).

`LargeFileStore` implements it. A large file is known by its sha256, and only to the repositories that uploaded it:
whoever merely knows a hash must not be able to read the file (specification: Hub §3.4).
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

import sqlalchemy as sa

from yunmo.core.identity import Principal


@dataclass(frozen=True, slots=True)
class LargeFile:
    """A verified upload. `xet_hash` is None when it came over Git LFS."""

    sha256: str
    size: int
    xet_hash: str | None = None


@dataclass(frozen=True, slots=True)
class XetToken:
    """A short-lived key for the content-addressed store; `expires_at` is in unix seconds."""

    access_token: str
    expires_at: int


class LargeFiles(Protocol):
    """Large files, each scoped to the repositories (`hub_repository.id`) that may refer to it."""

    @property
    def epoch(self) -> str:
        """What the CAS address `/cas/{epoch}` ends with; it changes when clients must forget their caches."""
        ...

    async def known(self, repository_id: int, sha256: str) -> LargeFile | None:
        """The file, if this repository has uploaded or adopted it and it was verified."""
        ...

    def known_in(self, connection: sa.Connection, repository_id: int, sha256: str) -> LargeFile | None:
        """The same inside the caller's transaction."""
        ...

    def settle_in(self, connection: sa.Connection, file: LargeFile) -> None:
        """A commit in the caller's transaction names the file: its uploader is charged for it no more."""
        ...

    def held_in(self, connection: sa.Connection, repository_id: int) -> dict[str, tuple[LargeFile, datetime]]:
        """Every file that the repository may refer to, by its sha256, and since when."""
        ...

    def forget_in(self, connection: sa.Connection, repository_id: int, hashes: Sequence[str]) -> None:
        """Let the repository no longer refer to these files; the caller's transaction has seen to its commits."""
        ...

    async def adopt(self, repository_id: int, sha256: str, from_repository_id: int) -> None:
        """Let `repository_id` refer to a file of another one; the caller has checked both rights."""
        ...

    def stream(self, file: LargeFile, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """The bytes from `start` up to, not including, `end`, in pieces of about 1 MiB."""
        ...

    async def lay_out(self, file: LargeFile, path: Path) -> None:
        """Write or hard-link the whole file at `path`, verified and atomically."""
        ...

    def grant(self, principal: Principal, repository_id: int, repository_name: str, repository_type: str, write: bool) -> XetToken:
        """A token for one repository; the caller has checked the right."""
        ...
