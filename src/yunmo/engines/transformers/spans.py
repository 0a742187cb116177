"""The likeliest spans of a window of tokens, told from a model's logits for their first and last tokens."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

_MASKED = -10_000.0
_Scores = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Window:
    """One stretch of what is read, with its question: logits, and which tokens are of the stretch.

    The first token stands for "there is no answer" in models that were trained with such questions.
    """

    starts: _Scores
    ends: _Scores
    readable: npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Found:
    """A span by its first and last token."""

    first: int
    last: int
    score: float


def best_spans(window: Window, top_k: int, max_tokens: int) -> tuple[list[Found], float]:
    """The likeliest spans of at most `max_tokens` tokens, and the probability that there is no answer."""
    allowed = window.readable.copy()
    allowed[0] = True
    starts, ends = _probabilities(window.starts, allowed), _probabilities(window.ends, allowed)
    impossible = float(starts[0] * ends[0])
    starts[0] = ends[0] = 0.0
    candidates = np.tril(np.triu(np.outer(starts, ends)), max_tokens - 1)
    order = np.argsort(-candidates, axis=None, kind="stable")[:top_k]
    found = [
        Found(int(first), int(last), float(candidates[first, last]))
        for first, last in zip(*np.unravel_index(order, candidates.shape), strict=True)
        if first <= last and window.readable[first] and window.readable[last]
    ]
    return found, impossible


def _probabilities(logits: _Scores, allowed: npt.NDArray[np.bool_]) -> _Scores:
    masked = np.where(allowed, logits, _MASKED)
    shares = np.exp(masked - masked.max())
    return np.asarray(shares / shares.sum())
