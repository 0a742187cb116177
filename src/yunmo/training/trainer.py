"""A trainer that has been placed: started for one job, asked, and gone with it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

from yunmo.core.errors import EngineFailed, YunmoError
from yunmo.core.tasks import Output, Request
from yunmo.core.training import StopTraining, TrainerOutput
from yunmo.core.usage import Usage
from yunmo.runtime.link import Worker, WorkerSpec
from yunmo.runtime.placement.placement import Placement

_HANG_SECONDS = 600.0
_END_SECONDS = 2.0
"""How long a trainer may take to leave; whoever cancels waits for it."""


@contextlib.asynccontextmanager
async def placed(placement: Placement, spec: WorkerSpec) -> "AsyncIterator[PlacedTrainer]":
    """A trainer at work in the spec's workspace, until the block is left."""
    started = await placement.start(spec, lambda _step, _share: None)
    try:
        await started.worker.load(spec)
        yield PlacedTrainer(started.worker)
    finally:
        await asyncio.shield(started.stop(_END_SECONDS))


class PlacedTrainer:
    """Asks its worker, and hears the news."""

    def __init__(self, worker: Worker) -> None:
        self.pid = worker.pid
        self._worker = worker

    async def ask(self, request: Request) -> AsyncIterator[TrainerOutput]:
        """The news of one request until it has been done. Raises the trainer's error, or EngineFailed when it died or hangs."""
        heard = _Heard()
        self._worker.submit(request, heard)
        watch = asyncio.create_task(self._worker.watch(_HANG_SECONDS))
        watch.add_done_callback(lambda done: None if done.cancelled() else heard.news.put_nowait(_HUNG))
        try:
            while (each := await heard.news.get()) is not None:
                if isinstance(each, YunmoError):
                    raise each
                yield each
        finally:
            watch.cancel()

    async def stop(self) -> None:
        """Have the training end its step and keep a checkpoint; its news goes on until then."""
        async for _ in self.ask(StopTraining()):
            pass


_HUNG = EngineFailed(f"The trainer has not given a sign of life for {_HANG_SECONDS:.0f} seconds.")


@dataclass(slots=True)
class _Heard:
    """Receives the news of one request; None, or an error, is the last."""

    news: "asyncio.Queue[TrainerOutput | YunmoError | None]"

    def __init__(self) -> None:
        self.news = asyncio.Queue()

    def chunk(self, output: Output) -> None:
        self.news.put_nowait(output)  # type: ignore[arg-type]  # trainers tell nothing else

    def spent(self, usage: Usage) -> None:
        """Training is not billed by the request."""

    def finished(self, usage: Usage) -> None:
        del usage
        self.news.put_nowait(None)

    def failed(self, error: YunmoError, usage: Usage) -> None:
        del usage
        self.news.put_nowait(error)

    def lost(self) -> None:
        self.news.put_nowait(EngineFailed("The trainer's process ended by itself; the job's log and the server's say more."))
