"""Bodies on their way to disk: written and checked in large pieces in a thread, gone again if anything fails."""

import asyncio
import errno
import os
import secrets
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Executor
from contextlib import asynccontextmanager, contextmanager
from io import FileIO
from pathlib import Path

from yunmo.core.errors import InsufficientStorage, TooLarge

BATCH_BYTES = 2 * 1024 * 1024
"""One thread hop for so many bytes: a body's pieces are 64 KiB, too small to pay for one each."""

_BUFFER_BYTES = BATCH_BYTES + 512 * 1024

Check = Callable[[memoryview], int]
"""Looks at what has come and says how much of it, from the start, it needs no more; it is shown the rest again.

It must use all but the last 256 KiB.
"""

_FULL = {errno.ENOSPC, errno.EDQUOT}


@asynccontextmanager
async def staged(directory: Path, prefix: str) -> AsyncIterator[Path]:
    """The path of a new staged file; removed at the end unless somebody has taken it over."""
    path = directory / f"{prefix}-{secrets.token_hex(12)}"
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


async def receive(
    pieces: AsyncIterator[bytes], path: Path, check: Check, *, limit: int, offset: int = 0, executor: Executor | None = None
) -> int:
    """Write a body of at most `limit` bytes into the file at `path` from `offset` on, showing all of it to `check`; its length.

    Raises TooLarge past the limit, InsufficientStorage on a full disk, and whatever `check` raises.
    """
    intake = _Intake(await asyncio.to_thread(_open, path), offset, check)
    loop = asyncio.get_running_loop()
    try:
        size = 0
        async for piece in pieces:
            size += len(piece)
            if size > limit:
                raise TooLarge(f"The body is larger than the {limit} bytes that were announced or are allowed.")
            taken = 0
            while taken < len(piece):
                taken += intake.take(piece, taken)
                if intake.is_due:
                    await loop.run_in_executor(executor, intake.flush)
        await loop.run_in_executor(executor, intake.flush)
    finally:
        intake.file.close()
    return size


def all_of(update: Callable[[memoryview], object]) -> Check:
    """A check that uses everything it is shown, like a hash."""

    def check(view: memoryview) -> int:
        update(view)
        return len(view)

    return check


async def batched(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same bytes in pieces of at least `BATCH_BYTES` (but for the last one)."""
    waiting: list[bytes] = []
    size = 0
    async for piece in pieces:
        waiting.append(piece)
        size += len(piece)
        if size >= BATCH_BYTES:
            yield b"".join(waiting)
            waiting, size = [], 0
    if waiting:
        yield b"".join(waiting)


def require_space(directory: Path, size: int) -> None:
    """Raise InsufficientStorage at once when a file of this size cannot fit."""
    if shutil.disk_usage(directory).free < size:
        raise InsufficientStorage(f"There is no room for a file of {size} bytes. Free some space or set 'data' to a larger disk.")


@contextmanager
def full_disk_is_said() -> Iterator[None]:
    """Turns the operating system's "no space left" into InsufficientStorage."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise InsufficientStorage("The disk is full. Free some space or set 'data' to a larger disk.") from error
        raise


class _Intake:
    """Collects a body in one buffer (fresh ones would cost a page fault each 4 KiB), then writes and checks what it holds."""

    def __init__(self, file: FileIO, offset: int, check: Check) -> None:
        self.file = file
        self._offset = offset
        self._check = check
        self._buffer = memoryview(bytearray(_BUFFER_BYTES))
        self._fresh = self._filled = 0

    @property
    def is_due(self) -> bool:
        """Whether it is worth a thread hop."""
        return self._filled - self._fresh >= BATCH_BYTES or self._filled == _BUFFER_BYTES

    def take(self, piece: bytes, start: int) -> int:
        """Collect the piece from `start` on, as far as there is room; how many bytes that was."""
        size = min(len(piece) - start, _BUFFER_BYTES - self._filled)
        self._buffer[self._filled : self._filled + size] = piece[start : start + size]
        self._filled += size
        return size

    def flush(self) -> None:
        """Write what is new, check it, and keep only what the check wants to see again."""
        new = self._buffer[self._fresh : self._filled]
        while len(new):
            with full_disk_is_said():
                written = os.pwrite(self.file.fileno(), new, self._offset)
            self._offset += written
            new = new[written:]
        used = self._check(self._buffer[: self._filled])
        rest = self._filled - used
        if rest >= _BUFFER_BYTES - BATCH_BYTES:
            raise ValueError("a check must use most of what it is shown")
        self._buffer[:rest] = bytes(self._buffer[used : self._filled])
        self._fresh = self._filled = rest


def _open(path: Path) -> FileIO:
    with full_disk_is_said():
        return FileIO(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "wb")
