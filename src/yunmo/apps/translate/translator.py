"""Translator: segments from one language into another, by whichever hosted models are routed to."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import structlog

from yunmo.apps.translate.asking import Asking
from yunmo.apps.translate.carrying import Carried
from yunmo.apps.translate.chinese import in_script_of, other_script
from yunmo.apps.translate.hiding import hide
from yunmo.apps.translate.languages import parse
from yunmo.apps.translate.marking import pieces
from yunmo.apps.translate.orders import Order, Translated
from yunmo.apps.translate.origins import UNKNOWN, origins_of
from yunmo.apps.translate.passage import Passage, Step
from yunmo.apps.translate.prompting import ChatInterpreter
from yunmo.apps.translate.route_store import RouteStore
from yunmo.apps.translate.routes import Hop, Pair, RouteTable
from yunmo.apps.translate.routing import Routing, cannot_translate
from yunmo.apps.translate.segments import Segment
from yunmo.apps.translate.sentence_model import SentenceInterpreter
from yunmo.cloud.cloud import Cloud
from yunmo.core.errors import EngineFailed, InvalidRequest, Unavailable, Unsupported, YunmoError
from yunmo.core.identity import Principal

_WAYS = 3
"""How many ways are tried before a failure is told."""

_log = structlog.get_logger()


class Memory(Protocol):
    """What was translated before."""

    async def recall(self, principal: Principal, order: Order, segments: Sequence[Segment]) -> Sequence[Segment | None]:
        """The translation that the order's memory has for each of these segments, with the segment's own tags; None where it has none.

        The order's source is known.
        """
        ...


class Translator:
    """What dialects and documents ask for translations."""

    def __init__(self, cloud: Cloud, store: RouteStore, memory: Memory | None = None) -> None:
        self._cloud = cloud
        self._memory = memory
        self.routing = Routing(cloud, store)

    async def pairs(self, principal: Principal) -> tuple[Pair, ...]:
        """The pairs of languages that the caller can have translated, directly or through a third one."""
        principal.require("infer")
        return (await self.routing.table(principal)).pairs

    async def translate(self, principal: Principal, order: Order) -> tuple[Translated, ...]:
        """Each segment's translation, in their order; what did not come through in one is among its issues.

        Raises InvalidRequest for a language that is not known and for a pair that no model translates, Unsupported for an option that
        the model does not have, ModelNotFound, and the models' errors.
        """
        principal.require("infer")
        table = await self.routing.table(principal)
        order = replace(order, target=parse(order.target).code, source=None if order.source is None else parse(order.source).code)
        origins = await asyncio.to_thread(origins_of, order, table.sources_into(order.target))
        found: dict[int, Translated] = {}
        for source in dict.fromkeys(each.language for each in origins):
            indices = [index for index, each in enumerate(origins) if each.language == source]
            part = replace(order, source=source, segments=tuple(order.segments[index] for index in indices))
            for index, each in zip(indices, await self._from_one(principal, part, table), strict=True):
                found[index] = replace(each, confidence=origins[index].confidence)
        return tuple(found[index] for index in range(len(order.segments)))

    async def _from_one(self, principal: Principal, order: Order, table: RouteTable) -> list[Translated]:
        """The translations of segments that are all in the order's source language."""
        assert order.source is not None
        done = [Translated(each, order.source, 1.0, len(each.text)) for each in order.segments]
        if order.source == UNKNOWN or (_is_the_same(order.source, order.target) and order.options.model is None):
            return done
        if order.options.model is None and other_script(order.source) and parse(order.target).base == "zh":
            return [replace(each, segment=in_script_of(each.segment, order.target)) for each in done]
        left = await asyncio.to_thread(_with_words, order)
        recalled = await self._recalled(principal, order, left)
        done = [replace(each, segment=recalled.get(index, each.segment)) for index, each in enumerate(done)]
        left = [index for index in left if index not in recalled]
        if left:
            models, arrived = await self._taken(principal, order, table, [order.segments[index] for index in left])
            for index, each in zip(left, arrived, strict=True):
                written = in_script_of(each.segment, order.target)
                done[index] = replace(done[index], segment=written, issues=each.issues, models=models)
        return done

    async def _taken(
        self, principal: Principal, order: Order, table: RouteTable, segments: Sequence[Segment]
    ) -> tuple[tuple[str, ...], list[Carried]]:
        """The models that translated, and the translations. Models that fail give way to the next ones of the table, if there are any."""
        failure: YunmoError | None = None
        for _ in range(_WAYS):
            try:
                passage = await self._passage(principal, order, table)
            except InvalidRequest as error:
                raise failure or error from None
            models = tuple(step.hop.model for step in passage.steps)
            try:
                return models, await passage.take(segments)
            except (Unavailable, EngineFailed) as error:
                failure = error
                if order.options.model is not None:
                    break
                _log.warning("translation_failed_over", models=models, error=error.message)
                table = table.without(models)
        assert failure is not None
        raise failure

    async def _recalled(self, principal: Principal, order: Order, indices: Sequence[int]) -> dict[int, Segment]:
        if self._memory is None or order.options.memory is None or not indices:
            return {}
        known = await self._memory.recall(principal, order, [order.segments[index] for index in indices])
        return {index: each for index, each in zip(indices, known, strict=True) if each is not None}

    async def _passage(self, principal: Principal, order: Order, table: RouteTable) -> Passage:
        """The models that the order goes through. Raises Unsupported for an option that the last one does not have."""
        assert order.source is not None
        named = order.options.model
        if named is None:  # what comes in Chinese's other script is written in the wanted one afterwards
            hops = table.way(order.source, order.target, instead=other_script(order.target))
        else:
            hops = (table.hop(order.source, order.target, named),)
        steps = [await self._step(principal, order, hop) for hop in hops]
        if steps[-1].reads_sentences:
            _refuse_untold(order, steps[-1].hop.model)
        return Passage(steps, order.options)

    async def _step(self, principal: Principal, order: Order, hop: Hop) -> Step:
        served = await self._cloud.inference.find(principal, hop.model)
        asking = Asking(self._cloud, principal, hop.model, can_wait=order.can_wait)
        if "translate" in served.tasks:
            return Step(hop, SentenceInterpreter(asking, hop), reads_sentences=True)
        if "chat" in served.tasks:
            return Step(hop, ChatInterpreter(asking, hop, order.options), reads_sentences=False)
        raise cannot_translate(served)


def _with_words(order: Order) -> list[int]:
    """Which segments have something to translate, beside numbers, signs, placeholders and addresses."""
    return [index for index, each in enumerate(order.segments) if pieces(hide(each, order.options.kept).segment)]


def _is_the_same(source: str, target: str) -> bool:
    """Whether there is nothing to translate between the two: the same language in the same script, and not in two regions."""
    one, other = parse(source), parse(target)
    is_one_script = other.written in {None, one.written}
    return one.base == other.base and is_one_script and (one.region == other.region or None in {one.region, other.region})


def _refuse_untold(order: Order, model: str) -> None:
    """Raise Unsupported for what would change the translation and that a model of sentences cannot be told."""
    advice = "Leave it out, or name a chat model."
    if order.options.formality in {"more", "less"}:
        raise Unsupported(
            f"'{model}' cannot be told how formal to be. {advice} ('prefer_{order.options.formality}' is a wish.)", param="formality"
        )
    if order.options.instructions:
        raise Unsupported(f"'{model}' cannot be given instructions. {advice}", param="instructions")
