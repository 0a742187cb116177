"""Sequences while they are written: how they are handed to the thread that runs the model, and what comes back from it."""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

from yunmo.core.errors import YunmoError
from yunmo.core.tasks import FinishReason, TextDelta, TokenLogprob
from yunmo.engines.chats.constraints import Constraint
from yunmo.engines.chats.text import Text
from yunmo.engines.chats.writing import Writer


@dataclass(frozen=True, slots=True)
class Written:
    """New tokens of a sequence, their log probabilities, and whether they are the last.

    `likeliest` holds, for each token, the ids and log probabilities of the likeliest in its place; nothing where nobody asked.
    """

    tokens: Sequence[int]
    logprobs: Sequence[float]
    is_last: bool
    likeliest: Sequence[Sequence[tuple[int, float]]] = ()


Told = Callable[[Written], None]
"""Called on the thread that runs the model."""


@dataclass(slots=True)
class Generation:
    """One sequence that is being written, as the library's `config` says.

    `cancelled` may be set from any thread; the next step frees its place.
    """

    prompt: Sequence[int]
    config: Any
    constraint: Constraint | None
    told: Told
    failed: Callable[[YunmoError], None]
    cancelled: bool = False
    handle: Any = field(default=None, repr=False)


class Running(Protocol):
    """A loaded model and the thread that steps all of its sequences together."""

    def arriving(self) -> AbstractContextManager[None]:
        """Around the reading of a request: the next step may wait a moment for it."""
        ...

    def submit(self, generation: Generation) -> None:
        """Begin a generation as soon as there is a place."""
        ...

    def close(self) -> None:
        """End what is under way and free the model."""
        ...


class Choice:
    """One answer while it is written."""

    def __init__(self, number: int, writer: Writer, text: Text, has_logprobs: bool) -> None:
        self.number = number
        self.tokens = 0
        self._is_over = False
        self._writer = writer
        self._text = text
        self._has_logprobs = has_logprobs

    def read(self, written: Written) -> list[TextDelta]:
        """The deltas of some tokens, one a token."""
        found: list[TextDelta] = []
        if self._is_over:
            return found
        others = written.likeliest or ((),) * len(written.tokens)
        for token, logprob, likeliest in zip(written.tokens, written.logprobs, others, strict=True):
            self.tokens += 1
            if token in self._text.ends:
                return [*found, self._ended("stop")]
            said = self._writer.write(token)
            if said or self._has_logprobs:
                found.append(TextDelta(choice=self.number, text=said, logprobs=self._logprobs(token, logprob, likeliest)))
            if self._writer.is_stopped:
                return [*found, self._ended("stop")]
        return [*found, self._ended("length")] if written.is_last else found

    def _logprobs(self, token: int, logprob: float, likeliest: Sequence[tuple[int, float]]) -> tuple[TokenLogprob, ...]:
        if not self._has_logprobs:
            return ()
        top = tuple(TokenLogprob(self._text.spelled((other,)), value, other) for other, value in likeliest)
        return (TokenLogprob(self._text.spelled((token,)), logprob, token, top),)

    def _ended(self, reason: FinishReason) -> TextDelta:
        self._is_over = True
        return TextDelta(choice=self.number, text=self._writer.rest(), finish_reason=reason)


class Mail:
    """Tokens from the stepping thread, read on the event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._arrived: deque[tuple[int, Written] | YunmoError] = deque()
        self._awake = asyncio.Event()

    def told_of(self, number: int) -> "_Told":
        """The ear of one choice."""
        return _Told(self, number)

    def failed(self, error: YunmoError) -> None:
        """Receive an error; on any thread."""
        self.put(error)

    def put(self, item: tuple[int, Written] | YunmoError) -> None:
        """Receive something; on any thread."""
        self._arrived.append(item)
        with contextlib.suppress(RuntimeError):  # the loop has gone: nobody waits any more
            self._loop.call_soon_threadsafe(self._awake.set)

    async def next(self) -> tuple[int, Written]:
        """The choice's number and what was written of it. Raises the error that came instead."""
        while not self._arrived:
            await self._awake.wait()
            self._awake.clear()
        item = self._arrived.popleft()
        if isinstance(item, YunmoError):
            raise item
        return item


class _Told:
    def __init__(self, mail: Mail, number: int) -> None:
        self._mail = mail
        self._number = number

    def __call__(self, written: Written) -> None:
        self._mail.put((self._number, written))
