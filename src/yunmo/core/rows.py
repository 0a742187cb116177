"""Rows to learn from: what each method of training reads, checked one by one, so that a mistake is told with its line and field.

Every row is an object of one JSON line. Fields that a method does not know are refused: a misspelt one would be left out of the
training in silence.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from yunmo.core.errors import InvalidRequest
from yunmo.core.training import Method, Objective

PROBLEMS_TOLD = 100
"""Reading ends at so many."""

_Text = Annotated[str, Meta(min_length=1)]
WITHOUT_SPACES = re.compile(r"[\u0e00-\u0eff\u0f00-\u109f\u1780-\u17ff\u3000-\u30ff\u3400-\u9fff\uf900-\ufaff\uff00-\uffef]")
"""A letter of a script that puts no spaces between words (Thai, Tibetan, Burmese, Khmer, Chinese, Japanese)."""


class Function(msgspec.Struct, forbid_unknown_fields=True):
    """What a tool call names, with its arguments as JSON text."""

    name: _Text
    arguments: str = "{}"


class Call(msgspec.Struct, forbid_unknown_fields=True):
    """A call that the assistant made."""

    function: Function
    id: str = ""
    type: Literal["function"] = "function"


class Turn(msgspec.Struct, forbid_unknown_fields=True):
    """A message of a conversation. An assistant's with `weight` 0 is read and not learnt."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | None = None
    name: str | None = None
    weight: Literal[0, 1] | None = None
    tool_calls: list[Call] | None = None
    tool_call_id: str | None = None


class Conversation(msgspec.Struct, forbid_unknown_fields=True):
    """A row of `supervised`: a conversation whose assistant is to be learnt."""

    messages: Annotated[list[Turn], Meta(min_length=1)]
    tools: list[dict[str, Any]] | None = None
    parallel_tool_calls: bool | None = None

    def check(self) -> None:
        """Raise InvalidRequest, with the field, for a conversation that nothing can be learnt from."""
        for number, turn in enumerate(self.messages):
            _check_turn(turn, f"messages[{number}]")
        if not any(turn.role == "assistant" and turn.weight != 0 for turn in self.messages):
            raise InvalidRequest("No message of the assistant has a weight other than 0: there is nothing to learn.", param="messages")
        if self.messages[-1].role != "assistant":
            raise InvalidRequest("The last message must be the assistant's.", param="messages")


class Asked(msgspec.Struct, forbid_unknown_fields=True):
    """What a preferred answer is about."""

    messages: Annotated[list[Turn], Meta(min_length=1)]
    tools: list[dict[str, Any]] | None = None
    parallel_tool_calls: bool | None = None


class Preference(msgspec.Struct, forbid_unknown_fields=True):
    """A row of `dpo`: of two answers the better one."""

    input: Asked
    preferred_output: Annotated[list[Turn], Meta(min_length=1)]
    non_preferred_output: Annotated[list[Turn], Meta(min_length=1)]

    def check(self) -> None:
        """Raise InvalidRequest, with the field, for answers that are not two different ones of the assistant's."""
        for number, turn in enumerate(self.input.messages):
            _check_turn(turn, f"input.messages[{number}]")
        for name in ("preferred_output", "non_preferred_output"):
            for number, turn in enumerate(getattr(self, name)):
                _check_turn(turn, f"{name}[{number}]")
                if turn.role not in {"assistant", "tool"}:
                    raise InvalidRequest("An answer has messages of the assistant and of tools alone.", param=f"{name}[{number}].role")
            if getattr(self, name)[-1].role != "assistant":
                raise InvalidRequest("An answer ends with a message of the assistant.", param=name)
        if self.preferred_output == self.non_preferred_output:
            raise InvalidRequest("Both answers are the same: neither is better.", param="non_preferred_output")


class LabelledText(msgspec.Struct, forbid_unknown_fields=True):
    """A row of `classification`; `text_pair` for models that compare two texts."""

    text: _Text
    label: _Text | int
    text_pair: _Text | None = None

    def check(self) -> None:
        """Nothing that its fields do not say."""


