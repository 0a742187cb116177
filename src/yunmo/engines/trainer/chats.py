"""What the methods that learn from chats have in common: rows become examples of a decoder, cut to what it can read."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from yunmo.core.rows import Turn
from yunmo.core.training import Recipe
from yunmo.engines.trainer.decoders import Decoder, batch_of
from yunmo.engines.trainer.learner import Example, Judge, Learner
from yunmo.engines.trainer.texts import count_unpadded, limit_of
from yunmo.engines.trainer.workspace import Workspace, line_told

Row = TypeVar("Row")


class Reading(ABC, Generic[Row]):
    """Rows as the model reads them. `cut` counts those that are longer than its limit, `left_out` those with nothing to learn within it."""

    drops_out: ClassVar[bool] = True

    def __init__(self, decoder: Decoder, limit: int) -> None:
        self.cut = 0
        self.left_out = 0
        self.limit = limit
        self.conversations = decoder.conversations

    def examples(self, rows: Iterable[Row], *, is_validation: bool = False) -> list[Example]:
        """All that can be learnt from; an error of a row names its line."""
        found: list[Example] = []
        for line, row in enumerate(rows, 1):
            with line_told(line, is_validation=is_validation):
                kept = self.of_row(row)
            self.left_out += not kept
            found += kept
        return found

    def within_limit(self, whole: Sequence[Example]) -> list[Example]:
        """The sequences of one row, each up to the limit."""
        self.cut += any(len(example["input_ids"]) > self.limit for example in whole)
        return [{name: values[: self.limit] for name, values in example.items()} for example in whole]

    @abstractmethod
    def of_row(self, row: Row) -> list[Example]:
        """What is learnt from a row, within the limit: nothing if it is too long."""

    @abstractmethod
    def asked(self, row: Row) -> Sequence[Turn]:
        """The turns that the model is asked with afterwards."""

    @abstractmethod
    def notes(self) -> list[str]:
        """What people should know of the rows."""


def prepare(base: Path, workspace: Workspace, recipe: Recipe, kind: type[Reading[Any]], judge: Callable[[], Judge]) -> Learner:
    """The base with the rows that it learns from."""
    rows, validation = list(workspace.rows(recipe.method)), list(workspace.rows(recipe.method, is_validation=True))
    decoder = Decoder(base, recipe, drops_out=kind.drops_out)
    reading = kind(decoder, limit_of(decoder.model.config, decoder.tokenizer, recipe))
    try:
        examples = reading.examples(rows)
        judged = reading.examples(validation, is_validation=True)
        decoder.ask_later([reading.asked(row) for row in (*validation, *rows)])
    finally:
        decoder.conversations.close()
    return Learner(
        model=decoder.model,
        examples=examples,
        validation=judged,
        lengths=[len(example["input_ids"]) for example in examples],
        collate=batch_of,
        count=count_unpadded,
        judge=judge,
        save=decoder.save,
        sample=decoder.sample,
        parity=decoder.parity,
        cut=reading.cut,
        notes=[*decoder.notes, *reading.notes()],
    )
