"""Bytes by key: a directory or S3 behind one protocol.

Keys look like `xorbs/ab/cd/abcd…`; an object never changes once it is there.
"""

import asyncio
import errno
import os
import re
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from io import FileIO
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

import obstore
import structlog
from obstore.exceptions import BaseError
from obstore.store import LocalStore
from obstore.store import S3Store as S3Client

from yunmo.core.errors import InsufficientStorage, InvalidRequest, Unavailable

_PIECE_BYTES = 1024 * 1024
_PART_BYTES = 16 * 1024 * 1024
_PARTS_LIMIT = 9_000  # S3 takes 10,000
_STAGED_SECONDS = 24 * 3600
_SEGMENT = re.compile(r"[A-Za-z0-9_@+=-][A-Za-z0-9._@+=-]*\Z")
_KEY_CHARACTERS = 900  # S3 takes 1,024 with its prefix
_SEGMENT_CHARACTERS = 255
_FULL = {errno.ENOSPC, errno.EDQUOT}
_log = structlog.get_logger()


class ObjectStore(Protocol):
    """Durable, immutable objects. Missing keys raise `FileNotFoundError`; a full disk raises `InsufficientStorage`."""

    staging: Path
    """A local directory for half-written files, on the same file system as a directory store."""

    async def put(self, key: str, data: bytes) -> None:
        """Keep `data` under `key`; durable and whole when this returns. Putting a key again is a no-op."""
        ...

    async def put_file(self, key: str, path: Path) -> None:
        """Take over the staged file at `path` (it is gone afterwards); durable and whole when this returns."""
        ...

    async def get(self, key: str, start: int = 0, end: int | None = None) -> bytes:
        """The bytes from `start` up to, not including, `end`; like a slice, a range past the object's end is cut."""
        ...

    def stream(self, key: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """The same range in pieces of about 1 MiB."""
        ...

    async def size(self, key: str) -> int | None:
        """The object's length in bytes, None if it is not there."""
        ...

    async def delete(self, key: str) -> None:
        """Forget the object; a no-op if it is not there."""
        ...

    def keys(self, prefix: str) -> AsyncIterator[str]:
        """Every key under the folder `prefix`."""
        ...

    def local_path(self, key: str) -> Path | None:
        """The object's own file where the store is a directory (read-only!), None elsewhere."""
        ...


class _Objects:
    """What a directory and S3 have in common: reading, listing and deleting through obstore."""

    def __init__(self, client: Any, name: str, staging: Path) -> None:
        self.staging = staging
        self._client = client
        self._name = name
        self._ignores_ranges = False
        _clean(staging)

    async def get(self, key: str, start: int = 0, end: int | None = None) -> bytes:
        """The bytes from `start` up to, not including, `end`."""
        parts = [piece async for piece in self.stream(key, start, end)]
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def stream(self, key: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """The same range in pieces of about 1 MiB."""
        _check(key)
        if start < 0 or (end is not None and end < 0):
            raise ValueError(f"A range of an object cannot start at {start} and end at {end}")
        with self._translated():
            result, skip = await self._open(key, start, end)
            if result is None:
                return
            left = None if end is None else end - start
            async for buffer in result.stream(min_chunk_size=_PIECE_BYTES):
                piece = bytes(buffer)[skip:] if skip else bytes(buffer)
                skip = max(0, skip - len(buffer))
                if left is not None:
                    piece = piece[:left]
                    left -= len(piece)
                if piece:
                    yield piece
                if left == 0:
                    return

    async def size(self, key: str) -> int | None:
        """The object's length in bytes, None if it is not there."""
        _check(key)
        with self._translated():
            try:
                return int((await obstore.head_async(self._client, key))["size"])
            except (FileNotFoundError, NotADirectoryError):
                return None

    async def delete(self, key: str) -> None:
        """Forget the object; a no-op if it is not there."""
        _check(key)
        with self._translated():
            try:
                await obstore.delete_async(self._client, key)
            except (FileNotFoundError, NotADirectoryError):
                return

    async def keys(self, prefix: str) -> AsyncIterator[str]:
        """Every key under the folder `prefix`."""
        folder = prefix.strip("/")
        if folder:
            _check(folder)
        with self._translated():
            async for batch in obstore.list(self._client, prefix=folder or None):
                for found in batch:
                    yield found["path"]

    async def _open(self, key: str, start: int, end: int | None) -> tuple[Any, int]:
        """An answer that holds the range, and how many of its first bytes to skip; no answer for an empty range."""
        if start == 0 and end is None:
            return await obstore.get_async(self._client, key), 0
        if self._ignores_ranges or (end is not None and end <= start):
            return await self._open_whole(key, start, end)
        options: Any = {"range": {"offset": start} if end is None else (start, end)}
        try:
            return await obstore.get_async(self._client, key, options=options), 0
        except BaseError as error:
            # `rclone serve s3` answers a range with status 200, which obstore refuses: read from the start and cut.
            if "NotPartial" in str(error):
                self._ignores_ranges = True
                _log.warning("object_ranges_ignored", store=self._name)
                return await self._open_whole(key, start, end)
            size = (await obstore.head_async(self._client, key))["size"]
            if start >= size:
                return None, 0
            raise

    async def _open_whole(self, key: str, start: int, end: int | None) -> tuple[Any, int]:
        if end is not None and end <= start:
            await obstore.head_async(self._client, key)  # a missing object is an error for an empty range, too
            return None, 0
        return await obstore.get_async(self._client, key), start

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Turns obstore's errors into ours."""
        try:
            yield
        except BaseError as error:
            reason = str(error).split("\n", 1)[0]
            raise Unavailable(
                f"The object store {self._name} cannot be used: {reason}. Check the storage settings and the store itself."
            ) from error


class DirectoryStore(_Objects):
    """Objects as files: `root/objects/<key>`, each written beside, flushed and renamed."""

    def __init__(self, root: Path) -> None:
        self._objects = root.absolute() / "objects"
        self._objects.mkdir(parents=True, exist_ok=True)
        self._durable: set[Path] = set()
        super().__init__(LocalStore(self._objects), str(root), root.absolute() / "staging")

    async def put(self, key: str, data: bytes) -> None:
        """Keep `data` under `key`; durable and whole when this returns. Putting a key again is a no-op."""
        await asyncio.to_thread(self._put, self.local_path(key), data)

    async def put_file(self, key: str, path: Path) -> None:
        """Take over the staged file at `path` (it is gone afterwards); durable and whole when this returns."""
        await asyncio.to_thread(self._adopt, self.local_path(key), path)

    async def stream(self, key: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """The same range in pieces of about 1 MiB, read without obstore: its many small reads cost four times the processor time."""
        if start < 0 or (end is not None and end < 0):
            raise ValueError(f"A range of an object cannot start at {start} and end at {end}")
        file = await asyncio.to_thread(_open, self.local_path(key))
        try:
            while end is None or start < end:
                size = _PIECE_BYTES if end is None else min(_PIECE_BYTES, end - start)
                piece = await asyncio.to_thread(os.pread, file.fileno(), size, start)
                if not piece:
                    return
                yield piece
                start += len(piece)
        finally:
            file.close()

    def local_path(self, key: str) -> Path:
        """The object's own file; never write to it."""
        _check(key)
        return self._objects / key

    def _put(self, target: Path, data: bytes) -> None:
        if target.exists():
            self._settle(target.parent)
            return
        with _full_is_said(self._name), tempfile.NamedTemporaryFile(dir=self.staging, prefix="put-", delete=False) as file:
            path = Path(file.name)
            try:
                file.write(data)
                file.flush()
                self._place(path, file.fileno(), target)
            except BaseException:
                path.unlink(missing_ok=True)
                raise

    def _adopt(self, target: Path, path: Path) -> None:
        if target.exists():
            self._settle(target.parent)
            path.unlink(missing_ok=True)
            return
        with _full_is_said(self._name), path.open("rb") as file:
            self._place(path, file.fileno(), target)

    def _place(self, path: Path, descriptor: int, target: Path) -> None:
        os.fchmod(descriptor, 0o444)
        os.fsync(descriptor)
        target.parent.mkdir(parents=True, exist_ok=True)
        path.replace(target)
        self._settle(target.parent)

    def _settle(self, directory: Path) -> None:
        """Makes the directory's entries durable, and once each of those that lead to it."""
        _flush_directory(directory)
        while directory != self._objects and directory not in self._durable:
            _flush_directory(directory.parent)
            self._durable.add(directory)
            directory = directory.parent


@dataclass(frozen=True, slots=True)
class S3Location:
    """Where a bucket is: `s3://bucket/prefix` at `endpoint` (None for AWS). Without keys, AWS's own chain finds them."""

    url: str
    endpoint: str | None = None
    region: str = "us-east-1"
    access_key: str | None = field(default=None, repr=False)
    secret_key: str | None = field(default=None, repr=False)


class S3Store(_Objects):
    """Objects in a bucket of S3 or of a server that speaks like it. Conditional writes are not needed: keys are content."""

    def __init__(self, location: S3Location, staging: Path, *, retry_seconds: float = 30.0) -> None:
        parts = urlsplit(location.url)
        if parts.scheme != "s3" or not parts.netloc:
            raise ValueError(f"'{location.url}' is not the address of a bucket; write it as s3://bucket or s3://bucket/prefix")
        given = {"endpoint": location.endpoint, "access_key_id": location.access_key, "secret_access_key": location.secret_key}
        client = S3Client(
            parts.netloc,
            prefix=parts.path.strip("/") or None,
            region=location.region,
            client_options={
                "allow_http": (location.endpoint or "").startswith("http://"),
                "timeout": timedelta(hours=6),  # of a whole transfer; one that stalls is noticed by read_timeout
                "read_timeout": timedelta(seconds=60),
                "connect_timeout": timedelta(seconds=5),
            },
            retry_config={"max_retries": 5, "retry_timeout": timedelta(seconds=retry_seconds)},
            **{name: value for name, value in given.items() if value is not None},  # type: ignore[arg-type]  # all are str
        )
        super().__init__(client, location.url, staging)

    async def put(self, key: str, data: bytes) -> None:
        """Keep `data` under `key`; durable and whole when this returns. Putting a key again is a no-op."""
        if await self.size(key) is None:
            await self._upload(key, data, len(data))

    async def put_file(self, key: str, path: Path) -> None:
        """Take over the staged file at `path` (it is gone afterwards); durable and whole when this returns."""
        if await self.size(key) is None:
            await self._upload(key, path, (await asyncio.to_thread(path.stat)).st_size)
        await asyncio.to_thread(path.unlink, missing_ok=True)

    def local_path(self, key: str) -> None:
        """None: an object in a bucket has no file here."""
        _check(key)

    async def _upload(self, key: str, source: bytes | Path, size: int) -> None:
        part = max(_PART_BYTES, size // _PARTS_LIMIT)
        with self._translated():
            try:
                await obstore.put_async(self._client, key, source, chunk_size=part, max_concurrency=4, use_multipart=size > part)
            except FileNotFoundError as error:
                raise Unavailable(
                    f"The object store {self._name} has no such bucket. Make the bucket, or mend the setting storage.blobs."
                ) from error


def _check(key: str) -> None:
    segments = key.split("/")
    if len(key) > _KEY_CHARACTERS or not all(_SEGMENT.match(segment) and len(segment) <= _SEGMENT_CHARACTERS for segment in segments):
        raise InvalidRequest(
            f"{key[:200]!r} cannot be the key of an object: use segments of letters, digits and ._@+=- that do not start with a dot."
        )


def _open(path: Path) -> FileIO:
    try:
        return path.open("rb", buffering=0)
    except (IsADirectoryError, NotADirectoryError) as error:
        raise FileNotFoundError(path.name) from error


def _clean(staging: Path) -> None:
    """Removes what a crash left half-written."""
    staging.mkdir(parents=True, exist_ok=True)
    for path in staging.iterdir():
        if path.is_file() and time.time() - path.stat().st_mtime > _STAGED_SECONDS:
            path.unlink(missing_ok=True)


def _flush_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _full_is_said(name: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise InsufficientStorage(f"The disk under {name} is full. Free some space or set 'data' to a larger disk.") from error
        raise
