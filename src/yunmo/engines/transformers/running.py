"""How the work of a loaded model is run: item by item for batches, in threads for what streams."""

import asyncio
import threading
import traceback
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import structlog

from yunmo.core.engine import Plan, Result
from yunmo.core.errors import EngineFailed, Unsupported, YunmoError
from yunmo.core.tasks import Output, Request, task_name
from yunmo.core.usage import Usage

_log = structlog.get_logger()


class Itemwise:
    """A BatchEngine that answers its items one after the other.

    On CPUs padding items into one batch costs more than it gains: MiniLM did 68 texts/s one at a time and 47 in padded
    batches of 32. So a batch saves no work here, and each item's result is the one that the library's own pipeline gives.
    """

    def __init__(
        self,
        tasks: tuple[str, ...],
        answers: Mapping[type[Request], Callable[[Any], Result]],
        plan: Plan,
        cost: Callable[[Request], int] = lambda _request: 1,
    ) -> None:
        self.tasks = tasks
        self._answers = answers
        self._threads = plan.threads
        self._cost = cost
        self._local = threading.local()

    def cost(self, request: Request) -> int:
        """The size of an item."""
        return self._cost(request)

    def run(self, stream: int, requests: Sequence[Request]) -> Sequence[Result | YunmoError]:
        """Answer each request, or say why not, whatever happens to the others."""
        del stream
        import torch

        if not getattr(self._local, "is_set", False):
            torch.set_num_threads(self._threads)
            self._local.is_set = True
        with torch.inference_mode():
            return [self._run_one(request) for request in requests]

    def close(self) -> None:
        """Let the model go."""
        self._answers = {}

    def _run_one(self, request: Request) -> Result | YunmoError:
        answer = self._answers.get(type(request))
        if answer is None or task_name(request) not in self.tasks:
            return _not_here(request, self.tasks)
        try:
            return answer(request)
        except YunmoError as error:
            return error
        except Exception as error:  # boundary: a model's failure is that item's alone
            return _failure(request, error)


class Job:
    """One request in work in a thread: where its pieces go, and whether anyone still wants them."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._cancelled = threading.Event()
        self.pieces: asyncio.Queue[Output | Usage | YunmoError | None] = asyncio.Queue()

    @property
    def is_cancelled(self) -> bool:
        """Whether the work should stop at the next token."""
        return self._cancelled.is_set()

    def cancel(self) -> None:
        """Ask the work to stop."""
        self._cancelled.set()

    def emit(self, piece: Output | Usage | YunmoError | None) -> None:
        """Hand a piece to whoever reads the stream, None at its end; called from the working thread."""
        with suppress(RuntimeError):  # the loop has closed: nobody reads any more
            self._loop.call_soon_threadsafe(self.pieces.put_nowait, piece)


class Threaded:
    """An Engine whose requests run in `plan.slots` threads and stream their pieces."""

    def __init__(self, tasks: tuple[str, ...], answers: Mapping[type[Request], Callable[[Any, Job], Usage]], plan: Plan) -> None:
        import torch

        self.tasks = tasks
        self._answers = answers
        self._threads = ThreadPoolExecutor(plan.slots, "transformers", initializer=torch.set_num_threads, initargs=(plan.threads,))

    async def stream(self, request: Request) -> AsyncIterator[Output | Usage]:
        """Yield the pieces of the answer and its usage; leaving early stops the work within one token."""
        if type(request) not in self._answers or task_name(request) not in self.tasks:
            raise _not_here(request, self.tasks)
        loop = asyncio.get_running_loop()
        job = Job(loop)
        work = self._threads.submit(self._run, request, job)
        try:
            while (piece := await job.pieces.get()) is not None:
                if isinstance(piece, YunmoError):
                    raise piece
                yield piece
        finally:
            job.cancel()
            if not work.cancel():  # begun: it ends at its next token
                await asyncio.wait([asyncio.wrap_future(work)])

    async def close(self) -> None:
        """Wait for the threads to end and let the model go."""
        await asyncio.to_thread(self._threads.shutdown, cancel_futures=True)
        self._answers = {}

    def _run(self, request: Request, job: Job) -> None:
        import torch

        if job.is_cancelled:
            return
        try:
            with torch.inference_mode():
                job.emit(self._answers[type(request)](request, job))
        except YunmoError as error:
            job.emit(error)
        except Exception as error:  # boundary: a model's failure ends that request alone
            job.emit(_failure(request, error))
        finally:
            job.emit(None)  # whatever happens here, even to the log: who reads the stream must not wait for ever


def _not_here(request: Request, tasks: tuple[str, ...]) -> Unsupported:
    return Unsupported(f"this model has no task {task_name(request)!r}; it has {', '.join(tasks)}")


def _failure(request: Request, error: Exception) -> EngineFailed:
    # places only: a traceback with its values would put people's texts into the log
    places = [f"{Path(frame.filename).name}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)[-4:]]
    _log.warning("transformers_failed", task=task_name(request), error=type(error).__name__, places=places)
    return EngineFailed(f"the model failed on this {task_name(request)} request ({type(error).__name__}); other inputs may still work")
