"""Two queues in front of a blocking engine: of those who wait for an answer, and of those that can wait.

Streams take items as they get free; a cancelled item never joins a batch.

Results that come while many items wait are told together, `_HELD_SECONDS` late at most. With every core at work each wake-up of
the gateway takes its cores' caches from the engine and finds its own cold, which at one result a wake-up is a tenth of all the time
(bench/classification_http.py). A result is held only while the streams have enough to do, so nobody's turn comes later for it.
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass

from yunmo.core.engine import BatchEngine, Plan, Result
from yunmo.core.errors import EngineFailed, YunmoError
from yunmo.core.tasks import Output, Request, join, split
from yunmo.core.usage import Usage

_HELD_SECONDS = 0.02
_QUICK_SECONDS = 0.001
"""Work on an item that is over sooner is not worth holding: many results come in one turn of the loop anyway."""


@dataclass(slots=True, eq=False)
class Item:
    """One row on its way through the queue. What it cost is known once a stream that has begun it has ended it."""

    request: Request
    cost: int
    future: "asyncio.Future[Result]"
    can_wait: bool = False
    has_begun: bool = False
    usage: Usage | None = None
    ended: "asyncio.Future[None] | None" = None


class Batched:
    """An Engine made of a BatchEngine: `plan.streams` threads, batches of at most `plan.batch_items` items of one task.

    A batch is the item that has waited longest and the waiting items nearest to it in cost, so that little is padded.
    """

    def __init__(self, engine: BatchEngine, plan: Plan) -> None:
        self.tasks = engine.tasks
        self._engine = engine
        self._limit = plan.batch_items
        self._waiting: deque[Item] = deque()
        self._patient: deque[Item] = deque()
        self._free = threading.Condition()
        self._is_closed = False
        self._done: list[tuple[list[Item], list[Result | YunmoError]]] = []
        self._telling: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        self._threads = [
            threading.Thread(target=self._work, args=(stream,), name=f"stream-{stream}", daemon=True) for stream in range(plan.streams)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, request: Request, *, can_wait: bool = False) -> list[Item]:
        """Queue the rows of a request: all streams work on them at once, if it `can_wait` behind all others."""
        items = [Item(row, self._engine.cost(row), self._loop.create_future(), can_wait) for row in split(request)]
        with self._free:
            (self._patient if can_wait else self._waiting).extend(items)
            self._free.notify(len(items))
        return items

    async def result(self, items: list[Item]) -> Result:
        """The whole answer."""
        if len(items) == 1:
            return await items[0].future
        try:
            results = [await item.future for item in items]
        finally:
            for item in items:
                item.future.cancel()
        return join([output for output, _ in results]), sum((usage for _, usage in results), Usage())

    async def spent(self, items: list[Item]) -> Usage:
        """Take back what has not begun. The price of what has, once it has ended: a blocking call cannot be stopped in between."""
        for item in items:
            item.future.cancel()
        with self._free:
            begun = [item for item in items if item.has_begun]
        for item in begun:
            if item.usage is None:
                item.ended = self._loop.create_future()
                await item.ended
        return sum((item.usage for item in begun if item.usage is not None), Usage())

    async def answer(self, request: Request) -> Result:
        """The whole answer to a request."""
        return await self.result(self.submit(request))

    async def stream(self, request: Request) -> AsyncIterator[Output | Usage]:
        """The answer as its only chunk, then the usage."""
        output, usage = await self.answer(request)
        yield output
        yield usage

    async def close(self) -> None:
        """Let the streams finish what they run; what waits is cancelled."""
        with self._free:
            self._is_closed = True
            for queue in (self._waiting, self._patient):
                for item in queue:
                    item.future.cancel()
                queue.clear()
            self._free.notify_all()
        await asyncio.to_thread(self._join)
        self._engine.close()

    def _join(self) -> None:
        for thread in self._threads:
            thread.join()

    def _work(self, stream: int) -> None:
        while True:
            with self._free:
                while not self._waiting and not self._patient and not self._is_closed:
                    self._free.wait()
                if self._is_closed:
                    return
                batch = self._take(self._waiting) or self._take(self._patient)
            if batch:
                self._run(stream, batch)

    def _take(self, queue: deque[Item]) -> list[Item]:
        while queue and queue[0].future.cancelled():
            queue.popleft()
        if not queue:
            return []
        first = queue.popleft()
        batch = [first, *self._alike(first, queue)] if self._limit > 1 and queue else [first]
        for item in batch:
            item.has_begun = True
        return batch

    def _alike(self, first: Item, queue: deque[Item]) -> list[Item]:
        kind = type(first.request)
        alike = [item for item in queue if type(item.request) is kind and not item.future.cancelled()]
        alike.sort(key=lambda item: abs(item.cost - first.cost))
        chosen = alike[: self._limit - 1]
        taken = set(map(id, chosen))
        left = [item for item in queue if id(item) not in taken]
        queue.clear()
        queue.extend(left)
        return chosen

    def _run(self, stream: int, batch: list[Item]) -> None:
        results: list[Result | YunmoError]
        begun = time.monotonic()
        try:
            results = list(self._engine.run(stream, [item.request for item in batch]))
            if len(results) != len(batch):
                raise EngineFailed(f"The engine answered {len(results)} of {len(batch)} items.")
        except YunmoError as error:
            results = [error] * len(batch)
        except Exception as error:  # boundary: worker loop, a model library may raise anything
            results = [EngineFailed(f"The model failed on this input: {type(error).__name__}: {error}")] * len(batch)
        self._finish(batch, results, time.monotonic() - begun)

    def _finish(self, batch: list[Item], results: list[Result | YunmoError], seconds: float) -> None:
        """Have the results told: at once unless two items a stream still wait, else with those that follow shortly."""
        with self._free:
            is_first = not self._done
            self._done.append((batch, results))
            behind = len(self._waiting) + (len(self._patient) if batch[0].can_wait else 0)
            may_wait = behind >= 2 * len(self._threads) and seconds >= _QUICK_SECONDS * len(batch)
        if not may_wait:
            self._loop.call_soon_threadsafe(self._tell)
        elif is_first:
            self._loop.call_soon_threadsafe(self._tell_soon)

    def _tell_soon(self) -> None:
        if self._telling is None:
            self._telling = self._loop.call_later(_HELD_SECONDS, self._tell)

    def _tell(self) -> None:
        if self._telling is not None:
            self._telling.cancel()
            self._telling = None
        with self._free:
            done, self._done = self._done, []
        for batch, results in done:
            _settle(batch, results)


def _settle(batch: list[Item], results: list[Result | YunmoError]) -> None:
    for item, result in zip(batch, results, strict=True):
        item.usage = Usage() if isinstance(result, YunmoError) else result[1]
        if item.ended is not None and not item.ended.done():
            item.ended.set_result(None)
        if item.future.done():
            continue
        if isinstance(result, YunmoError):
            item.future.set_exception(result)
        else:
            item.future.set_result(result)
