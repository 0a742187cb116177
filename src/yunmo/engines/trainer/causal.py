"""The causal objective: a decoder learns which token comes next, in texts that are joined and packed into full blocks."""

import math
from collections.abc import Sequence
from typing import Any

import torch

from yunmo.core.errors import InvalidRequest
from yunmo.core.training import ParitySample
from yunmo.engines.trainer.adapting import save_model
from yunmo.engines.trainer.corpora import Corpus, Material, TokenJudge, accuracy_of, blocks, stacked
from yunmo.engines.trainer.learner import Batch, Example, Learner
from yunmo.engines.trainer.texts import IGNORED
from yunmo.engines.trainer.writing import SAMPLE_TOKENS, SAMPLES, greedy_samples, told

_PROMPT_TOKENS = 16
_PROMPT_CHARACTERS = 1000


def learner(material: Material) -> Learner:
    """Rows are `Written`; nothing of them is cut, and no position but the last block's is padding."""
    model, tokenizer, recipe = material.model, material.tokenizer, material.recipe
    if tokenizer.eos_token_id is None:
        raise InvalidRequest("This tokenizer has no end of text, which separates the rows.", param="model")
    texts = [row.text for row in material.rows]
    validation = [row.text for row in material.validation]
    examples = Corpus(blocks(texts, tokenizer, material.limit) if texts else [])
    held = Corpus(blocks(validation, tokenizer, material.limit) if validation else [], is_validation=True)
    writer = _Writer(model, tokenizer, material.limit)
    return Learner(
        model=model,
        examples=examples,
        validation=held,
        lengths=examples.lengths,
        collate=lambda some: _collate(some, tokenizer.eos_token_id),
        count=lambda batch: int((batch["labels"] != IGNORED).sum()) + len(batch["labels"]),
        judge=lambda: _Judge(sum(held.lengths), sum(map(len, validation))),
        save=lambda folder: save_model(model, tokenizer, folder, recipe),
        sample=lambda: writer.told([*validation, *texts]),
        parity=lambda: writer.parity([*validation, *texts]),
        accuracy=lambda outputs, batch: accuracy_of(outputs, batch, ahead=1),
    )


def _collate(examples: Sequence[Example], padding: int) -> Batch:
    rows = [example["input_ids"] for example in examples]
    ids = torch.from_numpy(stacked(rows, padding))
    labels = ids.clone()
    labels[:, 0] = IGNORED  # nothing tells the first; what counts labels shall not count it
    for number, row in enumerate(rows):
        labels[number, len(row) :] = IGNORED
    return {"input_ids": ids, "labels": labels}  # no mask: padding comes after all that is learnt


class _Judge(TokenJudge):
    """Also tells bits per character, which compares models whatever their tokenizers are."""

    def __init__(self, tokens: int, characters: int) -> None:
        super().__init__(ahead=1)
        self._tokens_per_character = tokens / max(1, characters)
        self._loss, self._weight = 0.0, 0

    def see(self, outputs: Any, batch: Batch) -> None:
        super().see(outputs, batch)
        count = int((batch["labels"] != IGNORED).sum())
        self._loss, self._weight = self._loss + float(outputs.loss) * count, self._weight + count

    def verdict(self) -> dict[str, float]:
        mean = self._loss / max(1, self._weight)
        return {**super().verdict(), "bits_per_character": mean / math.log(2) * self._tokens_per_character}


class _Writer:
    """How the model goes on."""

    def __init__(self, model: Any, tokenizer: Any, limit: int) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._written_tokens = min(SAMPLE_TOKENS, limit // 2)
        self._prompt_tokens = min(_PROMPT_TOKENS, limit - self._written_tokens)

    def told(self, texts: Sequence[str]) -> str:
        """The beginning of a text and how the model goes on."""
        return told(self._model, self._tokenizer, self._prompts(texts, 1), self._written_tokens)

    def parity(self, texts: Sequence[str]) -> list[ParitySample]:
        """The likeliest continuations of some beginnings."""
        return greedy_samples(self._model, self._tokenizer, self._prompts(texts, SAMPLES), self._written_tokens)

    def _prompts(self, texts: Sequence[str], count: int) -> list[str]:
        """Beginnings of so many texts, up to the end of a whole character."""
        found: list[str] = []
        for text in texts:
            ids = self._tokenizer(text[:_PROMPT_CHARACTERS], add_special_tokens=False, verbose=False)["input_ids"]
            prompt = str(self._tokenizer.decode(ids[: min(self._prompt_tokens, (len(ids) + 1) // 2)])).rstrip("\ufffd")
            if prompt.strip() and len(self._tokenizer(prompt, verbose=False)["input_ids"]) <= self._prompt_tokens:
                found.append(prompt)
            if len(found) == count:
                break
        return found
