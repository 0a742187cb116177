"""Asking models: many requests of one order at a time, but not too many, and patience with the limits that an order itself has used up."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import TypeVar

from yunmo.cloud.cloud import Cloud
from yunmo.core.errors import Overloaded, RateLimited
from yunmo.core.identity import Principal
from yunmo.core.tasks import AnyRequest, Output

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")

_AT_ONCE = 8
_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 5.0
_WAITING_SECONDS = 1800.0
"""How long one answer may take of what can wait: live requests go first."""


class Asking:
    """One caller's requests to one model for one order. At most `at_once` are under way; those that `can_wait` give way to people who wait."""

    def __init__(self, cloud: Cloud, principal: Principal, model: str, at_once: int = _AT_ONCE, *, can_wait: bool = False) -> None:
        self._cloud = cloud
        self._principal = principal
        self._model = model
        self._can_wait = can_wait
        self._turns = asyncio.Semaphore(at_once)
        self._under_way = 0

    async def ask(self, request: AnyRequest) -> Output:
        """The whole answer. A refusal for a limit is raised if none of this order's own requests is under way, else waited out."""
        async with self._turns:
            while True:
                self._under_way += 1
                try:
                    answering = await self._cloud.inference.begin(
                        self._principal,
                        self._model,
                        request,
                        deadline_seconds=_WAITING_SECONDS if self._can_wait else None,
                        can_wait=self._can_wait,
                    )
                    return await answering.whole()
                except (RateLimited, Overloaded) as error:
                    if self._under_way == 1:
                        raise
                    pause = min(error.retry_after_seconds or _PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS)
                finally:
                    self._under_way -= 1
                await asyncio.sleep(pause)


async def each_once(keys: Sequence[Key], work: Callable[[Key], Awaitable[Value]]) -> list[Value]:
    """The work's results in the keys' order; of equal keys one is worked on. The first error ends the others' work and is raised as it is."""
    tasks: dict[Key, asyncio.Task[Value]] = {}

    async def run(key: Key) -> Value:
        return await work(key)

    try:
        async with asyncio.TaskGroup() as group:
            for key in keys:
                if key not in tasks:
                    tasks[key] = group.create_task(run(key))
    except BaseExceptionGroup as failed:
        raise failed.exceptions[0] from None
    return [tasks[key].result() for key in keys]
