"""The memory that all models share: claims before loading, eviction of what was used least recently, and what stays warm."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from yunmo.core.errors import Unavailable
from yunmo.serving.use import Use

_MIB = 1024 * 1024
_UNUSED_SECONDS = 300.0


@dataclass(slots=True, eq=False)
class Claim:
    """Memory that one replica holds. `use` and `is_evictable` are asked when room is needed."""

    name: str
    size: int
    use: Use
    is_evictable: Callable[[], bool]
    evict: Callable[[], Awaitable[None]]


class MemoryBudget:
    """A fixed number of bytes, given out in claims; in `warm_share` of them the models stay that are used most."""

    def __init__(self, total_bytes: int, warm_share: float = 0.0) -> None:
        self.total_bytes = total_bytes
        self._warm_bytes = int(warm_share * total_bytes)
        self._claims: set[Claim] = set()
        self._freed = asyncio.Condition()

    @property
    def used_bytes(self) -> int:
        return sum(claim.size for claim in self._claims)

    def check(self, name: str, size: int, replicas: int = 1) -> None:
        """Raise Unavailable when so many replicas of this size can never fit."""
        if size * replicas <= self.total_bytes:
            return
        total = f"all models together may use {self.total_bytes // _MIB} MiB (setting serving.memory_bytes)"
        if size <= self.total_bytes:
            raise Unavailable(
                f"{replicas} replicas of '{name}' need about {replicas} x {size // _MIB} = {replicas * size // _MIB} MiB of memory, and {total}. "
                f"At most {self.total_bytes // size} fit; choose fewer, or give Yunmo more memory."
            )
        raise Unavailable(
            f"'{name}' needs about {size // _MIB} MiB of memory, and {total}. "
            "Choose a smaller model or a quantised one, or give Yunmo more memory."
        )

    async def take(self, claim: Claim, timeout_seconds: float) -> None:
        """Hold the claim's bytes, evicting idle models if need be. Raises Unavailable when there is no room in time."""
        self.check(claim.name, claim.size)
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._make_room(claim)
        except TimeoutError as error:
            holders = ", ".join(f"{held.name} {held.size // _MIB} MiB" for held in self._claims)
            raise Unavailable(
                f"'{claim.name}' needs {claim.size // _MIB} MiB, but {self.used_bytes // _MIB} of {self.total_bytes // _MIB} MiB are held by "
                f"busy or pinned models ({holders}). Undeploy or unpin one, or try again later.",
                retry_after_seconds=30,
            ) from error

    def take_free(self, claim: Claim) -> bool:
        """Hold the claim's bytes if nobody has to give way for them."""
        if self.used_bytes + claim.size > self.total_bytes:
            return False
        self._claims.add(claim)
        return True

    async def take_unused(self, claim: Claim) -> bool:
        """Hold the claim's bytes if only models that nobody has asked for in a while have to leave for them."""
        leaving = [
            held for held in self._claims if held.is_evictable() and not held.use.is_warm and held.use.idle_seconds >= _UNUSED_SECONDS
        ]
        if self.used_bytes + claim.size - sum(held.size for held in leaving) > self.total_bytes:
            return False
        for held in sorted(leaving, key=lambda held: held.use.last):
            if self.take_free(claim):
                return True
            await held.evict()
        return self.take_free(claim)

    def keeps_warm(self, name: str) -> bool:
        """Whether this model is one of those used most, as many as the share for them holds: it stays though nobody asks at the moment."""
        room = self._warm_bytes
        for claim in sorted(self._claims, key=lambda claim: claim.use.requests, reverse=True):
            room -= claim.size
            if room < 0 or not claim.use.is_warm:
                return False
            if claim.name == name:
                return True
        return False

    def shortage(self, size: int) -> str:
        """Why there is no room for a claim of this size, for people."""
        free = max(0, self.total_bytes - self.used_bytes)
        return f"the next needs {size // _MIB} MiB of memory, and {free // _MIB} of {self.total_bytes // _MIB} MiB are free"

    async def release(self, claim: Claim) -> None:
        """Give the bytes back; harmless when they have been already."""
        async with self._freed:
            self._claims.discard(claim)
            self._freed.notify_all()

    async def _make_room(self, claim: Claim) -> None:
        while True:
            if self.used_bytes + claim.size <= self.total_bytes:
                self._claims.add(claim)
                return
            idle = [held for held in self._claims if held.name != claim.name and held.is_evictable()]
            if idle:
                await min(idle, key=lambda held: (held.use.is_warm, held.use.last)).evict()
                continue
            async with self._freed:
                if self.used_bytes + claim.size > self.total_bytes:
                    await self._wait_for_change()

    async def _wait_for_change(self) -> None:
        try:
            async with asyncio.timeout(1.0):  # a model may become idle without giving memory back
                await self._freed.wait()
        except TimeoutError:
            return
