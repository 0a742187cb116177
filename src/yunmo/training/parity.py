"""Train→serve parity: what a model answers where it is served, beside what it answered in its trainer.

A tokenizer, a template, a head or weights that were lost on the way show here; eight bits that are faithful must not. Labels of a trained
head in ONNX's eight bits were at most 0.046 off fp32's over 640 film reviews (bfloat16: 0.013), so a score may be off by twice that; a
best label that is within as much of the trainer's is a near tie, which the smallest rounding decides. Greedy texts leave each other at
the first near tie: of answers of some dozen tokens four words in five are the same where one answer in four does so half way, and
hardly one where the prompt is read otherwise.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass

from yunmo.core.drift import Budget, Drift, drift, shared_words
from yunmo.core.errors import YunmoError
from yunmo.core.tasks import AnyRequest, Choices, Entities, Fillings, Labels, Output, Texts, Transcript, Vectors
from yunmo.core.training import ParitySample
from yunmo.training.asking import Sleep, patiently
from yunmo.training.state import Certificate

_NEAR_TIE = 0.1
_AT_ONCE = 4


@dataclass(frozen=True, slots=True)
class ServedBy:
    """What answered: the engine and the precision of its plan."""

    engine: str = ""
    precision: str = ""


Ask = Callable[[str, AnyRequest], Awaitable[tuple[Output, ServedBy]]]
"""Asks a model, by its name, as it is served."""


async def certify(ask: Ask, model: str, samples: Sequence[ParitySample], sleep: Sleep = asyncio.sleep) -> Certificate:
    """Ask all samples of the model again, a few at a time, and compare. A model that does not answer fails; it raises nothing of it."""
    turns = asyncio.Semaphore(_AT_ONCE)

    async def answered(sample: ParitySample) -> tuple[Output, ServedBy]:
        async with turns:
            return await patiently(lambda: ask(model, sample.request), sleep)

    asking = [asyncio.create_task(answered(sample)) for sample in samples]
    try:
        answers = await asyncio.gather(*asking)
    except YunmoError as error:
        return unasked(model, samples, error)
    finally:
        for each in asking:
            each.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
    return compare(samples, [output for output, _ in answers], answers[-1][1] if answers else ServedBy())


def compare(samples: Sequence[ParitySample], outputs: Sequence[Output], served_by: ServedBy = ServedBy()) -> Certificate:
    """The certificate for these answers, in the order of the samples."""
    if not samples:
        return _failed(0, "The training left no answers to compare with.", served_by)
    wanted = [sample.output for sample in samples]
    kind = type(wanted[0])
    others = {type(output).__name__ for output in [*wanted, *outputs] if type(output) is not kind}
    if others or kind not in _COMPARISONS:
        names = ", ".join(sorted(others)) or kind.__name__
        return _failed(len(samples), f"Answers of the kind {names} cannot be compared with the trainer's {kind.__name__}.", served_by)
    comparison = _COMPARISONS[kind]
    try:
        found = comparison.measure(wanted, list(outputs))
    except ValueError:
        return _failed(len(samples), "The serving engine answers with another number of parts than the trainer.", served_by)
    if not math.isfinite(found.agreement + found.error):
        return _failed(len(samples), "The serving engine answers with scores that are no numbers.", served_by)
    problem = comparison.budget.problem(found)
    return Certificate(
        samples=len(samples),
        agreement=found.agreement,
        drift=found.error,
        is_passed=not problem,
        engine=served_by.engine,
        precision=served_by.precision,
        problem=f"Where it is served, the model answers otherwise than in its trainer: {problem}." if problem else "",
    )


def unasked(model: str, samples: Sequence[ParitySample], error: YunmoError) -> Certificate:
    """The certificate of a model that does not answer."""
    return _failed(len(samples), f"{model} does not answer where it is served: {error.message}", ServedBy())


def _failed(samples: int, problem: str, served_by: ServedBy) -> Certificate:
    return Certificate(
        samples=samples,
        agreement=0.0,
        drift=0.0,
        is_passed=False,
        engine=served_by.engine,
        precision=served_by.precision,
        problem=problem,
    )


# ---------------------------------------------------------------- kinds of answers

Measure = Callable[[Sequence[Output], Sequence[Output]], Drift]


def _ranked(wanted: Sequence[Output], found: Sequence[Output]) -> Drift:
    """Agreement of the best, near ties forgiven; the error is the largest of any score."""
    pairs = [pair for one, other in zip(wanted, found, strict=True) for pair in zip(_scores(one), _scores(other), strict=True) if pair[0]]
    same, largest = 0, 0.0
    for scores, others in pairs:
        best = max(others, key=lambda name: others[name], default=None)
        same += scores.get(best, 0.0) >= max(scores.values()) - _NEAR_TIE
        errors = [abs(score - others.get(name, 0.0)) for name, score in scores.items()]
        largest = math.nan if any(map(math.isnan, errors)) else max(largest, *errors)
    return Drift(round(same / max(len(pairs), 1), 5), round(largest, 5), len(wanted))


def _scores(output: Output) -> list[Mapping[Hashable, float]]:
    if isinstance(output, Labels):
        return [{label.label: label.score for label in row} for row in output.rows]
    assert isinstance(output, Fillings)
    return [{filling.token: filling.score for filling in row} for row in output.rows]


def _written(wanted: Sequence[Output], found: Sequence[Output]) -> Drift:
    """Words that both have in the same order; the error is what the answer lacks that is furthest off."""
    shares = [shared_words(_text(one), _text(other)) for one, other in zip(wanted, found, strict=True)]
    return Drift(round(sum(shares) / len(shares), 5), round(1 - min(shares), 5), len(shares))


def _text(output: Output) -> str:
    if isinstance(output, Texts):
        return "\n".join(output.texts)
    assert isinstance(output, Choices)
    return "\n".join(
        [part for choice in output.choices for part in (choice.reasoning, choice.text, *(call.arguments for call in choice.tool_calls))]
    )


@dataclass(frozen=True, slots=True)
class _Comparison:
    measure: Measure
    budget: Budget


_COMPARISONS: dict[type[Output], _Comparison] = {
    Labels: _Comparison(_ranked, Budget(agreement=0.98, error=_NEAR_TIE)),
    Fillings: _Comparison(_ranked, Budget(agreement=0.95, error=_NEAR_TIE)),
    Entities: _Comparison(drift, Budget(agreement=0.98, error=0.05)),
    Vectors: _Comparison(drift, Budget(agreement=0.999, error=0.01)),
    Choices: _Comparison(_written, Budget(agreement=0.8, error=1.0)),
    Texts: _Comparison(_written, Budget(agreement=0.8, error=1.0)),
    Transcript: _Comparison(drift, Budget(agreement=0.9, error=0.1)),
}
