"""Direct preference optimisation (arXiv 2305.18290): of two answers the better one becomes likelier than the base has it, beside the other."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import cross_entropy, logsigmoid

from yunmo.core.rows import Preference, Turn
from yunmo.core.tasks import Tool
from yunmo.core.training import Recipe
from yunmo.engines.trainer.chats import Reading, prepare
from yunmo.engines.trainer.conversations import learnt_turns, message_of, tool_of
from yunmo.engines.trainer.decoders import batch_of
from yunmo.engines.trainer.learner import Batch, Example, Judge, Learner
from yunmo.engines.trainer.texts import IGNORED
from yunmo.engines.trainer.workspace import Workspace

_SIDES = ("preferred", "non_preferred")


class PreferenceOptimisation:
    """Trains a decoder, or low-rank adapters for it, against what it was before."""

    learning_rate = 1e-6
    lora_learning_rate = 1e-5
    batch_size = 8
    epochs = 1

    def prepare(self, base: Path, workspace: Workspace, recipe: Recipe) -> Learner:
        """Rows are `Preference`s, written by the base's chat template. The base drops nothing out: that would be told as a preference."""
        learner = prepare(base, workspace, recipe, _Pairs, _Judge)
        return replace(learner, collate=_collate, forward=_Preferring(learner.model, recipe))


method = PreferenceOptimisation()


class _Pairs(Reading[Preference]):
    """Two sequences a row; `input_ids` of an example is the longer one."""

    drops_out = False

    def of_row(self, row: Preference) -> list[Example]:
        tools = [tool_of(tool, place) for place, tool in enumerate(row.input.tools or ())]
        sides = self.within_limit([self._sequence(row, answer, tools) for answer in (row.preferred_output, row.non_preferred_output)])
        if any(all(label == IGNORED for label in side["labels"]) for side in sides):
            return []
        longer = max((side["input_ids"] for side in sides), key=len)
        return [{"input_ids": longer, **dict(zip(_SIDES, sides, strict=True))}]

    def asked(self, row: Preference) -> Sequence[Turn]:
        return row.input.messages

    def notes(self) -> list[str]:
        return [f"{self.left_out} rows do not have both answers within {self.limit} tokens and were left out."] if self.left_out else []

    def _sequence(self, row: Preference, answer: Sequence[Turn], tools: Sequence[Tool]) -> Example:
        """The conversation with one of its answers; of several parts that the template makes, the one with the end."""
        asked = row.input.messages
        messages = [message_of(turn) for turn in (*asked, *answer)]
        learnt = [len(asked) + turn for turn in learnt_turns(answer)] or [len(messages) - 1]
        return self.conversations.examples(messages, tools, learnt)[-1]


def _collate(examples: Sequence[Example]) -> Batch:
    """The preferred answers first, then the others: each tensor has two rows for each example."""
    return batch_of([example[side] for side in _SIDES for example in examples])


@dataclass(frozen=True, slots=True)
class _Preferred:
    """A batch's loss, and by how much each pair's better answer is rewarded more."""

    loss: torch.Tensor
    margins: torch.Tensor


class _Preferring:
    """Compares the model with what it was. Adapters are switched off for that; of a model that learns itself its weights are kept."""

    def __init__(self, model: Any, recipe: Recipe) -> None:
        self._beta = recipe.beta
        is_whole = recipe.lora is None
        self._before = {name: each.detach().clone() for name, each in model.named_parameters()} if is_whole else None

    def __call__(self, model: Any, batch: Batch) -> _Preferred:
        read = {name: values for name, values in batch.items() if name != "labels"}
        with torch.no_grad():
            before = _likelihoods(self._logits_before(model, read), batch["labels"])
        rewards = self._beta * (_likelihoods(model(**read).logits, batch["labels"]) - before)
        better, other = rewards.chunk(2)
        margins = better - other
        return _Preferred(-logsigmoid(margins).mean(), margins.detach())

    def _logits_before(self, model: Any, read: Batch) -> torch.Tensor:
        if self._before is None:
            with model.disable_adapter():
                logits: torch.Tensor = model(**read).logits
                return logits
        outputs: Any = torch.func.functional_call(model, self._before, kwargs=read)  # the model's own way: in its precision, too
        return outputs.logits


def _likelihoods(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """The log probability of each row's labelled tokens: logits (rows, tokens, vocabulary), labels (rows, tokens)."""
    wanted = labels[:, 1:]
    learnt = wanted != IGNORED
    lost = cross_entropy(logits[:, :-1][learnt].float(), wanted[learnt], reduction="none")
    return torch.zeros(len(labels)).index_add(0, learnt.nonzero()[:, 0], -lost)


class _Judge(Judge):
    def __init__(self) -> None:
        self._margins: list[float] = []

    def see(self, outputs: Any, batch: Batch) -> None:
        del batch
        self._margins += outputs.margins.tolist()

    def verdict(self) -> dict[str, float]:
        count = len(self._margins)
        right = sum(margin > 0 for margin in self._margins)
        return {"preference_accuracy": right / count, "reward_margin": sum(self._margins) / count}
