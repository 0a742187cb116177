"""Token classification: a label for each word, as entities are found in texts."""

import re
from bisect import bisect_right
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from yunmo.core.errors import InvalidRequest
from yunmo.core.metrics import entity_scores
from yunmo.core.rows import LabelledWords
from yunmo.core.tasks import ClassifyTokens, Entities, Entity
from yunmo.core.training import ParitySample, Recipe
from yunmo.engines.trainer.adapting import adapted, bare, merged, notes_of_merging, save_model
from yunmo.engines.trainer.averaging import Averaging
from yunmo.engines.trainer.labels import in_the_bases_order, labels_of, load_labelling
from yunmo.engines.trainer.learner import Batch, Example, Judge, Learner
from yunmo.engines.trainer.texts import IGNORED, count_unpadded, limit_of, load_tokenizer, pad, padded
from yunmo.engines.trainer.workspace import Place, Workspace

_PARITY_TEXTS = 16
_HEADS = ("classifier", "score")
_SCHEME = re.compile(r"O$|[BIES]-.")

_Placed = Sequence[tuple[Place, LabelledWords]]


class TokenClassification:
    """Trains a head that labels every token, and all below it. The label of a word is learnt at its first token."""

    learning_rate = 5e-5
    lora_learning_rate = 5e-4
    batch_size = 16
    epochs = 3

    def prepare(self, base: Path, workspace: Workspace, recipe: Recipe) -> Learner:
        """Rows are `LabelledWords`s. They are read as the text that their words make, as clients will send it."""
        tokenizer = load_tokenizer(base)
        if not tokenizer.is_fast:
            raise InvalidRequest(
                "The base's tokenizer does not tell where its tokens are in a text, which labels of words need.", param="model"
            )
        rows: _Placed = list(workspace.placed_rows(recipe.method))  # type: ignore[arg-type]
        validation: _Placed = list(workspace.placed_rows(recipe.method, is_validation=True))  # type: ignore[arg-type]
        found = (label for _, row in rows for label in row.labels)
        labels = labels_of(found, ((place, label) for place, row in validation for label in row.labels), "labels")
        labels = in_the_bases_order(labels, base)
        loaded = load_labelling(base, "AutoModelForTokenClassification", labels, "words")
        model = adapted(loaded, recipe, "TOKEN_CLS", [head for head in _HEADS if hasattr(loaded, head)])
        words = _Words(model, tokenizer, labels, limit_of(model.config, tokenizer, recipe))
        examples = [words.example(place, row) for place, row in rows]
        return Learner(
            model=model,
            examples=examples,
            validation=[words.example(place, row) for place, row in validation],
            lengths=[len(example["input_ids"]) for example in examples],
            collate=words.collate,
            count=count_unpadded,
            judge=lambda: _Judge(labels),
            save=lambda folder: save_model(model, tokenizer, folder, merged(recipe)),
            sample=lambda: words.told(rows[0][1]),
            parity=lambda: words.parity([row for _, row in (*validation, *rows)]),
            cut=words.cut,
            trainer=Averaging,
            notes=notes_of_merging(recipe),
        )


method = TokenClassification()


class _Words:
    """Rows as the model reads them, and what it says of a row."""

    def __init__(self, model: Any, tokenizer: Any, labels: Sequence[str], limit: int) -> None:
        self.cut = 0
        self._model = model
        self._tokenizer = tokenizer
        self._labels = labels
        self._ids = {label: number for number, label in enumerate(labels)}
        self._limit = limit
        if tokenizer.pad_token_id is None:  # a decoder without one reads its end instead
            tokenizer.pad_token = tokenizer.eos_token
        bare(model).config.pad_token_id = tokenizer.pad_token_id

    def example(self, place: Place, row: LabelledWords) -> Example:
        text, starts = row.joined()
        read = self._read(text)
        if len(read["input_ids"]) > self._limit:
            self.cut += 1
            read = self._read(text, truncation=True, max_length=self._limit)
        labels = self._aligned(text, starts, row, read)
        if all(label == IGNORED for label in labels):
            raise InvalidRequest(f"{place}: the base's tokenizer finds nothing to read in these words.", param="tokens")
        return {**{name: read[name] for name in ("input_ids", "token_type_ids") if name in read}, "labels": labels}

    def collate(self, examples: Sequence[Example]) -> Batch:
        return {**padded(examples, self._tokenizer), "labels": pad([example["labels"] for example in examples], IGNORED)}

    def told(self, row: LabelledWords) -> str:
        """The first words with the labels that the model gives them."""
        text, starts = row.joined()
        found = self._entities(text)
        labels = [
            next((entity.label for entity in found if start <= entity.start < start + len(word)), "?")
            for start, word in zip(starts, row.tokens, strict=True)
        ]
        return " ".join(f"{word}/{label}" for word, label in zip(row.tokens, labels, strict=True))[:200]

    def parity(self, rows: Sequence[LabelledWords]) -> list[ParitySample]:
        samples: list[ParitySample] = []
        for row in rows:
            text, _ = row.joined()
            ids = tuple(self._read(text)["input_ids"])
            if len(samples) == _PARITY_TEXTS:
                break
            if len(ids) <= self._limit:
                request = ClassifyTokens(texts=(text,), aggregation="none", ignore_labels=())
                samples.append(ParitySample(request, Entities(rows=(self._entities(text),)), ids))
        return samples

    def _read(self, text: str, **options: Any) -> Any:
        return self._tokenizer(text, return_offsets_mapping=True, return_special_tokens_mask=True, verbose=False, **options)

    def _aligned(self, text: str, starts: Sequence[int], row: LabelledWords, read: Any) -> list[int]:
        """The label of each word at its first token, and none elsewhere."""
        labels, last = [], -1
        for (start, end), is_special in zip(read["offset_mapping"], read["special_tokens_mask"], strict=True):
            written = text[start:end]
            first = start + len(written) - len(written.lstrip())  # some tokens have the space before their word
            word = bisect_right(starts, first) - 1
            begins = not is_special and first < end and word > last
            labels.append(self._ids[row.labels[word]] if begins else IGNORED)
            last = word if begins else last
        return labels

    def _entities(self, text: str) -> tuple[Entity, ...]:
        """What clients are answered who want every token."""
        from transformers import TokenClassificationPipeline

        pipeline = TokenClassificationPipeline(model=bare(self._model), tokenizer=self._tokenizer)
        with torch.inference_mode():
            found = pipeline(text, aggregation_strategy="none", ignore_labels=[])
        return tuple(
            Entity(
                label=str(each["entity"]),
                score=float(each["score"]),
                word=str(each["word"]),
                start=int(each["start"]),
                end=int(each["end"]),
                index=int(each["index"]),
            )
            for each in found
        )


class _Judge(Judge):
    """Entities count as found when all their words are and their kind is right; a label outside of the scheme is an entity of one word."""

    def __init__(self, labels: Sequence[str]) -> None:
        self._labels = [label if _SCHEME.match(label) else f"B-{label}" for label in labels]
        self._found: list[list[str]] = []
        self._right: list[list[str]] = []

    def see(self, outputs: Any, batch: Batch) -> None:
        for found, right in zip(outputs.logits.argmax(-1).tolist(), batch["labels"].tolist(), strict=True):
            pairs = [(one, other) for one, other in zip(found, right, strict=True) if other != IGNORED]
            self._found.append([self._labels[one] for one, _ in pairs])
            self._right.append([self._labels[other] for _, other in pairs])

    def verdict(self) -> dict[str, float]:
        return entity_scores(self._found, self._right)
