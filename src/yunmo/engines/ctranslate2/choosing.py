"""Texts whose tokens are chosen one by one, for wishes that CTranslate2's search does not have.

A request's own seed, penalties, biases, log probabilities: the library writes the likeliest tokens and shows the scores of each
step. Where another token is chosen it is stopped, and begins again after that one. It keeps no state between runs, so that each
new beginning costs a step for every token before it; that is bounded.
"""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from yunmo.core.choosing import Choosing
from yunmo.core.errors import EngineFailed, Unsupported
from yunmo.core.tasks import TokenLogprob
from yunmo.engines.ctranslate2.searching import Written, names
from yunmo.engines.ctranslate2.settings import Rules

Scores = NDArray[np.float64]
MOST_STEPS = 4096
"""For one text: enough for 90 tokens if each is another one than the likeliest, and for 4,096 if none is."""

_LEAST_LOGPROB = -9999.0


@dataclass(frozen=True, slots=True)
class Wish:
    """How the tokens of one request are chosen. `start` is the token that texts begin from, `name` spells a token.

    `top_logprobs` None wants no log probabilities.
    """

    choosing: Choosing
    rules: Rules
    start: int
    top_logprobs: int | None
    name: Callable[[int], str]


def choose_texts(translator: Any, source: Sequence[int], first: int | None, wish: Wish, rows: int) -> list[Written]:
    """So many texts for one source, each with a random generator of its own.

    Raises Unsupported when that takes more than MOST_STEPS steps of the model for one of them.
    """
    seed = secrets.randbits(62) if wish.choosing.seed is None else wish.choosing.seed
    return [_Text(wish, first, np.random.default_rng((seed + row) % 2**63)).write(translator, source) for row in range(rows)]


class _Text:
    """One text while it is written."""

    def __init__(self, wish: Wish, first: int | None, random: np.random.Generator) -> None:
        self._wish = wish
        self._first = first
        self._random = random
        self._tokens: list[int] = []
        self._logprobs: list[TokenLogprob] = []
        self._known = 0
        self._steps = 0

    def write(self, translator: Any, source: Sequence[int]) -> Written:
        """Begin again after what is written until the text is finished."""
        while not self._is_finished():
            self._known = len(self._tokens)
            translator.translate_batch(
                [names(source)],
                target_prefix=[names(self._tokens)] if self._tokens else None,
                beam_size=1,
                max_input_length=0,
                min_decoding_length=0,
                max_decoding_length=self._wish.rules.most_tokens,
                return_logits_vocab=True,
                callback=self._see,
            )
            if len(self._tokens) == self._known:
                raise EngineFailed("the model wrote nothing more, and the text was not at its end")
        return Written(self._tokens, tuple(self._logprobs))

    def _see(self, step: Any) -> bool:
        """Choose the token of this step; whether the library is to stop because it chose another one, or at the end."""
        self._steps += 1
        if self._steps > MOST_STEPS:
            raise Unsupported(
                "seeds, penalties, biases and log probabilities take too long with so long a text here: leave them out, "
                "lower max_tokens, or deploy the model with the engine transformers"
            )
        if step.step < self._known:
            return False
        wish = self._wish
        scores = np.array(step.logits, dtype=np.float64).reshape(-1)
        _apply(wish.rules, self._first, self._tokens, scores)
        token = _choose(wish, self._tokens, scores, self._random)
        if wish.top_logprobs is not None:
            self._logprobs.append(logprob_of(scores, token, wish.top_logprobs, wish.name))
        self._tokens.append(token)
        return self._is_finished() or token != step.token_id

    def _is_finished(self) -> bool:
        rules = self._wish.rules
        return len(self._tokens) >= rules.most_tokens or (bool(self._tokens) and self._tokens[-1] in rules.ends)


