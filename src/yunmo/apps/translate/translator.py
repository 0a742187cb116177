"""Translator: segments from one language into another, by whichever hosted model is routed to."""

import asyncio
from collections.abc import Sequence

from yunmo.apps.translate.orders import Order, Translated
from yunmo.apps.translate.route_store import RouteStore
from yunmo.apps.translate.routes import Hop, Pair
from yunmo.apps.translate.routing import Routing
from yunmo.apps.translate.segments import Segment, segment
from yunmo.cloud.cloud import Cloud
from yunmo.core.errors import InvalidRequest
from yunmo.core.identity import Principal
from yunmo.core.tasks import Texts, Translate

_TEXTS_AT_ONCE = 256


class Translator:
    """What dialects and documents ask for translations."""

    def __init__(self, cloud: Cloud, store: RouteStore) -> None:
        self._cloud = cloud
        self.routing = Routing(cloud, store)

    async def pairs(self, principal: Principal) -> tuple[Pair, ...]:
        """The pairs of languages that the caller can have translated, directly or through a third one."""
        principal.require("infer")
        return (await self.routing.table(principal)).pairs

    async def translate(self, principal: Principal, order: Order) -> tuple[Translated, ...]:
        """Each segment's translation, in their order.

        Raises InvalidRequest for a pair that no model translates, Unsupported for an option that the model does not have, and the model's errors.
        """
        principal.require("infer")
        if order.source is None:
            raise InvalidRequest("Name the language to translate from.", param="source")
        hops = await self._way(principal, order)
        segments: Sequence[Segment] = order.segments
        for hop in hops:
            segments = await self._hop(principal, hop, segments)
        models = tuple(hop.model for hop in hops)
        return tuple(
            Translated(translated, order.source, 1.0, len(source.text), models)
            for source, translated in zip(order.segments, segments, strict=True)
        )

    async def _way(self, principal: Principal, order: Order) -> tuple[Hop, ...]:
        assert order.source is not None
        if order.options.model is not None:
            return (Hop(order.source, order.target, order.options.model),)
        return (await self.routing.table(principal)).way(order.source, order.target)

    async def _hop(self, principal: Principal, hop: Hop, segments: Sequence[Segment]) -> list[Segment]:
        texts = [part for each in segments for part in each.parts if isinstance(part, str) and part.strip()]
        chunks = [texts[start : start + _TEXTS_AT_ONCE] for start in range(0, len(texts), _TEXTS_AT_ONCE)]
        answers = await asyncio.gather(*(self._ask(principal, hop, chunk) for chunk in chunks))
        translated = iter([text for answer in answers for text in answer])
        return [segment(next(translated) if isinstance(part, str) and part.strip() else part for part in each.parts) for each in segments]

    async def _ask(self, principal: Principal, hop: Hop, texts: Sequence[str]) -> tuple[str, ...]:
        request = Translate(texts=tuple(texts), source=hop.source, target=hop.target)
        answering = await self._cloud.inference.begin(principal, hop.model, request)
        output = await answering.whole()
        assert isinstance(output, Texts)
        return output.texts
