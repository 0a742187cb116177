"""Classification: a label for each text, or for each pair of texts."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from yunmo.core.metrics import accuracy, macro_f1
from yunmo.core.rows import LabelledText
from yunmo.core.tasks import Classify, Label, Labels
from yunmo.core.training import ParitySample, Recipe
from yunmo.engines.trainer.adapting import adapted, save_model
from yunmo.engines.trainer.averaging import Averaging
from yunmo.engines.trainer.labels import in_the_bases_order, labels_of, load_labelling
from yunmo.engines.trainer.learner import Batch, Example, Judge, Learner
from yunmo.engines.trainer.texts import count_unpadded, limit_of, load_tokenizer, padded
from yunmo.engines.trainer.workspace import Place, Workspace

_PARITY_TEXTS = 32


class Classification:
    """Trains a head over an encoder or a decoder, and all below it."""

    learning_rate = 5e-5
    lora_learning_rate = 5e-4
    batch_size = 16
    epochs = 3

    def prepare(self, base: Path, workspace: Workspace, recipe: Recipe) -> Learner:
        """Rows are `LabelledText`s; labels get their ids in the order of their names."""
        tokenizer = load_tokenizer(base)
        rows: list[LabelledText] = list(workspace.rows(recipe.method))  # type: ignore[arg-type]
        placed: list[tuple[Place, LabelledText]] = list(workspace.placed_rows(recipe.method, is_validation=True))  # type: ignore[arg-type]
        validation = [row for _, row in placed]
        labels = labels_of((str(row.label) for row in rows), ((place, str(row.label)) for place, row in placed), "label")
        labels = in_the_bases_order(labels, base)
        loaded = load_labelling(base, "AutoModelForSequenceClassification", labels, "texts", problem_type="single_label_classification")
        model = adapted(loaded, recipe, "SEQ_CLS")
        texts = _Texts(model, tokenizer, labels, limit_of(model.config, tokenizer, recipe))
        examples = [texts.example(row) for row in rows]
        return Learner(
            model=model,
            examples=examples,
            validation=[texts.example(row) for row in validation],
            lengths=[len(example["input_ids"]) for example in examples],
            collate=texts.collate,
            count=count_unpadded,
            judge=lambda: _Judge(labels),
            save=lambda folder: save_model(model, tokenizer, folder, recipe),
            sample=lambda: texts.told(rows[0]),
            parity=lambda: texts.parity([*validation, *rows]),
            cut=texts.cut,
            trainer=Averaging,
        )


method = Classification()


class _Texts:
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
        model.config.pad_token_id = tokenizer.pad_token_id

    def example(self, row: LabelledText) -> Example:
        whole = self._tokenizer(row.text, row.text_pair)
        is_long = len(whole["input_ids"]) > self._limit
        self.cut += is_long
        read = self._tokenizer(row.text, row.text_pair, truncation=True, max_length=self._limit) if is_long else whole
        return {**{name: read[name] for name in ("input_ids", "token_type_ids") if name in read}, "labels": self._ids[str(row.label)]}

    def collate(self, examples: Sequence[Example]) -> Batch:
        return {**padded(examples, self._tokenizer), "labels": torch.tensor([example["labels"] for example in examples])}

    def scores(self, row: LabelledText) -> tuple[list[float], tuple[int, ...]]:
        example = self.example(row)
        with torch.inference_mode():
            logits = self._model(**padded([example], self._tokenizer)).logits[0]
        return torch.softmax(logits.float(), -1).tolist(), tuple(example["input_ids"])

    def told(self, row: LabelledText) -> str:
        scores, _ = self.scores(row)
        best = max(range(len(scores)), key=scores.__getitem__)
        return f"{row.text[:200]} -> {self._labels[best]} ({scores[best]:.2f})"

    def parity(self, rows: Sequence[LabelledText]) -> list[ParitySample]:
        """The labels of the first rows that are read whole: of longer ones more is read where the model is served."""
        samples: list[ParitySample] = []
        for row in rows:
            if len(samples) == _PARITY_TEXTS:
                break
            if len(self._tokenizer(row.text, row.text_pair, verbose=False)["input_ids"]) > self._limit:
                continue
            scores, ids = self.scores(row)
            ranked = sorted(zip(self._labels, scores, strict=True), key=lambda pair: -pair[1])
            text = row.text if row.text_pair is None else (row.text, row.text_pair)
            output = Labels(rows=(tuple(Label(label, score) for label, score in ranked),))
            samples.append(ParitySample(Classify(texts=(text,)), output, ids))
        return samples


class _Judge(Judge):
    def __init__(self, labels: Sequence[str]) -> None:
        self._labels = labels
        self._found: list[int] = []
        self._right: list[int] = []

    def see(self, outputs: Any, batch: Batch) -> None:
        self._found += outputs.logits.argmax(-1).tolist()
        self._right += batch["labels"].tolist()

    def verdict(self) -> dict[str, float]:
        return {"accuracy": accuracy(self._found, self._right), "macro_f1": macro_f1(self._found, self._right)}
