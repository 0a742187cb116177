"""A converted model is held against its repository: token ids against tokenizer.json, log probabilities against transformers."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from yunmo.core.difficult_texts import CHINESE, CODE, ENGLISH, TEXTS
from yunmo.core.errors import EngineFailed
from yunmo.engines.llama_cpp.answers import Answer
from yunmo.engines.llama_cpp.server import Server

Tell = Callable[[str, float], None]

_SPACE = "▁"
_SPECIALS_TRIED = 64
_PROMPTS = (ENGLISH, CHINESE, CODE)
_TOP = 200
_BUDGETS = {"F32": 0.005, "F16": 0.02, "BF16": 0.1}
"""Tiny models with large random weights, the worst there are, differ by less than 0.001, 0.01 and 0.08; a wrong rotation or norm by far more."""


def prove_tokens(server: Server, directory: Path, specials: Sequence[str]) -> int:
    """How many texts gave the same ids as tokenizer.json. Raises EngineFailed with the first that did not."""
    import tokenizers

    own = tokenizers.Tokenizer.from_file(str(directory / "tokenizer.json"))
    own.no_truncation()
    own.no_padding()
    strange = [each for each in specials if _SPACE in each]  # Gemma's runs of spaces: a ▁ in a text is taken for a space there
    plain = [each for each in specials if each not in strange]
    inside = [form.format(each) for each in plain[:_SPECIALS_TRIED] for form in ("{0}", "a{0}b", "over {0} there", "{0}{0}\n{0}")]
    texts = [text for text in (*TEXTS, *inside) if not any(each in text for each in strange)]
    for text in texts:
        expected: list[int] = own.encode(text, add_special_tokens=False).ids
        found = server.tokens(text, special=False)
        if found != expected:
            raise EngineFailed(f"llama.cpp would read {_difference(text, expected, found)}")
    bare = TEXTS[0]
    expected, found = own.encode(bare).ids, server.tokens(bare)
    if found != expected:
        raise EngineFailed(f"with the special tokens around it, llama.cpp would read {_difference(bare, expected, found)}")
    for text in TEXTS[:3]:
        spelled = server.text(tuple(own.encode(text, add_special_tokens=False).ids))
        if spelled.strip() != own.decode(own.encode(text, add_special_tokens=False).ids, skip_special_tokens=False).strip():
            raise EngineFailed(f"llama.cpp would spell the tokens of {text[:60]!r} as {spelled[:60]!r}")
    return len(texts) + 1


def prove_logits(server: Server, directory: Path, precision: str, window: int | None, tell: Tell) -> float:
    """The largest difference of the log probabilities from transformers'. Raises EngineFailed beyond the budget."""
    import torch

    tell("loading the reference", 0.7)
    model = _reference(directory)
    limit = int(model.config.max_position_embeddings or 2048) - 1
    worst = 0.0
    with torch.inference_mode():
        for number, ids in enumerate(_prompts(server, limit, window)):
            tell("comparing with the reference", 0.8 + 0.2 * number / (len(_PROMPTS) + 1))
            expected = torch.log_softmax(
                model(torch.tensor([ids]), use_cache=False, logits_to_keep=1).logits[0, -1].float(), dim=-1
            ).numpy()
            found = _top(server, ids)
            there = np.array([found[token] for token in found])
            error = float(np.sqrt(np.mean((there - expected[list(found)]) ** 2)) / max(float(expected.std()), 1e-6))
            worst = max(worst, error if np.isfinite(error) else np.inf)
    if worst > _BUDGETS[precision]:
        raise EngineFailed(
            f"its log probabilities in {precision} are {worst:.2%} of their spread off those of transformers, and {_BUDGETS[precision]:.1%} is allowed"
        )
    return worst


def _prompts(server: Server, limit: int, window: int | None) -> list[list[int]]:
    """Token ids of texts, and of one that is longer than the window that some layers look at."""
    rows = [server.tokens(text)[:limit] for text in _PROMPTS]
    if window and window < limit:
        row = [token for text in _PROMPTS for token in server.tokens(text, special=False)]
        rows.append((row * (window // len(row) + 2))[: min(limit, window + 40)])
    return rows


def _reference(directory: Path) -> Any:
    import torch
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    model, report = transformers.AutoModelForCausalLM.from_pretrained(
        directory, dtype=torch.float32, use_safetensors=True, trust_remote_code=False, local_files_only=True, output_loading_info=True
    )
    missing = sorted(report["missing_keys"]) or sorted(str(each[0]) for each in report["mismatched_keys"])
    if missing:
        raise EngineFailed(f"the weights do not fit config.json: {missing[0]} is missing or has another shape")
    return model.eval()


def _top(server: Server, ids: Sequence[int]) -> dict[int, float]:
    """The log probabilities of the likeliest next tokens."""
    answer = Answer(_TOP)
    found: dict[int, float] = {}

    def take(data: bytes) -> bool:
        for item in answer.read(data):
            for each in getattr(item, "logprobs", ()):
                found.update({top.id: top.logprob for top in each.top if top.id is not None})
        return False

    # only whole characters are told, so a plain letter is forced; what is told are the probabilities before that
    letter = server.tokens("a", special=False)[-1]
    body = {"prompt": list(ids), "max_tokens": 1, "temperature": 0, "logprobs": _TOP, "logit_bias": [[letter, 1e6]], "stream": True}
    server.generate(msgspec.json.encode(body), take)
    if not found:
        raise EngineFailed("llama.cpp gives no log probabilities for it")
    return found


def _difference(text: str, expected: Sequence[int], found: Sequence[int]) -> str:
    place = next(
        (index for index, pair in enumerate(zip(expected, found, strict=False)) if pair[0] != pair[1]), min(len(expected), len(found))
    )
    return (
        f"{text[:80]!r} as other tokens than tokenizer.json: from the {place + 1}th on {list(found[place : place + 6])} "
        f"instead of {list(expected[place : place + 6])}"
    )
