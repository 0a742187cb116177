"""Tool calls in the form that a model's own chat template teaches: written into its text, read out of it while it comes."""

import json
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

from yunmo.core.tasks import Chat, TextDelta, ToolCallDelta
from yunmo.core.tool_calls import chosen_tools, parsed_schema
from yunmo.engines.chats.constraints import Call, Constraint
from yunmo.engines.chats.writing import overlap

BEGIN, END = "<tool_call>", "</tool_call>"
"""The form of Hermes, which Qwen 2.5 and 3 and many fine-tuned models write: JSON between these two."""

_HEAD = re.compile(r'\s*\{\s*"name"\s*:\s*("(?:[^"\\]|\\.)*")\s*,\s*"arguments"\s*:\s*(?=\S)')


def calls_constraint(request: Chat) -> Constraint:
    """What holds each call to its tool's schema: from the first word on if a call is required, else from where one begins."""
    tools, choice = chosen_tools(request)
    calls = tuple(
        Call(
            f'{BEGIN}\n{{"name": {json.dumps(tool.name, ensure_ascii=False)}, "arguments": ',
            json.dumps(parsed_schema(tool.parameters, "tools")),
            f"}}\n{END}",
        )
        for tool in tools
    )
    is_single = not request.parallel_tool_calls or request.tool_choice not in {"auto", "required"}
    is_required = choice == "required"
    return Constraint("calls", "\n" if is_required else BEGIN, calls, is_required, is_single)


@dataclass(slots=True)
class CallReader:
    """Reads one choice's deltas: text passes, calls come out as their name and then their arguments, as they are written."""

    _held: str = ""
    _calls: int = 0
    _is_inside: bool = False
    _arguments: "_Value | None" = None
    _has_text: bool = False

    def read(self, delta: TextDelta) -> Iterator[TextDelta]:
        """The deltas to tell for one that came."""
        pieces = list(self._read(delta.text))
        if delta.finish_reason is not None:
            pieces += self._rest()
        text = "".join(each for each in pieces if isinstance(each, str))
        calls = tuple(each for each in pieces if isinstance(each, ToolCallDelta))
        reason = "tool_calls" if delta.finish_reason == "stop" and self._calls else delta.finish_reason
        if text or calls or reason or delta.logprobs or delta.reasoning:
            yield msgspec.structs.replace(delta, text=text, tool_calls=calls, finish_reason=reason)

    def _read(self, text: str) -> Iterator[str | ToolCallDelta]:
        self._held += text
        while True:
            before = self._held, self._is_inside
            yield from self._inside() if self._is_inside else self._outside()
            if (self._held, self._is_inside) == before:
                return

    def _outside(self) -> Iterator[str]:
        """Text up to a call; spaces before one belong to it, so they are kept until something else follows."""
        said, begin, rest = self._held.partition(BEGIN)
        self._is_inside, self._held = bool(begin), rest
        if not begin:
            certain = said[: len(said) - overlap(said, BEGIN)].rstrip()
            self._held = said[len(certain) :]
            said = certain
        said = said.rstrip() if self._is_inside else said
        if self._calls and not self._has_text:
            said = said.lstrip()
        self._has_text = self._has_text or bool(said)
        if said:
            yield said

    def _inside(self) -> Iterator[str | ToolCallDelta]:
        if self._arguments is None:
            head = _HEAD.match(self._held)
            if head:
                self._held = self._held[head.end() :]
                self._arguments = _Value()
                yield self._begun(json.loads(head[1]))
            elif END in self._held:
                inside, _, self._held = self._held.partition(END)
                self._is_inside = False
                yield from self._whole(inside)
            return
        if not self._arguments.is_whole:
            size = self._arguments.read(self._held)
            piece, self._held = self._held[:size], self._held[size:]
            if piece:
                yield ToolCallDelta(self._calls - 1, arguments=piece)
        if self._arguments.is_whole and END in self._held:
            self._held = self._held.partition(END)[2]
            self._is_inside, self._arguments = False, None

    def _whole(self, inside: str) -> Iterator[str | ToolCallDelta]:
        """A call that is written otherwise than usual; text if it is none."""
        try:
            call = json.loads(inside)
            name, arguments = call["name"], call.get("arguments", {})
        except (ValueError, TypeError, KeyError, AttributeError):
            yield f"{BEGIN}{inside}{END}"
            return
        yield msgspec.structs.replace(self._begun(str(name)), arguments=json.dumps(arguments, ensure_ascii=False))

    def _begun(self, name: str) -> ToolCallDelta:
        self._calls += 1
        return ToolCallDelta(self._calls - 1, f"call_{secrets.token_hex(12)}", name)

    def _rest(self) -> Iterator[str]:
        """What was kept back, at the end; of a call that has not told its name nothing is left."""
        if not self._is_inside:
            yield self._held.rstrip() if self._calls else self._held
        self._held = ""


@dataclass(slots=True)
class _Value:
    """A JSON value that comes in pieces, up to its last character."""

    is_whole: bool = False
    _depth: int = 0
    _is_text: bool = False
    _is_escaped: bool = False

    def read(self, text: str) -> int:
        """How many characters of the text belong to it."""
        for place, letter in enumerate(text):
            if self._is_text:
                self._is_text = self._is_escaped or letter != '"'
                self._is_escaped = letter == "\\" and not self._is_escaped
                if not self._is_text and not self._depth:
                    return self._ended(place + 1)
            elif letter == '"':
                self._is_text = True
            elif letter in "{[":
                self._depth += 1
            elif letter in "}]" and self._depth:
                self._depth -= 1
                if not self._depth:
                    return self._ended(place + 1)
            elif not self._depth and letter in "}], \n\t\r":  # after a number or a word
                return self._ended(place)
        return len(text)

    def _ended(self, size: int) -> int:
        self.is_whole = True
        return size
