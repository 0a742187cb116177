"""Recalling: what a project's translation memory knows of segments, as the translator asks for it."""

import asyncio
from collections import OrderedDict
from collections.abc import Sequence

from yunmo.apps.translate.fuzzy import Memory, Pair
from yunmo.apps.translate.languages import best, parse
from yunmo.apps.translate.memories import Memories, MemoryInfo
from yunmo.apps.translate.orders import Order
from yunmo.apps.translate.segments import Segment
from yunmo.core.errors import InvalidRequest
from yunmo.core.identity import Principal

_MEMORIES_KEPT = 8


class Recalling:
    """Implements `translator.Memory` by the memories of each project; the few that were used last are kept ready."""

    def __init__(self, memories: Memories) -> None:
        self._memories = memories
        self._ready: OrderedDict[tuple[str, str], asyncio.Future[Memory]] = OrderedDict()

    async def recall(self, principal: Principal, order: Order, segments: Sequence[Segment]) -> Sequence[Segment | None]:
        """The translation of each segment that the order's memory has, with the segment's own tags; None where it has none.

        Raises NotFound for a memory that is not the project's, InvalidRequest for one of other languages.
        """
        info = await self._memories.get(principal.project, order.options.memory or "")
        target = best(info.targets, order.target)
        if target is None or order.source is None or parse(info.source).base != parse(order.source).base:
            raise InvalidRequest(
                f"The translation memory '{info.id}' is from {info.source} into {', '.join(info.targets)}. Leave it out, or name another.",
                param="translation_memory_id",
            )
        memory = await self._prepared(info, target)
        threshold = order.options.memory_threshold
        return await asyncio.to_thread(lambda: [_translation(memory, each, threshold) for each in segments])

    async def _prepared(self, info: MemoryInfo, target: str) -> Memory:
        key = (info.id, target)
        if key not in self._ready or _has_failed(self._ready[key]):
            self._ready[key] = asyncio.ensure_future(self._prepare(info, target))
        self._ready.move_to_end(key)
        while len(self._ready) > _MEMORIES_KEPT:
            self._ready.popitem(last=False)
        return await asyncio.shield(self._ready[key])  # one caller may go, others wait for it, too

    async def _prepare(self, info: MemoryInfo, target: str) -> Memory:
        units = await self._memories.every(info)
        pairs = (Pair(unit[info.source], unit[target]) for unit in units if target in unit)
        return await asyncio.to_thread(Memory, info.source, target, pairs)


def _has_failed(prepared: "asyncio.Future[Memory]") -> bool:
    return prepared.done() and (prepared.cancelled() or prepared.exception() is not None)


def _translation(memory: Memory, wanted: Segment, threshold: int) -> Segment | None:
    found = memory.match(wanted, threshold)
    return None if found is None else found.translation
