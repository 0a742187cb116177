"""The likeliest texts, many at a time: CTranslate2's own greedy and beam search, with batches sorted by length."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from yunmo.core.tasks import TokenLogprob
from yunmo.engines.ctranslate2.settings import Rules, Search


@dataclass(frozen=True, slots=True)
class Written:
    """The tokens of one text, with the one that ended it if it ended by itself; log probabilities if they were wanted."""

    tokens: list[int]
    logprobs: tuple[TokenLogprob, ...] = field(default=())


def search(
    translator: Any, sources: Sequence[Sequence[int]], firsts: Sequence[int | None], wish: Search, batch_tokens: int
) -> list[Written]:
    """One text for each source, which begins with its first token if it has one."""
    rules = wish.rules
    drawn = {"sampling_topk": wish.top_k, "sampling_temperature": wish.temperature} if wish.temperature > 0 else {}
    results = translator.translate_batch(
        [names(source) for source in sources],
        target_prefix=[None if first is None else [str(first)] for first in firsts],
        max_batch_size=batch_tokens,
        batch_type="tokens",
        beam_size=wish.beams,
        length_penalty=wish.length_penalty,
        repetition_penalty=wish.repetition_penalty,
        no_repeat_ngram_size=rules.no_repeat_ngram,
        suppress_sequences=[names(words) for words in rules.never] or None,
        end_token=names(rules.ends),
        return_end_token=True,
        max_input_length=0,
        min_decoding_length=rules.least_tokens,
        max_decoding_length=rules.most_tokens,
        **drawn,
    )
    return [Written(ended([int(name) for name in result.hypotheses[0]], rules)) for result in results]


def ended(tokens: list[int], rules: Rules) -> list[int]:
    """The tokens, the last replaced by the end where the model always ends with one and the length was used up."""
    if rules.last is not None and len(tokens) >= rules.most_tokens and tokens[-1] not in rules.ends:
        return [*tokens[:-1], rules.last]
    return tokens


def names(tokens: Sequence[int]) -> list[str]:
    """Tokens by the names that the converted vocabulary gives them."""
    return [str(token) for token in tokens]