class LabelledWords(msgspec.Struct, forbid_unknown_fields=True):
    """A row of `token_classification`: a label (B-PER, I-PER, O …) for each word."""

    tokens: Annotated[list[_Text], Meta(min_length=1)]
    labels: Annotated[list[_Text], Meta(min_length=1)]

    def check(self) -> None:
        """Raise InvalidRequest unless each word has its label."""
        if len(self.tokens) != len(self.labels):
            raise InvalidRequest(f"There are {len(self.tokens)} tokens and {len(self.labels)} labels.", param="labels")

    def joined(self) -> tuple[str, list[int]]:
        """The text that the words make, and where each begins: with spaces between, but for scripts that have none."""
        text, starts = self.tokens[0], [0]
        for before, word in pairwise(self.tokens):
            if not (WITHOUT_SPACES.match(before[-1]) and WITHOUT_SPACES.match(word[0])):
                text += " "
            starts.append(len(text))
            text += word
        return text, starts


class Rewritten(msgspec.Struct, forbid_unknown_fields=True):
    """A row of `seq2seq`, and of `pretrain` by pairs: a text and what is to be made of it (its translation, its summary)."""

    source: _Text
    target: _Text

    def check(self) -> None:
        """Nothing that its fields do not say."""


class Neighbours(msgspec.Struct, forbid_unknown_fields=True):
    """A row of `embedding`: two texts that belong together, and one that does not if it is known."""

    anchor: _Text
    positive: _Text
    negative: _Text | None = None

    def check(self) -> None:
        """Raise InvalidRequest where the wrong text is the right one."""
        if self.negative is not None and self.negative in {self.anchor, self.positive}:
            raise InvalidRequest("The negative is the same text as the anchor or the positive.", param="negative")


class LabelledPicture(msgspec.Struct, forbid_unknown_fields=True):
    """A row of `image_classification`: a file of the data set, or the picture itself as a data URL."""

    image: _Text
    label: _Text | int

    def check(self) -> None:
        """Nothing that its fields do not say."""


class Spoken(msgspec.Struct, forbid_unknown_fields=True):
    """A row of `speech_recognition`: a recording (a file of the data set, or a data URL) and its words."""

    audio: _Text
    text: _Text

    def check(self) -> None:
        """Nothing that its fields do not say."""


class Written(msgspec.Struct, forbid_unknown_fields=True):
    """A row of `pretrain`: text as it is."""

    text: _Text

    def check(self) -> None:
        """Nothing that its fields do not say."""


Row = Conversation | Preference | LabelledText | LabelledWords | Rewritten | Neighbours | LabelledPicture | Spoken | Written

ROWS: Mapping[Method, type[Row]] = {
    "supervised": Conversation,
    "dpo": Preference,
    "classification": LabelledText,
    "token_classification": LabelledWords,
    "seq2seq": Rewritten,
    "embedding": Neighbours,
    "image_classification": LabelledPicture,
    "speech_recognition": Spoken,
    "pretrain": Written,
}


def rows_of(method: Method, objective: Objective | None = None) -> type[Row]:
    """The form of a method's rows; `objective` is pre-training's, which learns from pairs too."""
    return Rewritten if method == "pretrain" and objective == "parallel" else ROWS[method]


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a row cannot be learnt from; lines count from 1."""

    line: int
    message: str
    param: str | None = None

    @property
    def text(self) -> str:
        where = f", field '{self.param}'" if self.param else ""
        return f"Line {self.line}{where}: {self.message}"


def read_row(decoder: "msgspec.json.Decoder[Row]", line: int, text: bytes) -> Row | Problem:
    """The row of one line of JSON, or why nothing can be learnt from it."""
    try:
        row = decoder.decode(text)
        row.check()
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at `$")
        return Problem(line, f"{message}.", path.rstrip("`").lstrip(".") or None)
    except InvalidRequest as error:
        return Problem(line, error.message, error.param)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return Problem(line, f"This is not valid JSON: {error}.")
    return row


def _check_turn(turn: Turn, where: str) -> None:
    if turn.weight is not None and turn.role != "assistant":
        raise InvalidRequest("Only messages of the assistant have a weight.", param=f"{where}.weight")
    if turn.tool_calls and turn.role != "assistant":
        raise InvalidRequest("Only the assistant calls tools.", param=f"{where}.tool_calls")
    if turn.role == "tool" and not turn.tool_call_id:
        raise InvalidRequest("A tool's message names the call that it answers.", param=f"{where}.tool_call_id")
    if not turn.content and not turn.tool_calls:
        raise InvalidRequest("The message is empty.", param=f"{where}.content")
