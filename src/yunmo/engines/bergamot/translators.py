"""Threads that each have the model for themselves: fxtranslate binds a translator to the thread that made it."""

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from yunmo.core.errors import EngineFailed

_TRIAL = "1."
_LOAD_SECONDS = 120.0


class Translators:
    """`count` threads that translate sentences, in the order in which they are asked. Several callers share them fairly."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._own = threading.local()
        self._pool = ThreadPoolExecutor(count, thread_name_prefix="bergamot")

    def load(self, make: Callable[[], Any]) -> None:
        """Make every thread's translator and have it try a word. Raises EngineFailed if the library cannot."""
        _answer(self._pool.submit(self._build, make, threading.Barrier(1)))
        every = threading.Barrier(self._count)  # a thread that waits for the others takes no second task
        for built in [self._pool.submit(self._build, make, every) for _ in range(self._count)]:
            _answer(built)

    def translate(self, sentences: Sequence[str]) -> Iterator[str]:
        """The sentences' translations, in order, while those that follow are in work. Raises EngineFailed for one that fails."""
        waiting: deque[Future[str]] = deque()
        try:
            for sentence in sentences:
                waiting.append(self._pool.submit(self._translate, sentence))
                if len(waiting) >= 2 * self._count:
                    yield _answer(waiting.popleft())
            while waiting:
                yield _answer(waiting.popleft())
        finally:
            for future in waiting:
                future.cancel()

    def close(self) -> None:
        """Let the threads end, and the model with them."""
        self._pool.shutdown(cancel_futures=True)

    def _build(self, make: Callable[[], Any], every: threading.Barrier) -> str:
        if not hasattr(self._own, "translator"):
            self._own.translator = make()
            self._own.translator.translate(_TRIAL)
        every.wait(_LOAD_SECONDS)
        return ""

    def _translate(self, sentence: str) -> str:
        return str(self._own.translator.translate(sentence))


def _answer(future: Future[str]) -> str:
    """What was answered. A panic of the library is no Exception, so errors are looked at and not caught."""
    error = future.exception()
    if error is None:
        return future.result()
    if isinstance(error, EngineFailed):
        raise error
    raise EngineFailed(f"fxtranslate failed: {' '.join(str(error).split())[:300]}") from None
