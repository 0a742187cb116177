"""Supervised fine-tuning: a decoder learns what the assistant says in conversations, and nothing else of them."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from yunmo.core.rows import Conversation
from yunmo.core.training import Recipe
from yunmo.engines.trainer.conversations import learnt_turns, message_of, tool_of
from yunmo.engines.trainer.decoders import Decoder, batch_of, token_accuracy
from yunmo.engines.trainer.learner import Batch, Example, Judge, Learner
from yunmo.engines.trainer.texts import IGNORED, count_unpadded, limit_of
from yunmo.engines.trainer.workspace import Workspace, line_told


class Supervised:
    """Trains a decoder, or low-rank adapters for it."""

    learning_rate = 2e-5
    lora_learning_rate = 2e-4
    batch_size = 8
    epochs = 3

    def prepare(self, base: Path, workspace: Workspace, recipe: Recipe) -> Learner:
        """Rows are `Conversation`s, written by the base's chat template."""
        rows: list[Conversation] = list(workspace.rows(recipe.method))  # type: ignore[arg-type]
        validation: list[Conversation] = list(workspace.rows(recipe.method, is_validation=True))  # type: ignore[arg-type]
        decoder = Decoder(base, recipe)
        read = _Conversations(decoder, limit_of(decoder.model.config, decoder.tokenizer, recipe))
        try:
            examples = read.examples(rows)
            judged = read.examples(validation, is_validation=True)
            decoder.ask_later([row.messages for row in (*validation, *rows)])
        finally:
            decoder.conversations.close()
        return Learner(
            model=decoder.model,
            examples=examples,
            validation=judged,
            lengths=[len(example["input_ids"]) for example in examples],
            collate=batch_of,
            count=count_unpadded,
            judge=_Judge,
            save=decoder.save,
            sample=decoder.sample,
            parity=decoder.parity,
            cut=read.cut,
            notes=[*decoder.notes, *read.notes()],
            accuracy=_accuracy,
        )


method = Supervised()


class _Conversations:
    """Rows as the model reads them, cut to its limit."""

    def __init__(self, decoder: Decoder, limit: int) -> None:
        self.cut = 0
        self._decoder = decoder
        self._limit = limit
        self._left_out = 0
        self._split = 0

    def examples(self, rows: Iterable[Conversation], *, is_validation: bool = False) -> list[Example]:
        found: list[Example] = []
        for line, row in enumerate(rows, 1):
            with line_told(line, is_validation=is_validation):
                found += self._of_row(row)
        return found

    def notes(self) -> list[str]:
        told = []
        if self._left_out:
            told.append(f"{self._left_out} rows have no answer within {self._limit} tokens and were left out.")
        if self._split:
            told.append(
                f"The chat template writes an answer otherwise once the conversation has gone on: {self._split} rows are learnt in parts, "
                "each as it is when it is answered."
            )
        return told

    def _of_row(self, row: Conversation) -> list[Example]:
        tools = [tool_of(tool, place) for place, tool in enumerate(row.tools or ())]
        messages = [message_of(turn) for turn in row.messages]
        whole = self._decoder.conversations.examples(messages, tools, learnt_turns(row.messages))
        read: list[Example] = [{name: values[: self._limit] for name, values in example.items()} for example in whole]
        kept = [example for example in read if any(label != IGNORED for label in example["labels"])]
        self.cut += any(len(example["input_ids"]) > self._limit for example in whole)
        self._left_out += not kept
        self._split += len(whole) > 1
        return kept


class _Judge(Judge):
    def __init__(self) -> None:
        self._right = 0
        self._learnt = 0

    def see(self, outputs: Any, batch: Batch) -> None:
        right, learnt = token_accuracy(outputs.logits, batch["labels"])
        self._right, self._learnt = self._right + right, self._learnt + learnt

    def verdict(self) -> dict[str, float]:
        return {"token_accuracy": self._right / max(1, self._learnt)}


def _accuracy(outputs: Any, batch: Batch) -> float:
    right, learnt = token_accuracy(outputs.logits, batch["labels"])
    return right / max(1, learnt)
