"""Conversations as a decoder reads them when it is served, with what is to be learnt of them marked token by token."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from yunmo.core.errors import InvalidRequest
from yunmo.core.rows import Turn
from yunmo.core.tasks import Chat, Message, Tool, ToolCall
from yunmo.core.tool_calls import Rewriting
from yunmo.engines.chats.templates import Renderer, values_of
from yunmo.engines.trainer.learner import Example
from yunmo.engines.trainer.texts import IGNORED

_SPECIAL = ("bos_token", "eos_token", "pad_token", "unk_token")
_PATIENCE_SECONDS = 600.0
"""A trainer has what others leave of the processors; what a template may take of their time is limited by itself."""

_BEGIN, _END = "<|im_start|>", "<|im_end|>"


@dataclass(frozen=True, slots=True)
class _Answer:
    """A turn of the assistant where it is the last one: the text up to its end, and where in it the model begins to write."""

    text: str
    start: int


class Conversations:
    """Renders conversations as the engines that serve do, in a process of its own, which `close` ends.

    A tokenizer without a chat template is given one: ChatML, whose turns end with its own `<|im_end|>` or else with the
    token that ends its texts. `ends` are the tokens at which the model stops when it is served; `new_ends` are those
    beside them that end an answer by the template.
    """

    def __init__(self, tokenizer: Any, ends: Collection[int]) -> None:
        self.new_ends: set[int] = set()
        self.notes: list[str] = []
        self._tokenizer = tokenizer
        self._ends = frozenset(ends)
        self._special = {*tokenizer.all_special_ids, *(index for index, each in tokenizer.added_tokens_decoder.items() if each.special)}
        template = tokenizer.chat_template
        if isinstance(template, Mapping):
            template = template.get("default")
        if not template:
            template = tokenizer.chat_template = _chatml(tokenizer)
            self.notes.append(
                "The base has no chat template: the conversations are written as ChatML, and the trained model comes with that template. "
                "Adapters that are not merged are served with their base's template: give the base one."
            )
        special = {name: token for name, token in tokenizer.special_tokens_map.items() if name in _SPECIAL}
        self.renderer = Renderer(template, special, seconds=_PATIENCE_SECONDS)

    def close(self) -> None:
        """End the process; it begins again when it is needed."""
        self.renderer.close()

    def prompt(self, messages: Sequence[Message], tools: Sequence[Tool] = ()) -> list[int]:
        """The tokens up to where the model answers."""
        return self._encode(self._rendered(messages, tools, begins_answer=True))

    def examples(self, messages: Sequence[Message], tools: Sequence[Tool], learnt: Collection[int]) -> list[Example]:
        """Ids and labels (IGNORED where nothing is learnt) that have each learnt turn once, as it is when it is answered.

        It is one example, unless the template writes an answer otherwise once the conversation has gone on (as those do
        that drop earlier thoughts): such an answer is learnt in one of its own, which ends with it.
        """
        messages = self._in_form(messages, tools, learnt)
        answers = {turn: self._answer(messages, tools, turn) for turn in sorted(learnt)}
        found = []
        while answers:
            text = answers[max(answers)].text
            covered = [turn for turn, answer in answers.items() if text.startswith(answer.text)]
            found.append(self._example(text, [answers.pop(turn) for turn in covered]))
        return found[::-1]

    def _answer(self, messages: Sequence[Message], tools: Sequence[Tool], turn: int) -> _Answer:
        begun = self._rendered(messages[:turn], tools, begins_answer=True)
        answered = self._rendered(messages[: turn + 1], tools, begins_answer=False)
        start = _common(begun, answered)
        if start < len(begun):
            before = self._rendered(messages[:turn], tools, begins_answer=False)
            if start < _common(begun, before):
                raise InvalidRequest(
                    f"The chat template writes what comes before messages[{turn}] otherwise once it is answered: it cannot be learnt.",
                    param="messages",
                )
            self._note("The chat template begins an answer otherwise than it writes one down: answers are learnt from where both agree.")
        return _Answer(answered, start)

    def _example(self, text: str, answers: Sequence[_Answer]) -> Example:
        ids: list[int] = []
        labels: list[int] = []
        at = 0
        for answer in answers:
            for stop, is_learnt in ((answer.start, False), (len(answer.text), True)):
                piece = self._piece(text, at, stop, ids)
                size = self._size(piece) if is_learnt else 0
                ids += piece
                labels += [*piece[:size], *[IGNORED] * (len(piece) - size)]
                at = stop
        if labels[-1] != IGNORED and labels[-1] not in self._special | self._ends and self._tokenizer.eos_token_id is not None:
            ids.append(self._tokenizer.eos_token_id)  # the template ends no turn: this is how the model learns to stop
            labels.append(self._tokenizer.eos_token_id)
        return {"input_ids": ids, "labels": [IGNORED, *labels[1:]]}

    def _piece(self, text: str, at: int, stop: int, before: list[int]) -> list[int]:
        """The tokens of a part of the text: those that it has in the whole, unless one crosses its beginning, where a prompt ends."""
        whole = self._encode(text[:stop])
        return whole[len(before) :] if whole[: len(before)] == before else self._encode(text[at:stop])

    def _size(self, piece: Sequence[int]) -> int:
        """How much of an answer the model is to write: up to the token that ends the turn, without the space behind it."""
        for place in range(len(piece) - 1, -1, -1):
            if piece[place] in self._special or piece[place] in self._ends:
                self.new_ends |= {piece[place]} - self._ends
                return place + 1
            if self._tokenizer.decode([piece[place]]).strip():
                break
        return len(piece)

    def _in_form(self, messages: Sequence[Message], tools: Sequence[Tool], learnt: Collection[int]) -> list[Message]:
        """Where a template knows no tools, answers beside calls are held to JSON too: they are learnt in that form."""
        if not tools or self.renderer.knows_tools():
            return list(messages)
        return [
            msgspec.structs.replace(message, content=json.dumps({"response": message.content}, ensure_ascii=False))
            if turn in learnt and not message.tool_calls
            else message
            for turn, message in enumerate(messages)
        ]

    def _rendered(self, messages: Sequence[Message], tools: Sequence[Tool], *, begins_answer: bool) -> str:
        if tools and not self.renderer.knows_tools():
            conversation = Rewriting.of(Chat(messages=tuple(messages), tools=tuple(tools))).conversation()
            return self.renderer.render(conversation, begins_answer=begins_answer)
        return self.renderer.render([values_of(each) for each in messages], tools, begins_answer=begins_answer)

    def _encode(self, text: str) -> list[int]:
        return list(self._tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])

    def _note(self, note: str) -> None:
        if note not in self.notes:
            self.notes.append(note)


def message_of(turn: Turn) -> Message:
    """A row's message as it comes in a request."""
    return Message(
        role="system" if turn.role == "developer" else turn.role,
        content=turn.content,
        tool_calls=tuple(ToolCall(call.id, call.function.name, call.function.arguments) for call in turn.tool_calls or ()),
        tool_call_id=turn.tool_call_id,
        name=turn.name,
    )


