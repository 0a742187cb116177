"""One training at a time, in a thread, whose news is streamed."""

import asyncio
import contextlib
import os
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from yunmo.core.engine import Plan, Progress
from yunmo.core.errors import Conflict, Unsupported
from yunmo.core.tasks import Output, Request, task_name
from yunmo.core.training import CheckTraining, StopTraining, Train, TrainerOutput
from yunmo.core.usage import Usage
from yunmo.engines.trainer.memory import keep_few_kernels

_NICENESS = 19
_THREADS = Path("/proc/self/task")
_GROUP = Path("/proc/self/autogroup")


class Trainer:
    """Works on the base in `directory` with the rows of the workspace. It gives way to every other process of the machine."""

    tasks: tuple[str, ...] = ("check-training", "train", "stop-training")

    def __init__(self, directory: Path, workspace: Path, plan: Plan, progress: Progress) -> None:
        _give_way()
        keep_few_kernels()
        progress("importing what trains", 0.0)
        import torch

        from yunmo.engines.trainer import running

        torch.set_num_threads(plan.threads)
        running.be_quiet()
        self._running = running
        self._directory = directory
        self._workspace = workspace
        self._working = False
        self._stop = threading.Event()
        progress("ready", 1.0)

    async def stream(self, request: Request) -> AsyncIterator[Output | Usage]:
        """Work, and yield the news as it comes."""
        match request:
            case StopTraining():
                self._stop.set()
            case CheckTraining(recipe=recipe):
                async for news in self._work(lambda tell: self._running.check(self._directory, self._workspace, recipe, tell)):
                    yield news
            case Train() as asked:
                async for news in self._work(
                    lambda tell: self._running.run(self._directory, self._workspace, asked, tell, self._stop.is_set)
                ):
                    yield news
            case _:
                raise Unsupported(f"A trainer does not do '{task_name(request)}'.")
        yield Usage()

    async def close(self) -> None:
        """Have the thread end its step; the process ends without waiting for it."""
        self._stop.set()

    async def _work(self, work: Callable[[Callable[[TrainerOutput], None]], None]) -> AsyncIterator[TrainerOutput]:
        if self._working:
            raise Conflict("This trainer is at work already.")
        self._working = True
        self._stop.clear()
        loop = asyncio.get_running_loop()
        news: asyncio.Queue[TrainerOutput | None] = asyncio.Queue()

        def tell(output: TrainerOutput) -> None:
            loop.call_soon_threadsafe(news.put_nowait, output)

        def main() -> None:
            try:
                work(tell)
            finally:
                loop.call_soon_threadsafe(news.put_nowait, None)

        working = asyncio.ensure_future(asyncio.to_thread(main))
        try:
            while (output := await news.get()) is not None:
                yield output
            await working
        finally:
            self._stop.set()
            working.add_done_callback(_forgotten)
            self._working = False


def _forgotten(working: "asyncio.Future[None]") -> None:
    """Nobody waits for it any more: its error has been told, or does not matter."""
    if not working.cancelled():
        working.exception()


def _give_way() -> None:
    """Let every other process go first: training has what is left.

    On Linux each thread has a priority of its own, and where a kernel groups processes by session, the group has one, too.
    """
    os.nice(_NICENESS)
    with contextlib.suppress(OSError):
        for thread in _THREADS.iterdir():
            os.setpriority(os.PRIO_PROCESS, int(thread.name), _NICENESS)
        _GROUP.write_text(str(_NICENESS))
