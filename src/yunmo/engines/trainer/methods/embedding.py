"""Embedding: vectors of texts that belong together come near each other."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

from yunmo.core.errors import InvalidRequest
from yunmo.core.rows import Neighbours
from yunmo.core.tasks import Embed, Vector, Vectors
from yunmo.core.training import ParitySample, Recipe
from yunmo.engines.trainer.adapting import adapted, bare, merged, notes_of_merging, save_model
from yunmo.engines.trainer.learner import Batch, Example, Judge, Learner
from yunmo.engines.trainer.sentences import Sentences, read_sentences, write_sentences
from yunmo.engines.trainer.texts import limit_of, load_tokenizer, padded
from yunmo.engines.trainer.workspace import Place, Workspace

_TEMPERATURE = 0.05
_PARITY_TEXTS = 16
_AT_A_TIME = 1024

_Placed = Sequence[tuple[Place, Neighbours]]


class Embedding:
    """Trains an encoder of texts by contrast: of all texts of a step, each anchor's own must be the nearest (InfoNCE, arXiv:1807.03748).

    The others of the step are what it is not (in-batch negatives, arXiv:1705.00652), so a step is never computed in parts.
    """

    learning_rate = 2e-5
    lora_learning_rate = 2e-4
    batch_size = 32
    epochs = 1

    def prepare(self, base: Path, workspace: Workspace, recipe: Recipe) -> Learner:
        """Rows are `Neighbours`."""
        if (recipe.accumulation or 1) > 1:
            raise InvalidRequest(
                "The rows of a step are compared with each other, so it is not computed in parts: leave accumulation at 1, or lower batch_size.",
                param="accumulation",
            )
        placed: _Placed = list(workspace.placed_rows(recipe.method))  # type: ignore[arg-type]
        judged: _Placed = list(workspace.placed_rows(recipe.method, is_validation=True))  # type: ignore[arg-type]
        rows, validation = [row for _, row in placed], [row for _, row in judged]
        _check_contrast(rows, recipe)
        sentences = read_sentences(base)
        tokenizer = load_tokenizer(base)
        loaded = _load(base)
        model = adapted(loaded, recipe, "FEATURE_EXTRACTION")
        texts = _Texts(model, tokenizer, sentences, _limit(loaded.config, tokenizer, recipe, sentences))
        examples = [texts.example(place, row) for place, row in placed]
        return Learner(
            model=model,
            examples=examples,
            validation=[texts.example(place, row) for place, row in judged],
            lengths=[len(example["input_ids"]) for example in examples],
            collate=texts.collate,
            count=lambda batch: int(batch["attention_mask"].sum()),
            judge=_Judge,
            save=lambda folder: texts.save(base, folder, recipe),
            sample=lambda: texts.told(rows[0]),
            parity=lambda: texts.parity([*validation, *rows]),
            cut=texts.cut,
            forward=texts.forward,
            notes=(
                "Each step compares its rows with each other: a larger batch_size makes the task harder and the vectors better.",
                *notes_of_merging(recipe),
            ),
        )


method = Embedding()


def _check_contrast(rows: Sequence[Neighbours], recipe: Recipe) -> None:
    """Raise InvalidRequest where no text is there that an anchor's own could be told from."""
    if not rows or any(row.negative for row in rows):
        return
    if len({row.positive for row in rows}) < 2:
        raise InvalidRequest("All rows have the same positive, and none a negative: there is nothing to tell apart.", param="positive")
    if recipe.batch_size == 1:
        raise InvalidRequest(
            "A step of one row without a negative has nothing to tell apart: set batch_size to 2 or more.", param="batch_size"
        )


def _load(base: Path) -> Any:
    import transformers

    try:
        named = (json.loads((base / "config.json").read_text("utf-8")).get("architectures") or [""])[0]
        encoder = getattr(transformers, named, None) if named.endswith("EncoderModel") else None
        model = (encoder or transformers.AutoModel).from_pretrained(
            str(base), local_files_only=True, use_safetensors=True, dtype=torch.float32
        )
    except (OSError, ValueError) as error:
        raise InvalidRequest(f"This base cannot be loaded as an encoder of texts: {error}", param="model") from error
    if model.main_input_name != "input_ids" or model.config.is_encoder_decoder:
        raise InvalidRequest(f"{type(model).__name__} is no encoder of texts: begin with one, such as a BERT.", param="model")
    return model


