"""Asking a model as it is served, with patience: one that is busy or away is asked again a few times."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from yunmo.core.errors import DeadlineExceeded, EngineFailed, Overloaded, RateLimited, Unavailable, YunmoError

T = TypeVar("T")

Sleep = Callable[[float], Awaitable[None]]

_MAY_PASS = (Unavailable, Overloaded, RateLimited, EngineFailed, DeadlineExceeded)
_TRIES = 5
_LONGEST_WAIT_SECONDS = 30.0


def may_pass(error: YunmoError) -> bool:
    """Whether the same question may be answered later."""
    return isinstance(error, _MAY_PASS)


async def patiently(ask: Callable[[], Awaitable[T]], sleep: Sleep = asyncio.sleep) -> T:
    """What `ask` answers at last. Raises its error when that will not pass, or has not."""
    for attempt in range(1, _TRIES):
        try:
            return await ask()
        except _MAY_PASS as error:
            await sleep(min(_LONGEST_WAIT_SECONDS, getattr(error, "retry_after_seconds", None) or 2.0**attempt))
    return await ask()
