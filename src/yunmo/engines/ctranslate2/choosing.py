"""Texts whose tokens are chosen one by one, for wishes that CTranslate2's search does not have.

Sampling with a request's own seed, penalties, biases, log probabilities: each step reads the scores of the next token after
what was written so far. The library keeps no state between steps, so that a long text costs the square of its length.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from yunmo.core.choosing import Choosing
from yunmo.core.tasks import TokenLogprob
from yunmo.engines.ctranslate2.searching import Written, names
from yunmo.engines.ctranslate2.settings import Rules

Scores = NDArray[np.float64]
_LEAST_LOGPROB = -9999.0


class Wish:
    """How the tokens of one request are chosen. `top_logprobs` None wants no log probabilities; `name` spells a token."""

    def __init__(self, choosing: Choosing, rules: Rules, start: int, top_logprobs: int | None, name: Callable[[int], str]) -> None:
        self.choosing = choosing
        self.rules = rules
        self.start = start
        self.top_logprobs = top_logprobs
        self.name = name


def choose_texts(translator: Any, source: Sequence[int], first: int | None, wish: Wish, rows: int) -> list[Written]:
    """So many texts for one source, each with a random generator of its own."""
    seeds = np.random.SeedSequence(wish.choosing.seed).generate_state(1)[0] if wish.choosing.seed is None else wish.choosing.seed
    rules = wish.rules
    randoms = [np.random.default_rng((int(seeds) + row) % 2**63) for row in range(rows)]
    texts: list[list[int]] = [[] for _ in range(rows)]
    logprobs: list[list[TokenLogprob]] = [[] for _ in range(rows)]
    open_rows = list(range(rows))
    for step in range(rules.most_tokens):
        scores = _next_scores(translator, source, [texts[row] for row in open_rows])
        for row, plain in zip(open_rows, scores, strict=True):
            _apply(rules, first, step, texts[row], plain)
            token = _choose(wish, texts[row], plain, randoms[row])
            if wish.top_logprobs is not None:
                logprobs[row].append(logprob_of(plain, token, wish.top_logprobs, wish.name))
            texts[row].append(token)
        open_rows = [row for row in open_rows if texts[row][-1] not in rules.ends]
        if not open_rows:
            break
    return [Written(text, tuple(each)) for text, each in zip(texts, logprobs, strict=True)]


def logprob_of(scores: Scores, token: int, top: int, name: Callable[[int], str]) -> TokenLogprob:
    """The token's log probability and those of the `top` likeliest."""
    logs = scores - _log_sum(scores)
    likeliest = np.argsort(-logs, kind="stable")[:top]
    others = tuple(TokenLogprob(token=name(int(each)), logprob=_finite(logs[each]), id=int(each)) for each in likeliest)
    return TokenLogprob(token=name(token), logprob=_finite(logs[token]), id=token, top=others)


def _next_scores(translator: Any, source: Sequence[int], texts: Sequence[Sequence[int]]) -> list[Scores]:
    """The scores of the next token of each text; all texts are of one length."""
    length = len(texts[0])
    results = translator.translate_batch(
        [names(source)] * len(texts),
        target_prefix=[names(text) for text in texts] if length else None,
        beam_size=1,
        max_input_length=0,
        min_decoding_length=0,
        max_decoding_length=length + 1,
        return_logits_vocab=True,
    )
    return [np.array(result.logits[0][-1], dtype=np.float64) for result in results]


def _apply(rules: Rules, first: int | None, step: int, text: Sequence[int], scores: Scores) -> None:
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
    if step < rules.least_tokens:
        scores[list(rules.ends)] = -np.inf
    forced = first if step == 0 else None
    if rules.last is not None and step == rules.most_tokens - 1:
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
