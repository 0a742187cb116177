"""Runs of sample requests on one worker: for their answers, for the pace with all slots in use, for the time of one alone."""

import asyncio
import statistics
import time
from collections.abc import Coroutine, Iterable, Iterator, Sequence

from yunmo.core.errors import EngineFailed, YunmoError
from yunmo.core.tasks import Output, Request, fold
from yunmo.core.usage import Usage
from yunmo.runtime.link import Worker

_FEWEST_ALONE = 5
_WRITTEN = frozenset({"chat", "generate", "translate", "summarize"})
_HEARD = frozenset({"transcribe", "classify-audio"})
_SEEN = frozenset({"classify-image", "classify-image-zero-shot"})


def unit_of(task: str) -> str:
    """What `per_second` counts for the task."""
    if task in _HEARD:
        return "seconds of audio/s"
    return "tokens/s" if task in _WRITTEN else "images/s" if task in _SEEN else "texts/s"


async def answers(worker: Worker, requests: Sequence[Request], slots: int) -> list[Output]:
    """Every request's whole answer, in order, at most `slots` at a time. Raises the first error."""
    found: dict[int, Output] = {}
    left = iter(enumerate(requests))

    async def work() -> None:
        for index, request in left:
            found[index] = (await _ask(worker, request))[0]

    await _together(work() for _ in range(min(slots, len(requests))))
    return [found[index] for index in range(len(requests))]


async def per_second(worker: Worker, requests: Sequence[Request], slots: int, seconds: float) -> float:
    """Units per second with `slots` requests in work all the time: seconds heard, else tokens written, else requests."""
    done = 0.0
    began = time.monotonic()
    ends = began + seconds
    turn = _cycle(requests)

    async def work() -> None:
        nonlocal done
        while time.monotonic() < ends:
            _, usage = await _ask(worker, next(turn))
            done += usage.seconds or usage.output_tokens or 1

    await _together(work() for _ in range(slots))
    return done / (time.monotonic() - began)


async def milliseconds_alone(worker: Worker, requests: Sequence[Request], seconds: float) -> float:
    """The median time of one request with nothing beside it."""
    took: list[float] = []
    ends = time.monotonic() + seconds
    for request in _cycle(requests):
        began = time.monotonic()
        if began >= ends and len(took) >= min(_FEWEST_ALONE, len(requests)):
            break
        await _ask(worker, request)
        took.append(time.monotonic() - began)
    return 1000 * statistics.median(took)


class _Waiting:
    """Receives one answer."""

    def __init__(self) -> None:
        self.chunks: list[Output] = []
        self.ended: asyncio.Future[Usage] = asyncio.get_running_loop().create_future()

    def chunk(self, output: Output) -> None:
        self.chunks.append(output)

    def spent(self, usage: Usage) -> None:
        """Only the last word on usage counts here."""

    def finished(self, usage: Usage) -> None:
        if not self.ended.done():
            self.ended.set_result(usage)

    def failed(self, error: YunmoError, usage: Usage) -> None:
        del usage
        if not self.ended.done():
            self.ended.set_exception(error)

    def lost(self) -> None:
        self.failed(EngineFailed("The worker ended while it answered."), Usage())


async def _ask(worker: Worker, request: Request) -> tuple[Output, Usage]:
    waiting = _Waiting()
    number = worker.submit(request, waiting)
    try:
        usage = await waiting.ended
    except asyncio.CancelledError:
        worker.cancel(number)
        raise
    return fold(request, waiting.chunks), usage


async def _together(parts: Iterable[Coroutine[None, None, None]]) -> None:
    try:
        async with asyncio.TaskGroup() as group:
            for part in parts:
                group.create_task(part)
    except* YunmoError as errors:
        raise errors.exceptions[0] from None


def _cycle(requests: Sequence[Request]) -> Iterator[Request]:
    while True:
        yield from requests