def _limit(config: Any, tokenizer: Any, recipe: Recipe, sentences: Sentences) -> int:
    """How many tokens of a text are read: what the recipe says, else what the base was published with."""
    limit = limit_of(config, tokenizer, recipe)
    return limit if recipe.max_tokens or not sentences.most_tokens else min(limit, sentences.most_tokens)


@dataclass
class _Compared:
    """A step's loss, and the unit vectors of its texts: anchors (rows, width), positives, and negatives after them."""

    loss: torch.Tensor
    anchors: torch.Tensor
    candidates: torch.Tensor


class _Texts:
    """Rows as the model reads them, and the vectors that it makes of texts."""

    def __init__(self, model: Any, tokenizer: Any, sentences: Sentences, limit: int) -> None:
        self.cut = 0
        self._model = model
        self._tokenizer = tokenizer
        self._sentences = sentences
        self._limit = limit
        if tokenizer.pad_token_id is None:  # a decoder without one reads its end instead
            tokenizer.pad_token = tokenizer.eos_token

    def example(self, place: Place, row: Neighbours) -> Example:
        """The row's texts as ids; "input_ids" are all of them, for the length alone."""
        texts = [self._read(text) for text in (row.anchor, row.positive, row.negative) if text is not None]
        if not all(read["input_ids"] for read, _ in texts):
            raise InvalidRequest(f"{place}: the base's tokenizer finds nothing to read in one of the texts.", param="anchor")
        self.cut += any(is_long for _, is_long in texts)
        ids = [read["input_ids"] for read, _ in texts]
        return {"texts": [read for read, _ in texts], "input_ids": [each for text in ids for each in text]}

    def collate(self, examples: Sequence[Example]) -> Batch:
        """All anchors, then all positives, then the negatives there are; `hidden` are candidates that are no negatives of an anchor."""
        anchors, positives = ([example["texts"][place] for example in examples] for place in (0, 1))
        negatives = [example["texts"][2] for example in examples if len(example["texts"]) > 2]
        first, second = _numbered(anchors), _numbered([*positives, *negatives])
        count = len(anchors)
        hidden = second[:count].unsqueeze(1) == second
        hidden[:, :count] |= first.unsqueeze(1) == first
        hidden.fill_diagonal_(fill_value=False)
        return {**padded([*anchors, *positives, *negatives], self._tokenizer), "hidden": hidden}

    def forward(self, model: Any, batch: Batch) -> _Compared:
        """The cross-entropy of every anchor's similarities (cosines by the temperature): its own text is the right one."""
        hidden = batch["hidden"]
        vectors = self._vectors(model, {name: value for name, value in batch.items() if name != "hidden"})
        anchors, candidates = vectors[: len(hidden)], vectors[len(hidden) :]
        with torch.autocast("cpu", enabled=False):
            similarities = (anchors @ candidates.T / _TEMPERATURE).masked_fill(hidden, -torch.inf)
            loss = functional.cross_entropy(similarities, torch.arange(len(hidden)))
        return _Compared(loss, anchors, candidates)

    def save(self, base: Path, folder: Path, recipe: Recipe) -> None:
        save_model(self._model, self._tokenizer, folder, merged(recipe))
        write_sentences(base, folder, bare(self._model).config.hidden_size, self._limit)

    def told(self, row: Neighbours) -> str:
        anchor, positive = (
            torch.frombuffer(bytearray(self._vector(text).data), dtype=torch.float32) for text in (row.anchor, row.positive)
        )
        return f"cosine {functional.cosine_similarity(anchor, positive, dim=0):.3f}: {row.anchor[:100]} | {row.positive[:100]}"

    def parity(self, rows: Sequence[Neighbours]) -> list[ParitySample]:
        samples = []
        for text in list(dict.fromkeys(text for row in rows for text in (row.anchor, row.positive)))[:_PARITY_TEXTS]:
            ids = tuple(self._served(text)["input_ids"])
            samples.append(ParitySample(Embed(inputs=(text,)), Vectors(vectors=(self._vector(text),)), ids))
        return samples

    def _read(self, text: str) -> tuple[Example, bool]:
        whole = self._tokenizer(self._sentences.prepared(text), verbose=False)
        is_long = len(whole["input_ids"]) > self._limit
        read = self._tokenizer(self._sentences.prepared(text), truncation=True, max_length=self._limit) if is_long else whole
        return {name: read[name] for name in ("input_ids", "token_type_ids") if name in read}, is_long

    def _served(self, text: str) -> Example:
        """The text cut to what is read where the model is served, which may be more than what it is trained on."""
        most = min(each for each in (self._sentences.most_tokens or self._limit, self._tokenizer.model_max_length) if each)
        read = self._tokenizer(self._sentences.prepared(text), truncation=True, max_length=most)
        return {name: read[name] for name in ("input_ids", "token_type_ids") if name in read}

    def _vectors(self, model: Any, inputs: Batch) -> torch.Tensor:
        states = model(**inputs).last_hidden_state
        return functional.normalize(self._sentences.pooled(states, inputs["attention_mask"]), dim=-1)

    def _vector(self, text: str) -> Vector:
        """What clients are answered."""
        inputs = padded([self._served(text)], self._tokenizer)
        with torch.inference_mode():
            vector = self._sentences.pooled(self._model(**inputs).last_hidden_state, inputs["attention_mask"])[0]
            vector = functional.normalize(vector, dim=-1) if self._sentences.normalizes else vector
        return Vector(data=vector.numpy().astype("<f4").tobytes(), shape=tuple(vector.shape))


