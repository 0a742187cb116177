"""A converted model is held against its repository: what it writes, and how likely it finds what transformers wrote."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

TEXTS = (
    "The parcel arrived two days late, but the driver called ahead and left it with our neighbour.",
    "Heavy rain is expected in the north by evening, with gusts of up to 90 km/h; trains may be delayed.",
    "How do I change the language of the invoices that customers receive?",
    "快递比预计晚了两天，不过司机提前打了电话，把包裹交给了邻居。",
    "Der Zug nach Hamburg fährt heute von Gleis 9, wenige Minuten später als im Plan angegeben.",
    "Les travaux dureront jusqu'en septembre, et des bus remplaceront les trains le dimanche.",
    "Привет! Когда откроется новая библиотека на улице Ленина?",
    "Yes.",
)
"""Sentences of several lengths, languages and scripts."""

_TOKENS = 32
_AGREEMENT = 0.95
_ERROR = 0.01
"""Tiny models with large random weights, the worst there are, differ by less than 0.0001 in fp32; a wrong position or norm by far more."""


@dataclass(frozen=True, slots=True)
class Expected:
    """One text: its tokens, the first token that the model was made to write (if any), what it wrote then, and how likely."""

    source: list[int]
    first: int | None
    written: list[int]
    logprobs: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Proof:
    """Over all texts: the mean share of tokens up to the first difference, the root mean square error of log probabilities."""

    agreement: float
    error: float

    def problem(self) -> str:
        """What came out otherwise; empty if nothing did."""
        if not self.error <= _ERROR:
            return f"its log probabilities are {self.error:.4f} off those of transformers, and {_ERROR} is allowed"
        if self.agreement < _AGREEMENT:
            return f"it writes {self.agreement:.1%} of the tokens that transformers writes, and {_AGREEMENT:.0%} are asked for"
        return ""


def expectations(model: Any, tokenizer: Any) -> list[Expected]:
    """What the transformers library writes for the texts, taking the likeliest token each time."""
    import torch

    limit = min(int(getattr(tokenizer, "model_max_length", 512) or 512), 512)
    firsts = _first_tokens(model, tokenizer)
    with torch.inference_mode():
        return [
            _expected(model, tokenizer(text, truncation=True, max_length=limit, verbose=False)["input_ids"], firsts[number % len(firsts)])
            for number, text in enumerate(TEXTS)
        ]


def prove(folder: Path, compute_type: str, expected: Sequence[Expected], settings: dict[str, Any]) -> Proof:
    """Compare the converted model with what the reference wrote."""
    import ctranslate2

    translator = ctranslate2.Translator(str(folder), device="cpu", compute_type=compute_type)
    ends = settings["eos_token_id"]
    ends = list(ends) if isinstance(ends, list) else [ends]
    sources = [_names(each.source) for each in expected]
    results = translator.translate_batch(
        sources,
        target_prefix=[None if each.first is None else [str(each.first)] for each in expected],
        beam_size=1,
        max_input_length=0,
        min_decoding_length=0,
        max_decoding_length=_TOKENS,
        end_token=_names(ends),
        return_end_token=True,
    )
    shares = [_alike([int(name) for name in result.hypotheses[0]], each.written) for result, each in zip(results, expected, strict=True)]
    bodies = [each.written[:-1] if each.written[-1] in ends else each.written for each in expected]
    scored = translator.score_batch(sources, [_names(body) for body in bodies], max_input_length=0)
    errors = [
        np.square(np.array(result.log_probs[: len(body)]) - each.logprobs[: len(body)])
        for result, body, each in zip(scored, bodies, expected, strict=True)
        if body
    ]
    error = float(np.sqrt(np.mean(np.concatenate(errors)))) if errors else 0.0
    return Proof(round(float(np.mean(shares)), 5), round(error, 6) if np.isfinite(error) else float("inf"))


def _first_tokens(model: Any, tokenizer: Any) -> Sequence[int | None]:
    """What texts are made to begin with: the model's own choice, or one and another of the languages that it writes."""
    from yunmo.core.languages import Languages

    codes = Languages(model.config, tokenizer).codes()
    if codes:
        return [*codes.values()][:: max(1, len(codes) - 1)]
    forced = model.generation_config.forced_bos_token_id
    return [forced if isinstance(forced, int) else None]


def _expected(model: Any, source: list[int], first: int | None) -> Expected:
    """Greedy writing without any rule but the first token, and that Marian's padding is never written."""
    import torch
    from transformers import GenerationConfig

    own = model.generation_config
    start = own.decoder_start_token_id if own.decoder_start_token_id is not None else model.config.decoder_start_token_id
    never = own.pad_token_id if model.config.model_type == "marian" else None
    bare = GenerationConfig(
        max_new_tokens=_TOKENS,
        decoder_start_token_id=start,
        eos_token_id=own.eos_token_id,
        pad_token_id=0 if own.pad_token_id is None else own.pad_token_id,
        forced_bos_token_id=first,
        bad_words_ids=None if never is None else [[never]],
    )
    inputs = torch.tensor([source])
    model.generation_config = bare  # what is not said would be taken from the model's own
    try:
        ids = model.generate(inputs, attention_mask=torch.ones_like(inputs))[0].tolist()
    finally:
        model.generation_config = own
    written = ids[1:]
    logits = model(inputs, decoder_input_ids=torch.tensor([ids[:-1]])).logits[0].float()
    if never is not None:
        logits[:, never] = -torch.inf
    chosen = logits.log_softmax(-1).gather(1, torch.tensor(written)[:, None])[:, 0]
    return Expected(source, first, written, chosen.numpy())


def _alike(found: Sequence[int], expected: Sequence[int]) -> float:
    same = next((place for place, pair in enumerate(zip(found, expected, strict=False)) if pair[0] != pair[1]), None)
    if same is None:
        return min(len(found), len(expected)) / max(len(found), len(expected))
    return same / max(len(found), len(expected))


def _names(ids: Sequence[int]) -> list[str]:
    return [str(each) for each in ids]