def logprob_of(scores: Scores, token: int, top: int, name: Callable[[int], str]) -> TokenLogprob:
    """The token's log probability and those of the `top` likeliest."""
    logs = scores - _log_sum(scores)
    likeliest = np.argsort(-logs, kind="stable")[:top]
    others = tuple(TokenLogprob(token=name(int(each)), logprob=_finite(logs[each]), id=int(each)) for each in likeliest)
    return TokenLogprob(token=name(token), logprob=_finite(logs[token]), id=token, top=others)


def _apply(rules: Rules, first: int | None, text: Sequence[int], scores: Scores) -> None:
    """The rules that hold whichever way a token is chosen, in the order in which the transformers library has them."""
    size = rules.no_repeat_ngram
    if size:
        begun = tuple(text[len(text) - size + 1 :]) if size > 1 else ()
        followers = [text[at + size - 1] for at in range(len(text) - size + 1) if tuple(text[at : at + size - 1]) == begun]
        scores[followers] = -np.inf
    for words in rules.never:
        before = list(words[:-1])
        if len(text) >= len(before) and list(text[len(text) - len(before) :]) == before:
            scores[words[-1]] = -np.inf
    if len(text) < rules.least_tokens:
        scores[list(rules.ends)] = -np.inf
    forced = None if text else first
    if rules.last is not None and len(text) == rules.most_tokens - 1:
        forced = rules.last
    if forced is not None:
        scores[:] = -np.inf
        scores[forced] = 0.0


def _choose(wish: Wish, text: Sequence[int], plain: Scores, random: np.random.Generator) -> int:
    choosing = wish.choosing
    scores = plain.copy()
    if choosing.repetition_penalty != 1.0:
        seen = [token for token in {wish.start, *text} if token < len(scores)]
        penalised = scores[seen]
        scores[seen] = np.where(penalised < 0, penalised * choosing.repetition_penalty, penalised / choosing.repetition_penalty)
    if choosing.frequency_penalty or choosing.presence_penalty:
        tokens, counts = np.unique(np.array(text, dtype=np.int64), return_counts=True)
        scores[tokens] -= counts * choosing.frequency_penalty + choosing.presence_penalty
    for token, bias in choosing.logit_bias.items():
        if token < len(scores):
            scores[token] += bias
    if choosing.temperature <= 0:
        return int(scores.argmax())
    shares = _shares(_warped(scores / choosing.temperature, choosing))
    return int(random.choice(len(shares), p=shares))


def _warped(scores: Scores, choosing: Choosing) -> Scores:
    """Scores without the tokens that are not to be drawn."""
    if 0 < choosing.top_k < len(scores):
        scores = np.where(scores < np.partition(scores, -choosing.top_k)[-choosing.top_k], -np.inf, scores)
    if choosing.top_p < 1.0:
        order = np.argsort(scores, kind="stable")
        unlikely = np.cumsum(_shares(scores)[order]) <= 1 - choosing.top_p
        unlikely[-1] = False
        scores[order[unlikely]] = -np.inf
    if choosing.min_p > 0.0:
        shares = _shares(scores)
        scores = np.where(shares < choosing.min_p * shares.max(), -np.inf, scores)
    if choosing.typical_p < 1.0:
        shares = _shares(scores)
        logs = np.log(np.maximum(shares, 1e-300))
        surprise = np.abs(-logs + float((shares * logs).sum()))
        order = np.argsort(surprise, kind="stable")
        kept = min(int((np.cumsum(shares[order]) < choosing.typical_p).sum()), len(order) - 1)
        scores = np.where(surprise > surprise[order[kept]], -np.inf, scores)
    return scores


def _shares(scores: Scores) -> Scores:
    shares = np.exp(scores - scores.max())
    total: Scores = shares / shares.sum()
    return total


def _log_sum(scores: Scores) -> float:
    highest = float(scores.max())
    return highest + float(np.log(np.exp(scores - highest).sum()))


def _finite(value: float) -> float:
    return max(float(value), _LEAST_LOGPROB)