def tool_of(given: Mapping[str, Any], place: int) -> Tool:
    """A row's tool, in OpenAI's form, as it comes in a request. Raises InvalidRequest for another form."""
    function = given.get("function")
    name = function.get("name") if isinstance(function, Mapping) else None
    if not isinstance(function, Mapping) or not isinstance(name, str) or not name:
        raise InvalidRequest('A tool is {"type": "function", "function": {"name": …, "parameters": …}}.', param=f"tools[{place}]")
    parameters = function.get("parameters") or {"type": "object", "properties": {}}
    return Tool(name, str(function.get("description") or ""), json.dumps(parameters, ensure_ascii=False))


def learnt_turns(turns: Sequence[Turn]) -> list[int]:
    """Which messages are learnt: the assistant's, but for those of weight 0."""
    return [place for place, turn in enumerate(turns) if turn.role == "assistant" and turn.weight != 0]


def _common(one: str, other: str) -> int:
    """How many characters both begin with."""
    return next((place for place, (left, right) in enumerate(zip(one, other, strict=False)) if left != right), min(len(one), len(other)))


def _chatml(tokenizer: Any) -> str:
    vocabulary = tokenizer.get_vocab()
    if _BEGIN not in vocabulary or _END not in vocabulary:
        if tokenizer.eos_token is None:
            raise InvalidRequest(
                "The base has neither a chat template nor a token that ends a text, so it could not learn where an answer ends.",
                param="model",
            )
        end = "eos_token"
    else:
        end = f"'{_END}'"
    is_begun = tokenizer.bos_token_id is not None and tokenizer("a")["input_ids"][:1] == [tokenizer.bos_token_id]
    return (
        f"{'{{ bos_token }}' if is_begun else ''}"
        f"{{% for message in messages %}}{{{{ '{_BEGIN}' + message['role'] + '\\n' + message['content'] + {end} + '\\n' }}}}{{% endfor %}}"
        f"{{% if add_generation_prompt %}}{{{{ '{_BEGIN}assistant\\n' }}}}{{% endif %}}"
    )
