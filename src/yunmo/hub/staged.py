"""Bodies on their way to disk: written and checked in large pieces in a thread, gone again if anything fails."""

import asyncio
import errno
import secrets
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Executor
from contextlib import asynccontextmanager, contextmanager
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
    loop = asyncio.get_running_loop()
    buffer = memoryview(bytearray(_BUFFER_BYTES))  # one for the whole body: fresh ones cost a page fault each 4 KiB
    written = fresh = filled = 0

    async def flush() -> None:
        nonlocal written, fresh, filled
        used = await loop.run_in_executor(executor, _write, path, offset + written, buffer[:filled], fresh, check)
        written += filled - fresh
        fresh = filled = filled - used
        if fresh >= _BUFFER_BYTES - BATCH_BYTES:
            raise ValueError("a check must use most of what it is shown")
        buffer[:fresh] = bytes(buffer[used : used + fresh])

    async for piece in pieces:
        if written + filled - fresh + len(piece) > limit:
            raise TooLarge(f"The body is larger than the {limit} bytes that were announced or are allowed.")
        start = 0
        while start < len(piece):
            size = min(len(piece) - start, _BUFFER_BYTES - filled)
            buffer[filled : filled + size] = piece[start : start + size]
            filled += size
            start += size
            if filled - fresh >= BATCH_BYTES or filled == _BUFFER_BYTES:
                await flush()
    if filled > fresh:
        await flush()
    return written


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


def _write(path: Path, offset: int, view: memoryview, fresh: int, check: Check) -> int:
    with full_disk_is_said(), path.open("r+b" if path.exists() else "xb", buffering=0) as file:
        file.seek(offset)
        file.write(view[fresh:])
    return check(view)
