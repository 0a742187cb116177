"""Threads that each have the model for themselves: fxtranslate binds a translator to the thread that made it."""

import asyncio
import threading
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from yunmo.core.errors import EngineFailed, Unavailable

_TRIAL = "1."
_LOAD_SECONDS = 120.0


class Translators:
    """`count` threads that translate sentences in the order in which they are asked for.

    A caller with many sentences has no more than twice as many waiting as there are threads: another's wait for a few, not for all.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._own = threading.local()
        self._pool = ThreadPoolExecutor(count, thread_name_prefix="bergamot")

    def load(self, make: Callable[[], Any]) -> None:
        """Make every thread's translator and have it try a word. Raises EngineFailed if the library cannot."""
        _check(self._pool.submit(self._build, make, threading.Barrier(1)))
        every = threading.Barrier(self._count)  # a thread that waits for the others takes no second task
        for built in [self._pool.submit(self._build, make, every) for _ in range(self._count)]:
            _check(built)

    async def translate(self, sentences: Iterable[str]) -> AsyncGenerator[str, None]:
        """The sentences' translations, in order, while those that follow are in work.

        Raises EngineFailed for one that fails, and Unavailable once the threads end. Closing it ends the work after the sentences that are in work.
        """
        waiting: deque[asyncio.Future[str]] = deque()
        try:
            for sentence in sentences:
                waiting.append(asyncio.wrap_future(self._submit(sentence)))
                if len(waiting) >= 2 * self._count:
                    yield await _ended(waiting.popleft())
            while waiting:
                yield await _ended(waiting.popleft())
        finally:
            for future in waiting:
                future.cancel()

    def close(self) -> None:
        """Let the threads end, and the model with them. Blocks for as long as a sentence is in work."""
        self._pool.shutdown(cancel_futures=True)

    def _build(self, make: Callable[[], Any], every: threading.Barrier) -> str:
        if not hasattr(self._own, "translator"):
            self._own.translator = make()
            self._own.translator.translate(_TRIAL)
        every.wait(_LOAD_SECONDS)
        return ""

    def _submit(self, sentence: str) -> Future[str]:
        try:
            return self._pool.submit(self._translate, sentence)
        except RuntimeError as error:  # they take nothing more
            raise _unloaded() from error

    def _translate(self, sentence: str) -> str:
        return str(self._own.translator.translate(sentence))


async def _ended(future: "asyncio.Future[str]") -> str:
    """What was answered, once it is there."""
    await asyncio.wait((future,))
    if future.cancelled():
        raise _unloaded()
    _check(future)
    return future.result()


def _check(future: "Future[str] | asyncio.Future[str]") -> None:
    """Raise EngineFailed for an error. A panic of the library is no Exception, so errors are looked at and not caught."""
    error = future.exception()
    if error is not None:
        raise EngineFailed(f"fxtranslate failed: {' '.join(str(error).split())[:300]}") from None


def _unloaded() -> Unavailable:
    return Unavailable("The model is being unloaded; ask again.")
