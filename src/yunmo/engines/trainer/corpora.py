"""Plain texts as rows of token ids: cut into windows, or joined and packed into full blocks."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
import torch
from numpy.typing import NDArray

from yunmo.core.training import Recipe
from yunmo.engines.trainer.learner import Batch, Example, Judge
from yunmo.engines.trainer.texts import IGNORED

Ids = NDArray[np.int32]

_TEXTS_AT_ONCE = 4096
_VALIDATION = 2**31
"""No training has so many epochs: what is drawn for validation rows is always the same, and never what training draws."""


@dataclass(frozen=True, slots=True)
class Material:
    """What an objective makes a Learner of: a model with its tokenizer, and rows of which `limit` tokens are read at a time."""

    model: Any
    tokenizer: Any
    recipe: Recipe
    limit: int
    rows: Sequence[Any]
    validation: Sequence[Any]


class Corpus(Sequence[Example]):
    """Rows of ids, each with its `draw`: the numbers that decide, with the recipe's seed, what chance does to it.

    They are the epoch and the row's own number, so that a training that goes on finds what it would have found; transformers'
    Trainer tells the epoch.
    """

    def __init__(self, rows: Sequence[Ids], *, is_validation: bool = False) -> None:
        self._rows = rows
        self._epoch = _VALIDATION if is_validation else 0

    @property
    def lengths(self) -> list[int]:
        """Each row's number of tokens."""
        return [len(row) for row in self._rows]

    def set_epoch(self, epoch: int) -> None:
        """Called before each epoch."""
        self._epoch = epoch

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> Example: ...
    @overload
    def __getitem__(self, index: slice) -> list[Example]: ...
    def __getitem__(self, index: int | slice) -> Example | list[Example]:
        if isinstance(index, slice):
            return [self[each] for each in range(*index.indices(len(self)))]
        return {"input_ids": self._rows[index], "draw": (self._epoch, index)}


def read(texts: Sequence[str], tokenizer: Any) -> Iterator[Ids]:
    """The ids of each text, without special tokens around them."""
    for start in range(0, len(texts), _TEXTS_AT_ONCE):
        some = list(texts[start : start + _TEXTS_AT_ONCE])
        for ids in tokenizer(some, add_special_tokens=False, return_attention_mask=False, verbose=False)["input_ids"]:
            yield np.asarray(ids, dtype=np.int32)


def windows(texts: Sequence[str], tokenizer: Any, size: int) -> list[Ids]:
    """Each text by itself between the special tokens of an encoder; one that is longer than `size` becomes several."""
    first = tokenizer.cls_token_id if tokenizer.cls_token_id is not None else tokenizer.bos_token_id
    last = tokenizer.sep_token_id if tokenizer.sep_token_id is not None else tokenizer.eos_token_id
    before = np.array([] if first is None else [first], dtype=np.int32)
    after = np.array([] if last is None else [last], dtype=np.int32)
    room = size - len(before) - len(after)
    return [
        np.concatenate([before, ids[start : start + room], after]) for ids in read(texts, tokenizer) for start in range(0, len(ids), room)
    ]


def blocks(texts: Sequence[str], tokenizer: Any, size: int) -> list[Ids]:
    """All texts one after the other, each ended by the end of text, in blocks of `size`; only the last block may be shorter."""
    end = np.array([tokenizer.eos_token_id], dtype=np.int32)
    joined = np.concatenate([part for ids in read(texts, tokenizer) for part in (ids, end)] or [end])
    found = [joined[start : start + size] for start in range(0, len(joined), size)]
    return found[:-1] if len(found[-1]) < 2 else found  # one token says nothing about a next


def chance(seed: int, example: Example) -> np.random.Generator:
    """The generator of what chance does to this example in this epoch."""
    return np.random.default_rng((seed, *example["draw"]))


def stacked(rows: Sequence[Ids], padding: int) -> NDArray[np.int64]:
    """The rows as one array of (rows, longest), padded at the end."""
    found = np.full((len(rows), max(map(len, rows))), padding, dtype=np.int64)
    for number, row in enumerate(rows):
        found[number, : len(row)] = row
    return found


def rightly_chosen(outputs: Any, batch: Batch, *, ahead: int = 0) -> tuple[int, int]:
    """How many of the tokens to learn the model finds the likeliest, and how many there are.

    `ahead` is 1 where each position tells the next one's token. A Trainer that computes the labelled positions alone has logits of
    those alone.
    """
    labels = batch["labels"][:, ahead:]
    wanted = labels[labels != IGNORED]
    logits = outputs.logits
    found = logits if logits.dim() == wanted.dim() + 1 else logits[:, : labels.shape[1]][labels != IGNORED]
    return int((found.argmax(-1) == wanted).sum()), int(wanted.numel())


def accuracy_of(outputs: Any, batch: Batch, *, ahead: int = 0) -> float:
    """The share of the tokens to learn that the model finds the likeliest."""
    with torch.no_grad():
        right, count = rightly_chosen(outputs, batch, ahead=ahead)
    return right / max(1, count)


class TokenJudge(Judge):
    """How often the model would have chosen the right token."""

    def __init__(self, *, ahead: int = 0) -> None:
        self._ahead = ahead
        self._right = self._count = 0

    def see(self, outputs: Any, batch: Batch) -> None:
        right, count = rightly_chosen(outputs, batch, ahead=self._ahead)
        self._right, self._count = self._right + right, self._count + count

    def verdict(self) -> dict[str, float]:
        return {"token_accuracy": self._right / max(1, self._count)}
