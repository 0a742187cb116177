"""One queue in front of a blocking engine: streams take items as they get free; a cancelled item never joins a batch."""

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass

from yunmo.core.engine import BatchEngine, Plan, Result
from yunmo.core.errors import EngineFailed, YunmoError
from yunmo.core.tasks import Output, Request, join, split
from yunmo.core.usage import Usage


@dataclass(slots=True, eq=False)
class _Item:
    request: Request
    cost: int
    future: "asyncio.Future[Result]"


class Batched:
    """An Engine made of a BatchEngine: `plan.streams` threads, batches of at most `plan.batch_items` items of one task.

    A batch is the item that has waited longest and the waiting items nearest to it in cost, so that little is padded.
    """

    def __init__(self, engine: BatchEngine, plan: Plan) -> None:
        self.tasks = engine.tasks
        self._engine = engine
        self._limit = plan.batch_items
        self._waiting: deque[_Item] = deque()
        self._free = threading.Condition()
        self._is_closed = False
        self._loop = asyncio.get_running_loop()
        self._threads = [
            threading.Thread(target=self._work, args=(stream,), name=f"stream-{stream}", daemon=True) for stream in range(plan.streams)
        ]
        for thread in self._threads:
            thread.start()

    async def answer(self, request: Request) -> Result:
        """The whole answer; the rows of a request are worked on by all streams at once."""
        rows = split(request)
        if len(rows) == 1:
            return await self._enqueue(rows)[0].future
        items = self._enqueue(rows)
        try:
            results = [await item.future for item in items]
        finally:
            for item in items:
                item.future.cancel()
        return join([output for output, _ in results]), sum((usage for _, usage in results), Usage())

    async def stream(self, request: Request) -> AsyncIterator[Output | Usage]:
        """The answer as its only chunk, then the usage."""
        output, usage = await self.answer(request)
        yield output
        yield usage

    async def close(self) -> None:
        """Let the streams finish what they run; what waits is cancelled."""
        with self._free:
            self._is_closed = True
            for item in self._waiting:
                item.future.cancel()
            self._waiting.clear()
            self._free.notify_all()
        await asyncio.to_thread(self._join)
        self._engine.close()

    def _join(self) -> None:
        for thread in self._threads:
            thread.join()

    def _enqueue(self, rows: list[Request]) -> list[_Item]:
        items = [_Item(row, self._engine.cost(row), self._loop.create_future()) for row in rows]
        with self._free:
            self._waiting.extend(items)
            self._free.notify(len(items))
        return items

    def _work(self, stream: int) -> None:
        while True:
            with self._free:
                while not self._waiting and not self._is_closed:
                    self._free.wait()
                if self._is_closed:
                    return
                batch = self._take()
            if batch:
                self._run(stream, batch)

    def _take(self) -> list[_Item]:
        while self._waiting and self._waiting[0].future.cancelled():
            self._waiting.popleft()
        if not self._waiting:
            return []
        first = self._waiting.popleft()
        if self._limit == 1 or not self._waiting:
            return [first]
        kind = type(first.request)
        alike = [item for item in self._waiting if type(item.request) is kind and not item.future.cancelled()]
        alike.sort(key=lambda item: abs(item.cost - first.cost))
        batch = [first, *alike[: self._limit - 1]]
        taken = set(map(id, batch))
        self._waiting = deque(item for item in self._waiting if id(item) not in taken)
        return batch

    def _run(self, stream: int, batch: list[_Item]) -> None:
        results: list[Result | YunmoError]
        try:
            results = list(self._engine.run(stream, [item.request for item in batch]))
            if len(results) != len(batch):
                raise EngineFailed(f"The engine answered {len(results)} of {len(batch)} items.")
        except YunmoError as error:
            results = [error] * len(batch)
        except Exception as error:  # boundary: worker loop, a model library may raise anything
            results = [EngineFailed(f"The model failed on this input: {type(error).__name__}: {error}")] * len(batch)
        self._loop.call_soon_threadsafe(_settle, batch, results)


def _settle(batch: list[_Item], results: list[Result | YunmoError]) -> None:
    for item, result in zip(batch, results, strict=True):
        if item.future.done():
            continue
        if isinstance(result, YunmoError):
            item.future.set_exception(result)
        else:
            item.future.set_result(result)
