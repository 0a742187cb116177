"""What a model thinks before it answers, told apart from the answer: between the two marks that its chat template knows."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import msgspec

from yunmo.core.tasks import TextDelta
from yunmo.engines.chats.writing import overlap

BEGIN, END = "<think>", "</think>"
"""The marks of DeepSeek R1, Qwen 3 and most models that think."""


Begin = Literal["start", "thought"]
"""Where a text begins: in a thought that the prompt has opened, or where one may be opened."""


@dataclass(slots=True)
class ThoughtReader:
    """Reads one choice's deltas, from where its text begins on."""

    is_at: Begin | Literal["end of thought", "answer"]
    _held: str = ""
    _has_thought: bool = False

    def read(self, delta: TextDelta) -> Iterator[TextDelta]:
        """The delta to tell for one that came, if it tells anything yet."""
        self._held += delta.text
        thought = self._thought()
        text = self._answer()
        if delta.finish_reason is not None:
            thought, text = self._rest(thought, text)
        if thought or text or delta.finish_reason or delta.logprobs:
            yield msgspec.structs.replace(delta, text=text, reasoning=thought)

    def _thought(self) -> str:
        """What is certain of the thought; spaces around it belong to the marks."""
        if self.is_at == "start":
            first = self._held.lstrip()
            if not first.startswith(BEGIN):
                self.is_at = "start" if BEGIN.startswith(first) else "answer"
                return ""
            self.is_at, self._held = "thought", first.removeprefix(BEGIN)
        if self.is_at != "thought":
            return ""
        thought, end, rest = self._held.partition(END)
        if end:
            self.is_at, self._held = "end of thought", rest
            certain = thought.rstrip()
        else:
            certain = thought[: len(thought) - overlap(thought, END)].rstrip()
            self._held = thought[len(certain) :]
        certain = certain if self._has_thought else certain.lstrip()
        self._has_thought = self._has_thought or bool(certain)
        return certain

    def _answer(self) -> str:
        if self.is_at == "end of thought":
            self._held = self._held.lstrip()
            self.is_at = "answer" if self._held else "end of thought"
        if self.is_at != "answer":
            return ""
        text, self._held = self._held, ""
        return text

    def _rest(self, thought: str, text: str) -> tuple[str, str]:
        """With what was kept back."""
        held, self._held = self._held, ""
        return (thought + held.rstrip(), text) if self.is_at == "thought" else (thought, text + held)
