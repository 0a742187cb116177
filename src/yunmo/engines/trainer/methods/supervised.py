"""Supervised fine-tuning: a decoder learns what the assistant says in conversations, and nothing else of them."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from yunmo.core.rows import Conversation, Turn
from yunmo.core.training import Recipe
from yunmo.engines.trainer.chats import Reading, prepare
from yunmo.engines.trainer.conversations import learnt_turns, message_of, tool_of
from yunmo.engines.trainer.decoders import Decoder, token_accuracy
from yunmo.engines.trainer.learner import Batch, Example, Judge, Learner
from yunmo.engines.trainer.texts import IGNORED
from yunmo.engines.trainer.workspace import Workspace


class Supervised:
    """Trains a decoder, or low-rank adapters for it."""

    learning_rate = 2e-5
    lora_learning_rate = 2e-4
    batch_size = 8
    epochs = 3

    def prepare(self, base: Path, workspace: Workspace, recipe: Recipe) -> Learner:
        """Rows are `Conversation`s, written by the base's chat template."""
        return replace(prepare(base, workspace, recipe, _Conversations, _Judge), accuracy=_accuracy)


method = Supervised()


class _Conversations(Reading[Conversation]):
    def __init__(self, decoder: Decoder, limit: int) -> None:
        super().__init__(decoder, limit)
        self._split = 0

    def of_row(self, row: Conversation) -> list[Example]:
        tools = [tool_of(tool, place) for place, tool in enumerate(row.tools or ())]
        messages = [message_of(turn) for turn in row.messages]
        whole = self.conversations.examples(messages, tools, learnt_turns(row.messages))
        self._split += len(whole) > 1
        return [example for example in self.within_limit(whole) if any(label != IGNORED for label in example["labels"])]

    def asked(self, row: Conversation) -> Sequence[Turn]:
        return row.messages

    def notes(self) -> list[str]:
        told = []
        if self.left_out:
            told.append(f"{self.left_out} rows have no answer within {self.limit} tokens and were left out.")
        if self._split:
            told.append(
                f"The chat template writes an answer otherwise once the conversation has gone on: {self._split} rows are learnt in parts, "
                "each as it is when it is answered."
            )
        return told


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
