"""How work is broken off, and what a worker that ended has left to read."""

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from yunmo.runtime.link import Worker

_LOG_TAIL_BYTES = 8192


async def unless(ending: asyncio.Event, step: Coroutine[None, None, None]) -> None:
    """Take the step, or leave it when the event comes first."""
    work, end = asyncio.ensure_future(step), asyncio.ensure_future(ending.wait())
    waits: set[asyncio.Future[Any]] = {work, end}
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        end.cancel()
        work.cancel()
        await asyncio.wait({work})
    if not work.cancelled():
        work.result()


def log_tail(path: Path) -> str:
    """The last lines that workers printed, to follow a reason."""
    lines = log_end(path, _LOG_TAIL_BYTES).splitlines()[-10:]
    return "\nThe end of its log ('yunmo logs' shows all):\n" + "\n".join(lines) if lines else ""


def log_end(path: Path, tail_bytes: int) -> str:
    """The last bytes that workers printed."""
    if not path.exists():
        return ""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - tail_bytes))
        return file.read().decode(errors="replace")


async def loss_of(worker: Worker, hang_seconds: float) -> bool:
    """Wait until the worker is gone, or hangs for so long; whether it hangs."""
    heart = asyncio.ensure_future(worker.watch(hang_seconds))
    waits: set[asyncio.Future[str] | asyncio.Future[None]] = {worker.gone, heart}
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        heart.cancel()
    return not worker.gone.done()
