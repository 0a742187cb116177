"""How far the answers of one plan are from those of another, and how far they may be."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

import numpy as np
from numpy.typing import NDArray

from yunmo.core.tasks import Answers, Choices, Entities, Fillings, Labels, Output, Texts, Transcript, Vectors
from yunmo.serving.calibration.report import Drift

_NOT_A_NUMBER = 1e6
"""The error of answers that are no numbers: over every budget, and still a number in the report."""

_Pair = tuple[Output, Output]

_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|\w+|[^\w\s]")
"""A word, a sign, or a character of the scripts that are written without spaces."""


@dataclass(frozen=True, slots=True)
class Budget:
    """How far a plan may drift from the reference and still be chosen.

    Labels of real texts keep 99.5 % agreement with a trained head where logits are within 8 % of the reference's; the agreement
    asked for here is lower, because a head sees sample texts of no domain of its own, with many near ties. So it is with transcripts:
    whisper-base in eight bits is 6 to 7 % of words off float32 on the synthetic speech, and at most 3 % on recorded speech.
    """

    agreement: float
    error: float

    def problem(self, drift: Drift) -> str:
        """Why the drift is too much; empty if it is not."""
        if drift.agreement < self.agreement:
            return f"agreement {drift.agreement:.4f} with the reference, {self.agreement} is asked for"
        if drift.error > self.error:
            return f"error {drift.error:.4f} against the reference, {self.error} is allowed"
        return ""


def budget_of(answer: Output) -> Budget:
    """The budget for answers of this kind."""
    return _KINDS[type(answer)].budget


def drift(reference: Sequence[Output], found: Sequence[Output]) -> Drift:
    """The drift of `found`, answer by answer the same inputs' as `reference`."""
    agreement, error = _KINDS[type(reference[0])].compare(list(zip(reference, found, strict=True)))
    if not np.isfinite([agreement, error]).all():
        agreement, error = 0.0, _NOT_A_NUMBER
    return Drift(round(agreement, 5), round(error, 5), len(reference))


def _labels(pairs: Sequence[_Pair]) -> tuple[float, float]:
    same, errors, norms = 0, 0.0, 0.0
    for one, other in pairs:
        assert isinstance(one, Labels)
        assert isinstance(other, Labels)
        expected = {label.label: label.score for label in one.rows[0]}
        scores = {label.label: label.score for label in other.rows[0]}
        wanted = np.array(list(expected.values()))
        given = np.array([scores.get(name, 0.0) for name in expected])
        if len(wanted) > 1:
            wanted, given = wanted - wanted.mean(), given - given.mean()
        same += one.rows[0][0].label == other.rows[0][0].label
        errors += float(np.square(wanted - given).sum())
        norms += float(np.square(wanted).sum())
    return same / len(pairs), float(np.sqrt(errors / max(norms, 1e-12)))


def _entities(pairs: Sequence[_Pair]) -> tuple[float, float]:
    same, count, errors = 0, 0, 0.0
    for one, other in pairs:
        assert isinstance(one, Entities)
        assert isinstance(other, Entities)
        found = {entity.index: entity for entity in other.rows[0]}
        for entity in one.rows[0]:
            match = found.get(entity.index)
            count += 1
            same += match is not None and match.label == entity.label
            errors += abs(entity.score - match.score) if match is not None else 1.0
    return same / max(count, 1), errors / max(count, 1)


def _spans(pairs: Sequence[_Pair]) -> tuple[float, float]:
    same, errors = 0, 0.0
    for one, other in pairs:
        assert isinstance(one, Answers)
        assert isinstance(other, Answers)
        first, second = one.spans[0], other.spans[0]
        same += first.answer == second.answer
        errors += abs(first.score - second.score)
    return same / len(pairs), errors / len(pairs)


