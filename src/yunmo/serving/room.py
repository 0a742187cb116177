"""Room for others than models: memory that a training may have while nobody who serves needs it."""

from collections.abc import Awaitable, Callable

from yunmo.serving.memory import Claim, MemoryBudget
from yunmo.serving.use import Use


class Room:
    """The part of the memory budget that serving leaves. Whoever holds some of it gives way to every model that is asked for."""

    def __init__(self, memory: MemoryBudget) -> None:
        self._memory = memory

    @property
    def total_bytes(self) -> int:
        """What all together may hold."""
        return self._memory.total_bytes

    @property
    def free_bytes(self) -> int:
        """What nobody holds at the moment."""
        return max(0, self._memory.total_bytes - self._memory.used_bytes)

    async def take(self, name: str, size: int, give_way: Callable[[], Awaitable[None]]) -> Callable[[], Awaitable[None]] | None:
        """Hold so many bytes if only models that have been idle for a while have to leave for them; how to give them back, or None."""
        claim = Claim(name, size, Use(), lambda: True, give_way)
        if not await self._memory.take_unused(claim):
            return None
        return lambda: self._memory.release(claim)
