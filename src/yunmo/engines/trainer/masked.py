"""The masked objective: an encoder learns to find tokens that were hidden from it (BERT, arXiv:1810.04805)."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
import transformers
from transformers.modeling_outputs import MaskedLMOutput

from yunmo.core.errors import InvalidRequest
from yunmo.core.tasks import Filling, Fillings, FillMask
from yunmo.core.training import ParitySample
from yunmo.engines.trainer.adapting import merged, notes_of_merging, save_model
from yunmo.engines.trainer.corpora import Corpus, Material, TokenJudge, accuracy_of, chance, stacked, windows
from yunmo.engines.trainer.learner import Batch, Example, Learner
from yunmo.engines.trainer.texts import IGNORED, count_unpadded

_HIDDEN = 0.15
_MASKED, _REPLACED = 0.8, 0.9
"""Of hidden tokens eight of ten are the mask, one is another token, and one is left as it is."""

_TOP = 5
_PARITY_TEXTS = 16
_PARITY_TOKENS = 48
_PARITY_CHARACTERS = 1000


def learner(material: Material) -> Learner:
    """Rows are `Written`; a long text becomes several examples. What is hidden differs in each epoch, and never in evaluations."""
    model, tokenizer, recipe = material.model, material.tokenizer, material.recipe
    if tokenizer.mask_token_id is None or tokenizer.pad_token_id is None:
        raise InvalidRequest("This tokenizer has no mask or no padding, which the objective 'masked' needs.", param="model")
    texts = [row.text for row in material.rows]
    validation = [row.text for row in material.validation]
    examples = Corpus(windows(texts, tokenizer, material.limit))
    filler = _Filler(model, tokenizer, material.limit)
    return Learner(
        model=model,
        examples=examples,
        validation=Corpus(windows(validation, tokenizer, material.limit), is_validation=True),
        lengths=examples.lengths,
        collate=Masking(tokenizer, recipe.seed),
        count=count_unpadded,
        judge=TokenJudge,
        save=lambda folder: save_model(model, tokenizer, folder, merged(recipe)),
        sample=lambda: filler.told([*validation, *texts]),
        parity=lambda: filler.parity([*validation, *texts]),
        accuracy=accuracy_of,
        trainer=_SparseTrainer if type(model) is transformers.BertForMaskedLM else None,
        notes=notes_of_merging(recipe),
    )


class Masking:
    """Hides tokens of a batch. What is hidden is decided by the seed and each example's draw alone."""

    def __init__(self, tokenizer: Any, seed: int) -> None:
        self._seed = seed
        self._padding, self._mask = tokenizer.pad_token_id, tokenizer.mask_token_id
        self._is_special = np.zeros(len(tokenizer), dtype=bool)
        self._is_special[tokenizer.all_special_ids] = True
        self._ordinary = np.flatnonzero(~self._is_special)

    def __call__(self, examples: Sequence[Example]) -> Batch:
        ids = stacked([example["input_ids"] for example in examples], self._padding)
        drawn, fate, other = np.ones(ids.shape), np.ones(ids.shape), np.zeros_like(ids)
        for number, example in enumerate(examples):
            random, length = chance(self._seed, example), len(example["input_ids"])
            drawn[number, :length], fate[number, :length] = random.random((2, length))
            other[number, :length] = random.integers(0, len(self._ordinary), length)
        drawn[self._is_special[ids]] = 1.0
        hidden = ((drawn < _HIDDEN) | (drawn == drawn.min(axis=1, keepdims=True))) & (drawn < 1.0)  # at least one of each row
        seen = np.where(hidden & (fate < _MASKED), self._mask, ids)
        seen = np.where(hidden & (fate >= _MASKED) & (fate < _REPLACED), self._ordinary[other], seen)
        lengths = np.array([len(example["input_ids"]) for example in examples])
        return {
            "input_ids": torch.from_numpy(seen),
            "attention_mask": torch.from_numpy((np.arange(ids.shape[1]) < lengths[:, None]).astype(np.int64)),
            "labels": torch.from_numpy(np.where(hidden, ids, IGNORED)),
        }


class _SparseTrainer(transformers.Trainer):  # type: ignore[misc]  # transformers has no types
    """Computes a BERT's head for the hidden tokens alone: the other seventeen of twenty teach nothing, and cost the most."""

    def compute_loss(self, model: Any, inputs: Batch, return_outputs: bool = False, num_items_in_batch: Any = None) -> Any:
        """The mean cross-entropy over the hidden tokens of all parts of the step; logits are those of the hidden tokens."""
        chosen = inputs["labels"] != IGNORED
        with self.accelerator.autocast():
            states = model.bert(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"]).last_hidden_state
            logits = model.cls(states[chosen])
        total = torch.nn.functional.cross_entropy(logits.float(), inputs["labels"][chosen], reduction="sum")
        loss = total / (chosen.sum() if num_items_in_batch is None else num_items_in_batch)
        return (loss, MaskedLMOutput(loss=loss, logits=logits)) if return_outputs else loss


class _Filler:
    """What the model puts in a mask's place."""

    def __init__(self, model: Any, tokenizer: Any, limit: int) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._tokens = min(limit, _PARITY_TOKENS)

    def told(self, texts: Sequence[str]) -> str:
        """One text with a mask, and the likeliest token for it."""
        for text in self._masked(texts):
            fillings, _ = self._fill(text)
            return f"{text} -> {fillings[0].token_text} ({fillings[0].score:.2f})"
        return ""

    def parity(self, texts: Sequence[str]) -> list[ParitySample]:
        """The likeliest tokens for one mask in each of some texts."""
        samples = []
        for text in self._masked(texts):
            fillings, ids = self._fill(text)
            samples.append(ParitySample(FillMask(texts=(text,), top_k=_TOP), Fillings(rows=(fillings,)), ids))
            if len(samples) == _PARITY_TEXTS:
                break
        return samples

    def _masked(self, texts: Sequence[str]) -> Iterator[str]:
        """Beginnings of texts whose middle token is the mask, where its tokens tell from where to where they are."""
        mask = self._tokenizer.mask_token
        for text in (each[:_PARITY_CHARACTERS] for each in texts):
            if mask in text or not self._tokenizer.is_fast:
                continue
            offsets = self._tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)["offset_mapping"]
            offsets = offsets[: self._tokens - 4]
            if not offsets:
                continue
            start, end = offsets[len(offsets) // 2]
            masked = f"{text[:start]}{mask}{text[end : offsets[-1][1]]}"
            if start < end and len(self._tokenizer(masked, verbose=False)["input_ids"]) <= self._tokens:
                yield masked

    def _fill(self, text: str) -> tuple[tuple[Filling, ...], tuple[int, ...]]:
        ids = list(self._tokenizer(text, verbose=False)["input_ids"])
        place = ids.index(self._tokenizer.mask_token_id)
        with torch.inference_mode():
            logits = self._model(input_ids=torch.tensor([ids])).logits[0, place]
        scores, tokens = torch.softmax(logits.float(), -1).topk(_TOP)
        fillings = tuple(self._filling(ids, place, token, score) for token, score in zip(tokens.tolist(), scores.tolist(), strict=True))
        return fillings, tuple(ids)

    def _filling(self, ids: list[int], place: int, token: int, score: float) -> Filling:
        filled = [*ids[:place], token, *ids[place + 1 :]]
        return Filling(
            sequence=self._tokenizer.decode(filled, skip_special_tokens=True),
            score=score,
            token=token,
            token_text=self._tokenizer.decode([token]),
        )
