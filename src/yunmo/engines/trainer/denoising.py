"""The denoising objective: an encoder–decoder writes the spans that were taken out of a text (T5, arXiv:1910.10683)."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from yunmo.core.errors import InvalidRequest
from yunmo.core.training import ParitySample
from yunmo.engines.trainer.adapting import merged, notes_of_merging, save_model
from yunmo.engines.trainer.averaging import Averaging
from yunmo.engines.trainer.corpora import Corpus, Ids, Material, TokenJudge, accuracy_of, blocks, chance, stacked
from yunmo.engines.trainer.learner import Batch, Example, Learner
from yunmo.engines.trainer.texts import IGNORED, count_unpadded
from yunmo.engines.trainer.tokenizing import SENTINELS
from yunmo.engines.trainer.writing import SAMPLES, greedy_samples, told

_TAKEN = 0.15
_SPAN = 3
_PARITY_READ = 48


def learner(material: Material) -> Learner:
    """Rows are `Written`, joined and packed; what is taken out differs in each epoch, and never in evaluations."""
    model, tokenizer, recipe = material.model, material.tokenizer, material.recipe
    spans = Spans(tokenizer, recipe.seed)
    size = spans.most_tokens(material.limit)
    texts = [row.text for row in material.rows]
    validation = [row.text for row in material.validation]
    examples = Corpus(blocks(texts, tokenizer, size) if texts else [])
    held = Corpus(blocks(validation, tokenizer, size) if validation else [], is_validation=True)
    restorer = _Restorer(model, tokenizer, spans)
    return Learner(
        model=model,
        examples=examples,
        validation=held,
        lengths=examples.lengths,
        collate=spans,
        count=lambda batch: count_unpadded(batch) + int((batch["labels"] != IGNORED).sum()),
        judge=TokenJudge,
        save=lambda folder: save_model(model, tokenizer, folder, merged(recipe)),
        sample=lambda: restorer.told([*held, *examples[:1]]),
        parity=lambda: restorer.parity([*held, *examples[:SAMPLES]]),
        accuracy=accuracy_of,
        trainer=Averaging,
        notes=notes_of_merging(recipe),
    )


class Spans:
    """Takes spans of three tokens out of rows, where a sentinel is put, and has them written behind those sentinels."""

    def __init__(self, tokenizer: Any, seed: int) -> None:
        known = tokenizer.get_vocab()
        self._sentinels = [known[name] for name in (f"<extra_id_{number}>" for number in range(SENTINELS)) if name in known]
        if not self._sentinels or tokenizer.eos_token_id is None or tokenizer.pad_token_id is None:
            raise InvalidRequest(
                "The objective 'denoising' needs the sentinels <extra_id_0> … of T5's tokenizers, which this one has not.",
                param="pretraining.objective",
            )
        self._end, self._padding, self._seed = tokenizer.eos_token_id, tokenizer.pad_token_id, seed

    def most_tokens(self, limit: int) -> int:
        """How long a row may be so that neither what is read of it nor what is written is longer than `limit`, nor sentinels run out."""
        for most in range(min(limit + limit // 8, len(self._sentinels) * _SPAN * 6), 2, -1):
            taken, spans = self._counts(most)
            if most - taken + spans + 1 <= limit:
                return most
        return 2

    def __call__(self, examples: Sequence[Example]) -> Batch:
        pairs = [self.taken_out(example) for example in examples]
        read = [row for row, _ in pairs]
        ids, labels = stacked(read, self._padding), stacked([row for _, row in pairs], IGNORED)
        lengths = np.array([len(row) for row in read])
        return {
            "input_ids": torch.from_numpy(ids),
            "attention_mask": torch.from_numpy((np.arange(ids.shape[1]) < lengths[:, None]).astype(np.int64)),
            "labels": torch.from_numpy(labels),
        }

    def taken_out(self, example: Example) -> tuple[Ids, Ids]:
        """The row with sentinels for the spans, and the spans behind their sentinels; both are ended."""
        row, random = example["input_ids"], chance(self._seed, example)
        taken, spans = self._counts(len(row))
        gaps = _parts(random, len(row) - taken, spans)
        lengths = _parts(random, taken, spans)
        is_taken = np.repeat(np.tile([False, True], spans), np.stack([gaps, lengths], axis=1).ravel())
        begins = is_taken & ~np.concatenate([[False], is_taken[:-1]])
        sentinel = np.array(self._sentinels, dtype=np.int32)[np.maximum(np.cumsum(begins) - 1, 0)]
        read = np.where(begins, sentinel, row)[~is_taken | begins]
        written = np.insert(row[is_taken], np.flatnonzero(begins[is_taken]), sentinel[begins])
        end = np.array([self._end], dtype=np.int32)
        return np.concatenate([read, end]), np.concatenate([written, end])

    def _counts(self, length: int) -> tuple[int, int]:
        """Of a row of at least two tokens, how many are taken out, in how many spans."""
        taken = min(max(1, round(length * _TAKEN)), length - 1)
        return taken, min(max(1, round(taken / _SPAN)), length - taken, len(self._sentinels))


def _parts(random: np.random.Generator, total: int, count: int) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
    """`total` as a sum of `count` positive numbers, each way as likely as any other."""
    cuts = np.sort(random.choice(total - 1, count - 1, replace=False)) + 1 if count > 1 else np.array([], dtype=np.int64)
    return np.diff(np.concatenate([[0], cuts, [total]]))


class _Restorer:
    """What the model writes for spans that were taken out."""

    def __init__(self, model: Any, tokenizer: Any, spans: Spans) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._spans = spans

    def told(self, examples: Sequence[Example]) -> str:
        """A text with gaps, and what the model writes for them."""
        return told(self._model, self._tokenizer, self._prompts(examples[:1]))

    def parity(self, examples: Sequence[Example]) -> list[ParitySample]:
        """What the model writes for the gaps of some texts."""
        return greedy_samples(self._model, self._tokenizer, self._prompts(examples[:SAMPLES]))

    def _prompts(self, examples: Sequence[Example]) -> list[str]:
        short = [{**example, "input_ids": example["input_ids"][:_PARITY_READ]} for example in examples]
        read = [self._spans.taken_out(example)[0][:-1] for example in short]
        return [str(self._tokenizer.decode(ids.tolist(), skip_special_tokens=False)) for ids in read]
