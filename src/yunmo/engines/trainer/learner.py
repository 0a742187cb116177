"""What a method of training makes of a base model and of rows: all that the loop needs to know."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from yunmo.core.training import ParitySample, Recipe
from yunmo.engines.trainer.workspace import Workspace

Example = Mapping[str, Any]
"""What the model reads of one row, by the names of its arguments; lists of ids, arrays or numbers."""

Batch = dict[str, Any]
"""Tensors by the names of the model's arguments."""


class Judge(Protocol):
    """Looks at what the model makes of the validation rows, batch by batch, without gradients."""

    def see(self, outputs: Any, batch: Batch) -> None:
        """Note one batch's outputs (a transformers ModelOutput) and labels."""
        ...

    def verdict(self) -> dict[str, float]:
        """The task's metrics over all that was seen, by the names of `core.metrics`. May ask the model to generate."""
        ...


@dataclass(slots=True)
class Learner:
    """One model with its rows made ready.

    `examples` and `validation` are one per row (or part of one), cut to `max_tokens` (`cut` counts the rows that were longer);
    `lengths` are the examples' sizes, by which batches are put together. `collate` pads a batch. `count` is how many of a batch's
    positions are no padding. `judge` makes a new Judge. `accuracy` is the share of a batch's tokens that the model would have chosen
    itself, where that says something. `save` writes the model as a repository that can be served. `sample` is one real answer, in
    words. `parity` is what the trained model answers to some inputs, of the kind that clients ask. `trainer` is the class of
    transformers' Trainer that works on it, where that is not its own. `forward` is what the
    model makes of a batch, with the `loss` (a mean over the rows), where the model alone does not tell one. `notes` are told when the training is checked.
    """

    model: Any
    examples: Sequence[Example]
    validation: Sequence[Example]
    lengths: Sequence[int]
    collate: Callable[[Sequence[Example]], Batch]
    count: Callable[[Batch], int]
    judge: Callable[[], Judge]
    save: Callable[[Path], None]
    sample: Callable[[], str]
    parity: Callable[[], list[ParitySample]]
    cut: int = 0
    accuracy: Callable[[Any, Batch], float] | None = None
    trainer: type | None = None
    forward: Callable[[Any, Batch], Any] | None = None
    notes: Sequence[str] = ()


class Method(Protocol):
    """A way to train. `learning_rate`, `batch_size` and `epochs` are its habits; with low-rank adapters the rate is `lora_learning_rate`."""

    learning_rate: float
    lora_learning_rate: float
    batch_size: int
    epochs: int

    def prepare(self, base: Path, workspace: Workspace, recipe: Recipe) -> Learner:
        """Load the base, and make the rows ready. Raises InvalidRequest for a base or rows that this method cannot use."""
        ...


def method_of(recipe: Recipe) -> Method:
    """The method that the recipe names; its libraries are imported here. Pre-training that goes on from a base has habits of its own."""
    import importlib

    module = importlib.import_module(f"yunmo.engines.trainer.methods.{recipe.method}")
    is_continued = recipe.pretraining is not None and recipe.pretraining.architecture is None
    method: Method = module.continuing if recipe.method == "pretrain" and is_continued else module.method
    return method