def _numbered(texts: Sequence[Example]) -> torch.Tensor:
    """A number for each text, the same for the same text."""
    numbers: dict[tuple[int, ...], int] = {}
    return torch.tensor([numbers.setdefault(tuple(text["input_ids"]), len(numbers)) for text in texts])


def _ranks(anchors: torch.Tensor, positives: torch.Tensor, own: torch.Tensor) -> torch.Tensor:
    """How many positives are as near to each anchor as its own, which is one of them."""
    similarities = anchors @ positives.T
    return (similarities >= similarities.gather(1, own.unsqueeze(1))).sum(1)


class _Judge(Judge):
    """Looks for each anchor's own text among the positives of all rows."""

    def __init__(self) -> None:
        self._anchors: list[torch.Tensor] = []
        self._positives: dict[tuple[int, ...], torch.Tensor] = {}
        self._own: list[tuple[int, ...]] = []

    def see(self, outputs: Any, batch: Batch) -> None:
        count = len(outputs.anchors)
        self._anchors += list(outputs.anchors)
        for vector, ids, mask in zip(
            outputs.candidates[:count], batch["input_ids"][count : 2 * count], batch["attention_mask"][count : 2 * count], strict=True
        ):
            text = tuple(ids[mask.bool()].tolist())
            self._positives.setdefault(text, vector)
            self._own.append(text)

    def verdict(self) -> dict[str, float]:
        """The share of anchors whose own text is the nearest, and the mean of 1/rank. What is as near comes before it: it is not told apart."""
        places = {text: number for number, text in enumerate(self._positives)}
        own = torch.tensor([places[text] for text in self._own])
        anchors, positives = torch.stack(self._anchors), torch.stack(list(self._positives.values()))
        with torch.autocast("cpu", enabled=False):  # bf16 would call near ones equal
            ranks = torch.cat(
                [_ranks(anchors[at : at + _AT_A_TIME], positives, own[at : at + _AT_A_TIME]) for at in range(0, len(own), _AT_A_TIME)]
            )
        return {"recall_at_1": float((ranks == 1).float().mean()), "mrr": float((1 / ranks).mean())}