def _fillings(pairs: Sequence[_Pair]) -> tuple[float, float]:
    same, errors = 0, 0.0
    for one, other in pairs:
        assert isinstance(one, Fillings)
        assert isinstance(other, Fillings)
        first, second = one.rows[0][0], other.rows[0][0]
        same += first.token == second.token
        errors += abs(first.score - second.score)
    return same / len(pairs), errors / len(pairs)


def _vectors(pairs: Sequence[_Pair]) -> tuple[float, float]:
    cosines: list[float] = []
    for one, other in pairs:
        assert isinstance(one, Vectors)
        assert isinstance(other, Vectors)
        for first, second in zip(one.vectors, other.vectors, strict=True):
            cosines.append(_cosine(np.frombuffer(first.data, "<f4"), np.frombuffer(second.data, "<f4")))
    return float(np.mean(cosines)), 1 - min(cosines)


def _continued(pairs: Sequence[_Pair]) -> tuple[float, float]:
    """Agreement up to the first difference: after it, even the reference would go on otherwise."""
    shares = []
    for one, other in pairs:
        assert isinstance(one, Choices)
        assert isinstance(other, Choices)
        first, second = one.choices[0].text, other.choices[0].text
        alike = next((index for index, (a, b) in enumerate(zip(first, second, strict=False)) if a != b), min(len(first), len(second)))
        shares.append(1.0 if first == second else alike / max(len(first), len(second)))
    return float(np.mean(shares)), 1 - float(np.mean(shares))


def _rewritten(pairs: Sequence[_Pair]) -> tuple[float, float]:
    """Agreement in words that both have in the same order: a synonym early in a translation leaves the rest of it as it was."""
    shares = []
    for one, other in pairs:
        assert isinstance(one, Texts)
        assert isinstance(other, Texts)
        first, second = (_WORD.findall("\n".join(answer.texts)) for answer in (one, other))
        shares.append(SequenceMatcher(None, first, second, autojunk=False).ratio())
    return float(np.mean(shares)), 1 - float(np.mean(shares))


def _transcribed(pairs: Sequence[_Pair]) -> tuple[float, float]:
    """The error is the word error rate: words replaced, lost and added, in words of the reference; signs and capitals do not count."""
    wrong, count = 0, 0
    for one, other in pairs:
        assert isinstance(one, Transcript)
        assert isinstance(other, Transcript)
        first, second = ([word for word in _WORD.findall(answer.text.lower()) if word.isalnum()] for answer in (one, other))
        wrong += _edits(first, second)
        count += len(first)
    error = wrong / max(count, 1)
    return max(0.0, 1 - error), error


def _edits(first: Sequence[str], second: Sequence[str]) -> int:
    """The fewest words to replace, insert and delete (V. I. Levenshtein, 1966)."""
    row = list(range(len(second) + 1))
    for number, word in enumerate(first, 1):
        before, row[0] = row[0], number
        for place, other in enumerate(second, 1):
            before, row[place] = row[place], min(row[place] + 1, row[place - 1] + 1, before + (word != other))
    return row[-1]


def _cosine(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    if one.shape != other.shape:
        return 0.0
    return float(one @ other / max(float(np.linalg.norm(one) * np.linalg.norm(other)), 1e-12))


@dataclass(frozen=True, slots=True)
class _Kind:
    compare: Callable[[Sequence[_Pair]], tuple[float, float]]
    budget: Budget


_KINDS: dict[type[Output], _Kind] = {
    Labels: _Kind(_labels, Budget(agreement=0.98, error=0.08)),
    Entities: _Kind(_entities, Budget(agreement=0.99, error=0.02)),
    Answers: _Kind(_spans, Budget(agreement=0.97, error=0.02)),
    Fillings: _Kind(_fillings, Budget(agreement=0.97, error=0.02)),
    Vectors: _Kind(_vectors, Budget(agreement=0.999, error=0.005)),
    Choices: _Kind(_continued, Budget(agreement=0.5, error=0.5)),
    Texts: _Kind(_rewritten, Budget(agreement=0.9, error=0.1)),
    Transcript: _Kind(_transcribed, Budget(agreement=0.9, error=0.1)),
}
