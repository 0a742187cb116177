"""Passage: segments from their language into the target's by one model, or by two through a third language."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from yunmo.apps.translate.carrying import Carried, carry
from yunmo.apps.translate.hiding import hide, shown
from yunmo.apps.translate.integrity import check
from yunmo.apps.translate.interpreter import Interpreter
from yunmo.apps.translate.joining import in_one
from yunmo.apps.translate.orders import Issue, Options
from yunmo.apps.translate.routes import Hop
from yunmo.apps.translate.segments import Segment
from yunmo.apps.translate.sentences import split
from yunmo.apps.translate.terms import TermFinder

_OF_THE_MODEL = frozenset({"truncated", "untranslated"})


@dataclass(frozen=True, slots=True)
class Step:
    """One hop and what makes it. A model that `reads_sentences` gets each of them alone, and cannot be told of terms."""

    hop: Hop
    interpreter: Interpreter
    reads_sentences: bool


@dataclass(frozen=True, slots=True)
class Passage:
    """The way of one order's segments."""

    steps: Sequence[Step]
    options: Options

    async def take(self, segments: Sequence[Segment]) -> list[Carried]:
        """The segments' translations, and what of each did not come through.

        Terms are told to a chat model that goes all the way, and stand hidden, as they are to be translated, in what other models see.
        """
        terms = self.options.terms
        source, target = self.steps[0].hop.source, self.steps[-1].hop.target
        is_told_terms = len(self.steps) == 1 and not self.steps[0].reads_sentences
        finder = TermFinder(terms, source) if terms else None
        hidden = await asyncio.to_thread(lambda: [hide(each, self.options.kept, None if is_told_terms else finder) for each in segments])
        under_way = [each.segment for each in hidden]
        failures: list[list[Issue]] = [[] for _ in segments]
        for step in self.steps:
            carried = await self._step(step, under_way, finder if is_told_terms else None)
            under_way = [each.segment for each in carried]
            for known, each in zip(failures, carried, strict=True):
                known += [issue for issue in each.issues if issue.kind in _OF_THE_MODEL]
        arrived = [shown(each, mask.words) for each, mask in zip(under_way, hidden, strict=True)]

        def judged() -> list[Carried]:
            lacking = [check(before, each, source, target, finder) for before, each in zip(segments, arrived, strict=True)]
            return [
                Carried(each, tuple(dict.fromkeys([*found, *known]))) for each, found, known in zip(arrived, lacking, failures, strict=True)
            ]

        return await asyncio.to_thread(judged)

    async def _step(self, step: Step, segments: Sequence[Segment], terms: TermFinder | None) -> list[Carried]:
        def lacks(before: Segment, after: Segment) -> Sequence[Issue]:
            return check(before, after, step.hop.source, step.hop.target, terms)

        if not step.reads_sentences:
            return await carry(segments, step.interpreter, lacks)
        sentences = await asyncio.to_thread(lambda: [split(each, step.hop.source, self.options.splitting) for each in segments])
        carried = iter(await carry([sentence for each in sentences for sentence in each], step.interpreter, lacks))
        parts = [[next(carried) for _ in each] for each in sentences]
        return [Carried(in_one([one.segment for one in each]), tuple(issue for one in each for issue in one.issues)) for each in parts]
