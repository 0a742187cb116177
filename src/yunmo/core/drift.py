"""How far answers are from others to the same requests: another plan's, or those that a model gave in its trainer."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

import msgspec
import numpy as np
from numpy.typing import NDArray

from yunmo.core.tasks import Answers, Choices, Entities, Fillings, Labels, Output, Texts, Transcript, Vectors

_NOT_A_NUMBER = 1e6
"""The error of answers that are no numbers: over every budget, and still a number in the report."""

_Pair = tuple[Output, Output]

_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|\w+|[^\w\s]")
"""A word, a sign, or a character of the scripts that are written without spaces."""


class Drift(msgspec.Struct, frozen=True):
    """How far answers are from the reference's, over `samples` inputs.

    `agreement` is the share of equal answers: same best label, same entity per token, same generated text up to the first
    difference, same words of a translation, summary or transcript in the same order; for vectors the mean cosine. `error` is the relative
    L2 error of mean-centred logits, or the mean difference of scores; for vectors one minus the smallest cosine; for transcripts the word
    error rate.
    """

    agreement: float
    error: float
    samples: int


@dataclass(frozen=True, slots=True)
class Budget:
    """How far answers may drift from the reference's."""

    agreement: float
    error: float

    def problem(self, drift: Drift) -> str:
        """Why the drift is too much; empty if it is not."""
        if drift.agreement < self.agreement:
            return f"agreement {drift.agreement:.4f} with the reference, {self.agreement} is asked for"
        if drift.error > self.error:
            return f"error {drift.error:.4f} against the reference, {self.error} is allowed"
        return ""


def drift(reference: Sequence[Output], found: Sequence[Output]) -> Drift:
    """The drift of `found`, answer by answer the same inputs' as `reference`."""
    agreement, error = _COMPARISONS[type(reference[0])](list(zip(reference, found, strict=True)))
    if not np.isfinite([agreement, error]).all():
        agreement, error = 0.0, _NOT_A_NUMBER
    return Drift(round(agreement, 5), round(error, 5), len(reference))


def shared_words(one: str, other: str) -> float:
    """The share of words that two texts have in the same order (twice their number, in words of both); 1 for two empty ones."""
    first, second = (_WORD.findall(text) for text in (one, other))
    return SequenceMatcher(None, first, second, autojunk=False).ratio()


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
        shares.append(shared_words("\n".join(one.texts), "\n".join(other.texts)))
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


_COMPARISONS: dict[type[Output], Callable[[Sequence[_Pair]], tuple[float, float]]] = {
    Labels: _labels,
    Entities: _entities,
    Answers: _spans,
    Fillings: _fillings,
    Vectors: _vectors,
    Choices: _continued,
    Texts: _rewritten,
    Transcript: _transcribed,
}
